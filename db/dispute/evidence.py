"""Evidence: stored encrypted, submitted once, and refused or overtaken."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, task
from db.core.keyring import Keyring
from db.dispute import find
from db.dispute.record import Dispute, Evidence
from db.dispute.step import close_tasks
from db.payment import payment
from db.people import person
from db.schema.dispute import dispute, dispute_evidence, dispute_transition
from db.schema.payment import payment as payment_table
from db.schema.person import person as person_table
from domain.dispute import BookEvidenceStep, EvidenceWarningStep
from domain.errors import Conflict
from domain.model import Failure
from domain.money import to_major
from domain.status import DISPUTE_ENDED, DisputeStatus


@dataclass(frozen=True)
class NewEvidence:
    """`fields`: name → text, which tells of the buyer and is stored under the buyer's key."""

    id: str
    fields: Mapping[str, str]
    actor: str


async def store(
    connection: AsyncConnection, keyring: Keyring, dispute_id: str, new: NewEvidence, at: datetime
) -> Dispute:
    """Keep evidence for the dispute's workflow to submit. Raises Conflict `dispute_closed`, `evidence_late`,
    `evidence_submitted`."""
    existing = await find.get(connection, dispute_id)
    owner = await payment.lock(connection, existing.payment_id)
    row = await find.get(connection, dispute_id)
    if row.status in DISPUTE_ENDED:
        raise Conflict(f"The dispute is {row.status}.", code="dispute_closed")
    if row.evidence_due_at is not None and at >= row.evidence_due_at:
        raise Conflict(f"Evidence was due by {row.evidence_due_at:%Y-%m-%d %H:%M} UTC.", code="evidence_late")
    if row.status is DisputeStatus.UNDER_REVIEW or await _submitted(connection, row):
        raise Conflict("Evidence was submitted already; the bank takes it once.", code="evidence_submitted")
    key = await person.key_of(connection, keyring, row.tenant_id, owner.buyer_id)
    plain, names = json.dumps(dict(new.fields), ensure_ascii=False), sorted(new.fields)
    await connection.execute(
        insert(dispute_evidence).values(
            id=new.id,
            tenant_id=row.tenant_id,
            dispute_id=row.id,
            fields=key.seal(keyring, plain, bound_to=f"{new.id}:fields"),
            field_names=names,
            status="STORED",
            actor=new.actor,
        )
    )
    detail = {"evidence": new.id, "fields": names}
    await audit_log.record(connection, row.tenant_id, new.actor, "dispute.evidence", row.id, detail)
    return row


async def _submitted(connection: AsyncConnection, row: Dispute) -> bool:
    """Whether evidence was submitted, or is being, since the dispute came to its status: escalated, it takes more."""
    since = (
        select(func.max(dispute_transition.c.at))
        .where(dispute_transition.c.dispute_id == row.id, dispute_transition.c.to_status == row.status.value)
        .scalar_subquery()
    )
    taken = and_(dispute_evidence.c.status == "SUBMITTED", dispute_evidence.c.submitted_at >= since)
    found = await connection.scalar(
        select(func.count()).where(
            dispute_evidence.c.dispute_id == row.id, or_(dispute_evidence.c.status == "STORED", taken)
        )
    )
    return bool(found)


async def fields_of(connection: AsyncConnection, keyring: Keyring, evidence_id: str) -> dict[str, str]:
    """Name → text, as it is submitted. Raises Undecryptable."""
    query = (
        select(dispute_evidence.c.fields, person_table.c.key)
        .select_from(dispute_evidence.join(dispute).join(payment_table, payment_table.c.id == dispute.c.payment_id))
        .outerjoin(
            person_table,
            and_(
                person_table.c.tenant_id == payment_table.c.tenant_id,
                person_table.c.buyer_id == payment_table.c.buyer_id,
            ),
        )
        .where(dispute_evidence.c.id == evidence_id)
    )
    row = (await connection.execute(query)).one()
    plain = keyring.decrypt(row.fields, bound_to=f"{evidence_id}:fields", person_key=row.key)
    fields: dict[str, str] = json.loads(plain)
    return fields


async def of_dispute(connection: AsyncConnection, dispute_id: str) -> list[Evidence]:
    """Every submission, without what it says."""
    columns = (c for c in dispute_evidence.c if c.name != "fields")
    rows = await connection.execute(
        select(*columns)
        .where(dispute_evidence.c.dispute_id == dispute_id)
        .order_by(dispute_evidence.c.created_at, dispute_evidence.c.id)
    )
    return [Evidence(**row) for row in rows.mappings()]


async def book(connection: AsyncConnection, step: BookEvidenceStep) -> None:
    """The PSP took it, or said why not."""
    existing = await find.get(connection, step.dispute_id)
    await payment.lock(connection, existing.payment_id)
    await connection.execute(
        update(dispute_evidence)
        .where(dispute_evidence.c.id == step.evidence_id, dispute_evidence.c.status == "STORED")
        .values(
            status="REFUSED" if step.failure else "SUBMITTED",
            failure=step.failure.model_dump() if step.failure else None,
            submitted_at=step.at,
        )
    )
    if step.failure is None:
        await close_tasks(connection, existing, ("dispute_evidence_due",), "submitted")
    else:
        detail = f"The evidence for dispute {step.dispute_id} was refused: {step.failure.message}"
        await task.open_task(connection, existing.tenant_id, existing.payment_id, "dispute_evidence_due", detail)


async def overtaken(connection: AsyncConnection, row: Dispute, at: datetime) -> None:
    """Evidence that was stored while the bank decided is not submitted any more, and says so."""
    failure = Failure(code="evidence_refused", message=f"The dispute was {row.status} before it could be submitted.")
    await connection.execute(
        update(dispute_evidence)
        .where(dispute_evidence.c.dispute_id == row.id, dispute_evidence.c.status == "STORED")
        .values(status="REFUSED", failure=failure.model_dump(), submitted_at=at)
    )


async def warn(connection: AsyncConnection, step: EvidenceWarningStep) -> None:
    """Tell a person, once, that the deadline nears and nothing was submitted."""
    row = await find.get(connection, step.dispute_id)
    amount = f"{to_major(row.amount, row.currency)} {row.currency}"
    detail = f"Dispute {row.id} over {amount}: evidence is due by {step.due_at:%Y-%m-%d %H:%M} UTC."
    await task.open_task(connection, row.tenant_id, row.payment_id, "dispute_evidence_due", detail)
