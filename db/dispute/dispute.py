"""Disputes: a buyer's bank takes money back. Every movement at the PSP is booked, what the seller has is set aside, and
the end is booked as well: released, or lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, task
from db.core import outbox
from db.dispute.record import Dispute
from db.ledger import posting as ledger
from db.ledger import reserve
from db.ledger.reserve_record import Reserve
from db.payment import payment
from db.payment.record import Payment
from db.schema.dispute import dispute, dispute_evidence, dispute_transition
from db.schema.merchant import merchant
from db.schema.messages import webhook_inbox
from db.schema.payment import payment_order
from domain import ledger as books
from domain.dispute import BookDisputeStep, BookEvidenceStep, DisputeState, EvidenceWarningStep
from domain.errors import Conflict
from domain.events import Event, dispute_event_data
from domain.ids import new_id
from domain.ledger import Kind, Transaction
from domain.model import Failure
from domain.money import allocate, to_major
from domain.psp import DisputeMoney, DisputeOutcome, DisputeResult
from domain.status import DISPUTE_ENDED, DISPUTE_HOLDS, DISPUTE_TRANSITIONS, DisputeStatus


async def opened(
    connection: AsyncConnection, locked: Payment, reference: str, amount: int, currency: str, at: datetime
) -> str:
    """A dispute that a webhook tells of becomes our record, once; the PSP is asked for the rest. Returns its id."""
    inserted: str | None = await connection.scalar(
        upsert(dispute)
        .values(
            id=new_id("dp"),
            tenant_id=locked.tenant_id,
            payment_id=locked.id,
            charge_id=locked.charge.id,
            psp=locked.psp,
            reference=reference,
            amount=amount,
            currency=currency,
            status=DisputeStatus.OPENED.value,
            next_check_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=["psp", "reference"])
        .returning(dispute.c.id)
    )
    if inserted is None:
        existing: str | None = await connection.scalar(
            select(dispute.c.id).where(dispute.c.psp == locked.psp, dispute.c.reference == reference)
        )
        assert existing is not None, "the conflicting dispute is there"
        return existing
    await _record(connection, await get(connection, inserted), None, at)
    return inserted


# --- reading ---


async def get(connection: AsyncConnection, dispute_id: str) -> Dispute:
    row = (await connection.execute(select(dispute).where(dispute.c.id == dispute_id))).mappings().one()
    return Dispute(**row)


async def find(connection: AsyncConnection, tenant_id: str, dispute_id: str) -> Dispute | None:
    """Of this tenant, or None."""
    row = await connection.execute(select(dispute).where(dispute.c.id == dispute_id, dispute.c.tenant_id == tenant_id))
    found = row.mappings().one_or_none()
    return None if found is None else Dispute(**found)


async def of_payment(connection: AsyncConnection, payment_id: str) -> Sequence[Dispute]:
    rows = await connection.execute(select(dispute).where(dispute.c.payment_id == payment_id).order_by(dispute.c.id))
    return [Dispute(**row) for row in rows.mappings()]


async def page(
    connection: AsyncConnection, tenant_id: str | None, *, status: str | None, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first; `before` is the sequence number that a page ended with."""
    query = select(dispute).order_by(dispute.c.seq.desc()).limit(limit)
    if tenant_id is not None:
        query = query.where(dispute.c.tenant_id == tenant_id)
    if status is not None:
        query = query.where(dispute.c.status == status)
    if before is not None:
        query = query.where(dispute.c.seq < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def unfinished(connection: AsyncConnection, older_than_s: float, after_id: str, limit: int) -> list[Dispute]:
    """Disputes that are not decided and whose next look is overdue: their workflow was lost."""
    due = func.now() - timedelta(seconds=older_than_s)
    rows = await connection.execute(
        select(dispute)
        .where(
            dispute.c.status.not_in([status.value for status in DISPUTE_ENDED]),
            func.coalesce(dispute.c.next_check_at, dispute.c.updated_at) < due,
            dispute.c.id > after_id,
        )
        .order_by(dispute.c.id)
        .limit(limit)
    )
    return [Dispute(**row) for row in rows.mappings()]


# --- what the PSP says ---


async def book(connection: AsyncConnection, step: BookDisputeStep) -> DisputeState:
    """Carry the PSP's word on a dispute into the row and the ledger: its movements of money, what is set aside for it,
    and how it ended."""
    existing = await get(connection, step.dispute_id)
    locked = await payment.lock(connection, existing.payment_id)
    row = await get(connection, step.dispute_id)
    result = step.result
    await _looked_at(connection, row, step)
    if result.outcome in (DisputeOutcome.UNKNOWN, DisputeOutcome.NOT_FOUND):
        return await _state(connection, row)
    await _webhooks_read(connection, row, result)
    if locked.open:  # a payment settles before what follows it is booked
        return await _state(connection, row)
    # Whatever we make of its status: what moved at the PSP is booked.
    await _book_money(connection, locked, row, result.money, step.at)
    status = DisputeStatus(result.outcome.value)
    if status is not row.status and (row.status.value, status.value) not in DISPUTE_TRANSITIONS:
        detail = f"Dispute {row.id} was {row.status}, and the PSP now says {status}."
        await task.open_task(connection, locked.tenant_id, locked.id, "dispute_changed", detail)
        return await _state(connection, row)
    changed = await _change(connection, row, status, result, step.at)
    await _hold_or_settle(connection, locked, row, changed, step.at)
    if changed.status in DISPUTE_ENDED:
        await _overtaken(connection, changed, step.at)
    if changed.status is not row.status:
        await _show(connection, locked, changed)
        await _record(connection, changed, row.status, step.at)
    return await _state(connection, changed)


async def _looked_at(connection: AsyncConnection, row: Dispute, step: BookDisputeStep) -> None:
    unknown = step.result.outcome in (DisputeOutcome.UNKNOWN, DisputeOutcome.NOT_FOUND)
    await connection.execute(
        update(dispute)
        .where(dispute.c.id == row.id)
        .values(
            next_check_at=step.next_check_at,
            updated_at=func.now(),
            **({"unknown_count": dispute.c.unknown_count + 1} if unknown else {}),
        )
    )


async def _change(
    connection: AsyncConnection, row: Dispute, status: DisputeStatus, result: DisputeResult, at: datetime
) -> Dispute:
    values: dict[str, Any] = {
        "status": status.value,
        "category": result.category or row.category,
        "evidence_due_at": result.evidence_due_at,
        "withdrawn": sum(m.amount for m in result.money) < 0,
        "fee": sum(m.fee for m in result.money),
    }
    if row.status in (DisputeStatus.OPENED, DisputeStatus.INQUIRY) and result.amount is not None:
        values |= {"amount": result.amount, "currency": result.currency}
    if status in DISPUTE_ENDED:
        values["closed_at"] = at
    changed = await connection.execute(
        update(dispute).where(dispute.c.id == row.id).values(**values).returning(dispute)
    )
    return Dispute(**changed.mappings().one())


async def _book_money(
    connection: AsyncConnection, locked: Payment, row: Dispute, money: Sequence[DisputeMoney], at: datetime
) -> None:
    """Each movement once, under the PSP's own reference for it."""
    transactions = []
    for movement in money:
        source_id = f"{row.psp}:{movement.reference}"
        withdrawn = books.dispute_withdrawn(row.psp, abs(movement.amount), movement.currency)
        if movement.amount:
            kind = Kind.DISPUTE_WITHDRAWN if movement.amount < 0 else Kind.DISPUTE_REINSTATED
            lines = withdrawn if movement.amount < 0 else books.reversed_lines(withdrawn)
            transactions.append(Transaction(kind=kind, source_id=source_id, payment_id=locked.id, postings=lines))
        if movement.fee:
            fee = books.psp_fee(row.psp, movement.fee, movement.currency)
            fact = Transaction(kind=Kind.DISPUTE_FEE, source_id=source_id, payment_id=locked.id, postings=fee)
            transactions.append(fact)
    await ledger.post(connection, locked.tenant_id, transactions, at)


async def _hold_or_settle(
    connection: AsyncConnection, locked: Payment, before: Dispute, row: Dispute, at: datetime
) -> None:
    held = await _live(connection, row)
    if not held and row.status in DISPUTE_HOLDS:
        await _hold(connection, locked, row, at)
        await _exceeds(connection, locked, row)
        held = await _live(connection, row)
    if row.status is before.status or row.status not in DISPUTE_ENDED:
        return
    lost = row.status is DisputeStatus.LOST
    fees = await _seller_fees(connection, row, [(part.seller_account, part.amount) for part in held])
    for part, fee in zip(held, fees, strict=True):
        if part.status == "HELD":
            await reserve.settle_dispute(connection, part, lost=lost, fee=fee, at=at)
        elif not lost:
            await reserve.give_loss_back(connection, part, at)
    await _settle_rest(connection, locked, row, row.amount - sum(part.amount for part in held), at)
    await _close_tasks(connection, row, _TASKS, f"the dispute was {row.status.value.lower()}")


_TASKS = ("dispute_evidence_due", "dispute_exceeds", "dispute_stuck")


async def _close_tasks(connection: AsyncConnection, row: Dispute, kinds: Sequence[str], resolution: str) -> None:
    """Those of a payment's last open dispute: a task may speak of several."""
    others = [d for d in await of_payment(connection, row.payment_id) if d.id != row.id]
    if all(other.status in DISPUTE_ENDED for other in others):
        for kind in kinds:
            await task.close_tasks(connection, row.payment_id, kind=kind, by="workflow", resolution=resolution)


async def _live(connection: AsyncConnection, row: Dispute) -> list[Reserve]:
    """What is set aside for it or was taken; what was released before (an inquiry that came back) is over."""
    return [part for part in await reserve.of_source(connection, row.id) if part.status != "RELEASED"]


async def _hold(connection: AsyncConnection, locked: Payment, row: Dispute, at: datetime) -> None:
    """Each seller bears a share."""
    shared = reserve.shares(locked, row.amount, row.currency)
    fees = await _seller_fees(connection, row, [(order.seller_account, amount) for order, amount in shared])
    for (order, amount), fee in zip(shared, fees, strict=True):
        await reserve.for_dispute(connection, order, row.id, amount, fee, at)


async def _seller_fees(connection: AsyncConnection, row: Dispute, shares: Sequence[tuple[str, int]]) -> list[int]:
    """(seller, amount) → what each bears of the PSP's fee: nothing where that is the platform's."""
    if not shares:
        return []
    payers = await connection.execute(
        select(merchant.c.seller_account).where(
            merchant.c.tenant_id == row.tenant_id,
            merchant.c.seller_account.in_([seller for seller, _ in shares]),
            merchant.c.dispute_fee_payer == "seller",
        )
    )
    paying = set(payers.scalars())
    fees = allocate(max(0, row.fee), [amount for _, amount in shares])
    return [fee if seller in paying else 0 for (seller, _), fee in zip(shares, fees, strict=True)]


async def _settle_rest(connection: AsyncConnection, locked: Payment, row: Dispute, amount: int, at: datetime) -> None:
    """What no seller bears, since nothing of the payment was ever credited: the loss is ours, until it is reversed."""
    booked = await ledger.transaction_id(connection, Kind.DISPUTE_LOSS, row.id)
    loss = books.dispute_loss_of_ours(amount, row.currency) if amount > 0 else ()
    if not loss:
        return
    if row.status is DisputeStatus.LOST:
        lost = Transaction(kind=Kind.DISPUTE_LOSS, source_id=row.id, payment_id=locked.id, postings=loss)
        await ledger.post(connection, locked.tenant_id, [lost], at)
    elif booked is not None:
        back = Transaction(
            kind=Kind.DISPUTE_LOSS_REVERSAL,
            source_id=row.id,
            payment_id=locked.id,
            corrects=booked,
            postings=books.reversed_lines(loss),
        )
        await ledger.post(connection, locked.tenant_id, [back], at)


async def _exceeds(connection: AsyncConnection, locked: Payment, row: Dispute) -> None:
    """More is disputed than the buyer still paid: a person should know, and tell the bank so. `locked` is how the
    payment stood before this dispute."""
    captured = sum(order.captured_amount for order in locked.captured)
    refunded = sum(order.refund_amount + order.psp_refund_amount for order in locked.captured)
    disputed = sum(order.dispute_amount for order in locked.captured)
    if row.amount <= captured - refunded - disputed:
        return
    detail = (
        f"Dispute {row.id} of {to_major(row.amount, row.currency)} {row.currency} is about a payment of "
        f"{to_major(captured, locked.currency)} {locked.currency}, of which "
        f"{to_major(refunded, locked.currency)} {locked.currency} were refunded and "
        f"{to_major(disputed, locked.currency)} {locked.currency} disputed before. Say so in the evidence."
    )
    await task.open_task(connection, locked.tenant_id, locked.id, "dispute_exceeds", detail)


async def _show(connection: AsyncConnection, locked: Payment, row: Dispute) -> None:
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id.in_([order.id for order in locked.captured]))
        .values(dispute_status=row.status.value, version=payment_order.c.version + 1, updated_at=func.now())
    )


async def _record(connection: AsyncConnection, row: Dispute, before: DisputeStatus | None, at: datetime) -> None:
    """The step in its history, and its event."""
    await connection.execute(
        insert(dispute_transition).values(
            tenant_id=row.tenant_id,
            dispute_id=row.id,
            from_status=before.value if before else None,
            to_status=row.status.value,
            at=at,
        )
    )
    event = Event(
        id=new_id("evt"),
        type=f"dispute.{row.status.value.lower()}",
        tenant_id=row.tenant_id,
        object_id=row.id,
        at=at,
        data=dispute_event_data(
            dispute_id=row.id,
            payment_id=row.payment_id,
            amount=row.amount,
            currency=row.currency,
            category=row.category,
            status=row.status,
            evidence_due_at=row.evidence_due_at,
        ),
    )
    await outbox.add(connection, [event])


async def _webhooks_read(connection: AsyncConnection, row: Dispute, result: DisputeResult) -> None:
    """What the PSP had said of this dispute before it was asked has been looked at."""
    if result.asked_at is None:
        return
    await connection.execute(
        update(webhook_inbox)
        .where(
            webhook_inbox.c.dispute_id == row.id,
            webhook_inbox.c.status == "RECEIVED",
            webhook_inbox.c.received_at < result.asked_at,
        )
        .values(status="PROCESSED", note="the dispute was looked at", processed_at=func.now())
    )


async def _state(connection: AsyncConnection, row: Dispute) -> DisputeState:
    waiting = await connection.scalar(
        select(dispute_evidence.c.id)
        .where(dispute_evidence.c.dispute_id == row.id, dispute_evidence.c.status == "STORED")
        .order_by(dispute_evidence.c.id)
        .limit(1)
    )
    return DisputeState(
        status=row.status,
        ended=row.status in DISPUTE_ENDED,
        evidence_id=waiting,
        evidence_due_at=row.evidence_due_at,
    )


# --- evidence ---


async def _overtaken(connection: AsyncConnection, row: Dispute, at: datetime) -> None:
    """Evidence that was stored while the bank decided is not submitted any more, and says so."""
    failure = Failure(code="evidence_refused", message=f"The dispute was {row.status} before it could be submitted.")
    await connection.execute(
        update(dispute_evidence)
        .where(dispute_evidence.c.dispute_id == row.id, dispute_evidence.c.status == "STORED")
        .values(status="REFUSED", failure=failure.model_dump(), submitted_at=at)
    )


@dataclass(frozen=True)
class NewEvidence:
    """`fields` are encrypted: they tell of the buyer."""

    id: str
    fields: bytes
    field_names: Sequence[str]
    actor: str


async def store_evidence(connection: AsyncConnection, dispute_id: str, new: NewEvidence, at: datetime) -> Dispute:
    """Keep evidence for the dispute's workflow to submit. Raises Conflict `dispute_closed`, `evidence_late`,
    `evidence_submitted`."""
    existing = await get(connection, dispute_id)
    await payment.lock(connection, existing.payment_id)
    row = await get(connection, dispute_id)
    if row.status in DISPUTE_ENDED:
        raise Conflict(f"The dispute is {row.status}.", code="dispute_closed")
    if row.evidence_due_at is not None and at >= row.evidence_due_at:
        raise Conflict(f"Evidence was due by {row.evidence_due_at:%Y-%m-%d %H:%M} UTC.", code="evidence_late")
    if row.status is DisputeStatus.UNDER_REVIEW or await _submitted(connection, row):
        raise Conflict("Evidence was submitted already; the bank takes it once.", code="evidence_submitted")
    await connection.execute(
        insert(dispute_evidence).values(
            id=new.id,
            tenant_id=row.tenant_id,
            dispute_id=row.id,
            fields=new.fields,
            field_names=list(new.field_names),
            status="STORED",
            actor=new.actor,
        )
    )
    detail = {"evidence": new.id, "fields": list(new.field_names)}
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


async def evidence(connection: AsyncConnection, evidence_id: str) -> bytes:
    """The encrypted fields."""
    found: bytes | None = await connection.scalar(
        select(dispute_evidence.c.fields).where(dispute_evidence.c.id == evidence_id)
    )
    assert found is not None, "evidence is never deleted"
    return found


async def evidence_of(connection: AsyncConnection, dispute_id: str) -> list[dict[str, Any]]:
    """Every submission, without what it says."""
    columns = (c for c in dispute_evidence.c if c.name != "fields")
    rows = await connection.execute(
        select(*columns).where(dispute_evidence.c.dispute_id == dispute_id).order_by(dispute_evidence.c.id)
    )
    return [dict(row) for row in rows.mappings()]


async def book_evidence(connection: AsyncConnection, step: BookEvidenceStep) -> None:
    """The PSP took it, or said why not."""
    existing = await get(connection, step.dispute_id)
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
        await _close_tasks(connection, existing, ("dispute_evidence_due",), "submitted")
    else:
        detail = f"The evidence for dispute {step.dispute_id} was refused: {step.failure.message}"
        await task.open_task(connection, existing.tenant_id, existing.payment_id, "dispute_evidence_due", detail)


async def warn(connection: AsyncConnection, step: EvidenceWarningStep) -> None:
    """Tell a person, once, that the deadline nears and nothing was submitted."""
    row = await get(connection, step.dispute_id)
    amount = f"{to_major(row.amount, row.currency)} {row.currency}"
    detail = f"Dispute {row.id} over {amount}: evidence is due by {step.due_at:%Y-%m-%d %H:%M} UTC."
    await task.open_task(connection, row.tenant_id, row.payment_id, "dispute_evidence_due", detail)
