"""Stripe's PaymentIntents, cards, refunds and disputes as our results. No I/O.
Transfers and payouts are in `payout_objects`, what moved our balance in `line_objects`.

What cannot be read is UNKNOWN, or left out where nothing depends on it; nothing raises.
"""

from typing import Any

from domain.model import Failure
from domain.psp import (
    CardChecks,
    CardFacts,
    ChargeOutcome,
    ChargeResult,
    DisputeMoney,
    DisputeOutcome,
    DisputeResult,
    NextAction,
    PspFee,
    RefundOutcome,
    RefundResult,
)
from gateways.settlement_file import free_text
from gateways.stripe.amounts import from_stripe
from gateways.stripe.failures import failure_of, failure_with
from gateways.stripe.objects import UNREADABLE, Object, carried, inside, text_or_none, time_of, time_or_none

_CHARGE_OUTCOMES: dict[str, ChargeOutcome] = {
    "succeeded": ChargeOutcome.SUCCEEDED,
    "requires_action": ChargeOutcome.REQUIRES_ACTION,
    "processing": ChargeOutcome.PENDING,
    "requires_capture": ChargeOutcome.AUTHORIZED,
    "requires_payment_method": ChargeOutcome.DECLINED,
    "canceled": ChargeOutcome.VOIDED,
    # requires_confirmation is left out: we always confirm, so it is a state that cannot be, and UNKNOWN.
}

_REFUND_OUTCOMES: dict[str, RefundOutcome] = {
    "succeeded": RefundOutcome.SUCCEEDED,
    "pending": RefundOutcome.PENDING,
    "requires_action": RefundOutcome.PENDING,
    "failed": RefundOutcome.FAILED,
    "canceled": RefundOutcome.FAILED,
}

_DISPUTE_OUTCOMES: dict[str, DisputeOutcome] = {
    "warning_needs_response": DisputeOutcome.INQUIRY,
    "warning_under_review": DisputeOutcome.INQUIRY,
    "warning_closed": DisputeOutcome.CLOSED,
    "prevented": DisputeOutcome.CLOSED,
    "needs_response": DisputeOutcome.NEEDS_RESPONSE,
    "under_review": DisputeOutcome.UNDER_REVIEW,
    "won": DisputeOutcome.WON,
    "lost": DisputeOutcome.LOST,
    # The appeal_… states are left out: an appeal is made at Stripe, by a person, and a person has to look at it here.
}

_CHECKS = frozenset({"pass", "fail", "unavailable", "unchecked"})
_RISK_LEVELS = frozenset({"normal", "elevated", "highest"})
"""Stripe also says `not_assessed` and `unknown`: there was no check."""

_ACTION_URLS = ("url", "hosted_instructions_url", "hosted_verification_url", "stripe_js")
"""Where the different kinds of `next_action` keep a page; `stripe_js` is the page behind `use_stripe_sdk`."""


def charge_result(intent: Any) -> ChargeResult:
    """A PaymentIntent as our result; one that cannot be read is UNKNOWN, with its reference where it has one."""
    try:
        return _read_intent(intent)
    except UNREADABLE:
        return unknown_charge("malformed", text_or_none(inside(intent, "id")))


def _read_intent(intent: Object) -> ChargeResult:
    if intent["object"] != "payment_intent":
        raise ValueError("not a PaymentIntent")
    outcome = _CHARGE_OUTCOMES.get(intent["status"], ChargeOutcome.UNKNOWN)
    taken, reserved = outcome is ChargeOutcome.SUCCEEDED, outcome is ChargeOutcome.AUTHORIZED
    charge = intent.get("latest_charge")
    card = inside(charge, "payment_method_details", "card") if taken or reserved else None
    currency = intent["currency"].upper()
    amount = from_stripe(intent["amount_received" if taken else "amount"], currency)
    if taken and amount <= 0:
        raise ValueError("succeeded, and nothing was taken")
    return ChargeResult(
        outcome=outcome,
        reference=intent["id"],
        amount=amount,
        currency=currency,
        fee=_fee(charge) if taken else None,
        failure=_why_not_paid(outcome, intent.get("last_payment_error")),
        next_action=_next_action(intent) if outcome is ChargeOutcome.REQUIRES_ACTION else None,
        capture_before=time_or_none(inside(card, "capture_before")) if reserved else None,
        card=card_facts(card),
        checks=_checks(card, inside(charge, "outcome")) if taken or reserved else None,
        reason="unrecognised" if outcome is ChargeOutcome.UNKNOWN else None,
    )


def _why_not_paid(outcome: ChargeOutcome, error: Object | None) -> Failure | None:
    """Of a decline always something; of a cancelled charge the decline before it, if there was one."""
    if outcome is ChargeOutcome.DECLINED or (outcome is ChargeOutcome.VOIDED and error):
        return failure_of(error or {}, attempted=True)
    return None


def result_for(intent: Object, reference: str, charge_id: str) -> ChargeResult:
    """`charge_result` of an answer about the PaymentIntent asked for, provided that it carries our charge's id."""
    if intent.get("id") != reference or carried(intent, "paysaga_charge") != charge_id:
        return unknown_charge("another_charge")  # without a reference: the answer's is not ours to keep
    return charge_result(intent)


def card_facts(card: Any) -> CardFacts | None:
    """Stripe's facts about a card, each by itself; None if it says nothing."""
    names = ("fingerprint", "country", "brand", "funding")
    facts = {name: fact for name in names if (fact := text_or_none(inside(card, name)))}
    return CardFacts(**facts) if facts else None


def _checks(card: Any, outcome: Any) -> CardChecks | None:
    """The issuer's checks of the card and Stripe's of the charge, each by itself; None if there were none."""
    score = inside(outcome, "risk_score")
    checks = CardChecks(
        address_line=_word(_CHECKS, inside(card, "checks", "address_line1_check")),
        postal_code=_word(_CHECKS, inside(card, "checks", "address_postal_code_check")),
        cvc=_word(_CHECKS, inside(card, "checks", "cvc_check")),
        risk_score=score if type(score) is int and 0 <= score <= 100 else None,
        risk_level=_word(_RISK_LEVELS, inside(outcome, "risk_level")),
    )
    return None if checks == CardChecks() else checks


def _word(words: frozenset[str], value: object) -> str | None:
    return value if isinstance(value, str) and value in words else None


def _fee(charge: Any) -> PspFee | None:
    """The fee, where the balance transaction is there and readable; reconciliation books what is missing here."""
    try:
        entry = charge["balance_transaction"]
        currency = entry["currency"].upper()
        return PspFee(
            reference=entry["id"],
            amount=from_stripe(entry["fee"], currency),
            currency=currency,
            available_on=time_of(entry["available_on"]) if entry.get("available_on") else None,
        )
    except UNREADABLE:
        return None


def _next_action(intent: Object) -> NextAction | None:
    """The page to send the buyer to; None where Stripe offers none (then the webhook or the deadline moves it on)."""
    action = intent.get("next_action") or {}
    details = action.get(action.get("type"))
    urls = [details.get(name) for name in _ACTION_URLS] if isinstance(details, dict) else []
    url = next((url for url in urls if isinstance(url, str) and url.startswith(("https://", "http://"))), None)
    return NextAction(url=url) if url else None


def refund_result(refund: Any) -> RefundResult:
    """A Refund as our result; one that cannot be read is UNKNOWN."""
    try:
        if refund["object"] != "refund":
            return unknown_refund("malformed")
        outcome = _REFUND_OUTCOMES.get(refund["status"], RefundOutcome.UNKNOWN)
        currency = refund["currency"].upper()
        failed = "refund_canceled" if refund["status"] == "canceled" else "refund_failed"
        return RefundResult(
            outcome=outcome,
            reference=refund["id"],
            amount=from_stripe(refund["amount"], currency),
            currency=currency,
            failure=failure_with(failed, refund.get("failure_reason")) if outcome is RefundOutcome.FAILED else None,
            reason="unrecognised" if outcome is RefundOutcome.UNKNOWN else None,
        )
    except UNREADABLE:
        return unknown_refund("malformed")


def dispute_result(dispute: Any) -> DisputeResult:
    """A Dispute as our result; one that cannot be read is UNKNOWN, with its reference where it has one."""
    try:
        return _read_dispute(dispute)
    except UNREADABLE:
        return unknown_dispute("malformed", text_or_none(inside(dispute, "id")))


def _read_dispute(dispute: Object) -> DisputeResult:
    charge = dispute.get("payment_intent") or dispute["charge"]
    if dispute["object"] != "dispute" or not dispute["id"] or not charge:
        raise ValueError("not a Dispute")
    outcome = _DISPUTE_OUTCOMES.get(dispute["status"], DisputeOutcome.UNKNOWN)
    currency = dispute["currency"].upper()
    evidence = dispute.get("evidence_details") or {}
    return DisputeResult(
        outcome=outcome,
        reference=dispute["id"],
        charge_reference=charge,
        amount=from_stripe(dispute["amount"], currency),
        currency=currency,
        category=free_text(dispute.get("reason")),
        # 0: the issuer takes no answer to this one.
        evidence_due_at=time_of(evidence["due_by"]) if evidence.get("due_by") else None,
        submissions=evidence.get("submission_count") or 0,
        # All of it or none: a movement left out would never be booked.
        money=tuple(_movement(entry) for entry in dispute["balance_transactions"]),
        reason="unrecognised" if outcome is DisputeOutcome.UNKNOWN else None,
    )


def _movement(entry: Object) -> DisputeMoney:
    """One balance transaction, in the currency that the account settles in, which may be another than the dispute's."""
    currency = entry["currency"].upper()
    amount, fee = from_stripe(entry["amount"], currency), from_stripe(entry["fee"], currency)
    return DisputeMoney(reference=entry["id"], amount=amount, fee=fee, currency=currency)


def unknown_charge(reason: str, reference: str | None = None) -> ChargeResult:
    return ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason, reference=reference)


def unknown_refund(reason: str) -> RefundResult:
    return RefundResult(outcome=RefundOutcome.UNKNOWN, reason=reason)


def unknown_dispute(reason: str, reference: str | None = None) -> DisputeResult:
    return DisputeResult(outcome=DisputeOutcome.UNKNOWN, reason=reason, reference=reference)
