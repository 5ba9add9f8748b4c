"""Payments: cancel, capture and review are the same over HTTP and at a terminal; and a terminal without Temporal."""

import asyncio
from typing import Any

import pytest

from tests.api import objects
from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, audit_log, both, same_log
from tests.support.shop import Shop

TWO = [("anna", "300.00"), ("bo", "200.00")]


async def authorized(shop: Shop, **fields: Any) -> dict[str, Any]:
    payment = await shop.paid(shop.checkout(), capture="manual", **fields)
    return await shop.until(payment["id"], "AUTHORIZED")


# --- cancel ---


async def test_a_cancel_is_written_to_the_audit_log(shop: Shop) -> None:
    one, other = [await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required") for _ in range(2)]
    done = await both(
        shop,
        http=("POST", f"/v1/payments/{one['id']}/cancel", None),
        cli=["payments", "cancel", other["id"], *BY],
    )
    done.accepted()
    same_log(await audit_log(shop, one["id"]), await audit_log(shop, other["id"]))
    for payment in (one, other):
        await shop.until(payment["id"], "CANCELLED")


async def test_what_cannot_be_cancelled(shop: Shop) -> None:
    paid = await shop.paid(shop.checkout())
    failed = await shop.paid(shop.checkout(), "pm_card_chargeDeclined")
    for payment, code in ((paid, "payment_settled"), (failed, "payment_failed")):
        done = await both(
            shop,
            http=("POST", f"/v1/payments/{payment['id']}/cancel", None),
            cli=["payments", "cancel", payment["id"], *BY],
        )
        done.refused(code)
        assert await audit_log(shop, payment["id"]) == []


# --- confirm ---


async def test_a_confirmation_is_written_to_the_audit_log(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), confirm=False)
    for _ in range(2):
        await shop.post(f"/v1/payments/{payment['id']}/confirm")
    (logged,) = await audit_log(shop, payment["id"])
    assert (logged.action, list(logged.detail)) == ("payment.confirm", ["key"])


# --- capture ---


async def test_a_capture_is_written_to_the_audit_log(shop: Shop) -> None:
    one, other = [await authorized(shop) for _ in range(2)]
    done = await both(
        shop,
        http=("POST", f"/v1/payments/{one['id']}/capture", {"amount": "320.00"}),
        cli=["payments", "capture", other["id"], "--amount", "320.00", *BY],
    )
    done.accepted()
    logs = [await audit_log(shop, payment["id"]) for payment in (one, other)]
    same_log(*logs, own=["amounts"])
    assert [list(log[0].detail["amounts"].values()) for log in logs] == [[32000], [32000]]
    for payment in (one, other):
        await shop.until(payment["id"], "SUCCESS")


def _parts(*parts: tuple[str, str]) -> tuple[dict[str, Any], list[str]]:
    """As a body, and as arguments."""
    body = {"payment_orders": [{"payment_order_id": name, "amount": amount} for name, amount in parts]}
    return body, [argument for name, amount in parts for argument in ("--part", f"{name}={amount}")]


async def test_what_cannot_be_captured(shop: Shop) -> None:
    payment = await authorized(shop, orders=TWO)
    first = payment["payment_orders"][0]["payment_order_id"]
    bad: list[tuple[tuple[dict[str, Any], list[str]], str]] = [
        (({"amount": "1.00"}, ["--amount", "1.00"]), "payment_order_required"),
        (_parts((first, "300.01")), "capture_too_large"),
        (_parts((first, "1,00")), "amount_invalid"),
        (_parts((first, "1.001")), "amount_precision"),
        (_parts((first, "1" * 25)), "field_invalid"),
        (_parts((first, "0")), "amount_not_positive"),
        (_parts(("nobody", "1.00")), "payment_order_unknown"),
        (_parts(("x" * 65, "1.00")), "field_invalid"),
        (_parts((first, "1.00"), (first, "1.00")), "payment_order_repeated"),
        (_parts(("4242-4242-4242-4242", "1.00")), "card_data_forbidden"),
    ]
    for (body, arguments), code in bad:
        done = await both(
            shop,
            http=("POST", f"/v1/payments/{payment['id']}/capture", body),
            cli=["payments", "capture", payment["id"], *arguments, *BY],
        )
        done.refused(code)
    assert await audit_log(shop, payment["id"]) == []


async def test_nothing_is_captured_twice(shop: Shop) -> None:
    payment = await authorized(shop)
    path, command = f"/v1/payments/{payment['id']}/capture", ["payments", "capture", payment["id"], *BY]
    await shop.post(path, {})
    await shop.until(payment["id"], "SUCCESS")
    (await both(shop, http=("POST", path, {}), cli=command)).refused("payment_settled")


# --- Temporal is away ---


@pytest.mark.parametrize("command", ["cancel", "capture"])
async def test_a_command_without_temporal_is_stored(shop: Shop, command: str) -> None:
    """As over HTTP: the row is marked, the sentence says who acts on it, and the next one who wakes the workflow does
    what was asked for."""
    payment = await authorized(shop)
    away = shop.paysaga.environment() | {"PAYSAGA_TEMPORAL_ADDRESS": "127.0.0.1:1"}
    said = await paysaga_command(away, "payments", command, payment["id"], *BY)
    assert said.code == 0, said.err
    assert "Temporal does not answer: it is stored, and the sweeper sees to it." in said.out
    assert [row.action for row in await audit_log(shop, payment["id"])] == [f"payment.{command}"]
    # Whatever it says: the workflow's own timer may have been quicker.
    await paysaga_command(shop.paysaga.environment(), "payments", "nudge", payment["id"])
    await shop.until(payment["id"], {"cancel": "CANCELLED", "capture": "SUCCESS"}[command])


async def test_a_nudge_needs_temporal(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    away = shop.paysaga.environment() | {"PAYSAGA_TEMPORAL_ADDRESS": "127.0.0.1:1"}
    said = await paysaga_command(away, "payments", "nudge", payment["id"])
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert said.err.startswith("paysaga: Temporal does not answer")


# --- resolve ---


async def test_one_of_several_decisions_at_once_is_taken(shop: Shop) -> None:
    """Those that come when it has ended are refused, and are not in the audit log."""
    payment = await objects.captured_in_part(shop)
    path, accept = f"/v1/payments/{payment}/resolve", {"decision": "accept"}
    answers = await asyncio.gather(*(shop.post(path, accept) for _ in range(6)))
    await shop.until(payment, "SUCCESS")
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == len(answers) - 1, [answer.text for answer in answers]
    assert {answer.json()["code"] for answer in refused} <= {"decision_refused", "nobody_waits"}
    assert [row.action for row in await audit_log(shop, payment)] == ["payment.resolve"]


async def test_what_was_captured_at_the_psp_is_accepted(shop: Shop) -> None:
    one, other = [await objects.captured_in_part(shop) for _ in range(2)]
    (task,) = (await shop.explain(one))["tasks"]
    assert task["detail"] == "amount_mismatch: asked for 500.00 INR, the PSP took 300.00 INR; it can be accepted"
    tasks = await paysaga_command(shop.paysaga.environment(), "tasks")
    assert f"`paysaga payments resolve {one} --decision accept`" in " ".join(tasks.out.split())
    retry = await both(
        shop,
        http=("POST", f"/v1/payments/{one}/resolve", {"decision": "retry"}),
        cli=["payments", "resolve", one, "--decision", "retry", *BY],
    )
    assert retry.refused("decision_refused") == "The decision retry changes nothing here: say accept or cancel."
    body = {"decision": "accept", "note": "seen there"}
    path = f"/v1/payments/{one}/resolve"
    key = shop.checkout("key")
    accepted = await shop.post(path, body, key=key)
    said = await paysaga_command(
        shop.paysaga.environment(), "payments", "resolve", other, "--decision", "accept", "--note", "seen there", *BY
    )
    assert (said.code, said.out) == (0, f"{other}: accept noted.\n"), said.err
    assert (accepted.status_code, accepted.json()["status"]) == (200, "SUCCESS"), accepted.text
    again = await shop.post(path, body, key=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert (await shop.post(path, body | {"note": "x"}, key=key)).json()["code"] == "idempotency_key_reused"
    assert (await shop.post(path, body)).json()["code"] in ("nobody_waits", "decision_refused")
    for payment in (one, other):
        ended = await shop.until(payment, "SUCCESS")
        (order,) = ended["payment_orders"]
        assert (order["captured_amount"], order["wallet_updated"]) == ("300.00", True)
        explained = await shop.explain(payment)
        assert explained["tasks"] == []
        assert explained["transitions"][-1]["reason"] == "amount_accepted"
    same_log(await audit_log(shop, one), await audit_log(shop, other), own=["by"])
    balances = await shop.balances()
    assert balances["wallet:anna:pending", "INR"] == -2 * 29_100
    assert ("suspense", "INR") not in balances
