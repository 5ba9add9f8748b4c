"""Undoing a charge: money to suspense, a refund at the PSP, suspense emptied; then the order may end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import charge as charges
from db import ledger, payment, task
from db.records import Order, Payment, Refund
from db.settlement import debit_wallet, psp_fee, reverse_capture
from db.tables import charge, payment_order, refund, webhook_inbox
from db.tables import payment as payment_table
from domain import ledger as books
from domain.ids import new_id
from domain.ledger import Kind, Transaction
from domain.payment import (
    BookRefundStep,
    CompensateStep,
    Compensation,
    HoldStep,
    LateChargeStep,
    RefundState,
)
from domain.psp import ChargeResult, Failure, RefundOutcome, RefundResult
from domain.status import TERMINAL, RefundStatus, Status


async def begin_compensation(connection: AsyncConnection, step: CompensateStep, send_for_s: float) -> Compensation:
    """Mark the orders, so that no settlement can follow; bring their money to suspense; record the refunds.

    One transaction, last order first. Calling it again finds its own rows and returns the same refunds.
    """
    locked = await payment.lock(connection, step.payment_id)
    wanted = [o for o in reversed(locked.orders) if o.open and (not step.order_ids or o.id in step.order_ids)]
    if not wanted:
        return Compensation(refund_ids=())
    await connection.execute(
        update(payment_order).where(payment_order.c.id.in_([o.id for o in wanted])).values(compensating=True)
    )
    if not locked.charge.booked:
        await charges.record(connection, locked.charge.id, step.result, booked=True)
        await ledger.post(connection, locked.tenant_id, psp_fee(locked, step.result), step.at)
    ending = {"ends_as": step.ends_as.value, "ends_with": step.failure.model_dump() if step.failure else None}
    held = await _held(connection, locked)
    if held is not None:
        made = await _record(connection, locked, None, held, "compensation", send_for_s, ending)
        return Compensation(refund_ids=(made,))
    refund_ids = []
    for order in wanted:
        await _to_suspense(connection, locked, order, step.at)
        share = (order.amount, order.currency)
        refund_ids.append(await _record(connection, locked, order, share, "compensation", send_for_s, ending))
    return Compensation(refund_ids=tuple(refund_ids))


async def _to_suspense(connection: AsyncConnection, locked: Payment, order: Order, at: datetime) -> None:
    if order.ledger_updated:
        booked = await reverse_capture(connection, locked, order, at)
        await debit_wallet(connection, order, booked)
        return
    if await ledger.transaction_id(connection, Kind.CAPTURE_REVERSAL, order.id) is None:
        await ledger.post(
            connection,
            locked.tenant_id,
            [
                Transaction(
                    kind=Kind.SUSPENSE,
                    source_id=order.id,
                    payment_id=locked.id,
                    payment_order_id=order.id,
                    postings=books.to_suspense(locked.psp, order.amount, order.currency),
                )
            ],
            at,
        )


async def hold(connection: AsyncConnection, step: HoldStep) -> None:
    """Book what really came in, as one sum, to suspense: it is not what was asked for, so no order is credited.

    What is booked stays: a PSP that tells another sum at the next look changes nothing here.
    """
    locked = await payment.lock(connection, step.payment_id)
    if not locked.charge.booked:
        await _charge_to_suspense(connection, locked, step.result, step.at)


async def _held(connection: AsyncConnection, locked: Payment) -> tuple[int, str] | None:
    """The sum of this charge that is booked to suspense as a whole, if it is."""
    for posting in await ledger.postings_of(connection, Kind.SUSPENSE, locked.charge.id):
        if posting.account == books.SUSPENSE:
            return -posting.amount, posting.currency
    return None


async def begin_late_charge(connection: AsyncConnection, step: LateChargeStep, send_for_s: float) -> Compensation:
    """A payment that had ended was paid after all: book it to suspense and record its refund. No status changes."""
    locked = await payment.lock(connection, step.payment_id)
    if locked.charge.booked:
        existing = await connection.scalar(select(refund.c.id).where(refund.c.source_id == step.charge_id))
        return Compensation(refund_ids=(existing,) if existing else ())
    await _charge_to_suspense(connection, locked, step.result, step.at)
    made = await _record(connection, locked, None, _received(step.result), "late_charge", send_for_s, {})
    await payment.inbox_done(connection, locked.id, "late charge: refunded")
    return Compensation(refund_ids=(made,))


async def _charge_to_suspense(connection: AsyncConnection, locked: Payment, result: ChargeResult, at: datetime) -> None:
    amount, currency = _received(result)
    await charges.record(connection, locked.charge.id, result, booked=True)
    transaction = Transaction(
        kind=Kind.SUSPENSE,
        source_id=locked.charge.id,
        payment_id=locked.id,
        postings=books.to_suspense(locked.psp, amount, currency),
    )
    await ledger.post(connection, locked.tenant_id, [transaction, *psp_fee(locked, result)], at)


def _received(result: ChargeResult) -> tuple[int, str]:
    assert result.amount is not None, "a charge that succeeded has an amount"
    assert result.currency is not None, "a charge that succeeded has a currency"
    return result.amount, result.currency


async def _record(
    connection: AsyncConnection,
    locked: Payment,
    order: Order | None,
    amount: tuple[int, str],
    origin: str,
    send_for_s: float,
    ending: dict[str, Any],
) -> str:
    """The refund's row, once per source; the charge's CHECK holds the sum of them below what was received."""
    source_id = order.id if order else locked.charge.id
    inserted: str | None = await connection.scalar(
        upsert(refund)
        .values(
            id=new_id("re"),
            tenant_id=locked.tenant_id,
            payment_id=locked.id,
            order_id=order.id if order else None,
            charge_id=locked.charge.id,
            origin=origin,
            source_id=source_id,
            amount=amount[0],
            currency=amount[1],
            status=RefundStatus.REQUESTED.value,
            send_until=func.now() + timedelta(seconds=send_for_s),
            **ending,
        )
        .on_conflict_do_nothing(index_elements=["source_id"])
        .returning(refund.c.id)
    )
    if inserted is not None:
        await connection.execute(
            update(charge)
            .where(charge.c.id == locked.charge.id)
            .values(refund_amount=charge.c.refund_amount + amount[0])
        )
        return inserted
    existing: str | None = await connection.scalar(select(refund.c.id).where(refund.c.source_id == source_id))
    assert existing is not None, "the conflicting refund is there"
    return existing


async def get(connection: AsyncConnection, refund_id: str) -> Refund:
    row = (await connection.execute(select(refund).where(refund.c.id == refund_id))).mappings().one()
    return Refund(**row)


async def of_payment(connection: AsyncConnection, payment_id: str) -> Sequence[Refund]:
    rows = await connection.execute(select(refund).where(refund.c.payment_id == payment_id).order_by(refund.c.id))
    return [Refund(**row) for row in rows.mappings()]


async def unmade(connection: AsyncConnection, payment_id: str) -> Sequence[Refund]:
    return [row for row in await of_payment(connection, payment_id) if row.status is not RefundStatus.SUCCEEDED]


async def unknown(connection: AsyncConnection, refund_id: str, reason: str) -> None:
    """An answer that cannot be trusted: counted, and the status stays."""
    await connection.execute(
        update(refund)
        .where(refund.c.id == refund_id)
        .values(
            unknown_count=refund.c.unknown_count + 1,
            failure=Failure(code="psp_unknown", message=reason).model_dump(),
            updated_at=func.now(),
        )
    )


async def book(connection: AsyncConnection, step: BookRefundStep) -> RefundState:
    """Carry the PSP's word on a refund into the row; once it succeeded, empty suspense and end what it undid."""
    existing = await get(connection, step.refund_id)
    locked = await payment.lock(connection, existing.payment_id)
    row = await get(connection, step.refund_id)
    state = RefundState(status=row.status, payment_status=locked.status)
    status = _status_of(row, step.result)
    if status is None:
        return state
    await _webhooks_read(connection, row, step.result)
    if status is RefundStatus.NEEDS_ATTENTION:
        await task.open_task(connection, locked.tenant_id, locked.id, "refund_failed", _why(row, step.result))
    if row.status is RefundStatus.SUCCEEDED and status is not RefundStatus.FAILED:
        return state
    await connection.execute(
        update(refund)
        .where(refund.c.id == row.id)
        .values(
            status=status.value,
            reference=step.result.reference or row.reference,
            failure=step.result.failure.model_dump() if step.result.failure else None,
            updated_at=func.now(),
        )
    )
    if status is RefundStatus.SUCCEEDED:
        return RefundState(status=status, payment_status=await _succeeded(connection, locked, row, step.at))
    if status is RefundStatus.FAILED:
        if row.status is RefundStatus.SUCCEEDED:
            await _came_back(connection, locked, row, step.at)
        await task.open_task(connection, locked.tenant_id, locked.id, "refund_failed", _why(row, step.result))
    return state.model_copy(update={"status": status})


def _status_of(row: Refund, result: RefundResult) -> RefundStatus | None:
    """None: the PSP's word is not known, so nothing changes."""
    match result.outcome:
        case RefundOutcome.UNKNOWN:
            return None
        case RefundOutcome.NOT_FOUND:
            return RefundStatus.NEEDS_ATTENTION
        case RefundOutcome.SUCCEEDED if (result.amount, result.currency) != (row.amount, row.currency):
            return RefundStatus.NEEDS_ATTENTION
        case outcome:
            return RefundStatus(outcome.value)


def _why(row: Refund, result: RefundResult) -> str:
    if result.failure is not None:
        return f"Refund {row.id}: {result.failure.message}"
    if result.outcome is RefundOutcome.SUCCEEDED:
        return f"Refund {row.id}: asked for {row.amount} {row.currency}, the PSP says {result.amount} {result.currency}"
    return f"Refund {row.id}: the PSP does not know it"


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
    if not await unmade(connection, locked.id):
        await task.close_tasks(connection, locked.id, kind="refund_failed", by="workflow", resolution="refunded")
    ending = [o for o in locked.orders if o.open and row.order_id in (None, o.id)]
    if row.ends_as is None or not ending:
        return locked.status
    # Who asked for a cancel gets one, whatever began the compensation.
    ends_as = Status.CANCELLED if locked.cancel_requested_at else row.ends_as
    return await payment.move(connection, locked, ending, ends_as, reason="compensated", at=at, failure=row.ends_with)


async def _webhooks_read(connection: AsyncConnection, row: Refund, result: RefundResult) -> None:
    """What the PSP had said of this refund before it was asked has been looked at."""
    if row.reference is not None and result.asked_at is not None:
        await connection.execute(
            update(webhook_inbox)
            .where(
                webhook_inbox.c.payment_id == row.payment_id,
                webhook_inbox.c.reference == row.reference,
                webhook_inbox.c.status == "RECEIVED",
                webhook_inbox.c.received_at < result.asked_at,
            )
            .values(status="PROCESSED", note="the refund was looked at", processed_at=func.now())
        )


def _source(row: Refund) -> str:
    """Each attempt that moved money is a fact of its own."""
    return row.id if row.attempt == 1 else f"{row.id}:{row.attempt}"


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


async def unfinished(connection: AsyncConnection, older_than_s: float, after_id: str, limit: int) -> list[Refund]:
    """Refunds that are not made though their payment has ended: no workflow of the payment cares for them any more."""
    due = func.now() - timedelta(seconds=older_than_s)
    rows = await connection.execute(
        select(refund)
        .join(payment_table, payment_table.c.id == refund.c.payment_id)
        .where(
            refund.c.status != RefundStatus.SUCCEEDED.value,
            refund.c.updated_at < due,
            payment_table.c.status.in_([status.value for status in TERMINAL]),
            refund.c.id > after_id,
        )
        .order_by(refund.c.id)
        .limit(limit)
    )
    return [Refund(**row) for row in rows.mappings()]


async def next_attempt(connection: AsyncConnection, refund_id: str, send_for_s: float) -> None:
    """Ask again under a new key, as a person decided: the PSP refused or failed the last request, or never saw it."""
    await connection.execute(
        update(refund)
        .where(
            refund.c.id == refund_id,
            refund.c.status.in_([RefundStatus.FAILED.value, RefundStatus.NEEDS_ATTENTION.value]),
        )
        .values(
            attempt=refund.c.attempt + 1,
            status=RefundStatus.REQUESTED.value,
            reference=None,
            send_until=func.now() + timedelta(seconds=send_for_s),
            updated_at=func.now(),
        )
    )
