"""The fix that is safe to do by rule, by the kind of movement; None where a person has to decide."""

from collections.abc import Callable, Mapping

from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.pair import Pair
from domain.reconciliation.reconciliation import Fix, Subject
from domain.status import PAYOUT_GIVEN_BACK, TERMINAL, PayoutStatus, RefundStatus, Status


def safe_fix(pair: Pair) -> Fix | None:
    """The fix for a movement that the PSP lists and we have not booked. Nothing of a bank's statement is fixed so."""
    rule = _FIXES.get(pair.kind)
    return rule(pair) if rule is not None and pair.subject is Subject.PSP else None


def _fix_charge(pair: Pair) -> Fix | None:
    """Ask the payment's workflow, which asks the PSP itself. Another charge of a settled payment is a person's matter,
    and so is what was taken back."""
    if pair.line is not None and pair.line.amount <= 0:
        return None
    if not pair.known or pair.payment_status is None or pair.payment_status == Status.SUCCESS:
        return None
    return Fix.ADVANCE_PAYMENT


def _fix_refund(pair: Pair) -> Fix | None:
    if pair.known:
        return Fix.ADVANCE_REFUND if pair.record_status != RefundStatus.FAILED else None
    dashboard = pair.payment_status is not None and Status(pair.payment_status) in TERMINAL
    named = pair.line is not None and pair.line.our_reference is None and pair.line.source_reference is not None
    return Fix.ADVANCE_REFUND if dashboard and named and pair.payment_status == Status.SUCCESS else None


def _fix_refund_failure(pair: Pair) -> Fix | None:
    return Fix.ADVANCE_REFUND if pair.known and pair.record_status != RefundStatus.FAILED else None


def _fix_dispute(pair: Pair) -> Fix | None:
    named = pair.line is not None and pair.line.source_reference is not None
    return Fix.ADVANCE_DISPUTE if pair.payment_id is not None and named else None


def _fix_transfer(pair: Pair) -> Fix | None:
    if not pair.known or pair.record_status is None:
        return None
    return None if PayoutStatus(pair.record_status) in PAYOUT_GIVEN_BACK else Fix.ADVANCE_PAYOUT


def _fix_payout(pair: Pair) -> Fix | None:
    """Book it under the PSP's name of the payout; a line without that may be of one that is booked."""
    named = pair.line is not None and pair.line.source_reference is not None
    return Fix.BOOK_BANK_PAYOUT if named else None


_FIXES: Mapping[str, Callable[[Pair], Fix | None]] = {
    PspLineKind.CHARGE: _fix_charge,
    PspLineKind.REFUND: _fix_refund,
    PspLineKind.REFUND_FAILURE: _fix_refund_failure,
    PspLineKind.DISPUTE: _fix_dispute,
    PspLineKind.DISPUTE_REVERSAL: _fix_dispute,
    PspLineKind.TRANSFER: _fix_transfer,
    PspLineKind.TRANSFER_REVERSAL: _fix_transfer,
    PspLineKind.PAYOUT: _fix_payout,
    PspLineKind.PAYOUT_REVERSAL: _fix_payout,
}
