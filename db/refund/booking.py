"""The PSP's word on a refund, carried into the row, the reserves and the ledger."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.ledger import posting as ledger
from db.ledger import reserve
from db.ledger.reserve_record import Reserve
from db.payment import payment
from db.payment.record import Payment
from db.refund import find
from db.refund.creation import count, count_psp, made_at_psp
from db.refund.event import announce
from db.refund.record import Refund
from db.schema.messages import webhook_inbox
from db.schema.refund import refund
from domain import ledger as books
from domain.decisions import offered_for_refund, to_be_decided
from domain.ledger import Kind, Transaction
from domain.messages import Decision
from domain.model import Failure
from domain.money import Money, to_major
from domain.psp import RefundOutcome, RefundResult
from domain.refund import BookRefundStep, RefundState
from domain.status import REFUND_TRANSITIONS, RefundStatus, Status
from domain.unknown import TASK_KIND

_TASKS_AFTER = timedelta(minutes=1)
"""No task is opened about a younger refund that was asked for and answered at once."""

LOOKED_AT = "the refund was looked at"
"""The note on an event that came before the PSP was asked about its refund."""


async def book(connection: AsyncConnection, payment_id: str, step: BookRefundStep, unit: int) -> RefundState:
    """Carry the PSP's word on a refund of a payment into the row and the ledger; end what it undoes.

    `unit`: the smallest amount that the PSP moves of the payment's currency, in minor units."""
    locked = await payment.lock(connection, payment_id)
    row = await find.get(connection, step.refund_id)
    state = RefundState(status=row.status, payment_status=locked.status, ended=row.ended)
    status = _status_of(row, step.result)
    if status is None:
        return state
    await _webhooks_read(connection, row, step.result)
    if status is RefundStatus.NEEDS_ATTENTION:
        await _ask(connection, locked, row, step.result)
    over = row.ended and row.status is RefundStatus.FAILED
    if over or (status is not row.status and (row.status.value, status.value) not in REFUND_TRANSITIONS):
        return state  # what is made or was given up stays so, whatever an older word says
    changed = await _change(connection, row, status, step.result)
    if has_tasks(row, step.at):
        said = f"the PSP has answered: {status}"
        await task.close_tasks(connection, locked.id, kind=TASK_KIND, by="workflow", resolution=said)
    if changed.undoes_charge:
        payment_status = await _book_undoing(connection, locked, row, changed, step)
    else:
        await _book_reserves(connection, locked, row, changed, step, unit)
        payment_status = locked.status
    if changed.status is not row.status:
        await announce(connection, changed, step.at)
    return RefundState(
        status=changed.status,
        payment_status=payment_status,
        ended=changed.ended,
        offered=_offered(changed, step.result),
    )


def has_tasks(row: Refund, at: datetime) -> bool:
    """Whether a person may have been told that the PSP gives no answer about the refund."""
    return row.unknown_count > 0 or at - row.created_at > _TASKS_AFTER


def _offered(row: Refund, result: RefundResult) -> tuple[Decision, ...]:
    """The decisions that a person can take about the refund, as it was booked."""
    if row.ended or row.status not in (RefundStatus.NEEDS_ATTENTION, RefundStatus.FAILED):
        return ()
    return offered_for_refund(result.outcome, undoes_charge=row.undoes_charge)


async def accept(connection: AsyncConnection, locked: Payment, row: Refund, at: datetime) -> None:
    """The PSP made another amount of it, and a person lets that stand: ours ends as FAILED with its funds released, and
    what was made is booked like any refund that the PSP made without us. The sweeper starts its workflow."""
    if row.undoes_charge or row.reference is None:
        return
    failure = Failure(code="amount_mismatch", message="The PSP refunded another amount; that is booked by itself.")
    await connection.execute(
        update(refund)
        .where(refund.c.id == row.id)
        .values(status=RefundStatus.FAILED.value, reference=None, failure=failure.model_dump(), updated_at=func.now())
    )
    held = await reserve.of_source(connection, row.id)
    await _give_back(connection, locked, row, held, at)
    await reserve.update_refund_status(connection, [part.order_id for part in held])
    await made_at_psp(connection, locked, row.reference, row.amount, row.currency)
    await announce(connection, await find.get(connection, row.id), at)


async def _change(connection: AsyncConnection, row: Refund, status: RefundStatus, result: RefundResult) -> Refund:
    failure = result.failure
    if status is RefundStatus.NEEDS_ATTENTION and result.outcome is not RefundOutcome.NOT_FOUND:
        failure = _another_amount(row, result)
    values: dict[str, Any] = {
        "status": status.value,
        "reference": result.reference or row.reference,
        "failure": failure.model_dump() if failure else None,
    }
    if row.origin == "psp" and row.status is RefundStatus.REQUESTED and result.amount is not None:
        values |= {"amount": result.amount, "currency": result.currency}
    changed = await connection.execute(
        update(refund).where(refund.c.id == row.id).values(**values, updated_at=func.now()).returning(refund)
    )
    return Refund(**changed.mappings().one())


def _status_of(row: Refund, result: RefundResult) -> RefundStatus | None:
    """None: the PSP's word is not known, so nothing changes."""
    match result.outcome:
        case RefundOutcome.UNKNOWN:
            return None
        case RefundOutcome.NOT_FOUND:
            return RefundStatus.NEEDS_ATTENTION
        case RefundOutcome.SUCCEEDED | RefundOutcome.PENDING if not as_asked(row, result):
            return RefundStatus.NEEDS_ATTENTION
        case outcome:
            return RefundStatus(outcome.value)


def as_asked(row: Refund, result: RefundResult) -> bool:
    """A refund that the PSP made by itself was asked for by nobody: its first word on the amount counts."""
    own_words = row.origin == "psp" and row.status is RefundStatus.REQUESTED
    return own_words or (result.amount, result.currency) == (row.amount, row.currency)


async def _ask(connection: AsyncConnection, locked: Payment, row: Refund, result: RefundResult) -> None:
    """Open the task about a refund that only a person can see through."""
    decisions = offered_for_refund(result.outcome, undoes_charge=row.undoes_charge)
    detail = f"{_why(row, result).rstrip('.')}. {to_be_decided(decisions)}"
    await task.open_task(connection, locked.tenant_id, locked.id, "refund_failed", detail)


def _why(row: Refund, result: RefundResult) -> str:
    if result.failure is not None:
        return f"Refund {row.id}: {result.failure.message}"
    if result.outcome in (RefundOutcome.SUCCEEDED, RefundOutcome.PENDING):
        return f"Refund {row.id}: {_another_amount(row, result).message}"
    return f"Refund {row.id}: the PSP does not know it"


def _another_amount(row: Refund, result: RefundResult) -> Failure:
    said = Money(amount=result.amount or 0, currency=result.currency or row.currency)
    asked = Money(amount=row.amount, currency=row.currency)
    return Failure(code="amount_mismatch", message=f"asked for {asked}, the PSP says {said}")


async def _webhooks_read(connection: AsyncConnection, row: Refund, result: RefundResult) -> None:
    """Close the webhooks about this refund that came before the PSP was asked."""
    reference = result.reference or row.reference
    if reference is not None and result.asked_at is not None:
        await connection.execute(
            update(webhook_inbox)
            .where(
                webhook_inbox.c.payment_id == row.payment_id,
                webhook_inbox.c.reference == reference,
                webhook_inbox.c.status == "RECEIVED",
                webhook_inbox.c.received_at < result.asked_at,
            )
            .values(status="PROCESSED", note=LOOKED_AT, processed_at=func.now())
        )


async def _book_undoing(
    connection: AsyncConnection, locked: Payment, before: Refund, row: Refund, step: BookRefundStep
) -> Status:
    """Of a compensation or a late charge: its money is in suspense until the buyer has it. Returns the payment's
    status."""
    if row.status is RefundStatus.SUCCEEDED and before.status is not RefundStatus.SUCCEEDED:
        return await _succeeded(connection, locked, row, step.at)
    if row.status is RefundStatus.FAILED:
        if before.status is RefundStatus.SUCCEEDED:
            await _came_back(connection, locked, row, step.at)
        await _ask(connection, locked, row, step.result)
    return locked.status


async def _succeeded(connection: AsyncConnection, locked: Payment, row: Refund, at: datetime) -> Status:
    await ledger.post(
        connection,
        locked.tenant_id,
        [
            Transaction(
                kind=Kind.SUSPENSE_REFUND,
                source_id=_source(row),
                payment_id=locked.id,
                payment_order_id=row.order_id,
                postings=books.refund_from_suspense(locked.psp, row.amount, row.currency),
            )
        ],
        at,
    )
    if not [r for r in await find.unmade(connection, locked.id) if r.undoes_charge]:
        await task.close_tasks(connection, locked.id, kind="refund_failed", by="workflow", resolution="refunded")
    ending = [o for o in locked.orders if o.open and row.order_id in (None, o.id)]
    if row.ends_as is None or not ending:
        return locked.status
    # Who asked for a cancel gets one, whatever began the compensation.
    ends_as = Status.CANCELLED if locked.cancel_requested_at else row.ends_as
    return await payment.move(connection, locked, ending, ends_as, reason="compensated", at=at, failure=row.ends_with)


async def _came_back(connection: AsyncConnection, locked: Payment, row: Refund, at: datetime) -> None:
    """A refund that failed after it had succeeded: the money is with the PSP again, and still the buyer's."""
    booked = await ledger.postings_of(connection, Kind.SUSPENSE_REFUND, _source(row))
    reversal = Transaction(
        kind=Kind.SUSPENSE_REFUND_REVERSAL,
        source_id=_source(row),
        payment_id=locked.id,
        payment_order_id=row.order_id,
        corrects=await ledger.transaction_id(connection, Kind.SUSPENSE_REFUND, _source(row)),
        postings=books.reversed_lines(booked),
    )
    await ledger.post(connection, locked.tenant_id, [reversal], at)


def _source(row: Refund) -> str:
    """Each attempt that moved money is a fact of its own."""
    return row.id if row.attempt == 1 else f"{row.id}:{row.attempt}"


async def _book_reserves(
    connection: AsyncConnection, locked: Payment, before: Refund, row: Refund, step: BookRefundStep, unit: int
) -> None:
    """Of a settled payment: what was set aside is taken when the buyer has it, and released when that failed."""
    if row.status is before.status:
        return
    made_at_psp = row.origin == "psp" and row.status in (RefundStatus.PENDING, RefundStatus.SUCCEEDED)
    if made_at_psp:
        await _set_aside(connection, locked, row, step.at, unit)
    told_before = row.origin == "psp" and before.status is RefundStatus.PENDING
    if (made_at_psp or row.status is RefundStatus.SUCCEEDED) and not told_before:
        await _exceeds(connection, locked, row)
    held = await reserve.of_source(connection, row.id)
    if row.status is RefundStatus.SUCCEEDED:
        await reserve.take_for_refund(connection, locked.psp, held, step.at)
    elif row.status is RefundStatus.FAILED:
        if before.status is RefundStatus.SUCCEEDED:
            await reserve.undo_refund(connection, locked.psp, held, step.at)
            why = f"{_why(row, step.result)} It had succeeded; the money is the seller's again, and the buyer waits."
            await task.open_task(connection, locked.tenant_id, locked.id, "refund_came_back", why)
        await _give_back(connection, locked, row, held, step.at)
    await reserve.update_refund_status(connection, [part.order_id for part in held])
    if row.ended and not [r for r in await find.unmade(connection, locked.id) if r.id != row.id]:
        resolution = f"the refund is {row.status}"
        await task.close_tasks(connection, locked.id, kind="refund_failed", by="workflow", resolution=resolution)


async def _set_aside(connection: AsyncConnection, locked: Payment, row: Refund, at: datetime, unit: int) -> None:
    """The money has left the PSP, whether the sellers have it or not: each bears a share, on credit if need be."""
    if await reserve.of_source(connection, row.id):
        return
    for order, share in reserve.shares(locked, row.amount, row.currency, unit):
        terms = await reserve.refund_terms(connection, order, share)
        await count_psp(connection, order.id, share)
        await reserve.for_refund(connection, order, row.id, share, terms.fee, at, on_credit=True)


async def _exceeds(connection: AsyncConnection, locked: Payment, row: Refund) -> None:
    """More is back with the buyer than was paid: a person should know. What we have asked for and the PSP has not made
    counts once it is made: of a charge that was refunded in the dashboard the PSP refuses it."""
    captured = sum(order.captured_amount for order in locked.captured)
    disputed = sum(order.dispute_amount for order in locked.captured)
    left = captured - disputed - (await find.made(connection, locked.id) - row.amount)
    if row.amount <= left:
        return
    amount, most = to_major(row.amount, row.currency), to_major(max(0, left), row.currency)
    where = "at the PSP" if row.origin == "psp" else "as it was asked for"
    detail = f"Refund {row.id} of {amount} {row.currency} was made {where}, though only {most} could be refunded."
    await task.open_task(connection, locked.tenant_id, locked.id, "refund_exceeds", detail)


async def _give_back(
    connection: AsyncConnection, locked: Payment, row: Refund, held: Sequence[Reserve], at: datetime
) -> None:
    """The sellers' funds are theirs again, and the orders can be refunded again."""
    await reserve.return_reserve(connection, held, Kind.REFUND_RELEASE, Kind.REFUND_RESERVE, at)
    for part in held:
        if row.origin == "request":
            await count(connection, locked, locked.order(part.order_id), -part.amount)
        else:
            await count_psp(connection, part.order_id, -part.amount)
