"""Refunds: asked for by a shop or a person, made at the PSP, or part of undoing a charge; from request to booking."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.core import outbox
from db.ledger import posting as ledger
from db.ledger import reserve
from db.ledger.reserve_record import Reserve
from db.payment import payment
from db.payment.record import Order, Payment
from db.refund.record import Refund
from db.schema.merchant import merchant
from db.schema.messages import webhook_inbox
from db.schema.payment import charge, payment_order
from db.schema.payment import payment as payment_table
from db.schema.refund import refund
from domain import ledger as books
from domain.errors import Conflict, Unprocessable
from domain.events import Event, refund_event_data
from domain.ids import new_id
from domain.ledger import Kind, Transaction
from domain.model import Failure
from domain.money import to_major
from domain.psp import RefundOutcome, RefundResult
from domain.refund import BookRefundStep, RefundState
from domain.status import REFUND_TRANSITIONS, TERMINAL, RefundStatus, Status

# --- asking for one ---


@dataclass(frozen=True)
class NewRefund:
    """What a shop or a person asks for: `amount` in minor units, None for all that is left of the order."""

    id: str
    payment_id: str
    order_id: str | None
    amount: int | None
    reason: str | None
    actor: str
    send_for_s: float


async def request(connection: AsyncConnection, new: NewRefund, at: datetime) -> Refund:
    """Store a refund and set its funds aside: the seller's first, so that none is promised that nobody can pay.

    Raises Unprocessable `payment_order_required`, `refund_too_large`, `wallet_insufficient`; Conflict
    `payment_not_settled`, `nothing_to_refund`.
    """
    locked = await payment.lock(connection, new.payment_id)
    order = _order_of(locked, new.order_id)
    amount = _amount_of(order, new.amount)
    fee = await reserve.fee_to_return(connection, order, amount)
    await connection.execute(
        insert(refund).values(
            id=new.id,
            tenant_id=locked.tenant_id,
            payment_id=locked.id,
            order_id=order.id,
            charge_id=locked.charge.id,
            origin="request",
            source_id=new.id,
            amount=amount,
            currency=order.currency,
            status=RefundStatus.REQUESTED.value,
            send_until=func.now() + timedelta(seconds=new.send_for_s),
            reason=new.reason,
            actor=new.actor,
            refundable_amount=order.refundable,
        )
    )
    await _count(connection, locked, order, amount)
    await reserve.for_refund(connection, order, new.id, amount, fee, at, on_credit=await _may_owe(connection, order))
    await reserve.show_refunds(connection, [order.id])
    made = await get(connection, new.id)
    await _announce(connection, made, at)
    return made


def _order_of(locked: Payment, order_id: str | None) -> Order:
    if order_id is None and len(locked.orders) > 1:
        detail = "The payment has several orders: name one as payment_order_id."
        raise Unprocessable(detail, code="payment_order_required")
    order = locked.order(order_id) if order_id is not None else locked.orders[0]
    if order.open:
        raise Conflict("The order has not settled; cancel the payment instead.", code="payment_not_settled")
    if order.status is not Status.SUCCESS:
        raise Conflict(f"The order is {order.status}: there is nothing to refund.", code="payment_not_settled")
    return order


def _amount_of(order: Order, wanted: int | None) -> int:
    left = order.refundable
    if wanted is None and left == 0:
        raise Conflict("Nothing is left to refund.", code="nothing_to_refund")
    if wanted is not None and wanted > left:
        detail = f"At most {to_major(left, order.currency)} {order.currency} can be refunded."
        raise Unprocessable(detail, code="refund_too_large", refundable=to_major(left, order.currency))
    return left if wanted is None else wanted


async def _count(connection: AsyncConnection, locked: Payment, order: Order, amount: int) -> None:
    """Note a live refund of ours (or take it back); the CHECKs of both rows hold their sums below what came in."""
    await connection.execute(
        update(charge).where(charge.c.id == locked.charge.id).values(refund_amount=charge.c.refund_amount + amount)
    )
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id == order.id)
        .values(refund_amount=payment_order.c.refund_amount + amount)
    )


async def _may_owe(connection: AsyncConnection, order: Order) -> bool:
    """Whether the seller may go into debt for a refund: a setting of the merchant's, and never once it is closed."""
    found = await connection.scalar(
        select(merchant.c.allow_negative_balance.is_(True) & (merchant.c.status != "CLOSED")).where(
            merchant.c.tenant_id == order.tenant_id, merchant.c.seller_account == order.seller_account
        )
    )
    return bool(found)


async def made_at_psp(connection: AsyncConnection, locked: Payment, reference: str, amount: int, currency: str) -> str:
    """A refund that somebody made in the PSP's dashboard becomes our record, once. Returns its id.

    It is booked when the PSP itself was asked about it; nothing is sent for it.
    """
    source_id = f"{locked.psp}:{reference}"
    inserted: str | None = await connection.scalar(
        upsert(refund)
        .values(
            id=new_id("re"),
            tenant_id=locked.tenant_id,
            payment_id=locked.id,
            order_id=locked.orders[0].id if len(locked.orders) == 1 else None,
            charge_id=locked.charge.id,
            origin="psp",
            source_id=source_id,
            amount=amount,
            currency=currency,
            status=RefundStatus.REQUESTED.value,
            send_until=func.now(),
            reference=reference,
            actor=locked.psp,
        )
        .on_conflict_do_nothing(index_elements=["source_id"])
        .returning(refund.c.id)
    )
    if inserted is not None:
        return inserted
    existing: str | None = await connection.scalar(select(refund.c.id).where(refund.c.source_id == source_id))
    assert existing is not None, "the conflicting refund is there"
    return existing


# --- reading ---


async def get(connection: AsyncConnection, refund_id: str) -> Refund:
    row = (await connection.execute(select(refund).where(refund.c.id == refund_id))).mappings().one()
    return Refund(**row)


async def find(connection: AsyncConnection, tenant_id: str, refund_id: str) -> Refund | None:
    """Of this tenant, or None."""
    row = await connection.execute(select(refund).where(refund.c.id == refund_id, refund.c.tenant_id == tenant_id))
    found = row.mappings().one_or_none()
    return None if found is None else Refund(**found)


async def of_payment(connection: AsyncConnection, payment_id: str) -> Sequence[Refund]:
    rows = await connection.execute(select(refund).where(refund.c.payment_id == payment_id).order_by(refund.c.id))
    return [Refund(**row) for row in rows.mappings()]


async def unmade(connection: AsyncConnection, payment_id: str) -> Sequence[Refund]:
    """Those that somebody or something still has to see through."""
    return [row for row in await of_payment(connection, payment_id) if not row.ended]


# --- what the PSP says ---


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
    """Carry the PSP's word on a refund into the row and the ledger; end what it undoes."""
    existing = await get(connection, step.refund_id)
    locked = await payment.lock(connection, existing.payment_id)
    row = await get(connection, step.refund_id)
    state = RefundState(status=row.status, payment_status=locked.status, ended=row.ended)
    status = _status_of(row, step.result)
    if status is None:
        return state
    await _webhooks_read(connection, row, step.result)
    if status is RefundStatus.NEEDS_ATTENTION:
        await task.open_task(connection, locked.tenant_id, locked.id, "refund_failed", _why(row, step.result))
    over = row.ended and row.status is RefundStatus.FAILED
    if over or (status is not row.status and (row.status.value, status.value) not in REFUND_TRANSITIONS):
        return state  # what is made or was given up stays so, whatever an older word says
    changed = await _change(connection, row, status, step.result)
    if changed.undoes_charge:
        payment_status = await _book_undoing(connection, locked, row, changed, step)
    else:
        await _book_reserves(connection, locked, row, changed, step)
        payment_status = locked.status
    if changed.status is not row.status:
        await _announce(connection, changed, step.at)
    return RefundState(status=changed.status, payment_status=payment_status, ended=changed.ended)


async def _change(connection: AsyncConnection, row: Refund, status: RefundStatus, result: RefundResult) -> Refund:
    values: dict[str, Any] = {
        "status": status.value,
        "reference": result.reference or row.reference,
        "failure": result.failure.model_dump() if result.failure else None,
    }
    if row.origin == "psp" and row.status is RefundStatus.REQUESTED and result.amount is not None:
        values |= {"amount": result.amount, "currency": result.currency}
    changed = await connection.execute(
        update(refund).where(refund.c.id == row.id).values(**values, updated_at=func.now()).returning(refund)
    )
    return Refund(**changed.mappings().one())


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
        await task.open_task(connection, locked.tenant_id, locked.id, "refund_failed", _why(row, step.result))
    return locked.status


async def _book_reserves(
    connection: AsyncConnection, locked: Payment, before: Refund, row: Refund, step: BookRefundStep
) -> None:
    """Of a settled payment: what was set aside is taken when the buyer has it, and released when that failed."""
    if row.status is before.status:
        return
    if row.origin == "psp" and row.status in (RefundStatus.PENDING, RefundStatus.SUCCEEDED):
        await _reserve_psp_refund(connection, locked, row, step.at)
    held = await reserve.of_source(connection, row.id)
    if row.status is RefundStatus.SUCCEEDED:
        await reserve.take_for_refund(connection, locked.psp, held, step.at)
    elif row.status is RefundStatus.FAILED:
        if before.status is RefundStatus.SUCCEEDED:
            await reserve.give_refund_back(connection, locked.psp, held, step.at)
            why = f"{_why(row, step.result)} It had succeeded; the money is the seller's again, and the buyer waits."
            await task.open_task(connection, locked.tenant_id, locked.id, "refund_came_back", why)
        await _release(connection, locked, row, held, step.at)
    await reserve.show_refunds(connection, [part.order_id for part in held])
    if row.ended and not [r for r in await unmade(connection, locked.id) if r.id != row.id]:
        resolution = f"the refund is {row.status}"
        await task.close_tasks(connection, locked.id, kind="refund_failed", by="workflow", resolution=resolution)


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
    await _release(connection, locked, row, held, at)
    await reserve.show_refunds(connection, [part.order_id for part in held])
    await made_at_psp(connection, locked, row.reference, row.amount, row.currency)
    await _announce(connection, await get(connection, row.id), at)


async def _release(
    connection: AsyncConnection, locked: Payment, row: Refund, held: Sequence[Reserve], at: datetime
) -> None:
    """The sellers' funds are theirs again, and the orders can be refunded again."""
    await reserve.release(connection, held, Kind.REFUND_RELEASE, Kind.REFUND_RESERVE, at)
    for part in held:
        if row.origin == "request":
            await _count(connection, locked, locked.order(part.order_id), -part.amount)
        else:
            await _count_psp(connection, part.order_id, -part.amount)


async def _count_psp(connection: AsyncConnection, order_id: str, amount: int) -> None:
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id == order_id)
        .values(psp_refund_amount=payment_order.c.psp_refund_amount + amount)
    )


async def _reserve_psp_refund(connection: AsyncConnection, locked: Payment, row: Refund, at: datetime) -> None:
    """The money has left the PSP, whether the sellers have it or not: each bears a share, on credit if need be."""
    if await reserve.of_source(connection, row.id):
        return
    left = sum(order.refundable for order in locked.captured)
    for order, share in reserve.shares(locked, row.amount, row.currency):
        fee = await reserve.fee_to_return(connection, order, share)
        await _count_psp(connection, order.id, share)
        await reserve.for_refund(connection, order, row.id, share, fee, at, on_credit=True)
    if row.amount > left:
        detail = (
            f"Refund {row.id} of {to_major(row.amount, row.currency)} {row.currency} was made at the PSP, though only "
            f"{to_major(left, row.currency)} could be refunded."
        )
        await task.open_task(connection, locked.tenant_id, locked.id, "refund_exceeds", detail)


async def _announce(connection: AsyncConnection, row: Refund, at: datetime) -> None:
    event = Event(
        id=new_id("evt"),
        type=f"refund.{row.status.value.lower()}",
        tenant_id=row.tenant_id,
        object_id=row.id,
        at=at,
        data=refund_event_data(
            refund_id=row.id,
            payment_id=row.payment_id,
            payment_order_id=row.order_id,
            origin=row.origin,
            amount=row.amount,
            currency=row.currency,
            status=row.status,
            failure=row.failure,
        ),
    )
    await outbox.add(connection, [event])


def _status_of(row: Refund, result: RefundResult) -> RefundStatus | None:
    """None: the PSP's word is not known, so nothing changes."""
    match result.outcome:
        case RefundOutcome.UNKNOWN:
            return None
        case RefundOutcome.NOT_FOUND:
            return RefundStatus.NEEDS_ATTENTION
        case RefundOutcome.SUCCEEDED if not _as_asked(row, result):
            return RefundStatus.NEEDS_ATTENTION
        case outcome:
            return RefundStatus(outcome.value)


def _as_asked(row: Refund, result: RefundResult) -> bool:
    """What the PSP made by itself, nobody asked for: its first word on the amount counts."""
    own_words = row.origin == "psp" and row.status is RefundStatus.REQUESTED
    return own_words or (result.amount, result.currency) == (row.amount, row.currency)


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
    if not [r for r in await unmade(connection, locked.id) if r.undoes_charge]:
        await task.close_tasks(connection, locked.id, kind="refund_failed", by="workflow", resolution="refunded")
    ending = [o for o in locked.orders if o.open and row.order_id in (None, o.id)]
    if row.ends_as is None or not ending:
        return locked.status
    # Who asked for a cancel gets one, whatever began the compensation.
    ends_as = Status.CANCELLED if locked.cancel_requested_at else row.ends_as
    return await payment.move(connection, locked, ending, ends_as, reason="compensated", at=at, failure=row.ends_with)


async def _webhooks_read(connection: AsyncConnection, row: Refund, result: RefundResult) -> None:
    """What the PSP had said of this refund before it was asked has been looked at."""
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
    """Refunds that are not done, and that the payment's own workflow does not care for."""
    ended = or_(
        refund.c.status == RefundStatus.SUCCEEDED.value,
        and_(refund.c.status == RefundStatus.FAILED.value, refund.c.origin.in_(["request", "psp"])),
    )
    due = func.now() - timedelta(seconds=older_than_s)
    rows = await connection.execute(
        select(refund)
        .join(payment_table, payment_table.c.id == refund.c.payment_id)
        .where(
            ~ended,
            refund.c.updated_at < due,
            # Part of undoing a charge, it is the payment's own workflow's as long as that lives.
            or_(
                payment_table.c.status.in_([status.value for status in TERMINAL]),
                refund.c.origin.in_(["request", "psp"]),
            ),
            refund.c.id > after_id,
        )
        .order_by(refund.c.id)
        .limit(limit)
    )
    return [Refund(**row) for row in rows.mappings()]


async def next_attempt(connection: AsyncConnection, refund_id: str, send_for_s: float) -> None:
    """Ask again under a new key, as a person decided: the PSP refused or failed the last request, or never saw it."""
    failed = and_(refund.c.status == RefundStatus.FAILED.value, refund.c.origin.in_(["compensation", "late_charge"]))
    await connection.execute(
        update(refund)
        .where(
            refund.c.id == refund_id,
            # Of a settled payment's failed refund the funds are released: the shop asks for a new one.
            or_(failed, refund.c.status == RefundStatus.NEEDS_ATTENTION.value),
        )
        .values(
            attempt=refund.c.attempt + 1,
            status=RefundStatus.REQUESTED.value,
            reference=None,
            send_until=func.now() + timedelta(seconds=send_for_s),
            updated_at=func.now(),
        )
    )
