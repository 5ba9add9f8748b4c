"""Undoing a charge: money to suspense, and the refunds that empty it; then the orders may end."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger import posting as ledger
from db.payment import charge as charges
from db.payment import payment
from db.payment.record import Order, Payment
from db.payment.settlement import debit_wallet, psp_fee, reverse_capture
from db.refund.event import announce
from db.refund.record import Refund
from db.schema.payment import charge, payment_order
from db.schema.refund import refund
from domain import ledger as books
from domain.ids import new_id
from domain.late_charge import LateChargeStep
from domain.ledger import Kind, Transaction
from domain.payment import CompensateStep, Compensation, HoldStep
from domain.psp import ChargeResult
from domain.status import RefundStatus


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
    if not locked.charge.booked and _received(step.result) != (locked.to_capture, locked.currency):
        await _charge_to_suspense(connection, locked, step.result, step.at)  # another sum: it goes back as a whole
    elif not locked.charge.booked:
        await charges.record(connection, locked.charge.id, step.result, booked=True)
        await ledger.post(connection, locked.tenant_id, psp_fee(locked, step.result), step.at)
    ending = {"ends_as": step.ends_as.value, "ends_with": step.failure.model_dump() if step.failure else None}
    whole = await held(connection, locked)
    if whole is not None:
        made = await _record(connection, locked, None, whole, "compensation", send_for_s, ending)
        return Compensation(refund_ids=(made,))
    refund_ids = []
    for order in wanted:
        if not order.to_capture:  # nothing of it was taken
            await payment.move(
                connection, locked, [order], step.ends_as, reason="not_captured", at=step.at, failure=step.failure
            )
            locked = await payment.lock(connection, locked.id)
            continue
        await _to_suspense(connection, locked, order, step.at)
        share = (order.to_capture, order.currency)
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
                    postings=books.to_suspense(locked.psp, order.to_capture, order.currency),
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


async def held(connection: AsyncConnection, locked: Payment) -> tuple[int, str] | None:
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
    inserted = await connection.execute(
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
        .returning(refund)
    )
    row = inserted.mappings().one_or_none()
    if row is not None:
        await connection.execute(
            update(charge)
            .where(charge.c.id == locked.charge.id)
            .values(refund_amount=charge.c.refund_amount + amount[0])
        )
        made = Refund(**row)
        await announce(connection, made, made.created_at)
        return made.id
    existing: str | None = await connection.scalar(select(refund.c.id).where(refund.c.source_id == source_id))
    assert existing is not None, "the conflicting refund is there"
    return existing
