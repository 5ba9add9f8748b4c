"""Refunds: the same over HTTP and at a terminal."""

from typing import Any

from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, audit_log, both, same_log
from tests.support.shop import Shop

TWO = [("anna", "300.00"), ("bo", "200.00")]


async def test_a_refund_is_written_to_the_audit_log(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    done = await both(
        shop,
        http=("POST", f"/v1/payments/{payment['id']}/refunds", {"amount": "50.5", "reason": "one arm"}),
        cli=["refunds", "create", payment["id"], "--amount", "50.5", "--reason", "one arm", *BY],
    )
    done.accepted()
    refunds = (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"]
    assert [(refund["amount"], refund["reason"]) for refund in refunds] == [("50.50", "one arm")] * 2
    logs = [await audit_log(shop, refund["id"]) for refund in refunds]
    same_log(*logs)
    assert logs[0][0].detail["amount"] == "50.50"


async def test_what_cannot_be_refunded(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), orders=TWO)
    first = payment["payment_orders"][0]["payment_order_id"]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"amount": "1.00"}, "payment_order_required"),
        ({"payment_order_id": first, "amount": "300.01"}, "refund_too_large"),
        ({"payment_order_id": first, "amount": "1,00"}, "amount_invalid"),
        ({"payment_order_id": first, "amount": "1.001"}, "amount_precision"),
        ({"payment_order_id": first, "amount": "1" * 25}, "field_invalid"),
        ({"payment_order_id": first, "amount": "0"}, "amount_not_positive"),
        ({"payment_order_id": "nobody"}, "payment_order_unknown"),
        ({"payment_order_id": "x" * 65}, "field_invalid"),
        ({"payment_order_id": first, "reason": "x" * 501}, "field_invalid"),
        ({"payment_order_id": first, "reason": ""}, "field_invalid"),
        ({"payment_order_id": first, "reason": "card 4242 4242 4242 4242"}, "card_data_forbidden"),
    ]
    options = {"payment_order_id": "--order", "amount": "--amount", "reason": "--reason"}
    for body, code in bad:
        arguments = [argument for name, value in body.items() for argument in (options[name], value)]
        done = await both(
            shop,
            http=("POST", f"/v1/payments/{payment['id']}/refunds", body),
            cli=["refunds", "create", payment["id"], *arguments, *BY],
        )
        done.refused(code)
    assert (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"] == []


async def test_a_rest_that_the_psp_cannot_express(shop: Shop) -> None:
    """Shared to the last fils, as it was done once: what can be given back is, and the rest is refused at once."""
    for command in ("http", "cli"):
        payment = await shop.paid(shop.checkout(), currency="KWD", orders=[("anna", "5.000")])
        shift = "UPDATE payment_order SET psp_refund_amount = psp_refund_amount + $2 WHERE payment_id = $1 RETURNING id"
        await shop.paysaga.sql(shift, payment["id"], 1_665)
        if command == "http":
            await shop.refunded(payment["id"])
        else:
            said = await paysaga_command(shop.paysaga.environment(), "refunds", "create", payment["id"], *BY)
            assert said.code == 0
        (refund,) = (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"]
        assert refund["amount"] == "3.330"
        done = await both(
            shop,
            http=("POST", f"/v1/payments/{payment['id']}/refunds", {}),
            cli=["refunds", "create", payment["id"], *BY],
        )
        done.refused("nothing_to_refund")
        await shop.paysaga.sql(shift, payment["id"], -1_665)


async def test_what_has_not_settled_or_is_refunded_already(shop: Shop) -> None:
    waiting = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    given_back = await shop.paid(shop.checkout())
    await shop.refunded(given_back["id"])
    for payment, code in ((waiting, "payment_not_settled"), (given_back, "nothing_to_refund")):
        done = await both(
            shop,
            http=("POST", f"/v1/payments/{payment['id']}/refunds", {}),
            cli=["refunds", "create", payment["id"], *BY],
        )
        done.refused(code)
