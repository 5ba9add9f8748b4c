"""The webhook inbox: stored under the PSP's event id before anything is done with it, and never deleted."""

from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, task
from db.dispute import booking as disputes
from db.payment import payment
from db.payment.lifecycle import listens
from db.payment.record import Payment
from db.payout import payout as payouts
from db.refund import creation, find
from db.refund.record import Refund
from db.schema.base import PLATFORM_TENANT
from db.schema.messages import webhook_inbox
from db.schema.payment import charge
from db.schema.payment import payment as payment_table
from db.schema.payout import payout
from db.schema.refund import refund
from domain.ids import new_id
from domain.model import Frozen
from domain.psp import PspEvent, PspEventKind
from domain.status import PAYOUT_GIVEN_BACK, TERMINAL, PayoutStatus, RefundStatus


class Delivery(StrEnum):
    """What is to be done once the event is stored."""

    NOTHING = "nothing"
    SIGNAL = "signal"
    """The payment's workflow rests: tell it."""
    LATE_CHARGE = "late_charge"
    """The payment had ended unpaid, and this says it was paid."""
    REFUND = "refund"
    """A refund of a payment that has ended: asked for, made at the PSP, or one whose money came back."""
    DISPUTE = "dispute"
    PAYOUT = "payout"


class Stored(Frozen):
    delivery: Delivery
    inbox_id: str | None = None
    payment_id: str | None = None
    charge_id: str | None = None
    refund_id: str | None = None
    dispute_id: str | None = None
    payout_id: str | None = None
    reference: str | None = None


async def store(connection: AsyncConnection, psp: str, event: PspEvent) -> Stored:
    """Keep the event once and decide, under the payment's lock, who has to hear of it."""
    if event.kind is PspEventKind.PAYOUT:
        return await _store_payout(connection, psp, event)
    charge_row = await _charge_of(connection, psp, event)
    locked = await payment.lock(connection, charge_row["payment_id"]) if charge_row else None
    known = event.kind is not PspEventKind.OTHER and locked is not None
    # A refund or dispute names the PSP's charge alone, which may be ours though we do not know its name yet.
    early = locked is None and event.kind in (PspEventKind.REFUND, PspEventKind.DISPUTE) and event.charge_reference
    inbox_id = await connection.scalar(
        upsert(webhook_inbox)
        .values(
            id=new_id("whk"),
            tenant_id=locked.tenant_id if locked else PLATFORM_TENANT,
            psp=psp,
            event_id=event.event_id,
            type=event.type,
            payload=event.payload,
            kind=event.kind.value,
            reference=event.reference,
            amount=event.amount,
            currency=event.currency,
            payment_id=locked.id if locked else None,
            charge_id=charge_row["id"] if charge_row else None,
            refund_id=event.refund_id,
            paid=event.paid,
            refund_failed=event.refund_failed,
            aftermath=event.kind is PspEventKind.DISPUTE or event.refund_failed or _made_at_psp(event),
            charge_reference=event.charge_reference,
            status="RECEIVED" if known or early else "IGNORED",
            note=None if known or early else "nothing of ours is concerned",
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


async def _store_payout(connection: AsyncConnection, psp: str, event: PspEvent) -> Stored:
    """Its workflow looks at the PSP, whatever the event says, also days after it was paid."""
    named = payout.c.id == event.payout_id if event.payout_id else payout.c.reference == event.reference
    found: str | None = await connection.scalar(select(payout.c.id).where(named, payout.c.psp == psp))
    row = await payouts.lock(connection, found) if found else None
    inbox_id = await connection.scalar(
        upsert(webhook_inbox)
        .values(
            id=new_id("whk"),
            tenant_id=row.tenant_id if row else PLATFORM_TENANT,
            psp=psp,
            event_id=event.event_id,
            type=event.type,
            payload=event.payload,
            kind=event.kind.value,
            reference=event.reference,
            payout_id=row.id if row else None,
            status="RECEIVED" if row else "IGNORED",
            note=None if row else "nothing of ours is concerned",
        )
        .on_conflict_do_nothing(index_elements=["psp", "event_id"])
        .returning(webhook_inbox.c.id)
    )
    nothing = Stored(delivery=Delivery.NOTHING, inbox_id=inbox_id)
    if inbox_id is None or row is None:
        return nothing
    if row.status in PAYOUT_GIVEN_BACK or (row.status is PayoutStatus.PAID and not event.payout_failed):
        await processed(connection, inbox_id, "the payout had ended; nothing to do")
        return nothing
    if row.status in _PAYOUT_BUSY:
        return nothing  # its workflow is asking the PSP: a message now would make it ask twice
    return Stored(delivery=Delivery.PAYOUT, inbox_id=inbox_id, payout_id=row.id)


_PAYOUT_BUSY = (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED, PayoutStatus.RETURNING)


def _made_at_psp(event: PspEvent) -> bool:
    """A refund without our id on it: somebody made it in the PSP's dashboard."""
    return event.kind is PspEventKind.REFUND and event.refund_id is None


async def _delivery(connection: AsyncConnection, locked: Payment, inbox_id: str) -> Stored:
    """Who has to hear of a stored event, by where the payment stands now."""
    event = (await connection.execute(select(webhook_inbox).where(webhook_inbox.c.id == inbox_id))).mappings().one()
    target = Stored(
        delivery=Delivery.NOTHING,
        inbox_id=inbox_id,
        payment_id=locked.id,
        charge_id=locked.charge.id,
        reference=locked.charge.reference if event["refund_failed"] else event["reference"],
    )
    if event["kind"] == PspEventKind.DISPUTE.value:
        return await _to_dispute(connection, locked, event, target)
    if event["kind"] == PspEventKind.REFUND.value:
        refunded = await _to_refund(connection, locked, event, target)
        if refunded is not None:
            return refunded
    if locked.open and listens(locked):
        return target.model_copy(update={"delivery": Delivery.SIGNAL})
    if locked.open:
        return target  # the fast path or the next step reads it from the inbox
    if event["paid"] and not locked.charge.booked:
        return target.model_copy(update={"delivery": Delivery.LATE_CHARGE})
    if event["refund_failed"] and await _unmade_refund(connection, locked.id):
        return target  # its reference may not be booked yet: the sweeper asks again
    if event["paid"] and event["reference"] != locked.charge.reference:
        detail = f"{event['reference']} was paid as well, besides {locked.charge.reference}"
        await task.open_task(connection, locked.tenant_id, locked.id, "paid_twice", detail)
    await processed(connection, inbox_id, "the payment had ended; nothing to do")
    return target


async def _to_dispute(connection: AsyncConnection, locked: Payment, event: Any, target: Stored) -> Stored:
    """Its workflow looks at the PSP, whatever the event says; one that is decided is looked at again, since a bank may
    decide anew."""
    dispute_id = await disputes.opened(
        connection, locked, event["reference"], event["amount"], event["currency"], event["received_at"]
    )
    await connection.execute(
        update(webhook_inbox).where(webhook_inbox.c.id == target.inbox_id).values(dispute_id=dispute_id)
    )
    return target.model_copy(update={"delivery": Delivery.DISPUTE, "dispute_id": dispute_id})


async def _to_refund(connection: AsyncConnection, locked: Payment, event: Any, target: Stored) -> Stored | None:
    """The refund's own workflow, if it has one; None where the refund is a part of the payment's."""
    row = await _refund_of(connection, locked.id, event["refund_id"], event["reference"])
    if row is None and event["refund_id"] is None:
        return await _from_dashboard(connection, locked, event, target)
    if row is None or (row.undoes_charge and not (event["refund_failed"] and row.status is RefundStatus.SUCCEEDED)):
        return None
    if row.status is RefundStatus.REQUESTED:
        return target  # its workflow is asking the PSP: a message now would make it ask twice
    if not row.ended or (event["refund_failed"] and row.status is RefundStatus.SUCCEEDED):
        return target.model_copy(update={"delivery": Delivery.REFUND, "refund_id": row.id})
    await processed(connection, event["id"], "the refund had ended; nothing to do")
    return target


async def _from_dashboard(connection: AsyncConnection, locked: Payment, event: Any, target: Stored) -> Stored:
    """A refund made at the PSP: of a settled payment it becomes our record; one that is under way settles first; what
    it does to a payment that ended otherwise, a person finds out."""
    if locked.open:
        return target  # the sweeper comes back to it
    readable = event["amount"] is not None and event["currency"] is not None
    if locked.captured and readable:
        refund_id = await creation.made_at_psp(
            connection, locked, event["reference"], event["amount"], event["currency"]
        )
        return target.model_copy(update={"delivery": Delivery.REFUND, "refund_id": refund_id})
    detail = f"{event['reference']} was refunded at the PSP, and {locked.id} is {locked.status}."
    await task.open_task(connection, locked.tenant_id, locked.id, "refund_at_psp", detail)
    await processed(connection, event["id"], "a person looks at it")
    return target


async def _refund_of(
    connection: AsyncConnection, payment_id: str, refund_id: str | None, reference: str | None
) -> Refund | None:
    """Our record of the refund that an event is about: by the PSP's name for it, or by the id that we wrote on it."""
    for named in (refund.c.reference == reference, refund.c.id == refund_id):
        found = await connection.execute(select(refund).where(refund.c.payment_id == payment_id, named))
        row = found.mappings().first()
        if row is not None:
            return Refund(**row)
    return None


async def _unmade_refund(connection: AsyncConnection, payment_id: str) -> bool:
    return any(row.undoes_charge for row in await find.unmade(connection, payment_id))


async def _charge_of(connection: AsyncConnection, psp: str, event: PspEvent) -> Any:
    """Our charge: by an id that we wrote on the PSP's object, or by the PSP's own of the charge."""
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
    elif event.kind in (PspEventKind.REFUND, PspEventKind.DISPUTE):
        if event.charge_reference is None:
            return None
        query = select(charge.c.id, charge.c.payment_id).where(
            charge.c.psp == psp, charge.c.reference == event.charge_reference
        )
    else:
        query = select(charge.c.id, charge.c.payment_id).where(
            charge.c.psp == psp, charge.c.reference == event.reference
        )
    return (await connection.execute(query)).mappings().one_or_none()


async def _found_late(connection: AsyncConnection, row: Any) -> str | None:
    """The payment of a refund or dispute that was told of before we knew the PSP's name for our charge. One whose
    charge stays unknown is somebody else's: it is kept, and ignored after a while."""
    found = (
        await connection.execute(
            select(charge.c.id, charge.c.payment_id, charge.c.tenant_id).where(
                charge.c.psp == row["psp"], charge.c.reference == row["charge_reference"]
            )
        )
    ).one_or_none()
    values: dict[str, Any] = {"attempts": row["attempts"] + 1}
    if found is not None:
        values = {"payment_id": found.payment_id, "charge_id": found.id, "tenant_id": found.tenant_id, "attempts": 0}
    elif row["attempts"] + 1 >= _ATTEMPTS_MAX and not await _nameless(connection, row["psp"]):
        values |= {"status": "IGNORED", "note": "nothing of ours is concerned"}
    await connection.execute(update(webhook_inbox).where(webhook_inbox.c.id == row["id"]).values(**values))
    return found.payment_id if found is not None else None


async def _nameless(connection: AsyncConnection, psp: str) -> bool:
    """Whether a charge of ours may be the one: sent or about to be, and the PSP has not told its name."""
    found = await connection.scalar(
        select(charge.c.id)
        .join(payment_table, payment_table.c.id == charge.c.payment_id)
        .where(
            charge.c.psp == psp,
            charge.c.reference.is_(None),
            payment_table.c.status.not_in([status.value for status in TERMINAL]),
        )
        .limit(1)
    )
    return found is not None


async def count_attempt(connection: AsyncConnection, inbox_id: str) -> None:
    """A delivery that broke: the others come first the next time."""
    await connection.execute(
        update(webhook_inbox).where(webhook_inbox.c.id == inbox_id).values(attempts=webhook_inbox.c.attempts + 1)
    )


async def dead(connection: AsyncConnection, limit: int) -> list[dict[str, Any]]:
    """Events that were given up, the newest first."""
    columns = ("id", "tenant_id", "type", "event_id", "payment_id", "attempts", "note", "received_at")
    rows = await connection.execute(
        select(*(webhook_inbox.c[name] for name in columns))
        .where(webhook_inbox.c.status == "DEAD")
        .order_by(webhook_inbox.c.received_at.desc())
        .limit(limit)
    )
    return [dict(row) for row in rows.mappings()]


async def replay(connection: AsyncConnection, inbox_id: str, by: str) -> bool:
    """Let the sweeper deliver a dead event again, as a person says. False: it is not dead."""
    row = (
        await connection.execute(
            update(webhook_inbox)
            .where(webhook_inbox.c.id == inbox_id, webhook_inbox.c.status == "DEAD")
            .values(status="RECEIVED", attempts=0, note=f"replayed by {by}")
            .returning(webhook_inbox.c.tenant_id, webhook_inbox.c.event_id)
        )
    ).one_or_none()
    if row is None:
        return False
    await audit_log.record(connection, row.tenant_id, by, "webhook.replay", inbox_id, {"event_id": row.event_id})
    return True


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
    if row["payout_id"] is not None:
        return await _again_to_payout(connection, row)
    payment_id = row["payment_id"] or await _found_late(connection, row)
    if payment_id is None:
        return Stored(delivery=Delivery.NOTHING)
    locked = await payment.lock(connection, payment_id)
    row = (await connection.execute(select(webhook_inbox).where(webhook_inbox.c.id == inbox_id))).mappings().one()
    if row["status"] != "RECEIVED":
        return Stored(delivery=Delivery.NOTHING)
    # What says that money moved is never given up while the payment may still hear of it.
    kept = (row["paid"] or row["aftermath"]) and locked.open
    attempts = min(row["attempts"] + 1, _ATTEMPTS_MAX // 2) if kept else row["attempts"] + 1
    dead = attempts >= _ATTEMPTS_MAX
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id)
        .values(attempts=attempts, **({"status": "DEAD", "note": "given up"} if dead else {}))
    )
    if dead:
        await task.open_task(
            connection, locked.tenant_id, locked.id, "webhook_dead", f"{row['type']} {row['event_id']}"
        )
        return Stored(delivery=Delivery.NOTHING)
    return await _delivery(connection, locked, inbox_id)


async def _again_to_payout(connection: AsyncConnection, row: Any) -> Stored:
    """Its workflow reads the event when it has looked at the PSP. One whose payout has ended meanwhile, with its money
    back in the wallet, says nothing more."""
    target = await payouts.lock(connection, row["payout_id"])
    if target.status in PAYOUT_GIVEN_BACK:
        await processed(connection, row["id"], "the payout had ended; nothing to do")
        return Stored(delivery=Delivery.NOTHING)
    dead = row["attempts"] + 1 >= _ATTEMPTS_MAX
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == row["id"], webhook_inbox.c.status == "RECEIVED")
        .values(attempts=row["attempts"] + 1, **({"status": "DEAD", "note": "given up"} if dead else {}))
    )
    if dead:
        detail = f"{row['type']} {row['event_id']}"
        await task.open_task(connection, target.tenant_id, None, "webhook_dead", detail, object_id=target.id)
        return Stored(delivery=Delivery.NOTHING)
    return Stored(delivery=Delivery.PAYOUT, inbox_id=row["id"], payout_id=target.id)
