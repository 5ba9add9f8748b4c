"""The decisions that each task about a payment, a refund or a payout offers: those that its workflow acts on, and no
other."""

import re
from collections.abc import Sequence
from enum import StrEnum

from domain.messages import Decision
from domain.payout import PayoutCall, PayoutDecision
from domain.psp import RefundOutcome
from domain.unknown import TASK_KIND

_LOOK_FOR_IT = (Decision.RETRY, Decision.NOT_CHARGED, Decision.REFERENCE, Decision.CANCEL)
_ASK_AGAIN = (Decision.RETRY, Decision.CANCEL)
_REFUND = (Decision.RETRY, Decision.REFERENCE)

_OFFERED: dict[str, tuple[Decision, ...]] = {
    "amount_mismatch": (Decision.CANCEL,),
    "capture_refused": _ASK_AGAIN,
    "charge_not_found": _LOOK_FOR_IT,
    "psp_unknown": _LOOK_FOR_IT,
    "past_deadline": _ASK_AGAIN,
    "authorized_unexpectedly": _ASK_AGAIN,
    "refund_failed": _REFUND,
    TASK_KIND: (),
}


ACCEPTABLE = "it can be accepted"
"""In a task about another amount than was asked for: it is a part of the payment, as after a partial capture that
somebody made at the PSP."""


def offered(task: str, *, has_reference: bool = False, acceptable: bool = False) -> tuple[Decision, ...]:
    """The decisions about a payment that waits with a task of this kind. `has_reference`: the PSP's object is known,
    so that nobody has to find it. `acceptable`: what the PSP took can be shared among the orders."""
    decisions = _OFFERED.get(task, _ASK_AGAIN)
    if acceptable:
        return (Decision.ACCEPT, *decisions)
    return _ASK_AGAIN if has_reference and decisions is _LOOK_FOR_IT else decisions


def offered_for_refund(outcome: RefundOutcome, *, undoes_charge: bool) -> tuple[Decision, ...]:
    """The decisions about a refund that the PSP refused, does not know, or makes of another amount (SUCCEEDED or
    PENDING): that may stand, unless the buyer is owed the whole charge."""
    if outcome not in (RefundOutcome.SUCCEEDED, RefundOutcome.PENDING):
        return _REFUND
    return (Decision.REFERENCE,) if undoes_charge else (Decision.ACCEPT, Decision.REFERENCE)


_OFFERED_FOR_PAYOUT = {
    PayoutCall.TRANSFER: (PayoutDecision.RETRY, PayoutDecision.REFERENCE),
    PayoutCall.PAYOUT: (PayoutDecision.RETRY, PayoutDecision.REFERENCE, PayoutDecision.PAID, PayoutDecision.DONE),
    PayoutCall.REVERSAL: (PayoutDecision.RETRY, PayoutDecision.PAID, PayoutDecision.DONE),
}


def offered_for_payout(call: PayoutCall) -> tuple[PayoutDecision, ...]:
    """The decisions about a payout that waits with this call. Where the PSP made another amount of it, RETRY works once
    that is undone there, which is looked at before the decision is taken."""
    return _OFFERED_FOR_PAYOUT[call]


def in_words(decisions: Sequence[StrEnum]) -> str:
    """`retry, reference or cancel`."""
    *first, last = [decision.value for decision in decisions]
    return f"{', '.join(first)} or {last}" if first else last


def to_be_decided(decisions: Sequence[StrEnum]) -> str:
    """`To be decided: retry, reference or cancel.`: the end of a task's detail."""
    return f"To be decided: {in_words(decisions)}."


_TO_BE_DECIDED = re.compile(r"To be decided: ([a-z_, ]+)\.")


def told(detail: str) -> frozenset[str] | None:
    """The decisions that a task's detail says last; None where it says none."""
    found = _TO_BE_DECIDED.findall(detail)
    return frozenset(re.split(r", | or ", found[-1])) if found else None
