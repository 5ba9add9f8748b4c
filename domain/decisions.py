"""The decisions that each task about a payment or a refund offers: those that its workflow acts on, and no other."""

from domain.messages import Decision
from domain.psp import RefundOutcome

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
    """The decisions about a refund that the PSP refused, does not know, or made of another amount (SUCCEEDED): that
    may stand, unless the buyer is owed the whole charge."""
    if outcome is not RefundOutcome.SUCCEEDED:
        return _REFUND
    return (Decision.REFERENCE,) if undoes_charge else (Decision.ACCEPT, Decision.REFERENCE)


def in_words(decisions: tuple[Decision, ...]) -> str:
    """`retry, reference or cancel`."""
    *first, last = [decision.value for decision in decisions]
    return f"{', '.join(first)} or {last}" if first else last
