"""The webhook inbox: events stored under the PSP's event id, never deleted; and which rows of ours an event is about.

What an event leads to is decided in `services.webhook`. An event is RECEIVED until a transaction has taken notice of
it (PROCESSED), IGNORED where nothing of ours is concerned, and DEAD where nobody could take notice of it.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.refund.record import Refund
from db.schema.base import PLATFORM_TENANT
from db.schema.dispute import dispute
from db.schema.messages import webhook_inbox
from db.schema.payment import charge, payment
from db.schema.payout import payout
from db.schema.refund import refund
from domain.ids import new_id
from domain.model import Frozen
from domain.psp import PspEvent, PspEventKind
from domain.status import TERMINAL

ATTEMPTS_MAX = 20
"""Deliveries of an event before it is given up."""

ENDED = "the payment had ended; nothing to do"
"""The note on an event that its payment does not need any more."""
HELD = "the payment waits for its capture"
"""The note on an event that says no more than that it is authorised."""
PAYOUT_ENDED = "the payout had ended; nothing to do"
"""The note on an event that its payout does not need any more."""

REFUND_ENDED = "the refund had ended; nothing to do"
"""The note on an event that its refund does not need any more."""


FAILED = "failed: "
"""How the note begins on an event whose delivery met an error."""
DEAD_TASK = "webhook_dead"
"""The kind of the task that points to a dead letter."""


class StoredEvent(Frozen):
    """An event of the inbox, without its payload; `payment_id`, `charge_id` and `payout_id` are None while nothing of
    ours is known to be concerned."""

    id: str
    tenant_id: str
    psp: str
    event_id: str
    type: str
    kind: PspEventKind
    reference: str | None
    charge_reference: str | None
    refund_id: str | None
    payment_id: str | None
    charge_id: str | None
    payout_id: str | None
    amount: int | None
    currency: str | None
    paid: bool
    refund_failed: bool
    aftermath: bool
    status: str
    note: str | None
    attempts: int
    received_at: datetime


_COLUMNS = [webhook_inbox.c[name] for name in StoredEvent.model_fields]


class ChargeOf(NamedTuple):
    """A charge of ours, and whose it is."""

    id: str
    payment_id: str
    tenant_id: str


# --- storing ---


async def insert(
    connection: AsyncConnection,
    psp: str,
    event: PspEvent,
    *,
    tenant_id: str | None = None,
    payment_id: str | None = None,
    charge_id: str | None = None,
    payout_id: str | None = None,
    concerned: bool,
) -> StoredEvent | None:
    """Keep an event, once per PSP and event id; None: it was here already. It is RECEIVED where something of ours is
    `concerned`, else IGNORED."""
    made_at_psp = event.kind is PspEventKind.REFUND and event.refund_id is None
    stored = await connection.execute(
        upsert(webhook_inbox)
        .values(
            id=new_id("whk"),
            tenant_id=tenant_id or PLATFORM_TENANT,
            psp=psp,
            event_id=event.event_id,
            type=event.type,
            payload=event.payload,
            kind=event.kind.value,
            reference=event.reference,
            amount=event.amount,
            currency=event.currency,
            payment_id=payment_id,
            charge_id=charge_id,
            payout_id=payout_id,
            refund_id=event.refund_id,
            paid=event.paid,
            refund_failed=event.refund_failed,
            aftermath=event.kind is PspEventKind.DISPUTE or event.refund_failed or made_at_psp,
            charge_reference=event.charge_reference,
            status="RECEIVED" if concerned else "IGNORED",
            note=None if concerned else unconcerned(event),
        )
        .on_conflict_do_nothing(index_elements=["psp", "event_id"])
        .returning(*_COLUMNS)
    )
    row = stored.mappings().one_or_none()
    return None if row is None else StoredEvent(**row)


_UNCONCERNED = "nothing of ours is concerned"


def unconcerned(event: PspEvent) -> str:
    """The note on an event that is ignored."""
    return f"ignored: {event.ignored}" if event.ignored else _UNCONCERNED


async def name_charge(connection: AsyncConnection, charge_id: str, reference: str | None) -> None:
    """Write down the PSP's name of a charge: from now on it is asked for by that."""
    await connection.execute(update(charge).where(charge.c.id == charge_id).values(reference=reference))


async def processed(connection: AsyncConnection, inbox_id: str, note: str) -> None:
    """Nobody has to hear of it any more."""
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id, webhook_inbox.c.status == "RECEIVED")
        .values(status="PROCESSED", note=note, processed_at=func.now())
    )


async def assign_charge(connection: AsyncConnection, inbox_id: str, owner: ChargeOf) -> None:
    """The charge that an early event turned out to be about."""
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id)
        .values(payment_id=owner.payment_id, charge_id=owner.id, tenant_id=owner.tenant_id, attempts=0)
    )


async def assign_dispute(connection: AsyncConnection, inbox_id: str, dispute_id: str) -> None:
    """The dispute that an event is about."""
    await connection.execute(update(webhook_inbox).where(webhook_inbox.c.id == inbox_id).values(dispute_id=dispute_id))


async def ignore(connection: AsyncConnection, inbox_id: str) -> None:
    """Nothing of ours is concerned after all."""
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id, webhook_inbox.c.status == "RECEIVED")
        .values(status="IGNORED", note=_UNCONCERNED)
    )


# --- delivering again ---


async def get(connection: AsyncConnection, inbox_id: str) -> StoredEvent:
    """The event of a stored id."""
    found = await connection.execute(select(*_COLUMNS).where(webhook_inbox.c.id == inbox_id))
    return StoredEvent(**found.mappings().one())


async def undelivered(connection: AsyncConnection, older_than_s: float, limit: int) -> list[str]:
    """Ids of events whose delivery is due again: the signal was lost, or the payment ended meanwhile. What was tried
    least comes first, then the oldest."""
    rows = await connection.execute(
        select(webhook_inbox.c.id)
        .where(
            webhook_inbox.c.status == "RECEIVED",
            webhook_inbox.c.received_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, older_than_s),
        )
        .order_by(webhook_inbox.c.attempts, webhook_inbox.c.received_at, webhook_inbox.c.id)
        .limit(limit)
    )
    return list(rows.scalars())


async def count_attempt(
    connection: AsyncConnection, inbox_id: str, *, attempts: int | None = None, error: Exception | None = None
) -> None:
    """Another delivery, or `attempts` in all: the others come first the next time. `error`: that it met."""
    number = webhook_inbox.c.attempts + 1 if attempts is None else attempts
    note = {} if error is None else {"note": f"{FAILED}{type(error).__name__}"}
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id, webhook_inbox.c.status == "RECEIVED")
        .values(attempts=number, **note)
    )


async def give_up(connection: AsyncConnection, inbox_id: str) -> None:
    """Set an event aside as DEAD: a person decides whether it is delivered again."""
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id, webhook_inbox.c.status == "RECEIVED")
        .values(status="DEAD", note="given up")
    )


async def revive(connection: AsyncConnection, inbox_id: str, note: str) -> None:
    """Put a dead event back where the sweeper finds it."""
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.id == inbox_id, webhook_inbox.c.status == "DEAD")
        .values(status="RECEIVED", attempts=0, note=note)
    )


# --- what an event is about ---


async def charge_of(connection: AsyncConnection, psp: str, event: PspEvent) -> ChargeOf | None:
    """Our charge: by an id of ours on the PSP's object, or by the PSP's own name of the charge."""
    if event.refund_id is not None:
        by_refund = select(refund.c.charge_id).where(refund.c.id == event.refund_id).scalar_subquery()
        return await _charge(connection, psp, charge.c.id == by_refund)
    if event.charge_id is not None:
        return await _charge(connection, psp, charge.c.id == event.charge_id)
    by_charge = event.kind in (PspEventKind.REFUND, PspEventKind.DISPUTE)
    name = event.charge_reference if by_charge else event.reference
    if event.reference and name:
        return await charge_named(connection, psp, name)
    return await _charge_of_known(connection, psp, event) if by_charge else None


async def _charge_of_known(connection: AsyncConnection, psp: str, event: PspEvent) -> ChargeOf | None:
    """Our charge of a refund or dispute that we know, where the event names that alone."""
    if event.reference is None:
        return None
    about = refund if event.kind is PspEventKind.REFUND else dispute
    known = select(about.c.charge_id).where(about.c.reference == event.reference)
    return await _charge(connection, psp, charge.c.id.in_(known))


async def charge_named(connection: AsyncConnection, psp: str, reference: str | None) -> ChargeOf | None:
    """Our charge that the PSP calls so."""
    return await _charge(connection, psp, charge.c.reference == reference) if reference else None


async def _charge(connection: AsyncConnection, psp: str, named: ColumnElement[bool]) -> ChargeOf | None:
    query = select(charge.c.id, charge.c.payment_id, charge.c.tenant_id).where(named, charge.c.psp == psp)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else ChargeOf(*row)


async def has_unnamed_charge(connection: AsyncConnection, psp: str) -> bool:
    """Tell whether a charge of ours may be the one that an event names: it is sent or about to be, and the PSP has not
    told its name for it."""
    found = await connection.scalar(
        select(charge.c.id)
        .join(payment, payment.c.id == charge.c.payment_id)
        .where(
            charge.c.psp == psp,
            charge.c.reference.is_(None),
            payment.c.status.not_in([status.value for status in TERMINAL]),
        )
        .limit(1)
    )
    return found is not None


async def payout_of(connection: AsyncConnection, psp: str, event: PspEvent) -> str | None:
    """The id of our payout: by our id on the PSP's object, or by the PSP's name of it."""
    named = payout.c.id == event.payout_id if event.payout_id else payout.c.reference == event.reference
    found: str | None = await connection.scalar(select(payout.c.id).where(named, payout.c.psp == psp))
    return found


async def refund_of(connection: AsyncConnection, payment_id: str, event: StoredEvent) -> Refund | None:
    """Our record of the refund: by the PSP's name of it, or by our id on the PSP's object."""
    for named in (refund.c.reference == event.reference, refund.c.id == event.refund_id):
        found = await connection.execute(select(refund).where(refund.c.payment_id == payment_id, named))
        row = found.mappings().first()
        if row is not None:
            return Refund(**row)
    return None
