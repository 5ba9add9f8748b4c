"""The PSP's word on a dispute, carried into the row and the ledger: its movements of money, and how it ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.dispute import find
from db.dispute.evidence import overtaken
from db.dispute.holding import hold_or_settle
from db.dispute.record import Dispute
from db.dispute.step import record, state
from db.ledger import posting as ledger
from db.payment import payment
from db.payment.record import Payment
from db.schema.dispute import dispute
from db.schema.messages import webhook_inbox
from db.schema.payment import payment_order
from domain import ledger as books
from domain.dispute import BookDisputeStep, DisputeState
from domain.ids import new_id
from domain.ledger import Kind, Transaction
from domain.psp import DisputeMoney, DisputeOutcome, DisputeResult
from domain.status import DISPUTE_ENDED, DISPUTE_TRANSITIONS, DisputeStatus


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
    await record(connection, await find.get(connection, inserted), None, at)
    return inserted


async def book(connection: AsyncConnection, step: BookDisputeStep, unit: int) -> DisputeState:
    """Carry the PSP's word on a dispute into the row and the ledger: its movements of money, what is set aside for it,
    and how it ended. `unit`: the smallest amount that the PSP moves of the dispute's currency, in minor units."""
    existing = await find.get(connection, step.dispute_id)
    locked = await payment.lock(connection, existing.payment_id)
    row = await find.get(connection, step.dispute_id)
    result = step.result
    await _looked_at(connection, row, step)
    if result.outcome in (DisputeOutcome.UNKNOWN, DisputeOutcome.NOT_FOUND):
        return await state(connection, row)
    await _webhooks_read(connection, row, result)
    if locked.open:  # a payment settles before what follows it is booked
        return await state(connection, row)
    # Whatever we make of its status: what moved at the PSP is booked.
    await _book_money(connection, locked, row, result.money, step.at)
    status = DisputeStatus(result.outcome.value)
    if status is not row.status and (row.status.value, status.value) not in DISPUTE_TRANSITIONS:
        detail = f"Dispute {row.id} was {row.status}, and the PSP now says {status}."
        await task.open_task(connection, locked.tenant_id, locked.id, "dispute_changed", detail)
        return await state(connection, row)
    changed = await _change(connection, row, status, result, step.at)
    await hold_or_settle(connection, locked, row, changed, step.at, unit)
    if changed.status in DISPUTE_ENDED:
        await overtaken(connection, changed, step.at)
    if changed.status is not row.status:
        await _show(connection, locked, changed)
        await record(connection, changed, row.status, step.at)
    return await state(connection, changed)


async def _looked_at(connection: AsyncConnection, row: Dispute, step: BookDisputeStep) -> None:
    unknown = step.result.outcome in (DisputeOutcome.UNKNOWN, DisputeOutcome.NOT_FOUND)
    # A step that is carried out again names the same next look: its answer is counted once.
    again = dispute.c.next_check_at == step.next_check_at
    count = case((again, dispute.c.unknown_count), else_=dispute.c.unknown_count + 1)
    await connection.execute(
        update(dispute)
        .where(dispute.c.id == row.id)
        .values(
            next_check_at=step.next_check_at,
            updated_at=func.now(),
            **({"unknown_count": count} if unknown else {}),
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


async def _webhooks_read(connection: AsyncConnection, row: Dispute, result: DisputeResult) -> None:
    """Close the webhooks about this dispute that came before the PSP was asked."""
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


async def _show(connection: AsyncConnection, locked: Payment, row: Dispute) -> None:
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id.in_([order.id for order in locked.captured]))
        .values(dispute_status=row.status.value, version=payment_order.c.version + 1, updated_at=func.now())
    )
