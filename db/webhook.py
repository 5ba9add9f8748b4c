"""The webhook inbox: stored under the PSP's event id before anything is done with it, and never deleted."""

from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import payment, task
from db.progress import listens
from db.records import Payment
from db.tables import PLATFORM_TENANT, charge, refund, webhook_inbox
from domain.ids import new_id
from domain.psp import Frozen, PspEvent, PspEventKind
from domain.status import RefundStatus


class Delivery(StrEnum):
    """What is to be done once the event is stored."""

    NOTHING = "nothing"
    SIGNAL = "signal"
    """The payment's workflow rests: tell it."""
    LATE_CHARGE = "late_charge"
    """The payment had ended unpaid, and this says it was paid."""
    REFUND = "refund"
    """The payment had ended with this refund, and this says that the money came back."""


class Stored(Frozen):
    delivery: Delivery
    inbox_id: str | None = None
    payment_id: str | None = None
    charge_id: str | None = None
    refund_id: str | None = None
    reference: str | None = None


async def store(connection: AsyncConnection, psp: str, event: PspEvent) -> Stored:
    """Keep the event once and decide, under the payment's lock, who has to hear of it."""
    charge_row = await _charge_of(connection, psp, event)
    locked = await payment.lock(connection, charge_row["payment_id"]) if charge_row else None
    known = event.kind is not PspEventKind.OTHER and locked is not None
    inbox_id = await connection.scalar(
        upsert(webhook_inbox)
        .values(
            id=new_id("whk"),
            tenant_id=locked.tenant_id if locked else PLATFORM_TENANT,
            psp=psp,
            event_id=event.event_id,
            type=event.type,
            payload=event.payload,
            reference=event.reference,
            payment_id=locked.id if locked else None,
            charge_id=charge_row["id"] if charge_row else None,
            paid=event.paid,
            refund_failed=event.refund_failed,
            status="RECEIVED" if known else "IGNORED",
            note=None if known else "nothing of ours is concerned",
        )
        .on_conflict_do_nothing(index_elements=["psp", "event_id"])
        .returning(webhook_inbox.c.id)
    )
    if inbox_id is None or not known or locked is None:
        return Stored(delivery=Delivery.NOTHING, inbox_id=inbox_id)
    if event.kind is PspEventKind.CHARGE and event.charge_id is not None and locked.charge.reference is None:
        # The PSP itself says which object our charge became: from now on it is asked for by name.
        await connection.execute(
            update(charge)
            .where(charge.c.id == locked.charge.id, charge.c.id == event.charge_id)
            .values(reference=event.reference)
        )
    return await _delivery(connection, locked, inbox_id)


async def _delivery(connection: AsyncConnection, locked: Payment, inbox_id: str) -> Stored:
    """Who has to hear of a stored event, by where the payment stands now."""
    event = (await connection.execute(select(webhook_inbox).where(webhook_inbox.c.id == inbox_id))).mappings().one()
    reference: str | None = event["reference"]
    target = Stored(
        delivery=Delivery.NOTHING,
        inbox_id=inbox_id,
        payment_id=locked.id,
        charge_id=locked.charge.id,
        reference=locked.charge.reference if event["refund_failed"] else reference,
    )
    if event["refund_failed"]:
        failed = await _made_refund(connection, locked.id, reference)
        if failed is not None:
            return target.model_copy(update={"delivery": Delivery.REFUND, "refund_id": failed})
    if locked.open and listens(locked):
        return target.model_copy(update={"delivery": Delivery.SIGNAL})
    if locked.open:
        return target  # the fast path or the next step reads it from the inbox
    if event["paid"] and not locked.charge.booked:
        return target.model_copy(update={"delivery": Delivery.LATE_CHARGE})
    if event["refund_failed"] and await _unmade_refund(connection, locked.id):
        return target  # its reference may not be booked yet: the sweeper asks again
    if event["paid"] and reference != locked.charge.reference:
        detail = f"{reference} was paid as well, besides {locked.charge.reference}"
        await task.open_task(connection, locked.tenant_id, locked.id, "paid_twice", detail)
    await processed(connection, inbox_id, "the payment had ended; nothing to do")
    return target


async def _made_refund(connection: AsyncConnection, payment_id: str, reference: str | None) -> str | None:
    """The refund that this reference names, if it is booked as made."""
    found: str | None = await connection.scalar(
        select(refund.c.id).where(
            refund.c.payment_id == payment_id,
            refund.c.reference == reference,
            refund.c.status == RefundStatus.SUCCEEDED.value,
        )
    )
    return found


async def _unmade_refund(connection: AsyncConnection, payment_id: str) -> bool:
    found = await connection.scalar(
        select(refund.c.id)
        .where(refund.c.payment_id == payment_id, refund.c.status != RefundStatus.SUCCEEDED.value)
        .limit(1)
    )
    return found is not None


async def _charge_of(connection: AsyncConnection, psp: str, event: PspEvent) -> Any:
    """Our charge: by the id we wrote on the PSP's object, by the object itself, or by the refund it is about."""
    if event.refund_id is not None:
        query = (
            select(charge.c.id, charge.c.payment_id)
            .join(refund, refund.c.charge_id == charge.c.id)
            .where(refund.c.id == event.refund_id, charge.c.psp == psp)
        )
    elif event.charge_id is not None:
        query = select(charge.c.id, charge.c.payment_id).where(charge.c.id == event.charge_id, charge.c.psp == psp)
    elif event.reference is None:
        return None
    elif event.kind is PspEventKind.REFUND:
        query = (
            select(charge.c.id, charge.c.payment_id)
            .join(refund, refund.c.charge_id == charge.c.id)
            .where(refund.c.reference == event.reference, charge.c.psp == psp)
        )
    else:
        query = select(charge.c.id, charge.c.payment_id).where(
            charge.c.psp == psp, charge.c.reference == event.reference
        )
    return (await connection.execute(query)).mappings().one_or_none()


async def processed(connection: AsyncConnection, inbox_id: str, note: str) -> None:
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id, webhook_inbox.c.status == "RECEIVED")
        .values(status="PROCESSED", note=note, processed_at=func.now())
    )


_ATTEMPTS_MAX = 20


async def undelivered(connection: AsyncConnection, older_than_s: float, limit: int) -> list[str]:
    """Ids of events whose delivery is due again: the signal was lost, or the payment ended meanwhile."""
    rows = await connection.execute(
        select(webhook_inbox.c.id)
        .where(
            webhook_inbox.c.status == "RECEIVED",
            webhook_inbox.c.received_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, older_than_s),
        )
        .order_by(webhook_inbox.c.attempts, webhook_inbox.c.received_at)
        .limit(limit)
    )
    return list(rows.scalars())


async def redeliver(connection: AsyncConnection, inbox_id: str) -> Stored:
    """Decide again for a stored event; one that nobody could take after many tries is set aside as DEAD."""
    row = (await connection.execute(select(webhook_inbox).where(webhook_inbox.c.id == inbox_id))).mappings().one()
    locked = await payment.lock(connection, row["payment_id"])
    row = (await connection.execute(select(webhook_inbox).where(webhook_inbox.c.id == inbox_id))).mappings().one()
    if row["status"] != "RECEIVED":
        return Stored(delivery=Delivery.NOTHING)
    # What says that money was taken is never given up while the payment may still hear of it.
    dead = row["attempts"] + 1 >= _ATTEMPTS_MAX and not (row["paid"] and locked.open)
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id)
        .values(attempts=row["attempts"] + 1, **({"status": "DEAD", "note": "given up"} if dead else {}))
    )
    if dead:
        await task.open_task(
            connection, locked.tenant_id, locked.id, "webhook_dead", f"{row['type']} {row['event_id']}"
        )
        return Stored(delivery=Delivery.NOTHING)
    return await _delivery(connection, locked, inbox_id)
