"""Stripe's transfers and payouts → ours, and why one was refused. No I/O.

What cannot be read is UNKNOWN; nothing raises.
"""

from typing import Any

from domain.model import Failure
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from gateways.settlement_file import free_text
from gateways.stripe.amounts import from_stripe
from gateways.stripe.objects import UNREADABLE, Object, inside, text_or_none, time_or_none, trace_of

# --- Why it was refused -----------------------------------------------------------------------------------------------

_REFUSALS: dict[str, str] = {
    # Stripe's error code → ours. https://docs.stripe.com/error-codes
    "balance_insufficient": "balance_insufficient",
    "insufficient_funds": "balance_insufficient",
    "account_closed": "payout_account_invalid",
    "account_invalid": "payout_account_invalid",
    "bank_account_declined": "payout_account_invalid",
    "bank_account_restricted": "payout_account_invalid",
    "bank_account_unusable": "payout_account_invalid",
    "bank_account_unverified": "payout_account_invalid",
    "insufficient_capabilities_for_transfer": "payout_account_invalid",
    "no_account": "payout_account_invalid",
    "payouts_not_allowed": "payout_account_invalid",
    # transfers_not_allowed is left out: it says no more than that Stripe will not, and to ask Stripe.
}

_MESSAGES: dict[str, str] = {
    "balance_insufficient": "The balance at the PSP is too low.",
    "payout_account_invalid": "The seller's account at the PSP, or the bank account behind it, cannot be paid.",
    "transfer_refused": "The PSP refused the transfer.",
    "reversal_refused": "The PSP refused to take the transfer back.",
    "psp_error": "The PSP failed with an error that it repeats, and has not taken the transfer back.",
    "payout_refused": "The PSP refused the payout.",
    "payout_failed": "The payout did not reach the bank account.",
    "payout_not_cancellable": "The payout can no longer be cancelled.",
    "another_transfer": "The transfer of this name belongs to another payout or seller, or was taken back.",
    "another_payout": "The payout of this name is another one of ours.",
}

_MESSAGE_CHARS_MAX = 500


def failure_with(code: str, psp_code: str | None = None) -> Failure:
    """The failure of our stable code, with its message."""
    return Failure(code=code, message=_MESSAGES[code], psp_code=free_text(psp_code))


def refusal_of(error: Object, otherwise: str) -> Failure:
    """Our stable code for Stripe's error object; `otherwise`: for one that says nothing in particular."""
    psp_code = text_or_none(error.get("code"))
    code = _REFUSALS.get(psp_code or "", otherwise)
    if code == otherwise and str(error.get("param") or "").startswith("destination"):
        code = "payout_account_invalid"  # "No such destination"
    return failure_with(code, psp_code)


# --- Transfers --------------------------------------------------------------------------------------------------------


def transfer_result(thing: Any, kind: str = "transfer") -> TransferResult:
    """A Transfer, or as `transfer_reversal` one that was taken back; UNKNOWN, with its reference, if unreadable."""
    try:
        if thing["object"] != kind or not thing["id"]:
            raise ValueError(f"not a {kind}")
        currency = thing["currency"].upper()
        amount = from_stripe(thing["amount"], currency)
        return TransferResult(outcome=TransferOutcome.DONE, reference=thing["id"], amount=amount, currency=currency)
    except UNREADABLE:
        return unknown_transfer("malformed", text_or_none(inside(thing, "id")))


def taken_back(transfer: Object, key: str) -> TransferResult | None:
    """The reversal of a transfer that is reversed in full, the one made under `key` if there are several; of one that
    is not, the reversal that we have made of another amount; else None."""
    entries = inside(transfer, "reversals", "data")
    reversals = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    if transfer.get("reversed") is not True:
        ours = [entry for entry in reversals if inside(entry, "metadata", "paysaga_payout")]
        return transfer_result(ours[0], "transfer_reversal") if ours else None
    reversals.sort(key=lambda reversal: inside(reversal, "metadata", "paysaga_key") != key)
    reference = text_or_none(reversals[0].get("id")) if reversals else None
    whole = transfer_result({**transfer, "amount": transfer.get("amount_reversed")})
    return whole.model_copy(update={"reference": reference})


def unknown_transfer(reason: str, reference: str | None = None) -> TransferResult:
    return TransferResult(outcome=TransferOutcome.UNKNOWN, reason=reason, reference=reference)


def refused_transfer(failure: Failure) -> TransferResult:
    return TransferResult(outcome=TransferOutcome.REFUSED, failure=failure)


def moved_as_asked(result: TransferResult, amount: int, currency: str) -> TransferResult:
    """Another amount or currency than was asked for is UNKNOWN: what was done has to be looked at by a person."""
    if result.outcome is not TransferOutcome.DONE or (result.amount, result.currency) == (amount, currency):
        return result
    return result.model_copy(update={"outcome": TransferOutcome.UNKNOWN, "reason": "amount_mismatch"})


# --- Payouts ----------------------------------------------------------------------------------------------------------

_PAYOUT_OUTCOMES: dict[str, PayoutOutcome] = {
    # https://docs.stripe.com/api/payouts/object#payout_object-status
    "pending": PayoutOutcome.PENDING,
    "in_transit": PayoutOutcome.PENDING,
    "paid": PayoutOutcome.PAID,
    "failed": PayoutOutcome.FAILED,
    "canceled": PayoutOutcome.CANCELLED,
}


def payout_result(payout: Any) -> PayoutResult:
    """A Payout as our result; one that cannot be read is UNKNOWN, with its reference where it has one."""
    try:
        if payout["object"] != "payout" or not payout["id"]:
            raise ValueError("not a Payout")
        outcome = _PAYOUT_OUTCOMES.get(payout["status"], PayoutOutcome.UNKNOWN)
        currency = payout["currency"].upper()
        return PayoutResult(
            outcome=outcome,
            reference=payout["id"],
            amount=from_stripe(payout["amount"], currency),
            currency=currency,
            arrival_at=time_or_none(payout.get("arrival_date")),
            trace_id=trace_of(payout),
            failure=_why_failed(payout) if outcome is PayoutOutcome.FAILED else None,
            reason="unrecognised" if outcome is PayoutOutcome.UNKNOWN else None,
        )
    except UNREADABLE:
        return unknown_payout("malformed", text_or_none(inside(payout, "id")))


def _why_failed(payout: Object) -> Failure:
    """The bank's reason: https://docs.stripe.com/api/payouts/failures. Its sentence is kept with card numbers masked:
    a seller may be paid to a debit card."""
    failure = failure_with("payout_failed", text_or_none(payout.get("failure_code")))
    message = text_or_none(payout.get("failure_message"))
    return (
        failure.model_copy(update={"message": (free_text(message) or "")[:_MESSAGE_CHARS_MAX]}) if message else failure
    )


def unknown_payout(reason: str, reference: str | None = None) -> PayoutResult:
    return PayoutResult(outcome=PayoutOutcome.UNKNOWN, reason=reason, reference=reference)


def refused_payout(failure: Failure) -> PayoutResult:
    return PayoutResult(outcome=PayoutOutcome.FAILED, failure=failure)


def paid_as_asked(result: PayoutResult, amount: int, currency: str) -> PayoutResult:
    """Another amount or currency than was asked for is UNKNOWN: what was done has to be looked at by a person."""
    if result.outcome is PayoutOutcome.UNKNOWN or (result.amount, result.currency) == (amount, currency):
        return result
    mismatch = {"outcome": PayoutOutcome.UNKNOWN, "failure": None, "reason": "amount_mismatch"}
    return result.model_copy(update=mismatch)
