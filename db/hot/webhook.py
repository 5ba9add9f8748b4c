"""Keeping an event about a charge or a refund in one statement, where nobody has to be told of it."""

from enum import StrEnum
from typing import Any

from asyncpg import IntegrityConstraintViolationError

from db.core.database import Database
from db.core.statement import Statement, load
from db.hot.store import compact
from db.webhook import ENDED, HELD, REFUND_ENDED
from domain.ids import new_id
from domain.psp import PspEvent, PspEventKind

_WEBHOOK = load(__package__, "webhook.sql")
_REFUND = load(__package__, "refund_webhook.sql")


class Kept(StrEnum):
    """The result of keeping an event."""

    RECEIVED = "RECEIVED"
    """It waits in the inbox for the next step of its payment or refund."""
    PROCESSED = "PROCESSED"
    """Its payment or refund had ended, or waits with what it says."""
    DUPLICATE = "DUPLICATE"
    """It was here already."""
    NEEDLESS = "NEEDLESS"
    """It tells of no money, and its payment had ended unpaid: it is not stored."""


async def keep(database: Database, psp: str, event: PspEvent) -> Kept | None:
    """Store an event that carries our id, of a charge whose payment is under way or stands as the event says, or of a
    refund that is done or asked for. None: nothing was written, and the general path decides (`services.webhook`).
    Raises Unavailable."""
    if event.reference is None or event.refund_failed:
        return None
    values = {
        "id": new_id("whk"),
        "psp": psp,
        "event_id": event.event_id,
        "type": event.type,
        "payload": compact(event.payload),
        "kind": event.kind.value,
        "reference": event.reference,
    }
    if event.kind is PspEventKind.CHARGE and event.charge_id is not None and event.refund_id is None:
        of_charge = {
            "charge_id": event.charge_id,
            "paid": event.paid,
            "authorized": event.authorized,
            "held": HELD,
            "ended": ENDED,
        }
        return await _keep(database, _WEBHOOK, values | of_charge)
    if event.kind is PspEventKind.REFUND and event.refund_id is not None and not event.paid:
        of_refund = {
            "refund_id": event.refund_id,
            "charge_reference": event.charge_reference,
            "amount": event.amount,
            "currency": event.currency,
            "note": REFUND_ENDED,
        }
        return await _keep(database, _REFUND, values | of_refund)
    return None


async def _keep(database: Database, statement: Statement, values: dict[str, Any]) -> Kept | None:
    try:
        row = await database.one(statement, **values)
    except IntegrityConstraintViolationError:
        return None  # such as a name of the PSP's that another charge has
    return None if row is None else Kept(row["outcome"])
