"""Funds set aside for a dispute: taken, given back, or lost."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.dispute.record import Dispute
from db.dispute.step import close_tasks
from db.ledger import posting as ledger
from db.ledger import reserve
from db.ledger.reserve_record import Reserve
from db.payment.record import Payment
from db.refund import find as refunds
from db.schema.merchant import merchant
from domain import ledger as books
from domain.ledger import Kind, Transaction
from domain.money import allocate, to_major
from domain.status import DISPUTE_ENDED, DISPUTE_HOLDS, DisputeStatus

_TASKS = ("dispute_evidence_due", "dispute_exceeds", "dispute_stuck")


async def hold_or_settle(
    connection: AsyncConnection, locked: Payment, before: Dispute, row: Dispute, at: datetime, unit: int
) -> None:
    """Set funds aside when the dispute claims them; at its end give them back, or take them."""
    held = await _live(connection, row)
    if not held and row.status in DISPUTE_HOLDS:
        await _hold(connection, locked, row, at, unit)
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
            await reserve.undo_loss(connection, part, at)
    await _settle_unborne(connection, locked, row, row.amount - sum(part.amount for part in held), at)
    await close_tasks(connection, row, _TASKS, f"the dispute was {row.status.value.lower()}")


async def _live(connection: AsyncConnection, row: Dispute) -> list[Reserve]:
    """The reserves that are held for it or were taken; one that was returned (an inquiry that came back) is over."""
    return [part for part in await reserve.of_source(connection, row.id) if part.status != "RELEASED"]


async def _hold(connection: AsyncConnection, locked: Payment, row: Dispute, at: datetime, unit: int) -> None:
    """Each seller bears a share."""
    shared = reserve.shares(locked, row.amount, row.currency, unit)
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


async def _settle_unborne(
    connection: AsyncConnection, locked: Payment, row: Dispute, amount: int, at: datetime
) -> None:
    """Book the loss that no seller bears, since nothing was ever credited: it is ours, until it is reversed."""
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
    refunded = await refunds.made(connection, locked.id)
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
