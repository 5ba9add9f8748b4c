"""The adapter's tables: every error has one meaning, every state one outcome, every currency its units."""

import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import stripe
from iso4217 import Currency
from stripe import oauth_error

from domain.dispute import EVIDENCE_FIELDS
from domain.money import MoneyError
from domain.psp import (
    CardChecks,
    CardFacts,
    ChargeOutcome,
    ChargeResult,
    DisputeOutcome,
    DisputeResult,
    EvidenceRequest,
    RefundOutcome,
)
from gateways.call import Refusal, Unanswered, verdict_of
from gateways.guard import Guard, Verdict
from gateways.protocol import Psp
from gateways.stripe import charges, disputes, failures, results
from gateways.stripe.amounts import from_stripe, to_stripe
from gateways.stripe.gateway import StripePsp
from gateways.stripe.wire import ERRORS, REFUSAL, translate

# The SDK leaves these constructors without types.
API_CONNECTION: Any = stripe.APIConnectionError
INVALID_REQUEST: Any = stripe.InvalidRequestError


def descendants(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(descendants(child) for child in kind.__subclasses__()))


def error_body(**error: Any) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", **error}}


def refused(kind: type[Any], status: int, **error: Any) -> Unanswered | Refusal:
    body = error_body(**error)
    return translate(kind("…", "param", error.get("code"), json.dumps(body), status, body, {}))


# --- errors ---


@pytest.mark.parametrize("kind", sorted(descendants(stripe.StripeError), key=repr))
def test_every_error_of_the_sdk_is_in_the_table(kind: type[Exception]) -> None:
    assert kind in ERRORS


def test_only_two_errors_can_be_a_refusal() -> None:
    refusals = {kind for kind, meaning in ERRORS.items() if meaning == REFUSAL}
    assert refusals == {stripe.CardError, stripe.InvalidRequestError}
    assert oauth_error.InvalidRequestError not in refusals


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), "timeout"),
        (aiohttp.ServerTimeoutError(), "timeout"),
        (aiohttp.ServerDisconnectedError(), "connection"),
        (aiohttp.ClientPayloadError(), "connection"),
        (ConnectionResetError(), "connection"),
        (API_CONNECTION("…"), "connection"),
        (json.JSONDecodeError("…", "", 0), "malformed"),
        (AttributeError(), "malformed"),
        (stripe.APIError("…", http_status=200), "malformed"),
        (stripe.APIError("…", http_status=500), "server_error"),
        (stripe.APIError("…", http_status=500, headers={"Idempotent-Replayed": "true"}), "server_error_replayed"),
        (stripe.APIError("…", http_status=409), "in_flight"),
        (stripe.APIError("…", http_status=429), "rate_limited"),
        (stripe.APIError("…", http_status=403), "credentials"),
        (stripe.APIError("…", http_status=302), "unrecognised"),
        (stripe.RateLimitError("…", http_status=429), "rate_limited"),
        (stripe.AuthenticationError("…", http_status=401), "credentials"),
        (stripe.PermissionError("…", http_status=403), "credentials"),
        (stripe.IdempotencyError("…", http_status=400), "key_reused"),
        (stripe.IdempotencyError("…", http_status=409), "in_flight"),
        (stripe.InsufficientFundsError("…", http_status=400), "unrecognised"),
    ],
)
def test_meaning_of_errors(error: Exception, reason: str) -> None:
    trouble = translate(error)
    assert isinstance(trouble, Unanswered)
    assert trouble.reason == reason


def test_a_refusal_needs_stripes_definite_word() -> None:
    assert isinstance(refused(stripe.InvalidRequestError, 400, code="amount_too_small"), Refusal)
    assert isinstance(refused(stripe.CardError, 402, type="card_error", code="card_declined"), Refusal)
    for trouble, reason in [
        (refused(stripe.InvalidRequestError, 400, type="api_error"), "unrecognised"),
        (translate(INVALID_REQUEST("…", "p", http_status=400)), "unrecognised"),
        (refused(stripe.InvalidRequestError, 400, code="idempotency_key_in_use"), "in_flight"),
        (refused(stripe.InvalidRequestError, 400, code="livemode_mismatch"), "credentials"),
    ]:
        assert isinstance(trouble, Unanswered)
        assert trouble.reason == reason


@pytest.mark.parametrize(
    ("trouble", "verdict"),
    [
        (Unanswered("timeout"), Verdict.FAULT),
        (Unanswered("connection"), Verdict.FAULT),
        (Unanswered("server_error"), Verdict.FAULT),
        (Unanswered("malformed"), Verdict.FAULT),
        (Unanswered("server_error_replayed"), Verdict.ANSWERED),
        (Unanswered("in_flight"), Verdict.ANSWERED),
        (Unanswered("rate_limited"), Verdict.THROTTLED),
        (Refusal({"code": "card_declined"}), Verdict.ANSWERED),
    ],
)
def test_what_the_guard_learns(trouble: Unanswered | Refusal, verdict: Verdict) -> None:
    assert verdict_of(trouble) is verdict


# --- failures ---


CARD = {"type": "card_error", "code": "card_declined"}
INVALID = {"type": "invalid_request_error"}


@pytest.mark.parametrize(
    ("error", "code", "psp_code"),
    [
        (CARD | {"decline_code": "generic_decline"}, "card_declined", "generic_decline"),
        (CARD | {"decline_code": "insufficient_funds"}, "insufficient_funds", "insufficient_funds"),
        (CARD | {"decline_code": "stolen_card"}, "lost_or_stolen_card", "stolen_card"),
        (CARD | {"code": "expired_card"}, "expired_card", "expired_card"),
        (CARD | {"code": "expired_card", "decline_code": "new_word"}, "expired_card", "new_word"),
        ({"type": "card_error"}, "card_declined", None),
        (INVALID | {"code": "amount_too_small"}, "amount_too_small", "amount_too_small"),
        (INVALID | {"code": "token_already_used"}, "payment_method_rejected", "token_already_used"),
        (INVALID | {"param": "payment_method"}, "payment_method_rejected", None),
        (INVALID | {"code": "parameter_unknown", "param": "x"}, "request_refused", "parameter_unknown"),
        ({}, "card_declined", None),
    ],
)
def test_failure_codes(error: dict[str, Any], code: str, psp_code: str | None) -> None:
    failure = failures.failure_of({**error, "message": "No such token: tok_secret"})
    assert (failure.code, failure.psp_code) == (code, psp_code)
    assert "tok_secret" not in failure.message


def test_an_attempt_was_declined_whatever_its_error_is_called() -> None:
    assert failures.failure_of(INVALID | {"code": "new_word"}, attempted=True).code == "card_declined"
    failed = intent("requires_payment_method", last_payment_error=INVALID | {"code": "account_closed"})
    result = results.charge_result(failed)
    assert result.failure is not None
    assert (result.failure.code, result.failure.psp_code) == ("payment_method_declined", "account_closed")


def test_every_code_that_is_given_out_has_words() -> None:
    given_out = {*failures._FAILURE_CODES.values(), "evidence_refused"}
    without = given_out - failures._MESSAGES.keys()
    # Told in the words of any decline: see the comment on _MESSAGES.
    assert without == {"lost_or_stolen_card", "fraud_suspected"}


def test_an_authorisation_that_ran_out_has_a_code_of_its_own() -> None:
    for code in ("charge_expired_for_capture", "capture_charge_authorization_expired"):
        assert failures.failure_of(INVALID | {"code": code}).code == "authorization_expired"


# --- amounts ---


@pytest.mark.parametrize(
    ("ours", "currency", "stripes"),
    [
        (50_000, "INR", 50_000),
        (500, "JPY", 500),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (500, "MGA", 5),
        (1_050, "HUF", 1_050),
        (80_045, "TWD", 80_045),
        (5_120, "KWD", 5_120),
        (1, "XAF", 1),
    ],
)
def test_units(ours: int, currency: str, stripes: int) -> None:
    assert to_stripe(ours, currency) == stripes
    assert from_stripe(stripes, currency) == ours


@pytest.mark.parametrize("currency", [c.code for c in Currency if c.exponent is not None])
def test_units_of_every_currency_go_there_and_back(currency: str) -> None:
    assert from_stripe(to_stripe(120_000, currency), currency) == 120_000


@pytest.mark.parametrize(("amount", "currency"), [(5_124, "KWD"), (10_001, "TND"), (550, "MGA")])
def test_what_stripe_cannot_express(amount: int, currency: str) -> None:
    with pytest.raises(MoneyError) as caught:
        to_stripe(amount, currency)
    assert caught.value.code == "amount_precision"


@pytest.mark.parametrize(
    ("currency", "smallest"),
    [("USD", 1), ("JPY", 1), ("ISK", 1), ("UGX", 1), ("HUF", 1), ("MGA", 100)]
    + [(currency, 10) for currency in ("KWD", "BHD", "JOD", "OMR", "TND")],
)
def test_the_smallest_amount_that_stripe_moves(currency: str, smallest: int) -> None:
    assert psp().unit(currency) == smallest
    assert psp().check_part(smallest, currency) is None
    assert smallest == 1 or psp().check_part(smallest + 1, currency) is not None


@pytest.mark.parametrize("amount", [None, "5", 5.0, True])
def test_what_is_no_amount(amount: object) -> None:
    with pytest.raises(ValueError, match="amount"):
        from_stripe(amount, "EUR")


def test_a_fraction_of_a_krona_is_refused() -> None:
    with pytest.raises(ValueError, match="whole"):
        from_stripe(550, "ISK")


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (50, "USD", None),
        (49, "USD", "amount_too_small"),
        (0, "USD", "amount_too_small"),
        (-100, "USD", "amount_too_small"),
        (50, "INR", None),
        (49, "JPY", "amount_too_small"),
        (30, "GBP", None),
        (10, "KWD", None),
        (1_005, "KWD", "amount_precision"),
        (99_999_999, "USD", None),
        (100_000_000, "USD", "amount_too_large"),
        (100_000_000, "IDR", None),
        (5_000, "SEK", "currency_not_settled"),
        (5_000, "XXX", "currency_not_settled"),
    ],
)
def test_check_amount(amount: int, currency: str, code: str | None) -> None:
    failure = psp().check_amount(amount, currency)
    assert (failure and failure.code) == code


def test_check_part_has_no_minimum() -> None:
    assert psp().check_part(1, "USD") is None
    failure = psp().check_part(1_005, "KWD")
    assert failure is not None
    assert failure.code == "amount_precision"


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (1, "USD", None),
        (10_000, "HUF", None),
        (10_050, "HUF", "amount_precision"),
        (150, "TWD", "amount_precision"),
        (1_005, "KWD", "amount_precision"),
    ],
)
def test_what_can_be_paid_out(amount: int, currency: str, code: str | None) -> None:
    failure = psp().check_payout(amount, currency)
    assert (failure and failure.code) == code


def psp() -> Psp:
    guard = Guard("tables", concurrency_max=1, rate_per_s=1, breaker_failures=1, breaker_open_s=1)
    currencies = {"USD", "INR", "JPY", "GBP", "KWD", "IDR"}
    return StripePsp(api_key="sk_test_x", guard=guard, currencies=currencies)


# --- objects ---


def intent(status: str, **more: Any) -> dict[str, Any]:
    taken = 500 if status == "succeeded" else 0
    base = {"object": "payment_intent", "id": "pi_1", "amount": 500, "amount_received": taken, "currency": "usd"}
    return {**base, "status": status, **more}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("succeeded", ChargeOutcome.SUCCEEDED),
        ("requires_action", ChargeOutcome.REQUIRES_ACTION),
        ("processing", ChargeOutcome.PENDING),
        ("requires_capture", ChargeOutcome.AUTHORIZED),
        ("requires_payment_method", ChargeOutcome.DECLINED),
        ("canceled", ChargeOutcome.VOIDED),
        ("requires_confirmation", ChargeOutcome.UNKNOWN),
        ("brand_new", ChargeOutcome.UNKNOWN),
    ],
)
def test_states_of_a_charge(status: str, outcome: ChargeOutcome) -> None:
    result = results.charge_result(intent(status))
    assert (result.outcome, result.reference) == (outcome, "pi_1")
    assert result.reason == ("unrecognised" if outcome is ChargeOutcome.UNKNOWN else None)


@pytest.mark.parametrize("received", [{"amount_received": 0}, {"amount_received": -500}, {"amount_received": None}, {}])
def test_a_success_that_took_nothing_is_no_success(received: dict[str, Any]) -> None:
    thing = intent("succeeded")
    del thing["amount_received"]
    result = results.charge_result(thing | received)
    assert (result.outcome, result.reason, result.amount) == (ChargeOutcome.UNKNOWN, "malformed", None)


def test_a_cancelled_charge_still_says_why_it_was_declined() -> None:
    error = CARD | {"decline_code": "insufficient_funds"}
    result = results.charge_result(intent("canceled", last_payment_error=error))
    assert (result.outcome, result.failure) == (ChargeOutcome.VOIDED, failures.failure_of(error))
    assert results.charge_result(intent("canceled", last_payment_error=None)).failure is None
    # An earlier decline does not matter to a charge that was paid after all.
    assert results.charge_result(intent("succeeded", last_payment_error=error)).failure is None


def test_amount_is_what_was_really_taken_and_the_fee_comes_along() -> None:
    entry = {"id": "txn_1", "fee": 45, "currency": "usd", "available_on": 1_700_000_000}
    result = results.charge_result(
        intent("succeeded", amount_received=499, latest_charge={"balance_transaction": entry})
    )
    assert (result.amount, result.currency) == (499, "USD")
    assert result.fee is not None
    assert result.fee.model_dump() == {
        "reference": "txn_1",
        "amount": 45,
        "currency": "USD",
        "available_on": datetime.fromtimestamp(1_700_000_000, UTC),
    }


@pytest.mark.parametrize("charge", [None, "ch_1", {"balance_transaction": None}, {"balance_transaction": {"fee": "x"}}])
def test_a_charge_does_not_depend_on_its_fee(charge: Any) -> None:
    result = results.charge_result(intent("succeeded", amount_received=500, latest_charge=charge))
    assert (result.outcome, result.fee) == (ChargeOutcome.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("thing", "reference"),
    [
        (intent("succeeded", amount_received="500"), "pi_1"),
        (intent("succeeded", amount_received=None), "pi_1"),
        (intent("succeeded", currency=None), "pi_1"),
        (intent("succeeded", currency="zzz"), "pi_1"),
        (intent("succeeded", id=5), None),
        (intent("succeeded") | {"status": None}, "pi_1"),
        (intent("succeeded") | {"status": ["succeeded"]}, "pi_1"),
        (intent("succeeded", object="charge"), "pi_1"),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_broken_charge_is_unknown(thing: Any, reference: str | None) -> None:
    result = results.charge_result(thing)
    assert (result.outcome, result.reference) == (ChargeOutcome.UNKNOWN, reference)
    assert result.reason in ("malformed", "unrecognised")


@pytest.mark.parametrize(
    ("action", "url"),
    [
        ({"type": "redirect_to_url", "redirect_to_url": {"url": "https://a"}}, "https://a"),
        ({"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": "https://b"}}, "https://b"),
        ({"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "stripe_3ds2_fingerprint"}}, None),
        ({"type": "redirect_to_url", "redirect_to_url": {"url": "javascript:x"}}, None),
        ({"type": "x_qr", "x_qr": {"hosted_instructions_url": "https://c"}}, "https://c"),
        (None, None),
    ],
)
def test_where_the_buyer_is_sent(action: Any, url: str | None) -> None:
    result = results.charge_result(intent("requires_action", next_action=action))
    assert result.outcome is ChargeOutcome.REQUIRES_ACTION
    assert (result.next_action.url if result.next_action else None) == url


def test_a_refusal_is_not_believed_against_its_own_payment_intent() -> None:
    card_error = {"type": "card_error", "code": "expired_card"}
    for status, outcome in [
        ("requires_payment_method", ChargeOutcome.DECLINED),
        ("succeeded", ChargeOutcome.SUCCEEDED),
        ("processing", ChargeOutcome.PENDING),
    ]:
        result = charges._declined(Refusal({**card_error, "payment_intent": intent(status)}))
        assert (result.outcome, result.reference) == (outcome, "pi_1")
    assert charges._declined(Refusal(card_error)).failure == failures.failure_of(card_error)


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        ("succeeded", RefundOutcome.SUCCEEDED, None),
        ("pending", RefundOutcome.PENDING, None),
        ("requires_action", RefundOutcome.PENDING, None),
        ("failed", RefundOutcome.FAILED, "refund_failed"),
        ("canceled", RefundOutcome.FAILED, "refund_canceled"),
        ("brand_new", RefundOutcome.UNKNOWN, None),
    ],
)
def test_states_of_a_refund(status: str, outcome: RefundOutcome, code: str | None) -> None:
    result = results.refund_result(
        {"object": "refund", "id": "re_1", "status": status, "amount": 5, "currency": "isk"}
        | {"amount": 500, "failure_reason": "lost_or_stolen_card"}
    )
    assert (result.outcome, result.reference, result.amount) == (outcome, "re_1", 5)
    assert (result.failure and result.failure.code) == code


@pytest.mark.parametrize("thing", [{}, None, [], {"object": "charge"}, {"object": "refund", "status": "succeeded"}])
def test_a_broken_refund_is_unknown(thing: Any) -> None:
    result = results.refund_result(thing)
    assert (result.outcome, result.reason) == (RefundOutcome.UNKNOWN, "malformed")


# --- authorisations and cards ---


CARD_DETAILS = {
    "brand": "visa",
    "country": "IN",
    "fingerprint": "f1",
    "funding": "credit",
    "capture_before": 1_700_000_000,
    "checks": {"address_line1_check": "fail", "address_postal_code_check": "unavailable", "cvc_check": "pass"},
}
CHARGE = {
    "payment_method_details": {"type": "card", "card": CARD_DETAILS},
    "outcome": {"risk_score": 64, "risk_level": "elevated"},
}


def read(status: str, charge: Any) -> ChargeResult:
    return results.charge_result(intent(status, latest_charge=charge))


def with_card(**more: Any) -> dict[str, Any]:
    return {**CHARGE, "payment_method_details": {"card": {**CARD_DETAILS, **more}}}


@pytest.mark.parametrize("status", ["requires_capture", "succeeded"])
def test_what_is_known_of_the_card_and_checked(status: str) -> None:
    result = read(status, CHARGE)
    assert result.card == CardFacts(fingerprint="f1", country="IN", brand="visa", funding="credit")
    assert result.checks == CardChecks(
        address_line="fail", postal_code="unavailable", cvc="pass", risk_score=64, risk_level="elevated"
    )
    reserved_until = datetime.fromtimestamp(1_700_000_000, UTC) if status == "requires_capture" else None
    assert (result.capture_before, result.amount) == (reserved_until, 500)


@pytest.mark.parametrize("status", ["requires_action", "processing", "requires_payment_method", "canceled", "new"])
def test_nothing_of_the_card_in_other_states(status: str) -> None:
    result = read(status, CHARGE)
    assert (result.capture_before, result.card, result.checks) == (None, None, None)


@pytest.mark.parametrize(
    ("charge", "card", "checks"),
    [
        (None, None, None),
        ("ch_1", None, None),
        ([], None, None),
        ({}, None, None),
        ({"payment_method_details": None, "outcome": None}, None, None),
        ({"payment_method_details": {"card": "x"}, "outcome": "x"}, None, None),
        ({"payment_method_details": {"card": {"checks": "x", "fingerprint": 5}}}, None, None),
        ({"payment_method_details": {"card": {"country": "IN", "brand": ""}}}, CardFacts(country="IN"), None),
        ({"payment_method_details": {"type": "upi", "upi": {}}, "outcome": {"risk_level": "not_assessed"}}, None, None),
        ({"outcome": {"risk_score": 12}}, None, CardChecks(risk_score=12)),
        ({"outcome": {"risk_score": True, "risk_level": ["normal"]}}, None, None),
        ({"outcome": {"risk_score": 10**30, "risk_level": "brand_new"}}, None, None),
    ],
)
@pytest.mark.parametrize("status", ["requires_capture", "succeeded"])
def test_a_charge_does_not_depend_on_what_is_known_of_its_card(
    status: str, charge: Any, card: CardFacts | None, checks: CardChecks | None
) -> None:
    result = read(status, charge)
    assert result.outcome in (ChargeOutcome.AUTHORIZED, ChargeOutcome.SUCCEEDED)
    assert (result.card, result.checks, result.capture_before) == (card, checks, None)


@pytest.mark.parametrize("moment", [None, 0, "soon", [1], 10**30, -(10**30)])
def test_an_authorisation_does_not_depend_on_its_end(moment: Any) -> None:
    result = read("requires_capture", with_card(capture_before=moment))
    assert (result.outcome, result.capture_before) == (ChargeOutcome.AUTHORIZED, None)
    assert result.card is not None


@pytest.mark.parametrize(
    ("method", "can"), [("card", True), ("wallet", True), ("upi", False), ("netbanking", False), ("cash", False)]
)
def test_what_can_be_reserved(method: str, can: bool) -> None:
    assert psp().can_authorize(method) is can


# --- disputes ---


WITHDRAWN = {"id": "txn_1", "amount": -500, "fee": 1_500, "currency": "usd"}
REINSTATED = {"id": "txn_2", "amount": 500, "fee": -1_500, "currency": "usd"}


def dispute(status: str = "needs_response", **more: Any) -> dict[str, Any]:
    base = {"object": "dispute", "id": "du_1", "amount": 500, "currency": "usd", "reason": "fraudulent"}
    base |= {"charge": "ch_1", "payment_intent": "pi_1", "status": status, "balance_transactions": [WITHDRAWN]}
    return {**base, "evidence_details": {"due_by": 1_700_000_000, "submission_count": 1}, **more}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("warning_needs_response", DisputeOutcome.INQUIRY),
        ("warning_under_review", DisputeOutcome.INQUIRY),
        ("warning_closed", DisputeOutcome.CLOSED),
        ("prevented", DisputeOutcome.CLOSED),
        ("needs_response", DisputeOutcome.NEEDS_RESPONSE),
        ("under_review", DisputeOutcome.UNDER_REVIEW),
        ("won", DisputeOutcome.WON),
        ("lost", DisputeOutcome.LOST),
        ("appeal_needs_response", DisputeOutcome.UNKNOWN),
        ("brand_new", DisputeOutcome.UNKNOWN),
    ],
)
def test_states_of_a_dispute(status: str, outcome: DisputeOutcome) -> None:
    result = results.dispute_result(dispute(status))
    assert (result.outcome, result.reference, len(result.money)) == (outcome, "du_1", 1)
    assert result.reason == ("unrecognised" if outcome is DisputeOutcome.UNKNOWN else None)


def test_all_of_a_dispute() -> None:
    result = results.dispute_result(dispute(balance_transactions=[WITHDRAWN, REINSTATED]))
    assert result.model_dump(exclude_none=True) == {
        "outcome": DisputeOutcome.NEEDS_RESPONSE,
        "reference": "du_1",
        "charge_reference": "pi_1",
        "amount": 500,
        "currency": "USD",
        "category": "fraudulent",
        "evidence_due_at": datetime.fromtimestamp(1_700_000_000, UTC),
        "submissions": 1,
        "money": (
            {"reference": "txn_1", "amount": -500, "fee": 1_500, "currency": "USD"},
            {"reference": "txn_2", "amount": 500, "fee": -1_500, "currency": "USD"},
        ),
    }


def test_money_of_a_dispute_is_in_the_currency_of_the_settlement() -> None:
    entry = {"id": "txn_1", "amount": -500, "fee": 0, "currency": "isk"}
    result = results.dispute_result(dispute(balance_transactions=[entry]))
    assert (result.amount, result.currency) == (500, "USD")
    assert [(money.amount, money.currency) for money in result.money] == [(-5, "ISK")]


@pytest.mark.parametrize(
    "details", [None, {}, {"due_by": None}, {"due_by": 0}, {"due_by": None, "submission_count": 0}]
)
def test_a_dispute_that_takes_no_answer(details: Any) -> None:
    result = results.dispute_result(dispute(evidence_details=details, payment_intent=None, balance_transactions=[]))
    assert (result.outcome, result.evidence_due_at, result.submissions) == (DisputeOutcome.NEEDS_RESPONSE, None, 0)
    assert (result.charge_reference, result.money) == ("ch_1", ())


@pytest.mark.parametrize(
    ("thing", "reference"),
    [
        (dispute(object="charge"), "du_1"),
        (dispute(id=None), None),
        (dispute(id=5), None),
        (dispute(amount=None), "du_1"),
        (dispute(amount="500"), "du_1"),
        (dispute(currency=None), "du_1"),
        (dispute(currency="zzz"), "du_1"),
        (dispute(payment_intent=None, charge=None), "du_1"),
        (dispute(payment_intent={"id": "pi_1"}), "du_1"),
        (dispute() | {"status": ["won"]}, "du_1"),
        (dispute(evidence_details="x"), "du_1"),
        (dispute(evidence_details={"due_by": 10**30}), "du_1"),
        # A movement that cannot be read is not left out: it would never be booked.
        (dispute(balance_transactions=None), "du_1"),
        (dispute(balance_transactions=["txn_1"]), "du_1"),
        (dispute(balance_transactions=[WITHDRAWN, {**REINSTATED, "amount": None}]), "du_1"),
        (dispute(balance_transactions=[{**WITHDRAWN, "fee": None}]), "du_1"),
        (dispute(balance_transactions=[{**WITHDRAWN, "currency": "isk", "amount": -550}]), "du_1"),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_broken_dispute_is_unknown(thing: Any, reference: str | None) -> None:
    expected = DisputeResult(outcome=DisputeOutcome.UNKNOWN, reason="malformed", reference=reference)
    assert results.dispute_result(thing) == expected


def evidence(**fields: str) -> dict[str, Any]:
    params = disputes._evidence_params(EvidenceRequest(key="k", reference="du_1", fields=fields))
    assert params["submit"] is True
    told: dict[str, Any] = params["evidence"]
    return told


def test_evidence_goes_under_stripes_names() -> None:
    fields = {name: f"said of {name}" for name in EVIDENCE_FIELDS if name != "customer_communication"}
    assert evidence(**fields) == fields


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "Communication with the customer:\nHello"),
        ({"uncategorized_text": "More."}, "More.\n\nCommunication with the customer:\nHello"),
    ],
)
def test_what_stripe_takes_as_a_file_only_joins_the_text(fields: dict[str, str], told: str) -> None:
    assert evidence(customer_communication="Hello", **fields) == {"uncategorized_text": told}
