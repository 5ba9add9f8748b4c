"""Making a payout: the amount leaves the wallet, and the postings that it pays are written down.

A payout takes postings to the wallet's available balance, in the order in which they came: whole, or the last one in
part. What was taken from that balance (a refund, a debt) is a posting as well, and is deducted first. So what is open
of all postings is the balance, always; nothing is paid twice, and a payout says exactly what it pays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import BigInteger, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger import posting as ledger
from db.ledger import wallet
from db.payout import payout as payouts
from db.payout.record import Payout, PayoutItem
from db.schema.ledger import ledger_posting, ledger_transaction
from db.schema.merchant import merchant
from db.schema.payment import payment_order
from db.schema.payout import payout, payout_item
from domain import ledger as books
from domain.errors import Conflict, NotFound, Unprocessable
from domain.ledger import Bucket, Kind, Transaction
from domain.money import to_major
from domain.payout import PayoutCall
from domain.status import MerchantStatus, PayoutStatus


@dataclass(frozen=True)
class NewPayout:
    """`amount` in minor units; None: all that is available. `payable`: the most that the PSP can pay of an amount."""

    id: str
    tenant_id: str
    seller_account: str
    currency: str
    amount: int | None
    psp: str
    actor: str
    send_for_s: float
    payable: Callable[[int, str], int]
    run_id: str | None = None
    business_date: date | None = None


async def request(connection: AsyncConnection, new: NewPayout, at: datetime) -> Payout:
    """Take the amount out of the wallet and write the payout with the first call that will be made for it.

    Raises NotFound `merchant_not_found`; Conflict `merchant_not_active`, `payout_made` (one of this run's date is
    there); Unprocessable `payout_account_missing`, `nothing_to_pay_out`, `payout_exceeds_available`.
    """
    destination = await _destination(connection, new)
    balance = await wallet.lock(connection, new.tenant_id, new.seller_account, new.currency)
    recovered = min(balance[Bucket.RECEIVABLE], max(0, balance[Bucket.AVAILABLE]))
    amount = _amount(new, balance[Bucket.AVAILABLE] - recovered, recovered)
    inserted = (
        (
            await connection.execute(
                upsert(payout)
                .values(
                    id=new.id,
                    tenant_id=new.tenant_id,
                    seller_account=new.seller_account,
                    amount=amount,
                    currency=new.currency,
                    psp=new.psp,
                    destination=destination,
                    run_id=new.run_id,
                    business_date=new.business_date,
                    status=PayoutStatus.REQUESTED.value,
                    next_check_at=func.now(),
                    actor=new.actor,
                )
                .on_conflict_do_nothing()
                .returning(payout)
            )
        )
        .mappings()
        .one_or_none()
    )
    if inserted is None:
        raise Conflict(f"{new.seller_account} was paid for {new.business_date} already.", code="payout_made")
    row = Payout(**inserted)
    await payouts.new_call(connection, row, PayoutCall.TRANSFER, new.send_for_s)
    await _take(connection, row, recovered, at)
    await payouts.record(connection, row, None, "requested", at)
    return row


async def _destination(connection: AsyncConnection, new: NewPayout) -> str:
    """The seller's account at the PSP. The row is shared-locked: a freeze in the same moment comes before or after."""
    row = (
        await connection.execute(
            select(merchant.c.status, merchant.c.payout_account)
            .where(merchant.c.tenant_id == new.tenant_id, merchant.c.seller_account == new.seller_account)
            .with_for_update(read=True)
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such merchant.", code="merchant_not_found")
    if row.status != MerchantStatus.ACTIVE:
        raise Conflict(f"{new.seller_account} is {row.status}: nothing is paid out.", code="merchant_not_active")
    if row.payout_account is None:
        detail = f"{new.seller_account} has no account at the PSP to be paid to: set payout.account of the merchant."
        raise Unprocessable(detail, code="payout_account_missing")
    return str(row.payout_account)


def _amount(new: NewPayout, available: int, recovered: int) -> int:
    """The amount to be paid: `available` is what is left after the seller's debt was kept back."""
    amount = new.payable(available, new.currency) if new.amount is None else new.amount
    kept = f", after {to_major(recovered, new.currency)} for what the seller owes" if recovered else ""
    left = f"{to_major(max(0, available), new.currency)} {new.currency} can be paid out{kept}."
    if new.amount is None and amount <= 0:
        raise Unprocessable(left, code="nothing_to_pay_out")
    if amount > available:
        raise Unprocessable(left, code="payout_exceeds_available", available=to_major(max(0, available), new.currency))
    return amount


# --- what it pays ---

# A payout's own posting is above all that it pays. So what payouts have taken of the postings read here, those have
# whose own posting is among them, and nothing is looked up posting by posting.
_TAKE = text("""
    WITH postings AS MATERIALIZED (
        SELECT p.seq, -p.amount AS amount, t.kind, t.source_id
        FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id
        WHERE p.tenant_id = :tenant AND p.account = :account AND p.currency = :currency AND p.seq >= :since
    ), open AS (
        SELECT seq, sum(amount)::bigint AS unpaid
        FROM (
            SELECT seq, amount FROM postings WHERE kind NOT IN ('payout', 'payout_reversal')
            UNION ALL
            SELECT i.posting_seq, -i.amount FROM postings o JOIN payout_item i ON i.payout_id = o.source_id
            WHERE o.kind = 'payout' AND NOT i.released AND i.posting_seq >= :since
        ) AS parts
        GROUP BY seq HAVING sum(amount) <> 0
    ), ordered AS MATERIALIZED (
        SELECT seq, unpaid, sum(unpaid) OVER (ORDER BY unpaid > 0, seq) AS upto FROM open
    ), taken AS (
        INSERT INTO payout_item (tenant_id, payout_id, posting_seq, amount)
        SELECT :tenant, :payout, seq, CASE WHEN unpaid < 0 THEN unpaid ELSE least(unpaid, :amount - (upto - unpaid)) END
        FROM ordered WHERE unpaid < 0 OR upto - unpaid < :amount
        RETURNING amount
    ), next AS (
        UPDATE wallet SET payable_from = coalesce(
            (SELECT min(seq) FROM ordered WHERE unpaid > 0 AND upto > :amount), (SELECT max(seq) + 1 FROM postings))
        WHERE tenant_id = :tenant AND seller_account = :seller AND currency = :currency
    )
    SELECT sum(amount)::bigint FROM taken
""").bindparams(bindparam("amount", type_=BigInteger), bindparam("since", type_=BigInteger))


async def _take(connection: AsyncConnection, row: Payout, recovered: int, at: datetime) -> None:
    """Under the wallet's lock: keep back what the seller owes, take the amount, and write down what it consists of."""
    seller, currency = row.seller_account, row.currency
    transactions = [
        Transaction(
            kind=Kind.DEBT_RECOVERY, source_id=row.id, postings=books.debt_recovery(seller, recovered, currency)
        ),
        Transaction(kind=Kind.PAYOUT, source_id=row.id, postings=books.payout(seller, row.amount, currency)),
    ]
    booked = await ledger.post(connection, row.tenant_id, transactions, at)
    await wallet.apply(connection, row.tenant_id, booked)
    values = {
        "tenant": row.tenant_id,
        "seller": seller,
        "account": books.wallet(seller, Bucket.AVAILABLE),
        "currency": currency,
        "payout": row.id,
        "amount": row.amount,
        "since": await wallet.first_open_posting(connection, row.tenant_id, seller, currency),
    }
    total = await connection.scalar(_TAKE, values)
    assert total == row.amount, f"{row.id} pays {row.amount} and its items are {total}"


async def return_to_wallet(connection: AsyncConnection, row: Payout, at: datetime) -> None:
    """Credit the wallet again; what the payout was to pay can be paid anew."""
    balance_of = (row.tenant_id, row.seller_account, row.currency)
    await wallet.lock(connection, *balance_of)
    back = books.reversed_lines(books.payout(row.seller_account, row.amount, row.currency))
    await payouts.post(connection, row, Kind.PAYOUT_REVERSAL, back, at, corrects=Kind.PAYOUT)
    returned = await connection.execute(
        update(payout_item)
        .where(payout_item.c.payout_id == row.id)
        .values(released=True)
        .returning(payout_item.c.posting_seq)
    )
    await wallet.reopen_from(connection, *balance_of, min(returned.scalars()))


async def items(connection: AsyncConnection, payout_id: str, *, after: int = 0, limit: int = 200) -> list[PayoutItem]:
    """The postings that a payout pays, in their order; `after`: the `posting_seq` that a page ended with."""
    p, t, o = ledger_posting, ledger_transaction, payment_order
    rows = await connection.execute(
        select(
            payout_item.c.posting_seq,
            payout_item.c.amount,
            payout_item.c.released.label("returned"),
            (-p.c.amount).label("posting_amount"),
            p.c.currency,
            t.c.id.label("transaction_id"),
            t.c.kind,
            t.c.source_id,
            t.c.payment_id,
            t.c.order_id,
            o.c.payment_order_id,
            t.c.at,
        )
        .join(p, p.c.seq == payout_item.c.posting_seq)
        .join(t, t.c.id == p.c.transaction_id)
        .outerjoin(o, o.c.id == t.c.order_id)
        .where(payout_item.c.payout_id == payout_id, payout_item.c.posting_seq > after)
        .order_by(payout_item.c.posting_seq)
        .limit(limit)
    )
    return [PayoutItem(**row) for row in rows.mappings()]
