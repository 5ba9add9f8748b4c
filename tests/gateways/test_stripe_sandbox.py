"""The adapter against the sandbox: every outcome, every fault, and one charge at the end of each story."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from domain.psp import ChargeLookup, ChargeOutcome, ChargeRequest, ChargeResult, PspEvent, PspEventKind, RefundOutcome

if TYPE_CHECKING:
    from tests.gateways.conftest import Account

T = 5.0


def window(request: ChargeRequest, hours: float = 1) -> ChargeLookup:
    now = datetime.now(UTC)
    return ChargeLookup(
        charge_id=request.charge_id, key=request.key, created_from=now - timedelta(hours=hours), created_to=now
    )


async def charged(account: "Account", card: str = "pm_card_visa") -> str:
    """The reference of a charge that succeeded."""
    result = await account.psp.charge(account.request(card), timeout_s=T)
    assert result.outcome is ChargeOutcome.SUCCEEDED
    assert result.reference
    return result.reference


async def replayed(account: "Account", request: ChargeRequest) -> ChargeResult:
    """The same key again, as a caller does: the first is in flight until the server sees that we have left."""
    for _ in range(100):
        result = await account.psp.charge(request, timeout_s=T)
        if result.reason != "in_flight":
            return result
        await asyncio.sleep(0.02)
    return result


def unknown(result: ChargeResult) -> str | None:
    assert result.outcome is ChargeOutcome.UNKNOWN
    return result.reason


# --- outcomes ---


@pytest.mark.parametrize("token", ["pm_card_visa", "tok_visa"])
async def test_success_with_the_fee_in_the_same_call(account: "Account", token: str) -> None:
    result = await account.psp.charge(account.request(token), timeout_s=T)
    assert (result.outcome, result.amount, result.currency) == (ChargeOutcome.SUCCEEDED, 50_000, "USD")
    assert result.reference is not None
    assert result.reference.startswith("pi_")
    assert result.fee is not None
    assert (result.fee.amount, result.fee.currency, result.fee.reference[:4]) == (1_480, "USD", "txn_")
    assert result.fee.available_on is not None
    assert await account.psp.retrieve_charge(result.reference, timeout_s=T) == result


@pytest.mark.parametrize(
    ("token", "code", "psp_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds", "insufficient_funds"),
        ("pm_card_chargeDeclinedLostCard", "lost_or_stolen_card", "lost_card"),
        ("pm_card_chargeDeclinedStolenCard", "lost_or_stolen_card", "stolen_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
        ("pm_card_chargeDeclinedFraudulent", "fraud_suspected", "fraudulent"),
        ("pm_card_chargeDeclinedVelocityLimitExceeded", "card_limit_exceeded", "card_velocity_exceeded"),
    ],
)
async def test_declines(account: "Account", token: str, code: str, psp_code: str) -> None:
    request = account.request(token)
    result = await account.psp.charge(request, timeout_s=T)
    assert result.outcome is ChargeOutcome.DECLINED
    assert result.failure is not None
    assert (result.failure.code, result.failure.psp_code) == (code, psp_code)
    assert result.reference is not None
    assert await account.psp.charge(request, timeout_s=T) == result
    # The PaymentIntent could still be paid until it is voided.
    voided = await account.psp.void_charge(result.reference, key="v", timeout_s=T)
    assert voided.outcome is ChargeOutcome.VOIDED
    assert await account.charges_taken() == 0


@pytest.mark.parametrize(
    ("token", "psp_code"), [("tok_nosuchtoken", "resource_missing"), ("pm_nosuchmethod", "resource_missing")]
)
async def test_payment_methods_that_do_not_exist(account: "Account", token: str, psp_code: str) -> None:
    result = await account.psp.charge(account.request(token), timeout_s=T)
    assert result.outcome is ChargeOutcome.DECLINED
    assert result.failure is not None
    assert (result.failure.code, result.failure.psp_code) == ("payment_method_rejected", psp_code)


@pytest.mark.parametrize("token", ["tok_visa_once", "pm_card_visa_once"])
async def test_a_token_works_once(account: "Account", token: str) -> None:
    first = await account.psp.charge(account.request(token), timeout_s=T)
    again = await account.psp.charge(account.request(token), timeout_s=T)
    assert first.outcome is ChargeOutcome.SUCCEEDED
    assert again.outcome is ChargeOutcome.DECLINED
    assert again.failure is not None
    assert again.failure.code == "payment_method_rejected"


async def test_an_amount_below_the_minimum_is_refused_by_stripe_as_by_check_amount(account: "Account") -> None:
    assert account.psp.check_amount(49, "USD") is not None
    result = await account.psp.charge(account.request(amount=49), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (ChargeOutcome.DECLINED, "amount_too_small")


@pytest.mark.parametrize(("amount", "currency"), [(50_000, "INR"), (500, "JPY"), (12_340, "KWD")])
async def test_currencies(account: "Account", amount: int, currency: str) -> None:
    result = await account.psp.charge(account.request(amount=amount, currency=currency), timeout_s=T)
    assert (result.outcome, result.amount, result.currency) == (ChargeOutcome.SUCCEEDED, amount, currency)


async def requiring_action(account: "Account") -> tuple[ChargeRequest, str]:
    request = account.request("pm_card_threeDSecure2Required")
    result = await account.psp.charge(request, timeout_s=T)
    assert result.outcome is ChargeOutcome.REQUIRES_ACTION
    assert result.next_action is not None
    assert result.next_action.url.startswith("http")
    assert result.reference
    return request, result.reference


async def test_3ds_passed(account: "Account") -> None:
    _, reference = await requiring_action(account)
    await account.control("POST", f"payment_intents/{reference}/authenticate")
    result = await account.psp.retrieve_charge(reference, timeout_s=T)
    assert (result.outcome, result.amount) == (ChargeOutcome.SUCCEEDED, 50_000)
    assert result.fee is not None


async def test_3ds_failed(account: "Account") -> None:
    _, reference = await requiring_action(account)
    await account.control("POST", f"payment_intents/{reference}/fail_authentication")
    result = await account.psp.retrieve_charge(reference, timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (ChargeOutcome.DECLINED, "authentication_failed")


@pytest.mark.parametrize(
    ("step", "outcome"),
    [("complete_processing", ChargeOutcome.SUCCEEDED), ("fail_processing", ChargeOutcome.DECLINED)],
)
@pytest.mark.parametrize("method", ["upi", "netbanking"])
async def test_pending(account: "Account", method: str, step: str, outcome: ChargeOutcome) -> None:
    request = account.request(f"pm_{method}_processing", method=method, currency="INR")
    result = await account.psp.charge(request, timeout_s=T)
    assert (result.outcome, result.fee) == (ChargeOutcome.PENDING, None)
    await account.control("POST", f"payment_intents/{result.reference}/{step}")
    result = await account.psp.retrieve_charge(result.reference or "", timeout_s=T)
    assert result.outcome is outcome
    assert (result.failure is not None) == (outcome is ChargeOutcome.DECLINED)


async def test_a_wallet_is_a_card_at_stripe(account: "Account") -> None:
    result = await account.psp.charge(account.request("tok_visa", method="wallet"), timeout_s=T)
    assert result.outcome is ChargeOutcome.SUCCEEDED


async def test_nothing_there(account: "Account") -> None:
    assert (await account.psp.retrieve_charge("pi_none", timeout_s=T)).outcome is ChargeOutcome.NOT_FOUND
    assert unknown(await account.psp.void_charge("pi_none", key="v", timeout_s=T)) == "unrecognised"


async def test_a_wrong_key(account: "Account") -> None:
    account.key = "nonsense"
    psp = account.adapter()
    assert unknown(await psp.charge(account.request(), timeout_s=T)) == "credentials"
    await psp.close()


# --- no answer, and what resolves it ---


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("timeout_before", "timeout"),
        ("timeout_after", "timeout"),
        ("cut_before", "connection"),
        ("cut_after", "connection"),
        ("broken_body", "malformed"),
        ("http_500_uncached", "server_error"),
        ("http_503", "server_error"),
        ("rate_limit", "rate_limited"),
        ("unknown_status", "unrecognised"),
    ],
)
async def test_the_same_key_again_gives_one_charge(account: "Account", fault: str, reason: str) -> None:
    request = account.request()
    await account.fault(fault)
    assert unknown(await account.psp.charge(request, timeout_s=0.5)) == reason
    result = await replayed(account, request)
    assert result.outcome is ChargeOutcome.SUCCEEDED
    assert await account.psp.charge(request, timeout_s=T) == result
    assert await account.charges_taken() == 1


async def test_a_decline_whose_answer_was_lost_is_still_the_decline(account: "Account") -> None:
    request = account.request("pm_card_chargeDeclined")
    await account.fault("timeout_after")
    assert unknown(await account.psp.charge(request, timeout_s=0.5)) == "timeout"
    assert (await replayed(account, request)).outcome is ChargeOutcome.DECLINED


async def test_a_cached_500_never_clears_but_the_charge_is_found(account: "Account") -> None:
    request = account.request()
    await account.fault("http_500_after")
    assert unknown(await account.psp.charge(request, timeout_s=T)) == "server_error"
    for _ in range(2):
        assert unknown(await account.psp.charge(request, timeout_s=T)) == "server_error_replayed"
    found = await account.psp.find_charge(window(request), timeout_s=T)
    assert (found.outcome, found.amount) == (ChargeOutcome.SUCCEEDED, 50_000)
    assert await account.charges_taken() == 1


async def test_a_cached_500_before_the_charge(account: "Account") -> None:
    request = account.request()
    await account.fault("http_500")
    assert unknown(await account.psp.charge(request, timeout_s=T)) == "server_error"
    assert unknown(await account.psp.charge(request, timeout_s=T)) == "server_error_replayed"
    assert (await account.psp.find_charge(window(request), timeout_s=T)).outcome is ChargeOutcome.NOT_FOUND
    assert await account.charges_taken() == 0


async def test_two_at_once_under_one_key(account: "Account") -> None:
    request = account.request()
    held = await account.fault("hold_before")
    first = asyncio.create_task(account.psp.charge(request, timeout_s=T))
    await account.control("GET", f"faults/{held['id']}?wait_hits=1")
    assert unknown(await account.psp.charge(request, timeout_s=T)) == "in_flight"
    await account.control("POST", f"faults/{held['id']}/release")
    assert (await first).outcome is ChargeOutcome.SUCCEEDED
    assert await account.charges_taken() == 1


async def test_a_key_with_other_parameters_is_no_decline(account: "Account") -> None:
    request = account.request()
    assert (await account.psp.charge(request, timeout_s=T)).outcome is ChargeOutcome.SUCCEEDED
    other = request.model_copy(update={"amount": 60_000})
    assert unknown(await account.psp.charge(other, timeout_s=T)) == "key_reused"


@pytest.mark.parametrize("persist", [True, False])
async def test_a_wrong_amount_is_told_as_it_is(account: "Account", persist: bool) -> None:
    await account.fault("wrong_amount", delta=7, persist=persist)
    result = await account.psp.charge(account.request(), timeout_s=T)
    assert (result.outcome, result.amount) == (ChargeOutcome.SUCCEEDED, 50_007)


async def test_a_wrong_currency_is_told_as_it_is(account: "Account") -> None:
    await account.fault("wrong_currency", currency="eur")
    result = await account.psp.charge(account.request(), timeout_s=T)
    assert (result.outcome, result.currency) == (ChargeOutcome.SUCCEEDED, "EUR")


# --- look-ups ---


async def test_found_among_many_pages(account: "Account", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.stripe.PAGE_SIZE", 2)
    requests = [account.request() for _ in range(7)]
    results = [await account.psp.charge(request, timeout_s=T) for request in requests]
    for request, result in zip(requests, results, strict=True):
        assert await account.psp.find_charge(window(request), timeout_s=T) == result
    stranger = account.request()
    assert (await account.psp.find_charge(window(stranger), timeout_s=T)).outcome is ChargeOutcome.NOT_FOUND
    monkeypatch.setattr("gateways.stripe.PAGES_MAX", 2)
    assert unknown(await account.psp.find_charge(window(stranger), timeout_s=T)) == "incomplete"


async def test_the_window_is_kept(account: "Account") -> None:
    request = account.request()
    result = await account.psp.charge(request, timeout_s=T)
    now = datetime.now(UTC)
    tight = window(request).model_copy(update={"created_from": now - timedelta(seconds=1), "created_to": now})
    assert await account.psp.find_charge(tight, timeout_s=T) == result
    past = tight.model_copy(update={"created_from": now - timedelta(hours=2), "created_to": now - timedelta(hours=1)})
    assert (await account.psp.find_charge(past, timeout_s=T)).outcome is ChargeOutcome.NOT_FOUND


async def test_a_look_up_without_an_answer_is_unknown(account: "Account") -> None:
    await account.fault("timeout_before", "payment_intents.list")
    assert unknown(await account.psp.find_charge(window(account.request()), timeout_s=0.3)) == "timeout"


# --- voids ---


async def test_void_before_3ds_is_done(account: "Account") -> None:
    _, reference = await requiring_action(account)
    for key in ("a", "a", "b"):
        result = await account.psp.void_charge(reference, key=key, timeout_s=T)
        assert (result.outcome, result.reference) == (ChargeOutcome.VOIDED, reference)


async def test_void_comes_too_late(account: "Account") -> None:
    result = await account.psp.void_charge(await charged(account), key="v", timeout_s=T)
    assert (result.outcome, result.amount) == (ChargeOutcome.SUCCEEDED, 50_000)
    assert result.fee is not None


async def test_void_races_the_success(account: "Account") -> None:
    _, reference = await requiring_action(account)
    held = await account.fault("hold_before", "payment_intents.cancel")
    void = asyncio.create_task(account.psp.void_charge(reference, key="v", timeout_s=T))
    await account.control("GET", f"faults/{held['id']}?wait_hits=1")
    await account.control("POST", f"payment_intents/{reference}/authenticate")
    await account.control("POST", f"faults/{held['id']}/release")
    assert (await void).outcome is ChargeOutcome.SUCCEEDED


async def test_void_of_a_pending_charge_works_once_it_has_failed_under_the_same_key(account: "Account") -> None:
    request = account.request("pm_upi_processing", method="upi", currency="INR")
    reference = (await account.psp.charge(request, timeout_s=T)).reference or ""
    assert (await account.psp.void_charge(reference, key="v", timeout_s=T)).outcome is ChargeOutcome.PENDING
    await account.control("POST", f"payment_intents/{reference}/fail_processing")
    # Stripe replays the old refusal of key "v".
    assert (await account.psp.void_charge(reference, key="v", timeout_s=T)).outcome is ChargeOutcome.VOIDED


@pytest.mark.parametrize("fault", ["http_500", "http_500_after"])
async def test_void_under_a_key_with_a_cached_500(account: "Account", fault: str) -> None:
    _, reference = await requiring_action(account)
    await account.fault(fault, "payment_intents.cancel")
    assert unknown(await account.psp.void_charge(reference, key="v", timeout_s=T)) == "server_error"
    assert (await account.psp.void_charge(reference, key="v", timeout_s=T)).outcome is ChargeOutcome.VOIDED


async def test_void_without_an_answer_is_unknown(account: "Account") -> None:
    _, reference = await requiring_action(account)
    await account.fault("timeout_after", "payment_intents.cancel")
    assert unknown(await account.psp.void_charge(reference, key="v", timeout_s=0.3)) == "timeout"
    assert (await account.psp.void_charge(reference, key="v", timeout_s=T)).outcome is ChargeOutcome.VOIDED


# --- refunds ---


async def test_refund_in_parts_and_not_beyond(account: "Account") -> None:
    reference = await charged(account)
    first, second = (account.refund_request(reference, amount) for amount in (20_000, 30_000))
    result = await account.psp.refund(first, timeout_s=T)
    assert (result.outcome, result.amount, result.currency) == (RefundOutcome.SUCCEEDED, 20_000, "USD")
    assert await account.psp.refund(first, timeout_s=T) == result
    assert (await account.psp.refund(second, timeout_s=T)).outcome is RefundOutcome.SUCCEEDED
    third = await account.psp.refund(account.refund_request(reference, 1), timeout_s=T)
    assert third.failure is not None
    assert (third.outcome, third.failure.code) == (RefundOutcome.FAILED, "charge_already_refunded")


async def test_refund_beyond_what_is_left(account: "Account") -> None:
    result = await account.psp.refund(account.refund_request(await charged(account), 50_001), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (RefundOutcome.FAILED, "request_refused")


async def test_our_own_refund_is_found_behind_the_refusal_of_another_key(account: "Account") -> None:
    request = account.refund_request(await charged(account))
    result = await account.psp.refund(request, timeout_s=T)
    again = request.model_copy(update={"key": f"{request.refund_id}:refund:2"})
    assert await account.psp.refund(again, timeout_s=T) == result


@pytest.mark.parametrize("fault", ["timeout_after", "cut_after", "broken_body", "http_500_after"])
async def test_a_refund_without_an_answer_is_found(account: "Account", fault: str) -> None:
    request = account.refund_request(await charged(account))
    await account.fault(fault, "refunds.create")
    result = await account.psp.refund(request, timeout_s=0.5)
    assert result.outcome is RefundOutcome.UNKNOWN
    found = await account.psp.find_refund(request.refund_id, request.charge_reference, timeout_s=T)
    assert (found.outcome, found.amount) == (RefundOutcome.SUCCEEDED, 50_000)
    assert found.reference is not None
    assert await account.psp.retrieve_refund(found.reference, timeout_s=T) == found


@pytest.mark.parametrize(
    ("card", "first", "step", "then"),
    [
        ("pm_card_pendingRefund", RefundOutcome.PENDING, "succeed", RefundOutcome.SUCCEEDED),
        ("pm_card_pendingRefundFail", RefundOutcome.PENDING, "fail", RefundOutcome.FAILED),
        ("pm_card_refundFail", RefundOutcome.SUCCEEDED, "fail", RefundOutcome.FAILED),
    ],
)
async def test_refunds_that_change_their_mind(
    account: "Account", card: str, first: RefundOutcome, step: str, then: RefundOutcome
) -> None:
    request = account.refund_request(await charged(account, card))
    result = await account.psp.refund(request, timeout_s=T)
    assert result.outcome is first
    await account.control("POST", f"refunds/{result.reference}/{step}")
    result = await account.psp.retrieve_refund(result.reference or "", timeout_s=T)
    assert result.outcome is then
    assert (result.failure is not None) == (then is RefundOutcome.FAILED)


async def test_of_two_refunds_with_our_id_the_one_that_did_not_fail_counts(account: "Account") -> None:
    request = account.refund_request(await charged(account))
    failed = await account.psp.refund(request, timeout_s=T)
    await account.control("POST", f"refunds/{failed.reference}/fail")
    again = await account.psp.refund(request.model_copy(update={"key": f"{request.refund_id}:refund:2"}), timeout_s=T)
    assert again.outcome is RefundOutcome.SUCCEEDED
    assert again.reference != failed.reference
    assert await account.psp.find_refund(request.refund_id, request.charge_reference, timeout_s=T) == again


async def test_a_later_refund_with_our_id_that_failed_does_not_hide_the_one_that_went_through(
    account: "Account",
) -> None:
    request = account.refund_request(await charged(account), 20_000)
    good = await account.psp.refund(request, timeout_s=T)
    bad = await account.psp.refund(request.model_copy(update={"key": "another"}), timeout_s=T)
    await account.control("POST", f"refunds/{bad.reference}/fail")
    assert await account.psp.find_refund(request.refund_id, request.charge_reference, timeout_s=T) == good


async def test_no_refund_there(account: "Account") -> None:
    reference = await charged(account)
    assert (await account.psp.find_refund("re_none", reference, timeout_s=T)).outcome is RefundOutcome.NOT_FOUND
    assert (await account.psp.retrieve_refund("re_none", timeout_s=T)).outcome is RefundOutcome.NOT_FOUND


async def test_reasons_that_stripe_does_not_know_are_kept_in_the_metadata(account: "Account") -> None:
    request = account.refund_request(await charged(account), reason="compensation: wallet refused")
    assert (await account.psp.refund(request, timeout_s=T)).outcome is RefundOutcome.SUCCEEDED


# --- webhooks ---


async def test_webhooks_as_they_are_really_delivered(account: "Account") -> None:
    received: list[tuple[bytes, dict[str, str]]] = []

    async def receive(request: web.Request) -> web.Response:
        received.append((await request.read(), dict(request.headers)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhooks/stripe", receive)
    async with TestServer(app) as server:
        url = str(server.make_url("/webhooks/stripe"))
        settings = await account.control("PATCH", "account", {"webhook_url": url})
        request = account.request()
        result = await account.psp.charge(request, timeout_s=T)
        await account.psp.refund(account.refund_request(result.reference or ""), timeout_s=T)
        await account.control("POST", "webhooks/flush")
    psp = account.adapter(settings["webhook_secret"])
    events: list[PspEvent] = [psp.read_webhook(body, headers) for body, headers in received]
    await psp.close()
    charges = [event for event in events if event.kind is PspEventKind.CHARGE]
    assert {event.reference for event in charges} == {result.reference}
    assert {event.charge_id for event in charges} == {request.charge_id}
    assert {event.type for event in events if event.paid} == {"payment_intent.succeeded", "charge.succeeded"}
    assert {event.type for event in events if event.kind is PspEventKind.REFUND} == {"refund.created"}
