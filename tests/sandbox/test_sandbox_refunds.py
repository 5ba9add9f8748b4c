"""Refunds: full, partial, too much, pending and coming back."""

from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Endpoint, Psp

DAY_S = 86_400


async def test_partial_refunds_up_to_the_amount_and_no_further(psp: "Psp") -> None:
    intent = await psp.pay(metadata={"payment": "pay_1"})
    first = await psp.v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 20_000, "reason": "requested_by_customer", "metadata": {"r": "re_1"}}
    )
    assert (first.status, first.amount, first.payment_intent) == ("succeeded", 20_000, intent.id)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount on charge") as caught:
        await psp.v1.refunds.create_async({"payment_intent": intent.id, "amount": 30_001})
    assert caught.value.param == "amount"
    charged: Any = intent.latest_charge
    rest = await psp.v1.refunds.create_async({"charge": charged.id})
    assert rest.amount == 30_000
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await psp.v1.refunds.create_async({"payment_intent": intent.id})
    assert (refused.value.http_status, refused.value.code) == (400, "charge_already_refunded")
    charge = (await psp.v1.charges.list_async({"payment_intent": intent.id})).data[0]
    assert (charge.amount_refunded, charge.refunded) == (50_000, True)
    listed = await psp.v1.refunds.list_async({"payment_intent": intent.id})
    assert [refund.id for refund in listed.data] == [rest.id, first.id]
    logged = (await psp.log("?metadata[payment]=pay_1"))["refunds"]
    assert [(entry["amount"], entry["metadata"]) for entry in logged] == [
        (20_000, {"payment": "pay_1", "r": "re_1"}),
        (30_000, {"payment": "pay_1"}),
    ]


async def test_a_refund_does_not_return_the_fee(psp: "Psp") -> None:
    intent = await psp.pay()
    refund = await psp.v1.refunds.create_async({"payment_intent": intent.id, "expand": ["balance_transaction"]})
    booked: Any = refund.balance_transaction
    assert (booked.type, booked.amount, booked.fee, booked.net) == ("refund", -50_000, 0, -50_000)
    assert (await psp.v1.balance.retrieve_async()).pending[0].amount == -1_480
    types = [item.type for item in (await psp.v1.balance_transactions.list_async()).data]
    assert types == ["refund", "charge"]
    (only,) = (await psp.v1.balance_transactions.list_async({"source": refund.id})).data
    assert only.id == booked.id


async def test_a_pending_refund_succeeds_later(psp: "Psp") -> None:
    intent = await psp.pay("pm_card_pendingRefund")
    refund = await psp.v1.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == "pending"
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    assert (await psp.v1.refunds.retrieve_async(refund.id)).status == "succeeded"
    assert (await psp.log())["refunds"][0]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("method", "first"), [("pm_card_refundFail", "succeeded"), ("pm_card_pendingRefundFail", "pending")]
)
async def test_a_refund_that_comes_back(psp: "Psp", method: str, first: str) -> None:
    intent = await psp.pay(method)
    refund = await psp.v1.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == first
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    failed = await psp.v1.refunds.retrieve_async(refund.id, {"expand": ["failure_balance_transaction", "charge"]})
    back: Any = failed.failure_balance_transaction
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert (back.type, back.net) == ("refund_failure", 50_000)
    assert (failed.charge.amount_refunded, failed.charge.refunded) == (0, False)  # type: ignore[union-attr]
    types = [event.type for event in (await psp.v1.events.list_async({"limit": 5})).data]
    assert types == ["refund.failed", "refund.updated", "charge.refund.updated", "charge.refunded", "refund.created"]
    # The money is there again, so it can be refunded again.
    assert (await psp.v1.refunds.create_async({"payment_intent": intent.id})).amount == 50_000


async def test_refunds_are_steered(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"processing_delay_s": None})
    intent = await psp.pay("pm_card_pendingRefund")
    refund = await psp.v1.refunds.create_async({"payment_intent": intent.id, "amount": 100})
    assert (await psp.control("POST", f"/refunds/{refund.id}/succeed"))["status"] == "succeeded"
    assert (await psp.control("POST", f"/refunds/{refund.id}/fail"))["status"] == "failed"
    await psp.control("POST", f"/refunds/{refund.id}/fail", status=409)
    changed = await psp.v1.refunds.update_async(refund.id, {"metadata": {"a": "b"}})
    assert changed.metadata
    assert changed.metadata.to_dict() == {"a": "b"}


async def test_nothing_to_refund(psp: "Psp") -> None:
    held = await psp.pay(capture_method="manual")
    for params in ({"payment_intent": held.id}, {"charge": held.latest_charge.id}, {}, {"charge": "ch_no"}):  # type: ignore[union-attr]
        wanted: Any = params
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await psp.v1.refunds.create_async(wanted)
        assert caught.value.http_status == 400
    assert (await psp.log())["refunds"] == []


async def test_a_refund_that_comes_back_days_later(hooked: "Psp", endpoint: "Endpoint") -> None:
    psp = hooked
    await psp.control("PATCH", "/account", {"refund_failure_delay_s": 5 * DAY_S})
    intent = await psp.pay("pm_card_refundFail")
    refund = await psp.v1.refunds.create_async({"payment_intent": intent.id})
    await psp.control("POST", "/clock/advance", {"seconds": 4 * DAY_S})
    assert (await psp.v1.refunds.retrieve_async(refund.id)).status == "succeeded"
    await psp.control("POST", "/clock/advance", {"seconds": DAY_S})
    failed = await psp.v1.refunds.retrieve_async(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert (await psp.v1.balance.retrieve_async()).available[0].amount == 50_000 - 1_480 - 50_000
    assert (await psp.v1.balance.retrieve_async()).pending[0].amount == 50_000
    types = await endpoint.until(8)
    assert types[5:] == ["charge.refund.updated", "refund.updated", "refund.failed"]
    event: Any = endpoint.events[5]
    assert (event.data.object.object, event.data.object.id) == ("refund", refund.id)
    assert event.data.previous_attributes.status == "succeeded"


async def test_the_delay_of_a_failure_is_for_refunds_that_had_succeeded(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"refund_failure_delay_s": DAY_S})
    intent = await psp.pay("pm_card_pendingRefundFail")
    refund = await psp.v1.refunds.create_async({"payment_intent": intent.id})
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    assert (await psp.v1.refunds.retrieve_async(refund.id)).status == "failed"


async def test_a_refund_made_in_the_dashboard_has_neither_key_nor_metadata(hooked: "Psp", endpoint: "Endpoint") -> None:
    intent = await hooked.pay(metadata={"payment": "pay_1"})
    status, refund, _ = await hooked.raw("POST", "/v1/refunds", f"payment_intent={intent.id}&amount=700")
    assert (status, refund["metadata"], refund["amount"]) == (200, {}, 700)
    assert (await endpoint.until(5))[3:] == ["refund.created", "charge.refunded"]
    (logged,) = (await hooked.log("?metadata[payment]=pay_1"))["refunds"]
    assert (logged["idempotency_key"], logged["refund"]) == (None, refund["id"])
