"""Keeping an event about a charge in one statement, where nobody has to be told of it."""

from enum import StrEnum

from asyncpg import IntegrityConstraintViolationError

from db.core.database import Database
from db.core.statement import load
from db.hot.store import compact
from db.webhook import ENDED, HELD
from domain.ids import new_id
from domain.psp import PspEvent, PspEventKind

_WEBHOOK = load(__package__, "webhook.sql")


class Kept(StrEnum):
    """The result of keeping an event."""

    RECEIVED = "RECEIVED"
    """It waits in the inbox for the payment's next step."""
    PROCESSED = "PROCESSED"
    """Its payment had ended, or waits with what it says."""
    DUPLICATE = "DUPLICATE"
    """It was here already."""
    NEEDLESS = "NEEDLESS"
    """It tells of no money, and its payment had ended unpaid: it is not stored."""


async def keep(database: Database, psp: str, event: PspEvent) -> Kept | None:
    """Store an event about a charge that carries our id and whose payment is under way, or stands as the event says.
    None: nothing was written, and the general path decides (`services.webhook`). Raises Unavailable."""
    if event.kind is not PspEventKind.CHARGE or event.charge_id is None or event.reference is None:
        return None
    if event.refund_id is not None or event.refund_failed:
        return None
    try:
        row = await database.one(
            _WEBHOOK,
            id=new_id("whk"),
            psp=psp,
            event_id=event.event_id,
            type=event.type,
            payload=compact(event.payload),
            kind=event.kind.value,
            reference=event.reference,
            charge_id=event.charge_id,
            paid=event.paid,
            authorized=event.authorized,
            held=HELD,
            ended=ENDED,
        )
    except IntegrityConstraintViolationError:
        return None  # such as a name of the PSP's that another charge has
    return None if row is None else Kept(row["outcome"])
