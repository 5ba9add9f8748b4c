"""The adapter against the sandbox: every outcome, every fault, and one charge at the end of each story."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.endpoint import EventScope
from domain.psp import (
    CaptureRequest,
    ChargeLookup,
    ChargeOutcome,
    ChargeRequest,
    ChargeResult,
    DisputeOutcome,
    DisputeResult,
    EvidenceRequest,
    PspEvent,
    PspEventKind,
    RefundOutcome,
    RefundRequest,
    RefundResult,
)
from gateways.stripe.events import SUBSCRIPTIONS
from tests.gateways.wire import T, delivered, timeout_for

if TYPE_CHECKING:
    from tests.gateways.conftest import Account


def window(request: ChargeRequest, hours: float = 1) -> ChargeLookup:
    now = datetime.now(UTC)
    return ChargeLookup(
        charge_id=request.charge_id, key=request.key, created_from=now - timedelta(hours=hours), created_to=now
    )


async def retrieved(account: "Account", request: ChargeRequest, reference: str | None) -> ChargeResult:
    return await account.psp.retrieve_charge(reference or "", charge_id=request.charge_id, timeout_s=T)


async def voided(
    account: "Account", request: ChargeRequest, reference: str | None, *, key: str = "v", timeout_s: float = T
) -> ChargeResult:
    charge_id = request.charge_id
    return await account.psp.void_charge(reference or "", charge_id=charge_id, key=key, timeout_s=timeout_s)


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
    request = account.request(token)
    result = await account.psp.charge(request, timeout_s=T)
    assert (result.outcome, result.amount, result.currency) == (ChargeOutcome.SUCCEEDED, 50_000, "USD")
    assert result.reference is not None
    assert result.reference.startswith("pi_")
    assert result.fee is not None
    assert (result.fee.amount, result.fee.currency, result.fee.reference[:4]) == (1_480, "USD", "txn_")
    assert result.fee.available_on is not None
    assert await retrieved(account, request, result.reference) == result


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
    # The PaymentIntent could still be paid until it is voided; after that it still says why it was declined.
    for end in (await voided(account, request, result.reference), await retrieved(account, request, result.reference)):
        assert end.outcome is ChargeOutcome.VOIDED
        assert end.failure == result.failure
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
    request, reference = await requiring_action(account)
    await account.control("POST", f"payment_intents/{reference}/authenticate")
    result = await retrieved(account, request, reference)
    assert (result.outcome, result.amount) == (ChargeOutcome.SUCCEEDED, 50_000)
    assert result.fee is not None


async def test_3ds_failed(account: "Account") -> None:
    request, reference = await requiring_action(account)
    await account.control("POST", f"payment_intents/{reference}/fail_authentication")
    result = await retrieved(account, request, reference)
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
    result = await retrieved(account, request, result.reference)
    assert result.outcome is outcome
    assert (result.failure is not None) == (outcome is ChargeOutcome.DECLINED)


async def test_a_wallet_is_a_card_at_stripe(account: "Account") -> None:
    result = await account.psp.charge(account.request("tok_visa", method="wallet"), timeout_s=T)
    assert result.outcome is ChargeOutcome.SUCCEEDED


async def test_nothing_there(account: "Account") -> None:
    request = account.request()
    assert (await retrieved(account, request, "pi_none")).outcome is ChargeOutcome.NOT_FOUND
    assert (await voided(account, request, "pi_none")).outcome is ChargeOutcome.NOT_FOUND


async def test_another_charge_is_not_taken_for_ours(account: "Account") -> None:
    reference = await charged(account)
    stranger = account.request()
    for result in (await retrieved(account, stranger, reference), await voided(account, stranger, reference)):
        assert unknown(result) == "another_charge"
        assert (result.reference, result.amount) == (None, None)


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
    planted = await account.fault(fault)
    assert unknown(await account.psp.charge(request, timeout_s=timeout_for(reason))) == reason
    await account.struck(planted)
    result = await replayed(account, request)
    assert result.outcome is ChargeOutcome.SUCCEEDED
    assert await account.psp.charge(request, timeout_s=T) == result
    assert await account.charges_taken() == 1


async def test_a_decline_whose_answer_was_lost_is_still_the_decline(account: "Account") -> None:
    request = account.request("pm_card_chargeDeclined")
    planted = await account.fault("timeout_after")
    assert unknown(await account.psp.charge(request, timeout_s=timeout_for("timeout"))) == "timeout"
    await account.struck(planted)
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
    monkeypatch.setattr("gateways.stripe.wire.PAGE_SIZE", 2)
    requests = [account.request() for _ in range(7)]
    results = [await account.psp.charge(request, timeout_s=T) for request in requests]
    for request, result in zip(requests, results, strict=True):
        assert await account.psp.find_charge(window(request), timeout_s=T) == result
    stranger = account.request()
    assert (await account.psp.find_charge(window(stranger), timeout_s=T)).outcome is ChargeOutcome.NOT_FOUND
    monkeypatch.setattr("gateways.stripe.wire.PAGES_MAX", 2)
    assert unknown(await account.psp.find_charge(window(stranger), timeout_s=T)) == "incomplete"


async def test_a_charge_that_a_busy_account_buried_is_found_near_the_start_of_the_window(
    account: "Account", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateways.stripe.wire.PAGE_SIZE", 2)
    monkeypatch.setattr("gateways.stripe.wire.PAGES_MAX", 2)
    request = account.request()
    result = await account.psp.charge(request, timeout_s=T)
    await account.control("POST", "clock/advance", {"seconds": 3600})
    later = [account.request() for _ in range(6)]
    for other in later:
        await account.psp.charge(other, timeout_s=T)
    now = datetime.now(UTC)
    day = window(request).model_copy(
        update={"created_from": now - timedelta(minutes=10), "created_to": now + timedelta(hours=23)}
    )
    assert await account.psp.find_charge(day, timeout_s=T) == result
    # One that was made late is found among the newest, also where the beginning is too full to be read.
    late = day.model_copy(update={"charge_id": later[-1].charge_id})
    assert (await account.psp.find_charge(late, timeout_s=T)).outcome is ChargeOutcome.SUCCEEDED
    full = late.model_copy(update={"created_from": now + timedelta(minutes=50)})
    await account.control("POST", "clock/advance", {"seconds": 3600})
    last = account.request()
    await account.psp.charge(last, timeout_s=T)
    newest = full.model_copy(update={"charge_id": last.charge_id})
    assert (await account.psp.find_charge(newest, timeout_s=T)).outcome is ChargeOutcome.SUCCEEDED
    buried = full.model_copy(update={"charge_id": later[0].charge_id})
    assert unknown(await account.psp.find_charge(buried, timeout_s=T)) == "incomplete"


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
    assert (
        unknown(await account.psp.find_charge(window(account.request()), timeout_s=timeout_for("timeout"))) == "timeout"
    )


# --- voids ---


async def test_void_before_3ds_is_done(account: "Account") -> None:
    request, reference = await requiring_action(account)
    for key in ("a", "a", "b"):
        result = await voided(account, request, reference, key=key)
        assert (result.outcome, result.reference, result.failure) == (ChargeOutcome.VOIDED, reference, None)


async def test_void_comes_too_late(account: "Account") -> None:
    request = account.request()
    reference = (await account.psp.charge(request, timeout_s=T)).reference
    result = await voided(account, request, reference)
    assert (result.outcome, result.amount) == (ChargeOutcome.SUCCEEDED, 50_000)
    assert result.fee is not None


async def test_void_races_the_success(account: "Account") -> None:
    request, reference = await requiring_action(account)
    held = await account.fault("hold_before", "payment_intents.cancel")
    void = asyncio.create_task(voided(account, request, reference))
    await account.control("GET", f"faults/{held['id']}?wait_hits=1")
    await account.control("POST", f"payment_intents/{reference}/authenticate")
    await account.control("POST", f"faults/{held['id']}/release")
    assert (await void).outcome is ChargeOutcome.SUCCEEDED


async def test_void_of_a_pending_charge_works_once_it_has_failed_under_the_same_key(account: "Account") -> None:
    request = account.request("pm_upi_processing", method="upi", currency="INR")
    reference = (await account.psp.charge(request, timeout_s=T)).reference
    for _ in range(3):
        assert (await voided(account, request, reference)).outcome is ChargeOutcome.PENDING
    await account.control("POST", f"payment_intents/{reference}/fail_processing")
    # A key that was used before would answer with the old refusal.
    assert (await voided(account, request, reference)).outcome is ChargeOutcome.VOIDED


@pytest.mark.parametrize(("fault", "times"), [("http_500", 4), ("http_500_after", 1)])
async def test_void_after_cached_500s(account: "Account", fault: str, times: int) -> None:
    request, reference = await requiring_action(account)
    await account.fault(fault, "payment_intents.cancel", times=times)
    for _ in range(times):
        assert unknown(await voided(account, request, reference)) == "server_error"
    assert (await voided(account, request, reference)).outcome is ChargeOutcome.VOIDED


async def test_void_without_an_answer_is_unknown(account: "Account") -> None:
    request, reference = await requiring_action(account)
    planted = await account.fault("timeout_after", "payment_intents.cancel")
    assert unknown(await voided(account, request, reference, timeout_s=timeout_for("timeout"))) == "timeout"
    await account.struck(planted)
    assert (await voided(account, request, reference)).outcome is ChargeOutcome.VOIDED


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


async def found_refund(account: "Account", request: RefundRequest) -> RefundResult:
    charge_reference = request.charge_reference
    return await account.psp.find_refund(request.refund_id, charge_reference, key=request.key, timeout_s=T)


async def test_our_own_refund_is_found_behind_the_refusal_once_the_key_is_forgotten(account: "Account") -> None:
    request = account.refund_request(await charged(account))
    result = await account.psp.refund(request, timeout_s=T)
    await account.control("POST", "clock/advance", {"seconds": 90_000})
    assert await account.psp.refund(request, timeout_s=T) == result
    await account.control("POST", "clock/advance", {"seconds": 90_000})
    other = await account.psp.refund(request.model_copy(update={"amount": 49_999}), timeout_s=T)
    assert (other.outcome, other.reason, other.amount) == (RefundOutcome.UNKNOWN, "amount_mismatch", 50_000)


async def test_a_refused_attempt_is_not_answered_by_an_older_one(account: "Account") -> None:
    request = account.refund_request(await charged(account))
    assert (await account.psp.refund(request, timeout_s=T)).outcome is RefundOutcome.SUCCEEDED
    result = await account.psp.refund(request.model_copy(update={"key": "second"}), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (RefundOutcome.FAILED, "charge_already_refunded")


@pytest.mark.parametrize(
    ("fault", "more", "amount", "currency"),
    [
        ("wrong_amount", {"delta": -1}, 19_999, "USD"),
        ("wrong_amount", {"delta": 1, "persist": False}, 20_001, "USD"),
        ("wrong_currency", {"currency": "eur", "persist": False}, 20_000, "EUR"),
    ],
)
async def test_a_refund_of_something_else_is_no_success(
    account: "Account", fault: str, more: dict[str, Any], amount: int, currency: str
) -> None:
    request = account.refund_request(await charged(account), 20_000)
    await account.fault(fault, "refunds.create", **more)
    result = await account.psp.refund(request, timeout_s=T)
    assert (result.outcome, result.reason) == (RefundOutcome.UNKNOWN, "amount_mismatch")
    assert (result.amount, result.currency, result.failure) == (amount, currency, None)
    assert result.reference is not None


@pytest.mark.parametrize("fault", ["timeout_after", "cut_after", "broken_body", "http_500_after"])
async def test_a_refund_without_an_answer_is_found(account: "Account", fault: str) -> None:
    request = account.refund_request(await charged(account))
    planted = await account.fault(fault, "refunds.create")
    result = await account.psp.refund(request, timeout_s=timeout_for(fault))
    assert result.outcome is RefundOutcome.UNKNOWN
    await account.struck(planted)
    found = await found_refund(account, request)
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


async def test_each_attempt_of_a_refund_is_found_under_its_own_key(account: "Account") -> None:
    first = account.refund_request(await charged(account), 20_000)
    second = first.model_copy(update={"key": f"{first.refund_id}:refund:2"})
    failed = await account.psp.refund(first, timeout_s=T)
    await account.control("POST", f"refunds/{failed.reference}/fail")
    assert (await found_refund(account, second)).outcome is RefundOutcome.NOT_FOUND
    again = await account.psp.refund(second, timeout_s=T)
    assert again.outcome is RefundOutcome.SUCCEEDED
    assert await found_refund(account, second) == again
    earlier = await found_refund(account, first)
    assert (earlier.outcome, earlier.reference) == (RefundOutcome.FAILED, failed.reference)
    assert (earlier.amount, earlier.currency) == (20_000, "USD")


async def test_of_two_refunds_under_one_key_the_one_that_did_not_fail_counts(account: "Account") -> None:
    request = account.refund_request(await charged(account), 20_000)
    good = await account.psp.refund(request, timeout_s=T)
    await account.control("POST", "clock/advance", {"seconds": 90_000})
    bad = await account.psp.refund(request, timeout_s=T)
    assert bad.reference != good.reference
    await account.control("POST", f"refunds/{bad.reference}/fail")
    assert await found_refund(account, request) == good


async def test_no_refund_there(account: "Account") -> None:
    reference = await charged(account)
    assert (await found_refund(account, account.refund_request(reference))).outcome is RefundOutcome.NOT_FOUND
    assert (await account.psp.retrieve_refund("re_none", timeout_s=T)).outcome is RefundOutcome.NOT_FOUND


async def test_reasons_that_stripe_does_not_know_are_kept_in_the_metadata(account: "Account") -> None:
    request = account.refund_request(await charged(account), reason="compensation: wallet refused")
    assert (await account.psp.refund(request, timeout_s=T)).outcome is RefundOutcome.SUCCEEDED


# --- authorisations and captures ---


async def authorized(account: "Account", card: str = "pm_card_visa") -> CaptureRequest:
    """The capture, in full, of an amount that is reserved."""
    request = account.request(card, authorize_only=True)
    result = await account.psp.charge(request, timeout_s=T)
    assert (result.outcome, result.amount, result.currency) == (ChargeOutcome.AUTHORIZED, 50_000, "USD")
    assert result.reference
    return CaptureRequest(
        key=f"{request.payment_id}:capture",
        charge_id=request.charge_id,
        reference=result.reference,
        amount=50_000,
        currency="USD",
    )


async def captured_of(
    account: "Account", request: CaptureRequest, amount: int = 50_000, *, timeout_s: float = T
) -> ChargeResult:
    part = request.model_copy(update={"amount": amount})
    return await account.psp.capture_charge(part, timeout_s=timeout_s)


async def taken(account: "Account") -> list[int]:
    """The amounts that were really taken, by the provider's own log."""
    return [charge["amount"] for charge in (await account.control("GET", "log"))["charges"]]


async def test_an_authorisation_takes_nothing_and_says_until_when(account: "Account") -> None:
    request = account.request(authorize_only=True)
    result = await account.psp.charge(request, timeout_s=T)
    assert (result.outcome, result.amount, result.fee) == (ChargeOutcome.AUTHORIZED, 50_000, None)
    assert result.capture_before is not None
    assert timedelta(days=6) < result.capture_before - datetime.now(UTC) < timedelta(days=8)
    assert result.card is not None
    assert result.card.fingerprint is not None
    assert (result.card.country, result.card.brand, result.card.funding) == ("US", "visa", "credit")
    assert result.checks is not None
    assert (result.checks.cvc, result.checks.risk_level) == ("pass", "normal")
    assert await account.psp.charge(request, timeout_s=T) == result
    assert await retrieved(account, request, result.reference) == result
    assert await taken(account) == []


@pytest.mark.parametrize(("amount", "fee"), [(50_000, 1_480), (20_000, 610), (1, 30)])
async def test_capture(account: "Account", amount: int, fee: int) -> None:
    request = await authorized(account)
    result = await captured_of(account, request, amount)
    assert (result.outcome, result.amount, result.currency) == (ChargeOutcome.SUCCEEDED, amount, "USD")
    assert (result.reference, result.failure, result.capture_before) == (request.reference, None, None)
    assert result.fee is not None
    assert result.fee.amount == fee
    assert result.card is not None
    assert await taken(account) == [amount]


@pytest.mark.parametrize("then", [20_000, 50_000, 10])
async def test_a_second_capture_tells_what_the_first_one_took(account: "Account", then: int) -> None:
    request = await authorized(account)
    first = await captured_of(account, request, 20_000)
    assert await captured_of(account, request, then) == first
    assert await taken(account) == [20_000]


async def test_two_captures_at_once_take_the_money_once(account: "Account") -> None:
    request = await authorized(account)
    held = await account.fault("hold_before", "payment_intents.capture")
    first = asyncio.create_task(captured_of(account, request))
    await account.control("GET", f"faults/{held['id']}?wait_hits=1")
    second = await captured_of(account, request)
    await account.control("POST", f"faults/{held['id']}/release")
    assert second.outcome is ChargeOutcome.SUCCEEDED
    assert await first == second
    assert await taken(account) == [50_000]


async def test_more_than_is_reserved_is_refused_and_what_is_reserved_can_still_be_taken(account: "Account") -> None:
    request = await authorized(account)
    for _ in range(2):
        refused = await captured_of(account, request, 50_001)
        assert (refused.outcome, refused.amount) == (ChargeOutcome.AUTHORIZED, 50_000)
        assert refused.failure is not None
        assert refused.failure.code == "amount_too_large"
        assert refused.capture_before is not None
    # Under the key of the refused one, with another amount.
    assert (await captured_of(account, request)).outcome is ChargeOutcome.SUCCEEDED
    assert await taken(account) == [50_000]


async def test_capture_of_what_expired_or_was_voided(account: "Account") -> None:
    expired, void = await authorized(account), await authorized(account)
    await account.control("POST", f"payment_intents/{expired.reference}/expire")
    result = await account.psp.void_charge(void.reference, charge_id=void.charge_id, key="v", timeout_s=T)
    assert result.outcome is ChargeOutcome.VOIDED
    for request in (expired, void):
        result = await captured_of(account, request)
        assert (result.outcome, result.reference, result.fee) == (ChargeOutcome.VOIDED, request.reference, None)
    assert await taken(account) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("timeout_before", "timeout"),
        ("timeout_after", "timeout"),
        ("cut_before", "connection"),
        ("cut_after", "connection"),
        ("broken_body", "malformed"),
        ("http_500", "server_error"),
        ("http_500_after", "server_error"),
        ("http_503", "server_error"),
        ("rate_limit", "rate_limited"),
        ("unknown_status", "unrecognised"),
    ],
)
async def test_a_capture_without_an_answer_again_takes_the_money_once(
    account: "Account", fault: str, reason: str
) -> None:
    request = await authorized(account)
    planted = await account.fault(fault, "payment_intents.capture")
    assert unknown(await captured_of(account, request, 20_000, timeout_s=timeout_for(reason))) == reason
    await account.struck(planted)
    result = await captured_of(account, request, 20_000)
    assert (result.outcome, result.amount, result.reason) == (ChargeOutcome.SUCCEEDED, 20_000, None)
    assert result.fee is not None
    assert await taken(account) == [20_000]


async def test_a_wrong_amount_captured_is_told_as_it_is(account: "Account") -> None:
    request = await authorized(account)
    await account.fault("wrong_amount", "payment_intents.capture", delta=7)
    result = await captured_of(account, request, 20_000)
    assert (result.outcome, result.amount) == (ChargeOutcome.SUCCEEDED, 20_007)


async def test_capture_of_another_charge_or_of_none(account: "Account") -> None:
    request, stranger = await authorized(account), await authorized(account)
    await captured_of(account, request)
    other = request.model_copy(update={"charge_id": stranger.charge_id})
    assert unknown(await captured_of(account, other)) == "another_charge"
    nothing = request.model_copy(update={"reference": "pi_none"})
    assert unknown(await captured_of(account, nothing)) == "unrecognised"


async def test_void_after_capture_and_capture_after_3ds(account: "Account") -> None:
    request = account.request("pm_card_threeDSecure2Required", authorize_only=True)
    result = await account.psp.charge(request, timeout_s=T)
    assert result.outcome is ChargeOutcome.REQUIRES_ACTION
    capture = CaptureRequest(
        key="c", charge_id=request.charge_id, reference=result.reference or "", amount=20_000, currency="USD"
    )
    assert unknown(await captured_of(account, capture)) == "unrecognised"
    await account.control("POST", f"payment_intents/{result.reference}/authenticate")
    assert (await retrieved(account, request, result.reference)).outcome is ChargeOutcome.AUTHORIZED
    assert (await captured_of(account, capture, 20_000)).outcome is ChargeOutcome.SUCCEEDED
    late = await voided(account, request, result.reference)
    assert (late.outcome, late.amount) == (ChargeOutcome.SUCCEEDED, 20_000)


# --- cards ---


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("pm_card_avsFail", {"address_line": "fail", "postal_code": "fail"}),
        ("pm_card_avsUnchecked", {"address_line": "unavailable", "postal_code": "unavailable"}),
        ("pm_card_cvcCheckFail", {"cvc": "fail"}),
        ("pm_card_riskLevelElevated", {"cvc": "pass", "risk_level": "elevated"}),
    ],
)
@pytest.mark.parametrize("authorize_only", [True, False])
async def test_checks(account: "Account", card: str, expected: dict[str, str], authorize_only: bool) -> None:
    result = await account.psp.charge(account.request(card, authorize_only=authorize_only), timeout_s=T)
    assert result.checks is not None
    assert result.checks.model_dump().items() >= expected.items()
    assert result.checks.risk_score is not None
    assert await account.psp.describe_card(card, timeout_s=T) == result.card


async def test_a_payment_without_a_card_has_no_facts_of_one(account: "Account") -> None:
    request = account.request("pm_upi_success", method="upi", currency="INR")
    result = await account.psp.charge(request, timeout_s=T)
    await account.control("POST", f"payment_intents/{result.reference}/complete_processing")
    result = await retrieved(account, request, result.reference)
    assert (result.outcome, result.card) == (ChargeOutcome.SUCCEEDED, None)


@pytest.mark.parametrize("token", ["tok_in_once", "pm_card_in_once"])
async def test_a_card_is_described_and_still_works(account: "Account", token: str) -> None:
    card = await account.psp.describe_card(token, timeout_s=T)
    assert card is not None
    assert (card.country, card.funding) == ("IN", "credit")
    result = await account.psp.charge(account.request(token), timeout_s=T)
    assert (result.outcome, result.card) == (ChargeOutcome.SUCCEEDED, card)


async def test_the_same_number_has_one_fingerprint_whatever_the_token(account: "Account") -> None:
    names = ("tok_visa", "pm_card_visa", "tok_visa_again", "pm_card_mastercard")
    cards = [await account.psp.describe_card(name, timeout_s=T) for name in names]
    prints = [card.fingerprint for card in cards if card]
    assert len(prints) == 4
    assert prints[0] == prints[1] == prints[2] != prints[3]


async def test_no_card_there(account: "Account") -> None:
    for token in ("tok_nosuchtoken", "pm_nosuchmethod", "pm_upi_success", "src_1"):
        assert await account.psp.describe_card(token, timeout_s=T) is None
    await account.fault("timeout_before", "tokens.retrieve")
    assert await account.psp.describe_card("tok_visa", timeout_s=timeout_for("timeout")) is None


# --- disputes ---


async def disputed(account: "Account", charge_reference: str, **terms: Any) -> DisputeResult:
    """What the adapter sees of a dispute that the buyer's bank just opened."""
    dispute = await account.control("POST", f"payment_intents/{charge_reference}/dispute", terms)
    return await account.psp.retrieve_dispute(dispute["id"], timeout_s=T)


async def decided(account: "Account", dispute: DisputeResult, step: str) -> DisputeResult:
    await account.control("POST", f"disputes/{dispute.reference}/{step}")
    return await account.psp.retrieve_dispute(dispute.reference or "", timeout_s=T)


async def submitted(account: "Account", dispute: DisputeResult, key: str = "e", timeout_s: float = T) -> DisputeResult:
    fields = {"product_description": "A book", "customer_communication": "It arrived, thank you."}
    request = EvidenceRequest(key=key, reference=dispute.reference or "", fields=fields)
    return await account.psp.submit_evidence(request, timeout_s=timeout_s)


def moved(dispute: DisputeResult) -> list[tuple[int, int]]:
    assert len({movement.reference for movement in dispute.money}) == len(dispute.money)
    assert {movement.currency for movement in dispute.money} <= {"USD"}
    return [(movement.amount, movement.fee) for movement in dispute.money]


@pytest.mark.parametrize("returned", [0, 1_500])
async def test_a_dispute_takes_the_money_and_gives_it_back_when_it_is_won(account: "Account", returned: int) -> None:
    await account.control("PATCH", "account", {"dispute_fee": 1_500, "dispute_fee_returned": returned > 0})
    reference = await charged(account)
    dispute = await disputed(account, reference, amount=20_000, reason="product_not_received")
    assert (dispute.outcome, dispute.charge_reference) == (DisputeOutcome.NEEDS_RESPONSE, reference)
    assert (dispute.amount, dispute.currency, dispute.category) == (20_000, "USD", "product_not_received")
    assert (dispute.submissions, dispute.failure, dispute.reason) == (0, None, None)
    assert dispute.evidence_due_at is not None
    assert dispute.evidence_due_at > datetime.now(UTC)
    assert moved(dispute) == [(-20_000, 1_500)]
    won = await decided(account, dispute, "win")
    assert (won.outcome, moved(won)) == (DisputeOutcome.WON, [(-20_000, 1_500), (20_000, -returned)])


async def test_a_lost_dispute_and_one_that_is_reinstated(account: "Account") -> None:
    dispute = await disputed(account, await charged(account))
    lost = await decided(account, dispute, "lose")
    assert (lost.outcome, lost.money) == (DisputeOutcome.LOST, dispute.money)
    again = await decided(account, dispute, "reinstate")
    assert (again.outcome, len(again.money)) == (DisputeOutcome.WON, 2)


async def test_an_inquiry_moves_no_money_until_it_is_escalated(account: "Account") -> None:
    first, second = [await disputed(account, await charged(account), inquiry=True) for _ in range(2)]
    assert (first.outcome, first.money) == (DisputeOutcome.INQUIRY, ())
    closed = await decided(account, first, "close_inquiry")
    assert (closed.outcome, closed.money) == (DisputeOutcome.CLOSED, ())
    answered = await submitted(account, second)
    assert (answered.outcome, answered.submissions) == (DisputeOutcome.INQUIRY, 1)
    escalated = await decided(account, second, "escalate")
    assert (escalated.outcome, escalated.amount) == (DisputeOutcome.NEEDS_RESPONSE, 50_000)
    assert [amount for amount, _ in moved(escalated)] == [-50_000]


async def test_evidence(account: "Account") -> None:
    dispute = await disputed(account, await charged(account))
    result = await submitted(account, dispute)
    assert (result.outcome, result.submissions, result.failure) == (DisputeOutcome.UNDER_REVIEW, 1, None)
    assert await submitted(account, dispute) == result
    # Stripe repeats its old answer under the key; what counts is how the dispute stands now.
    await account.control("POST", f"disputes/{dispute.reference}/win")
    again = await submitted(account, dispute)
    assert (again.outcome, again.submissions, again.failure) == (DisputeOutcome.WON, 1, None)
    assert len(again.money) == 2


@pytest.mark.parametrize(("step", "outcome"), [("win", DisputeOutcome.WON), ("lose", DisputeOutcome.LOST)])
async def test_evidence_that_comes_too_late(account: "Account", step: str, outcome: DisputeOutcome) -> None:
    dispute = await disputed(account, await charged(account))
    state = await decided(account, dispute, step)
    result = await submitted(account, dispute)
    assert result.outcome is outcome
    assert result.failure is not None
    assert result.failure.code == "evidence_refused"
    assert result == state.model_copy(update={"failure": result.failure})


async def test_evidence_past_its_date(account: "Account") -> None:
    dispute = await disputed(account, await charged(account), evidence_due_s=3_600, inquiry=True)
    await account.control("POST", "clock/advance", {"seconds": 7_200})
    result = await submitted(account, dispute)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (DisputeOutcome.INQUIRY, "evidence_refused")


async def test_evidence_that_stripe_does_not_know(account: "Account") -> None:
    dispute = await disputed(account, await charged(account))
    request = EvidenceRequest(key="e", reference=dispute.reference or "", fields={"horoscope": "good"})
    result = await account.psp.submit_evidence(request, timeout_s=T)
    assert result.failure is not None
    assert (result.failure.code, result.failure.psp_code) == ("evidence_refused", "parameter_unknown")
    assert (result.outcome, result.submissions) == (DisputeOutcome.NEEDS_RESPONSE, 0)


@pytest.mark.parametrize("fault", ["timeout_after", "cut_before", "cut_after", "http_503", "broken_body"])
async def test_evidence_without_an_answer_again_is_submitted_once(account: "Account", fault: str) -> None:
    dispute = await disputed(account, await charged(account))
    planted = await account.fault(fault, "disputes.update")
    result = await submitted(account, dispute, timeout_s=timeout_for(fault))
    assert (result.outcome, result.reference) == (DisputeOutcome.UNKNOWN, None)
    await account.struck(planted)
    result = await submitted(account, dispute)
    assert (result.outcome, result.submissions, result.failure) == (DisputeOutcome.UNDER_REVIEW, 1, None)


async def test_a_dispute_without_an_answer_is_unknown(account: "Account") -> None:
    dispute = await disputed(account, await charged(account))
    for fault, reason in [
        ("timeout_before", "timeout"),
        ("unknown_status", "unrecognised"),
        ("http_503", "server_error"),
    ]:
        planted = await account.fault(fault, "disputes.retrieve")
        result = await account.psp.retrieve_dispute(dispute.reference or "", timeout_s=timeout_for(reason))
        assert (result.outcome, result.reason) == (DisputeOutcome.UNKNOWN, reason)
        await account.struck(planted)


async def test_no_dispute_there(account: "Account") -> None:
    nothing = DisputeResult(outcome=DisputeOutcome.NOT_FOUND)
    assert await account.psp.retrieve_dispute("dp_none", timeout_s=T) == nothing
    assert await submitted(account, nothing.model_copy(update={"reference": "dp_none"})) == nothing


@pytest.mark.parametrize(
    ("card", "outcome"),
    [
        ("pm_card_createDispute", DisputeOutcome.NEEDS_RESPONSE),
        ("pm_card_createDisputeInquiry", DisputeOutcome.INQUIRY),
    ],
)
async def test_cards_that_are_disputed_by_themselves(account: "Account", card: str, outcome: DisputeOutcome) -> None:
    async with delivered(account) as events:
        reference = await charged(account, card)
        await account.control("POST", "clock/advance", {"seconds": 60})
    created = next(event for event in events if event.type == "charge.dispute.created")
    assert (created.kind, created.charge_reference) == (PspEventKind.DISPUTE, reference)
    result = await account.psp.retrieve_dispute(created.reference or "", timeout_s=T)
    assert (result.outcome, result.amount) == (outcome, 50_000)


# --- webhooks ---


def nothing_is_missed(events: list[PspEvent]) -> None:
    """What any event says is said by one that an endpoint of ours subscribes to."""
    wanted = [event for event in events if event.type in SUBSCRIPTIONS[EventScope.ACCOUNT]]
    assert len(wanted) < len(events), "some say nothing new"

    def said(all_of: list[PspEvent]) -> list[set[tuple[PspEventKind, str | None]]]:
        flags = ("kind", "paid", "refund_failed", "payout_failed")
        return [{(event.kind, event.reference) for event in all_of if getattr(event, flag)} for flag in flags]

    assert said(wanted) == said(events)


async def test_webhooks_as_they_are_really_delivered(account: "Account") -> None:
    async with delivered(account) as events:
        request = account.request()
        result = await account.psp.charge(request, timeout_s=T)
        refund = account.refund_request(result.reference or "")
        await account.psp.refund(refund, timeout_s=T)
    charges = [event for event in events if event.kind is PspEventKind.CHARGE]
    assert {event.reference for event in charges} == {result.reference}
    assert {event.charge_id for event in charges} == {request.charge_id}
    assert {event.type for event in events if event.paid} == {"payment_intent.succeeded", "charge.succeeded"}
    assert {event.refund_id for event in charges} == {None}
    refunds = [event for event in events if event.kind is PspEventKind.REFUND]
    assert {(event.type, event.refund_id) for event in refunds} == {("refund.created", refund.refund_id)}
    told = {(event.charge_reference, event.amount, event.currency) for event in refunds}
    assert told == {(result.reference, 50_000, "USD")}
    nothing_is_missed(events)


async def test_webhooks_of_authorisations(account: "Account") -> None:
    async with delivered(account) as events:
        captured, expired, void = [await authorized(account) for _ in range(3)]
        await captured_of(account, captured, 20_000)
        await account.control("POST", f"payment_intents/{expired.reference}/expire")
        await account.psp.void_charge(void.reference, charge_id=void.charge_id, key="v", timeout_s=T)
    assert {event.kind for event in events} == {PspEventKind.CHARGE}
    assert {event.reference for event in events} == {captured.reference, expired.reference, void.reference}
    paid = {(event.type, event.reference) for event in events if event.paid}
    assert paid == {("charge.captured", captured.reference), ("payment_intent.succeeded", captured.reference)}
    unpaid = {event.type for event in events if not event.paid}
    assert unpaid >= {"charge.succeeded", "charge.expired", "payment_intent.canceled"}
    nothing_is_missed(events)


async def test_webhooks_of_disputes(account: "Account") -> None:
    async with delivered(account) as events:
        reference = await charged(account)
        dispute = await disputed(account, reference, amount=20_000)
        await account.control("POST", f"disputes/{dispute.reference}/win")
    disputes = [event for event in events if event.kind is PspEventKind.DISPUTE]
    assert {event.type for event in disputes} >= {
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    }
    told = {(event.reference, event.charge_reference, event.amount, event.currency) for event in disputes}
    assert told == {(dispute.reference, reference, 20_000, "USD")}
    assert not any(event.paid or event.refund_failed for event in disputes)
