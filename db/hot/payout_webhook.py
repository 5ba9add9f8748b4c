"""Keeping an event about a payout in one statement, or one that concerns nothing of ours."""

from typing import Any, NamedTuple

from db.core.database import Database
from db.core.statement import load
from db.hot.payout import as_payout
from db.hot.store import compact
from db.hot.webhook import Kept
from db.payout.record import Payout
from db.schema.base import PLATFORM_TENANT
from db.webhook import PAYOUT_ENDED, unconcerned
from domain.ids import new_id
from domain.psp import PspEvent, PspEventKind
from domain.status import PayoutStatus

_PAYOUT = load(__package__, "payout_webhook.sql")
_UNCONCERNED = load(__package__, "unconcerned.sql")


class KeptPayout(NamedTuple):
    """An event that was kept, and the payout that it is about."""

    outcome: Kept
    payout: Payout

    @property
    def is_waited_for(self) -> bool:
        """Whether the payout's workflow has to be told."""
        return self.outcome is Kept.RECEIVED and self.payout.status is PayoutStatus.IN_TRANSIT


async def keep(database: Database, psp: str, event: PspEvent) -> KeptPayout | None:
    """Store an event that carries our payout's id and says nothing of a failure. None: nothing was written, and the
    general path decides (`services.webhook`). Raises Unavailable."""
    if event.kind is not PspEventKind.PAYOUT or event.payout_id is None or event.payout_failed or _is_of_more(event):
        return None
    row = await database.one(_PAYOUT, **_stored(psp, event), payout_id=event.payout_id, note=PAYOUT_ENDED)
    return None if row is None else KeptPayout(Kept(row["outcome"]), as_payout(row))


async def keep_unconcerned(database: Database, psp: str, event: PspEvent) -> bool:
    """Store an event of a kind that nothing follows from. False: nothing was written, and the general path decides.
    Raises Unavailable."""
    if event.kind is not PspEventKind.OTHER or event.charge_id is not None or _is_of_more(event):
        return False
    values = _stored(psp, event)
    row = await database.one(_UNCONCERNED, **values, tenant_id=PLATFORM_TENANT, note=unconcerned(event))
    return row is not None


def _is_of_more(event: PspEvent) -> bool:
    return event.refund_id is not None or event.refund_failed or event.paid or event.charge_reference is not None


def _stored(psp: str, event: PspEvent) -> dict[str, Any]:
    return {
        "id": new_id("whk"),
        "psp": psp,
        "event_id": event.event_id,
        "type": event.type,
        "payload": compact(event.payload),
        "kind": event.kind.value,
        "reference": event.reference,
        "trace_id": event.trace_id,
    }
