"""Fixes that are booked by rule, and rows that are made ready before a workflow can be told.

Each is safe to repeat: the ledger knows each fact by (kind, source), and a row that says it already is left alone.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.dispute import booking as disputes
from db.ledger import posting as ledger
from db.ledger import wallet
from db.payment import payment
from db.payment.record import Order, Payment
from db.reconciliation import discrepancy as discrepancies
from db.refund import creation as refunds
from db.schema.base import PLATFORM_TENANT
from db.schema.merchant import merchant
from db.schema.payment import charge, payment_order
from db.schema.reconciliation import reconciliation_line
from domain import ledger as books
from domain.ledger import Bucket, Kind, Posting, Transaction
from domain.money import allocate
from domain.psp import PspFee
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.reconciliation import BY_ITSELF, DiscrepancyStatus, Fix
from domain.status import Status


class Refused(Exception):
    """The fix does not fit any more; the message says why, and it is a person's."""


async def line_of(connection: AsyncConnection, row: Discrepancy) -> dict[str, Any]:
    """The line that is the evidence."""
    found = await connection.execute(
        select(reconciliation_line).where(
            reconciliation_line.c.run_id == row.line_run_id, reconciliation_line.c.line_no == row.line_no
        )
    )
    line = found.mappings().one_or_none()
    if line is None:
        raise Refused("it has no line")
    return dict(line)


# --- booked here ---


async def book(
    connection: AsyncConnection, discrepancy_id: str, at: datetime, *, by: str = BY_ITSELF, note: str | None = None
) -> bool:
    """Book the fee or the payout to our bank and close the discrepancy, in this transaction. False: it is closed
    already. Raises Refused."""
    row = await discrepancies.get(connection, discrepancy_id)
    line = await line_of(connection, row)
    locked = await payment.lock(connection, row.payment_id) if row.payment_id else None
    row = await discrepancies.get(connection, discrepancy_id, lock=True)
    if not row.open:
        return False
    assert row.fix is not None, "it is proposed"
    if row.fix is Fix.BOOK_FEE:
        kind, source = await _book_fee(connection, row.psp, line, locked, at)
    else:
        kind, source = await _book_bank_payout(connection, row.psp, line, at)
    await discrepancies.end(
        connection,
        row,
        DiscrepancyStatus.FIXED,
        row.fix,
        by=by,
        note=note or "booked",
        transaction_id=await ledger.transaction_id(connection, kind, source),
        at=at,
    )
    return True


async def _book_fee(
    connection: AsyncConnection, psp: str, line: Mapping[str, Any], locked: Payment | None, at: datetime
) -> tuple[Kind, str]:
    """Book a fee as a settlement does that knows it: once per movement at the PSP, and the sellers' shares where they
    bear it."""
    amount = line["fee"] - (line["amount"] if line["kind"] == PspLineKind.FEE else 0)
    source = f"{psp}:{line['reference']}"
    fact = Transaction(
        kind=Kind.PSP_FEE,
        source_id=source,
        payment_id=locked.id if locked else None,
        postings=books.psp_fee(psp, amount, line["currency"]),
    )
    tenant_id = locked.tenant_id if locked else PLATFORM_TENANT
    await ledger.post(connection, tenant_id, [fact], at)
    if locked is not None and line["kind"] == PspLineKind.CHARGE and line["amount"] > 0:
        await _know_fee(connection, locked, line, amount)
        if amount > 0 and line["currency"] == locked.currency:
            await _share_fee(connection, locked, amount, at)
        await _wait_for_psp(connection, locked, line["available_on"])
    return Kind.PSP_FEE, source


async def _know_fee(connection: AsyncConnection, locked: Payment, line: Mapping[str, Any], amount: int) -> None:
    fee = PspFee(
        reference=line["reference"], amount=amount, currency=line["currency"], available_on=line["available_on"]
    )
    await connection.execute(
        update(charge)
        .where(charge.c.id == locked.charge.id, charge.c.fee.is_(None))
        .values(fee=fee.model_dump(mode="json"))
    )


async def _share_fee(connection: AsyncConnection, locked: Payment, amount: int, at: datetime) -> None:
    """The sellers who bear the PSP's fee: from what the order still has in pending, or, once that was released, from
    what is available; never more than is there."""
    parts = allocate(amount, [order.to_capture for order in locked.orders])
    for order, part in zip(locked.orders, parts, strict=True):
        if part and order.captured_amount and order.status is Status.SUCCESS and await _bears_fee(connection, order):
            await _take_fee(connection, order, min(part, order.captured_amount - order.captured_fee), at)


async def _bears_fee(connection: AsyncConnection, order: Order) -> bool:
    payer = await connection.scalar(
        select(merchant.c.psp_fee_payer).where(
            merchant.c.tenant_id == order.tenant_id, merchant.c.seller_account == order.seller_account
        )
    )
    return payer == "seller"


async def _take_fee(connection: AsyncConnection, order: Order, wanted: int, at: datetime) -> None:
    balance = await wallet.lock(connection, order.tenant_id, order.seller_account, order.currency)
    bucket = Bucket.PENDING if order.released_at is None else Bucket.AVAILABLE
    there = min(order.pending_amount, balance[bucket]) if bucket is Bucket.PENDING else balance[bucket]
    amount = max(0, min(wanted, there))
    if not amount:
        return
    lines = (
        Posting(account=books.wallet(order.seller_account, bucket), currency=order.currency, amount=amount),
        Posting(account=books.PSP_FEES, currency=order.currency, amount=-amount),
    )
    share = Transaction(
        kind=Kind.PSP_FEE_SELLER,
        source_id=order.id,
        payment_id=order.payment_id,
        payment_order_id=order.id,
        postings=lines,
    )
    booked = await ledger.post(connection, order.tenant_id, [share], at)
    await wallet.apply(connection, order.tenant_id, booked)
    if booked and bucket is Bucket.PENDING:
        await connection.execute(
            update(payment_order)
            .where(payment_order.c.id == order.id)
            .values(
                pending_amount=payment_order.c.pending_amount - amount,
                version=payment_order.c.version + 1,
                updated_at=func.now(),
            )
        )


async def _wait_for_psp(connection: AsyncConnection, locked: Payment, available_on: datetime | None) -> None:
    """The seller does not have it before the PSP lets us have it."""
    if available_on is None:
        return
    await connection.execute(
        update(payment_order)
        .where(
            payment_order.c.payment_id == locked.id,
            payment_order.c.released_at.is_(None),
            payment_order.c.available_at < available_on,
        )
        .values(available_at=available_on, version=payment_order.c.version + 1, updated_at=func.now())
    )


async def _book_bank_payout(
    connection: AsyncConnection, psp: str, line: Mapping[str, Any], at: datetime
) -> tuple[Kind, str]:
    """The PSP pays our own bank, or takes that back. The source is the PSP's payout: the bank's statement names it."""
    back = line["kind"] == PspLineKind.PAYOUT_REVERSAL
    kind = Kind.BANK_PAYOUT_REVERSAL if back else Kind.BANK_PAYOUT
    source = f"{psp}:{line['source_reference'] or line['reference']}"
    corrects = await ledger.transaction_id(connection, Kind.BANK_PAYOUT, source) if back else None
    fact = Transaction(
        kind=kind,
        source_id=source,
        corrects=corrects,
        postings=books.bank_payout(psp, -line["amount"], line["currency"]),
    )
    await ledger.post(connection, PLATFORM_TENANT, [fact], at)
    if line["fee"]:
        fee = Transaction(
            kind=Kind.PSP_FEE,
            source_id=f"{psp}:{line['reference']}",
            postings=books.psp_fee(psp, line["fee"], line["currency"]),
        )
        await ledger.post(connection, PLATFORM_TENANT, [fee], at)
    return kind, source


# --- made ready for a workflow ---


async def name_charge(connection: AsyncConnection, row: Discrepancy) -> tuple[Payment, str]:
    """The payment behind a charge, and the PSP's name of the charge: a line says which object our charge became, so
    from now on it is asked for by that name. Raises Refused."""
    if row.payment_id is None:
        raise Refused("it has no payment")
    reference = None
    if row.line_no is not None:  # else our record alone speaks of it
        line = await line_of(connection, row)
        reference = line["charge_reference"] or line["source_reference"]
    locked = await payment.lock(connection, row.payment_id)
    if locked.charge.id != row.object_id:
        raise Refused(f"it is not the latest charge of {locked.id}")
    if locked.charge.reference is None and reference is not None:
        await connection.execute(
            update(charge)
            .where(charge.c.id == locked.charge.id, charge.c.reference.is_(None))
            .values(reference=reference)
        )
    known = locked.charge.reference or reference
    if known is None:
        raise Refused("the PSP's name of the charge is not known")
    return locked, known


async def know_refund(connection: AsyncConnection, row: Discrepancy) -> tuple[Payment, str]:
    """The refund behind a line; one that somebody made in the PSP's dashboard becomes our record. Raises Refused."""
    line = await line_of(connection, row)
    if row.payment_id is None:
        raise Refused("it has no payment")
    locked = await payment.lock(connection, row.payment_id)
    if row.object_id is not None:
        return locked, row.object_id
    if not locked.captured or line["source_reference"] is None:
        raise Refused(f"{locked.id} is {locked.status}, so a person looks at it")
    made = await refunds.made_at_psp(connection, locked, line["source_reference"], -line["amount"], line["currency"])
    return locked, made


async def know_dispute(connection: AsyncConnection, row: Discrepancy, at: datetime) -> tuple[Payment, str]:
    """The dispute behind a line, which becomes our record if we had not heard of it. Raises Refused."""
    line = await line_of(connection, row)
    if row.payment_id is None or line["source_reference"] is None:
        raise Refused("the line does not name the dispute and its charge")
    locked = await payment.lock(connection, row.payment_id)
    opened = await disputes.opened(
        connection, locked, line["source_reference"], abs(line["amount"]), line["currency"], at
    )
    return locked, opened
