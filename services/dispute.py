"""Disputes: finding one, and answering it with evidence."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.dispute import evidence
from db.dispute import find as disputes
from db.dispute.evidence import NewEvidence
from db.dispute.record import Dispute
from db.payment.record import Payment
from domain.dispute import EVIDENCE_FIELDS, LONG_EVIDENCE
from domain.errors import NotFound, Unavailable
from domain.ids import CLIENT_ID, new_id
from services import access
from services import payment as payments
from services.command import Caller, check, once

if TYPE_CHECKING:
    from runtime.wiring import Runtime

SHORT_MAX = 5_000
LONG_MAX = 20_000
"""Characters of a field that tells a story; the others name something."""


def _short_enough(fields: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in fields.items():
        if name not in LONG_EVIDENCE and len(text) > SHORT_MAX:
            raise PydanticCustomError(
                "evidence",
                "{name} takes at most {limit} characters.",
                {"code": "field_invalid", "name": name, "limit": SHORT_MAX},
            )
    return fields


EvidenceFields = Annotated[
    dict[Literal[EVIDENCE_FIELDS], Annotated[str, Field(min_length=1, max_length=LONG_MAX)]],  # type: ignore[valid-type]
    Field(min_length=1),
    AfterValidator(_short_enough),
]
"""Name → text."""


@dataclass(frozen=True)
class EvidenceAnswer:
    """`found`: the dispute as the evidence found it; `dispute`: afterwards. `told` as in `services.payment.Answer`."""

    found: Dispute
    dispute: Dispute
    evidence_id: str
    fields: Sequence[str]
    replayed: bool
    told: bool


async def find(database: Database, caller: Caller, name: str) -> Dispute:
    """The dispute of this id, ours or the PSP's own, which its dashboard shows. Raises NotFound `dispute_not_found`,
    also for what is no id at all."""
    tenant_id, found = caller.tenant_id, None
    if CLIENT_ID.fullmatch(name):
        found = await database.read(lambda c: disputes.find(c, tenant_id, name))
    seen = await access.disputes(database, caller, [found]) if found is not None else []
    if not seen:
        detail = f"There is no dispute {name}." if tenant_id is None else "There is no such dispute."
        raise NotFound(detail, code="dispute_not_found")
    return seen[0]


async def of_payment(database: Database, caller: Caller, row: Payment) -> list[Dispute]:
    """The disputes of a payment that was found, the oldest first."""
    return await access.disputes(database, caller, await database.read(lambda c: disputes.of_payment(c, row.id)))


async def page(
    database: Database, caller: Caller, *, status: str | None, before: int | None, limit: int
) -> list[Dispute]:
    """The caller's disputes, newest first; `before` is the sequence number that a page ended with."""
    tenant_id, seller = caller.tenant_id, caller.seller_account
    rows = await database.read(
        lambda c: disputes.page(c, tenant_id, seller_account=seller, status=status, before=before, limit=limit)
    )
    return await access.disputes(database, caller, rows)


async def submit_evidence(
    runtime: Runtime, caller: Caller, name: str, fields: Mapping[str, str], *, request: Request | None = None
) -> EvidenceAnswer:
    """Store evidence encrypted, and have the dispute's workflow submit it: the buyer's bank takes it once.

    Raises NotFound; Unprocessable `field_invalid`, `card_data_forbidden`, `text_invalid`; Conflict `dispute_closed`,
    `evidence_late`, `evidence_submitted`, `idempotency_in_progress`.
    """
    check(EvidenceFields, fields, "fields")
    row = await find(runtime.database, caller, name)
    evidence_id = new_id("dpe")
    new = NewEvidence(evidence_id, fields, caller.actor)
    now = datetime.now(UTC)

    async def store(connection: Connection) -> Dispute:
        return await evidence.store(connection, runtime.keyring, row.id, new, now)

    done = await once(runtime.database, row.tenant_id, request, evidence_id, store)
    told = False
    with contextlib.suppress(Unavailable):  # it is stored: the workflow finds it at its next look
        await runtime.workflow_client.start_dispute(await payments.load(runtime.database, row.payment_id), row.id)
        told = True
    now_row = await runtime.database.read(lambda c: disputes.get(c, row.id))
    return EvidenceAnswer(done.result or row, now_row, done.object_id, sorted(fields), done.replayed, told)
