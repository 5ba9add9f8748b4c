"""Comparing what the PSP shows, by our id or by the name that a person gives it, with what was asked for."""

from datetime import timedelta
from typing import TypeVar

from db.payout import decision, transition
from db.payout.record import Payout
from domain.errors import Unavailable, Unprocessable
from domain.model import Failure
from domain.money import to_major
from domain.payout import PayoutCall, PayoutDecision, PayoutResolution
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from gateways.protocol import Psp

R = TypeVar("R", TransferResult, PayoutResult)


_CLOCK_SLACK = timedelta(minutes=10)
"""Tolerance: so far may the PSP's clock be from the database's when a payout is looked up by its time of creation."""

_UNKNOWN = (TransferOutcome.UNKNOWN, PayoutOutcome.UNKNOWN)
_NOT_FOUND = (TransferOutcome.NOT_FOUND, PayoutOutcome.NOT_FOUND)
_NOTHING_MOVED = (TransferOutcome.REFUSED, PayoutOutcome.FAILED, PayoutOutcome.CANCELLED)


async def check_decision(psp: Psp, row: Payout, resolution: PayoutResolution, *, timeout_s: float) -> None:
    """Look at the PSP before a person's decision is taken: at what is named as the payout's, and whether what was made
    of another amount still stands in the way of a retry. Raises what `refuse_impossible` does; Unprocessable
    `reference_not_found`, or why it is not what was asked for; Unavailable `psp_unavailable`."""
    decision.refuse_impossible(row, resolution)
    if resolution.decision is PayoutDecision.RETRY:
        await _check_retry(psp, row, timeout_s)
    if resolution.decision is not PayoutDecision.REFERENCE or resolution.reference is None:
        return
    reference = resolution.reference
    found: TransferResult | PayoutResult
    if transition.call_of(row) is PayoutCall.TRANSFER:
        found = await transfer_named(psp, row, reference, timeout_s)
    else:
        found = await payout_named(psp, row, reference, timeout_s)
        found = another_amount(row, found) if _differs(row, found) and found.outcome in _NOTHING_MOVED else found
    if found.outcome in _UNKNOWN:
        raise Unavailable(f"The PSP does not say what {reference} is: try again.", code="psp_unavailable")
    if found.outcome in _NOT_FOUND:
        message = found.failure.message if found.failure else f"The PSP knows no {reference} of this seller."
        raise Unprocessable(message, code=found.failure.code if found.failure else "reference_not_found")


_UNDO_FIRST = {
    PayoutCall.TRANSFER: "Take it back at the PSP first.",
    PayoutCall.PAYOUT: "Cancel it at the PSP first; where it is too late for that, say paid or done.",
}


async def _check_retry(psp: Psp, row: Payout, timeout_s: float) -> None:
    """Nothing new is sent while what was made of another amount stands: the retry would change nothing."""
    call = transition.call_of(row)
    if row.failure is None or row.failure.code != "amount_mismatch" or call not in _UNDO_FIRST:
        return
    found: TransferResult | PayoutResult
    if call is PayoutCall.TRANSFER:
        found = await transfer_of(psp, row, timeout_s)
    elif row.reference is not None:
        found = await payout_named(psp, row, row.reference, timeout_s)
    else:
        found = await payout_of(psp, row, timeout_s)
    if found.outcome in _UNKNOWN:
        raise Unavailable(f"The PSP does not say what there is of {row.id}: try again.", code="psp_unavailable")
    if found.outcome in _NOT_FOUND and found.failure is not None:
        raise Unprocessable(f"{found.failure.message} {_UNDO_FIRST[call]}", code=found.failure.code)


async def transfer_named(psp: Psp, row: Payout, reference: str, timeout_s: float) -> TransferResult:
    """The PSP's transfer of this name, if it is what was asked for."""
    found = await psp.retrieve_transfer(reference, payout_id=row.id, destination=row.destination, timeout_s=timeout_s)
    return as_asked(row, found)


async def transfer_of(psp: Psp, row: Payout, timeout_s: float) -> TransferResult:
    """The PSP's transfer that carries our id, if it is what was asked for."""
    return as_asked(row, await psp.find_transfer(row.id, timeout_s=timeout_s))


async def payout_named(psp: Psp, row: Payout, reference: str, timeout_s: float) -> PayoutResult:
    """The PSP's payout of this name, if it is what was asked for."""
    found = await psp.retrieve_payout(reference, payout_id=row.id, destination=row.destination, timeout_s=timeout_s)
    return as_asked(row, found)


async def payout_of(psp: Psp, row: Payout, timeout_s: float) -> PayoutResult:
    """The PSP's payout that carries our id, if it is what was asked for."""
    found = await psp.find_payout(
        row.id, destination=row.destination, created_from=row.created_at - _CLOCK_SLACK, timeout_s=timeout_s
    )
    return as_asked(row, found)


def as_asked(row: Payout, found: R) -> R:
    """The result of a look, which carries our id or none. Of another amount it is not what was asked for: NOT_FOUND,
    with what it is instead, for a person to decide. One that failed or was cancelled has moved nothing, whatever its
    amount."""
    if found.outcome in (*_UNKNOWN, *_NOT_FOUND, *_NOTHING_MOVED) or not _differs(row, found):
        return found
    return another_amount(row, found)


def _differs(row: Payout, found: TransferResult | PayoutResult) -> bool:
    return (found.amount, found.currency) != (row.amount, row.currency)


def another_amount(row: Payout, found: R) -> R:
    """NOT_FOUND, with what the PSP made instead of what was asked for."""
    currency = found.currency or row.currency
    of = f"{to_major(found.amount or 0, currency)} {currency}"
    message = f"The PSP shows {found.reference} of {of}, not of {to_major(row.amount, row.currency)} {row.currency}."
    failure = Failure(code="amount_mismatch", message=message)
    nothing = PayoutOutcome.NOT_FOUND if isinstance(found, PayoutResult) else TransferOutcome.NOT_FOUND
    return found.model_copy(update={"outcome": nothing, "reference": None, "failure": failure})
