"""Comparing what the PSP shows, by our id or by the name that a person gives it, with what was asked for."""

from typing import TypeVar

from db.payout import decision
from db.payout.record import Payout
from domain.errors import Unavailable, Unprocessable
from domain.model import Failure
from domain.money import to_major
from domain.payout import PayoutCall, PayoutDecision, PayoutResolution
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from gateways.protocol import Psp

R = TypeVar("R", TransferResult, PayoutResult)


async def check_reference(psp: Psp, row: Payout, resolution: PayoutResolution, *, timeout_s: float) -> None:
    """Look at what a person names, before it is taken for the payout's. Raises what `refuse_impossible` does;
    Unprocessable `reference_not_found`, or why it is not what was asked for; Unavailable `psp_unavailable`."""
    decision.refuse_impossible(row, resolution)
    reference = resolution.reference
    if resolution.decision is not PayoutDecision.REFERENCE or reference is None:
        return
    found: TransferResult | PayoutResult
    if decision.call_of(row) is PayoutCall.TRANSFER:
        named = await psp.retrieve_transfer(
            reference, payout_id=row.id, destination=row.destination, timeout_s=timeout_s
        )
        found = as_asked(row, named)
    else:
        found = await payout_named(psp, row, reference, timeout_s)
    if found.outcome in (TransferOutcome.UNKNOWN, PayoutOutcome.UNKNOWN):
        raise Unavailable(f"The PSP does not say what {reference} is: try again.", code="psp_unavailable")
    if found.outcome in (TransferOutcome.NOT_FOUND, PayoutOutcome.NOT_FOUND):
        message = found.failure.message if found.failure else f"The PSP knows no {reference} of this seller."
        raise Unprocessable(message, code=found.failure.code if found.failure else "reference_not_found")


async def payout_named(psp: Psp, row: Payout, reference: str, timeout_s: float) -> PayoutResult:
    """The PSP's payout of this name, if it is what was asked for."""
    found = await psp.retrieve_payout(reference, payout_id=row.id, destination=row.destination, timeout_s=timeout_s)
    return as_asked(row, found)


def as_asked(row: Payout, found: R) -> R:
    """The result of a look, which carries our id or none. Of another amount it is not what was asked for: NOT_FOUND,
    with what it is instead, for a person to decide."""
    unclear = (TransferOutcome.UNKNOWN, TransferOutcome.NOT_FOUND, PayoutOutcome.UNKNOWN, PayoutOutcome.NOT_FOUND)
    if found.outcome in unclear or (found.amount, found.currency) == (row.amount, row.currency):
        return found
    of = f"{to_major(found.amount or 0, found.currency or row.currency)} {found.currency}"
    message = f"The PSP shows {found.reference} of {of}, not of {to_major(row.amount, row.currency)} {row.currency}."
    failure = Failure(code="amount_mismatch", message=message)
    nothing = PayoutOutcome.NOT_FOUND if isinstance(found, PayoutResult) else TransferOutcome.NOT_FOUND
    return found.model_copy(update={"outcome": nothing, "reference": None, "failure": failure})
