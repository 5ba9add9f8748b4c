"""Disputes: opened by the buyer's bank, answered, decided, escalated, and what each of them does to the money."""

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Endpoint, Psp

WEEK_S = 604_800
FEE = 1_480


async def disputed(psp: "Psp", method: str = "pm_card_visa", **terms: Any) -> tuple[stripe.PaymentIntent, Any]:
    """A payment and the dispute that a control call opens about it."""
    intent = await psp.pay(method, metadata={"payment": "pay_1"})
    dispute = await psp.control("POST", f"/payment_intents/{intent.id}/dispute", terms)
    return intent, await psp.v1.disputes.retrieve_async(dispute["id"])


async def steer(psp: "Psp", dispute: Any, step: str, status: int | None = None) -> Any:
    """A control step; the dispute, or the error."""
    return await psp.control("POST", f"/disputes/{dispute.id}/{step}", status=status)


async def total(psp: "Psp") -> int:
    """What the account's balance adds up to."""
    return sum(item.net for item in (await psp.v1.balance_transactions.list_async()).data)


async def said(psp: "Psp") -> list[str]:
    """The dispute events so far, oldest first."""
    found = (await psp.v1.events.list_async({"limit": 100})).data
    return [event.type.removeprefix("charge.dispute.") for event in found if ".dispute." in event.type][::-1]


async def test_an_open_dispute_takes_the_money_and_a_fee(psp: "Psp") -> None:
    intent, dispute = await disputed(psp)
    charge: Any = await psp.v1.charges.retrieve_async(dispute.charge)
    assert (dispute.object, dispute.amount, dispute.currency) == ("dispute", 50_000, "inr")
    assert (dispute.status, dispute.reason, dispute.is_charge_refundable) == ("needs_response", "fraudulent", False)
    assert (dispute.payment_intent, charge.disputed, charge.id) == (intent.id, True, intent.latest_charge.id)  # type: ignore[union-attr]
    assert dispute.evidence_details.due_by == dispute.created + WEEK_S
    details = dispute.evidence_details
    assert (details.has_evidence, details.past_due, details.submission_count) == (False, False, 0)
    assert (dispute.evidence.uncategorized_text, dispute.livemode, dispute.metadata.to_dict()) == (None, False, {})
    assert dispute.payment_method_details.card.case_type == "chargeback"
    (taken,) = dispute.balance_transactions
    assert (taken.type, taken.reporting_category, taken.source) == ("adjustment", "dispute", dispute.id)
    assert (taken.amount, taken.fee, taken.net) == (-50_000, 1_500, -51_500)
    assert (await psp.v1.balance_transactions.retrieve_async(taken.id)).net == -51_500
    assert await total(psp) == -FEE - 1_500
    assert await said(psp) == ["created", "funds_withdrawn"]
    (logged,) = (await psp.log("?metadata[payment]=pay_1"))["disputes"]
    assert {name: logged[name] for name in logged if name != "at"} == {
        "dispute": dispute.id,
        "charge": charge.id,
        "payment_intent": intent.id,
        "amount": 50_000,
        "currency": "inr",
        "status": "needs_response",
        "fee": 1_500,
        "reason": "fraudulent",
        "metadata": {"payment": "pay_1"},
    }
    expanded: Any = await psp.v1.disputes.retrieve_async(dispute.id, {"expand": ["charge", "payment_intent"]})
    assert (expanded.charge.id, expanded.payment_intent.id) == (charge.id, intent.id)
    source: Any = await psp.v1.balance_transactions.retrieve_async(taken.id, {"expand": ["source"]})
    assert source.source.object == "dispute"


@pytest.mark.parametrize(("returned", "fee"), [(False, 0), (True, -700)])
async def test_winning_brings_the_money_back_and_maybe_the_fee(psp: "Psp", returned: bool, fee: int) -> None:
    await psp.control("PATCH", "/account", {"dispute_fee": 700, "dispute_fee_returned": returned})
    _, dispute = await disputed(psp, reason="product_not_received", amount=20_000)
    # What was taken then comes back, whatever the fee is by now.
    await psp.control("PATCH", "/account", {"dispute_fee": 900})
    assert (await steer(psp, dispute, "win"))["status"] == "won"
    won: Any = await psp.v1.disputes.retrieve_async(dispute.id)
    assert (won.reason, won.network_reason_code, won.is_charge_refundable) == ("product_not_received", "13.1", True)
    back = won.balance_transactions[1]
    assert (back.type, back.reporting_category, back.amount, back.fee) == (
        "adjustment",
        "dispute_reversal",
        20_000,
        fee,
    )
    assert await total(psp) == 50_000 - FEE - 700 - fee
    assert await said(psp) == ["created", "funds_withdrawn", "closed", "funds_reinstated"]
    assert [(entry["status"], entry["fee"]) for entry in (await psp.log())["disputes"]] == [("won", 700 + fee)]


async def test_losing_keeps_things_as_they_are_until_the_bank_changes_its_mind(psp: "Psp") -> None:
    intent, dispute = await disputed(psp)
    assert (await steer(psp, dispute, "lose"))["status"] == "lost"
    for step in ("win", "lose", "escalate", "close_inquiry"):
        await steer(psp, dispute, step, 409)
    await steer(psp, dispute, "forgive", 404)
    assert await total(psp) == -FEE - 1_500
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.refunds.create_async({"payment_intent": intent.id})
    assert caught.value.code == "charge_disputed"
    given = await steer(psp, dispute, "reinstate")
    assert (given["status"], len(given["balance_transactions"])) == ("won", 2)
    await steer(psp, dispute, "reinstate", 409)
    assert await total(psp) == 50_000 - FEE - 1_500
    assert await said(psp) == ["created", "funds_withdrawn", "closed", "funds_reinstated", "updated"]


@pytest.mark.parametrize(("text", "status"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
async def test_the_words_of_the_test_mode_decide(psp: "Psp", text: str, status: str) -> None:
    _, dispute = await disputed(psp)
    answered = await psp.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": text}})
    details = answered.evidence_details
    assert (answered.status, details.has_evidence, details.submission_count) == ("under_review", True, 1)
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    assert (await psp.v1.disputes.retrieve_async(dispute.id)).status == status
    last = ["closed", "funds_reinstated"] if status == "won" else ["closed"]
    assert await said(psp) == ["created", "funds_withdrawn", "updated", *last]


async def test_the_words_wait_for_a_control_call_when_there_is_no_delay(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"processing_delay_s": None})
    _, dispute = await disputed(psp)
    await psp.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    await psp.control("POST", "/clock/advance", {"seconds": 2 * WEEK_S})
    assert (await psp.v1.disputes.retrieve_async(dispute.id)).status == "under_review"
    assert (await steer(psp, dispute, "lose"))["status"] == "lost"


async def test_evidence_is_staged_then_submitted_once(psp: "Psp") -> None:
    _, dispute = await disputed(psp)
    staged = await psp.v1.disputes.update_async(
        dispute.id, {"evidence": {"customer_name": "Ada", "receipt": "file_1"}, "submit": False}
    )
    assert (staged.status, staged.evidence.customer_name) == ("needs_response", "Ada")
    assert (staged.evidence_details.has_evidence, staged.evidence_details.submission_count) == (True, 0)
    noted = await psp.v1.disputes.update_async(dispute.id, {"metadata": {"case": "7"}})
    assert (noted.status, noted.metadata["case"]) == ("needs_response", "7")
    sent = await psp.v1.disputes.update_async(dispute.id, {"evidence": {"customer_name": ""}, "submit": True})
    assert (sent.status, sent.evidence.customer_name, sent.evidence.receipt) == ("under_review", None, "file_1")
    with pytest.raises(stripe.InvalidRequestError, match="already been submitted"):
        await psp.v1.disputes.update_async(dispute.id, {"evidence": {"customer_name": "Eve"}})
    events = (await psp.v1.events.list_async({"type": "charge.dispute.updated"})).data
    before: Any = [event.to_dict()["data"]["previous_attributes"] for event in events]
    assert before[0]["status"] == "needs_response"
    assert before[0]["evidence"] == {"customer_name": "Ada"}
    assert before[1]["metadata"] == {}
    assert "status" not in before[2]
    # Metadata stays open whatever becomes of the dispute.
    await steer(psp, dispute, "lose")
    assert (await psp.v1.disputes.update_async(dispute.id, {"metadata": {"case": ""}})).metadata.to_dict() == {}


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"evidence": {"colour": "red"}}, "parameter_unknown", "evidence[colour]"),
        ({"evidence": "x"}, None, "evidence"),
        ({"evidence": {"customer_name": "x" * 5_001}}, None, "evidence[customer_name]"),
        ({"evidence": dict.fromkeys(("uncategorized_text", "access_activity_log"), "x" * 20_001)}, None, None),
        ({"evidence": {"receipt": "x" * 150_001}}, None, "evidence"),
        ({"submit": True}, "parameter_missing", "evidence"),
        ({"amount": 1}, "parameter_unknown", "amount"),
    ],
)
async def test_evidence_that_is_refused(psp: "Psp", params: Any, code: str | None, param: str | None) -> None:
    _, dispute = await disputed(psp)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.disputes.update_async(dispute.id, params)
    assert (caught.value.http_status, caught.value.code) == (400, code)
    assert param is None or caught.value.param == param
    assert (await psp.v1.disputes.retrieve_async(dispute.id)).status == "needs_response"
    assert await said(psp) == ["created", "funds_withdrawn"]


async def test_nobody_answers_in_time(psp: "Psp") -> None:
    _, silent = await disputed(psp)
    _, answered = await disputed(psp)
    _, longer = await disputed(psp, evidence_due_s=2 * WEEK_S)
    await psp.v1.disputes.update_async(answered.id, {"evidence": {"customer_name": "Ada"}})
    await psp.v1.disputes.update_async(silent.id, {"evidence": {"customer_name": "Ada"}, "submit": False})
    await psp.control("POST", "/clock/advance", {"seconds": WEEK_S})
    states = [(await psp.v1.disputes.retrieve_async(item.id)).status for item in (silent, answered, longer)]
    assert states == ["lost", "under_review", "needs_response"]
    with pytest.raises(stripe.InvalidRequestError, match="closed") as caught:
        await psp.v1.disputes.update_async(silent.id, {"evidence": {"customer_name": "Ada"}})
    assert caught.value.http_status == 400
    await steer(psp, answered, "win")


async def test_accepting_loses_at_once(psp: "Psp") -> None:
    _, dispute = await disputed(psp)
    closed = await psp.v1.disputes.close_async(dispute.id)
    assert (closed.status, len(closed.balance_transactions)) == ("lost", 1)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.disputes.close_async(dispute.id)
    assert caught.value.http_status == 400
    assert await said(psp) == ["created", "funds_withdrawn", "closed"]


async def test_an_inquiry_takes_nothing_until_it_escalates(psp: "Psp") -> None:
    intent, inquiry = await disputed(psp, inquiry=True, reason="unrecognized")
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert (inquiry.is_charge_refundable, inquiry.payment_method_details.card.case_type) == (True, "inquiry")
    assert (await psp.log())["disputes"][0]["fee"] == 0
    assert (await psp.v1.refunds.create_async({"payment_intent": intent.id, "amount": 100})).status == "succeeded"
    for step in ("win", "lose", "reinstate"):
        await steer(psp, inquiry, step, 409)
    await psp.control("POST", "/clock/advance", {"seconds": WEEK_S + 1})
    with pytest.raises(stripe.InvalidRequestError, match="due date"):
        await psp.v1.disputes.update_async(inquiry.id, {"evidence": {"customer_name": "Ada"}})
    real = await steer(psp, inquiry, "escalate")
    assert (real["status"], real["balance_transactions"][0]["net"]) == ("needs_response", -51_500)
    assert real["payment_method_details"]["card"]["case_type"] == "chargeback"
    assert real["evidence_details"]["due_by"] > inquiry.evidence_details.due_by
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.refunds.create_async({"payment_intent": intent.id, "amount": 100})
    assert (caught.value.http_status, caught.value.code) == (400, "charge_disputed")
    await psp.control("POST", "/clock/advance", {"seconds": WEEK_S})
    assert (await psp.v1.disputes.retrieve_async(inquiry.id)).status == "lost"
    assert await said(psp) == ["created", "updated", "funds_withdrawn", "closed"]


@pytest.mark.parametrize(
    ("text", "status"), [("winning_evidence", "warning_closed"), ("escalate_inquiry_evidence", "needs_response")]
)
async def test_an_inquiry_is_answered(psp: "Psp", text: str, status: str) -> None:
    intent, inquiry = await disputed(psp, inquiry=True)
    answered = await psp.v1.disputes.update_async(inquiry.id, {"evidence": {"uncategorized_text": text}})
    assert answered.status == "warning_under_review"
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    assert (await psp.v1.disputes.retrieve_async(inquiry.id)).status == status
    if status == "needs_response":
        again = await psp.v1.disputes.update_async(inquiry.id, {"evidence": {"customer_name": "Ada"}})
        assert (again.status, again.evidence_details.submission_count) == ("under_review", 2)
    else:
        assert (await psp.v1.refunds.create_async({"payment_intent": intent.id})).amount == 50_000


async def test_an_inquiry_is_closed_by_the_bank_or_the_shop(psp: "Psp") -> None:
    _, bank = await disputed(psp, inquiry=True)
    _, shop = await disputed(psp, inquiry=True)
    assert (await steer(psp, bank, "close_inquiry"))["status"] == "warning_closed"
    assert (await psp.v1.disputes.close_async(shop.id)).status == "warning_closed"
    await steer(psp, bank, "escalate", 409)


async def test_a_refunded_charge_and_more_than_its_amount_can_be_disputed(psp: "Psp") -> None:
    intent = await psp.pay()
    await psp.v1.refunds.create_async({"payment_intent": intent.id})
    terms = {"amount": 60_000, "currency": "USD"}
    dispute = await psp.control("POST", f"/payment_intents/{intent.id}/dispute", terms)
    assert (dispute["amount"], dispute["currency"]) == (60_000, "usd")
    assert dispute["balance_transactions"][0]["currency"] == "usd"


async def test_what_cannot_be_disputed(psp: "Psp") -> None:
    held = await psp.pay(capture_method="manual")
    fresh = await psp.v1.payment_intents.create_async({"amount": 500, "currency": "usd"})
    for intent in (held, fresh):
        await psp.control("POST", f"/payment_intents/{intent.id}/dispute", status=409)
    await psp.control("POST", "/payment_intents/pi_no/dispute", status=404)
    paid = await psp.pay()
    for terms in ({"reason": "moody"}, {"amount": 0}, {"colour": "red"}):
        await psp.control("POST", f"/payment_intents/{paid.id}/dispute", terms, status=422)
    await psp.control("POST", f"/payment_intents/{paid.id}/dispute", {"currency": "xxx"}, status=400)
    assert (await psp.v1.disputes.list_async()).data == []
    # The intent takes the amount that was captured.
    await psp.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 20_000})
    assert (await psp.control("POST", f"/payment_intents/{held.id}/dispute"))["amount"] == 20_000


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("createDispute", "needs_response", "fraudulent"),
        ("createDisputeProductNotReceived", "needs_response", "product_not_received"),
        ("createDisputeInquiry", "warning_needs_response", "general"),
    ],
)
async def test_cards_that_are_disputed_after_the_capture(psp: "Psp", name: str, status: str, reason: str) -> None:
    params: Any = {"amount": 500, "currency": "usd", "confirm": True, "payment_method_types": ["card"]}
    token: Any = {"payment_method_data": {"type": "card", "card": {"token": f"tok_{name}"}}}
    by_token = await psp.v1.payment_intents.create_async(params | token)
    held = await psp.pay(f"pm_card_{name}", capture_method="manual")
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    (first,) = (await psp.v1.disputes.list_async()).data
    assert (first.payment_intent, first.status, first.reason) == (by_token.id, status, reason)
    await psp.v1.payment_intents.capture_async(held.id)
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    assert [item.payment_intent for item in (await psp.v1.disputes.list_async()).data] == [held.id, by_token.id]
    await psp.control("PATCH", "/account", {"processing_delay_s": None})
    waiting = await psp.pay(f"pm_card_{name}")
    await psp.control("POST", "/clock/advance", {"seconds": 9_999})
    opened = await psp.control("POST", f"/payment_intents/{waiting.id}/dispute")
    assert (opened["status"], opened["reason"]) == (status, reason)


async def test_a_card_is_disputed_by_its_own_timer(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"processing_delay_s": 0})
    intent = await psp.pay("pm_card_createDispute_mine")
    found: Any = []
    while not found:
        found = (await psp.v1.disputes.list_async({"payment_intent": intent.id})).data
    await psp.v1.disputes.update_async(found[0].id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    while (await psp.v1.disputes.retrieve_async(found[0].id)).status != "won":
        pass


async def test_disputes_are_listed(psp: "Psp") -> None:
    made = []
    for _ in range(3):
        made.append(await disputed(psp))
        await psp.control("POST", "/clock/advance", {"seconds": 100})
    newest_first = [dispute.id for _, dispute in made][::-1]
    page = await psp.v1.disputes.list_async({"limit": 2})
    assert ([item.id for item in page.data], page.has_more) == (newest_first[:2], True)
    rest = await psp.v1.disputes.list_async({"starting_after": newest_first[1]})
    assert [item.id for item in rest.data] == newest_first[2:]
    intent, dispute = made[1]
    for filters in ({"payment_intent": intent.id}, {"charge": dispute.charge}, {"created": dispute.created}):
        wanted: Any = filters
        assert [item.id for item in (await psp.v1.disputes.list_async(wanted)).data] == [dispute.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.stranger().v1.disputes.retrieve_async(dispute.id)
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


async def test_an_answer_to_the_bank_is_given_once_under_its_key(psp: "Psp") -> None:
    _, dispute = await disputed(psp)
    params: Any = {"evidence": {"customer_name": "Ada"}}
    match = {"metadata": {"payment": "pay_1"}}
    await psp.fault("cut_after", "disputes.update", match=match)
    await psp.unanswered(psp.v1.disputes.update_async(dispute.id, params, {"idempotency_key": "answer"}))
    answered = await psp.v1.disputes.update_async(dispute.id, params, {"idempotency_key": "answer"})
    assert (answered.status, answered.evidence_details.submission_count) == ("under_review", 1)
    for operation, call in (
        ("disputes.retrieve", psp.v1.disputes.retrieve_async(dispute.id)),
        ("disputes.list", psp.v1.disputes.list_async()),
        ("disputes.close", psp.v1.disputes.close_async(dispute.id)),
    ):
        await psp.fault("http_503", operation)
        with pytest.raises(stripe.APIError):
            await call
    await psp.fault("unknown_status", "disputes.retrieve")
    assert (await psp.v1.disputes.retrieve_async(dispute.id)).status == "requires_clairvoyance"
    requests = [entry for entry in (await psp.log())["requests"] if entry["operation"] == "disputes.update"]
    assert [(entry["replayed"], entry["fault"]) for entry in requests] == [(False, "cut_after"), (True, None)]
    assert {entry["payment_intent"] for entry in requests} == {dispute.payment_intent}


async def test_dispute_events_take_the_lane_of_their_payment(hooked: "Psp", endpoint: "Endpoint") -> None:
    intent, dispute = await disputed(hooked)
    await steer(hooked, dispute, "win")
    types = await endpoint.until(7)
    expected = ["created", "funds_withdrawn", "closed", "funds_reinstated"]
    assert types[3:] == [f"charge.dispute.{kind}" for kind in expected]
    told: Any = [event.data.object for event in endpoint.events[3:]]
    assert {(item.object, item.id, item.payment_intent) for item in told} == {("dispute", dispute.id, intent.id)}
    assert [len(item.balance_transactions) for item in told] == [1, 1, 2, 2]
    spec = {"kind": "out_of_order", "event_type": "charge.dispute.created", "match": {"metadata": {"payment": "pay_1"}}}
    await hooked.control("POST", "/webhook_faults", spec | {"delay_s": 60})
    await disputed(hooked)
    assert (await endpoint.until(12))[10:] == ["charge.dispute.funds_withdrawn", "charge.dispute.created"]


async def test_a_killed_provider_still_knows_what_is_due(mortal: "Psp") -> None:
    psp, server = mortal, mortal.server
    _, dispute = await disputed(psp)
    await asyncio.to_thread(server.end, signal.SIGKILL)
    server.start()
    await psp.control("POST", "/clock/advance", {"seconds": WEEK_S})
    assert (await psp.v1.disputes.retrieve_async(dispute.id)).status == "lost"
    async with psp.session.get(f"{server.url}/") as page:
        assert dispute.id in await page.text()
