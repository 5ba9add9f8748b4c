"""Payouts: what is made of a request or a schedule, and the postings that each of them pays.

A payout takes postings to the wallet's available balance, in the order in which they came: whole, or the last one in
part. What was taken from that balance (a refund, a debt) is a posting as well, and is deducted first. So what is open
of all postings is the balance, always; nothing is paid twice, and a payout says exactly what it pays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.ledger import posting as ledger
from db.ledger import wallet
from db.payout.record import Payout
from db.schema.ledger import ledger_posting, ledger_transaction
from db.schema.merchant import merchant
from db.schema.payment import payment_order
from db.schema.payout import payout, payout_call, payout_item, payout_run, payout_transition
from domain import ledger as books
from domain.errors import Conflict, NotFound, Unprocessable
from domain.events import Event, payout_event_data
from domain.ids import new_id, payout_key
from domain.ledger import Bucket, Kind, Transaction
from domain.model import Failure
from domain.money import to_major
from domain.payout import PayoutCall
from domain.status import PAYOUT_ENDED, MerchantStatus, PayoutStatus


@dataclass(frozen=True)
class NewPayout:
    """`amount` in minor units; None: all that is available. `fit`: the most that the PSP can move of an amount."""

    id: str
    tenant_id: str
    seller_account: str
    currency: str
    amount: int | None
    psp: str
    actor: str
    send_for_s: float
    fit: Callable[[int, str], int]
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
    await new_call(connection, row, PayoutCall.TRANSFER, new.send_for_s)
    await _reserve(connection, row, recovered, at)
    await record(connection, row, None, "requested", at)
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
    """What is paid: `available` is what is left after the seller's debt was kept back."""
    amount = new.fit(available, new.currency) if new.amount is None else new.amount
    kept = f", after {to_major(recovered, new.currency)} for what the seller owes" if recovered else ""
    left = f"{to_major(max(0, available), new.currency)} {new.currency} can be paid out{kept}."
    if new.amount is None and amount <= 0:
        raise Unprocessable(left, code="nothing_to_pay_out")
    if amount > available:
        raise Unprocessable(left, code="payout_exceeds_available", available=to_major(max(0, available), new.currency))
    return amount


async def new_call(connection: AsyncConnection, row: Payout, call: PayoutCall, send_for_s: float) -> None:
    """Write the next attempt at a call before anything is sent: its key, and until when it may be sent."""
    last = await connection.scalar(
        select(func.max(payout_call.c.attempt)).where(
            payout_call.c.payout_id == row.id, payout_call.c.call == call.value
        )
    )
    attempt = (last or 0) + 1
    await connection.execute(
        insert(payout_call).values(
            key=payout_key(row.id, call.value, attempt),
            tenant_id=row.tenant_id,
            payout_id=row.id,
            call=call.value,
            attempt=attempt,
            send_until=func.now() + timedelta(seconds=send_for_s),
        )
    )


# --- what it pays ---

_OPEN = """
    SELECT p.seq, -p.amount - coalesce(i.taken, 0) AS rest
    FROM ledger_posting p
    JOIN ledger_transaction t ON t.id = p.transaction_id
    LEFT JOIN LATERAL (
        SELECT sum(amount) AS taken FROM payout_item WHERE posting_seq = p.seq AND NOT released
    ) i ON true
    WHERE p.tenant_id = :tenant AND p.account = :account AND p.currency = :currency AND p.seq >= :since
      AND t.kind NOT IN ('payout', 'payout_reversal') AND -p.amount <> coalesce(i.taken, 0)
"""

_TAKE = text(f"""
    INSERT INTO payout_item (tenant_id, payout_id, posting_seq, amount)
    SELECT :tenant, :payout, seq, CASE WHEN rest < 0 THEN rest ELSE least(rest, :amount - (upto - rest)) END
    FROM (SELECT seq, rest, sum(rest) OVER (ORDER BY rest > 0, seq) AS upto FROM ({_OPEN}) AS open) AS ordered
    WHERE rest < 0 OR upto - rest < :amount
""")  # noqa: S608 - put together from constants

_PAID_UP_TO = text(f"""
    UPDATE wallet SET payable_from = coalesce(
        (SELECT min(seq) FROM ({_OPEN}) AS open),
        (SELECT max(seq) + 1 FROM ledger_posting
         WHERE tenant_id = :tenant AND account = :account AND currency = :currency))
    WHERE tenant_id = :tenant AND seller_account = :seller AND currency = :currency
""")  # noqa: S608 - put together from constants


async def _reserve(connection: AsyncConnection, row: Payout, recovered: int, at: datetime) -> None:
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
    place = {
        "tenant": row.tenant_id,
        "account": books.wallet(seller, Bucket.AVAILABLE),
        "currency": currency,
        "since": await wallet.payable_from(connection, row.tenant_id, seller, currency),
    }
    await connection.execute(_TAKE, place | {"payout": row.id, "amount": row.amount})
    total = await connection.scalar(select(func.sum(payout_item.c.amount)).where(payout_item.c.payout_id == row.id))
    assert total == row.amount, f"{row.id} pays {row.amount} and its items are {total}"
    await connection.execute(_PAID_UP_TO, place | {"seller": seller})


async def give_back(connection: AsyncConnection, row: Payout, at: datetime) -> None:
    """The money is in the wallet again, and what it was to pay can be paid anew."""
    balance_of = (row.tenant_id, row.seller_account, row.currency)
    await wallet.lock(connection, *balance_of)
    back = books.reversed_lines(books.payout(row.seller_account, row.amount, row.currency))
    await post(connection, row, Kind.PAYOUT_REVERSAL, back, at, corrects=Kind.PAYOUT)
    released = await connection.execute(
        update(payout_item)
        .where(payout_item.c.payout_id == row.id)
        .values(released=True)
        .returning(payout_item.c.posting_seq)
    )
    await wallet.pay_again_from(connection, *balance_of, min(released.scalars()))


async def post(
    connection: AsyncConnection,
    row: Payout,
    kind: Kind,
    postings: tuple[books.Posting, ...],
    at: datetime,
    *,
    corrects: Kind | None = None,
) -> None:
    """Book one fact of a payout, once."""
    transaction = Transaction(
        kind=kind,
        source_id=row.id,
        corrects=await ledger.transaction_id(connection, corrects, row.id) if corrects else None,
        postings=postings,
    )
    booked = await ledger.post(connection, row.tenant_id, [transaction], at)
    await wallet.apply(connection, row.tenant_id, booked)


async def record(
    connection: AsyncConnection, row: Payout, before: PayoutStatus | None, reason: str, at: datetime
) -> None:
    """The step in its history, and its event."""
    await connection.execute(
        insert(payout_transition).values(
            tenant_id=row.tenant_id,
            payout_id=row.id,
            from_status=before.value if before else None,
            to_status=row.status.value,
            reason=reason,
            at=at,
        )
    )
    event = Event(
        id=new_id("evt"),
        type=f"payout.{row.status.value.lower()}",
        tenant_id=row.tenant_id,
        object_id=row.id,
        at=at,
        data=payout_event_data(
            payout_id=row.id,
            seller_account=row.seller_account,
            amount=row.amount,
            currency=row.currency,
            status=row.status,
            failure=row.failure,
        ),
    )
    await outbox.add(connection, [event])


# --- reading ---


@dataclass(frozen=True)
class Call:
    """One attempt at a call at the PSP."""

    key: str
    call: PayoutCall
    attempt: int
    send_until: datetime
    sent_at: datetime | None
    outcome: str | None
    reference: str | None
    failure: Failure | None
    created_at: datetime


async def get(connection: AsyncConnection, payout_id: str) -> Payout:
    row = (await connection.execute(select(payout).where(payout.c.id == payout_id))).mappings().one()
    return Payout(**row)


async def lock(connection: AsyncConnection, payout_id: str) -> Payout:
    """Under its row lock: whoever writes to it comes through here."""
    found = await connection.execute(select(payout).where(payout.c.id == payout_id).with_for_update())
    return Payout(**found.mappings().one())


async def find(connection: AsyncConnection, tenant_id: str | None, payout_id: str) -> Payout | None:
    """Of this tenant (None: of any), or None."""
    query = select(payout).where(payout.c.id == payout_id)
    if tenant_id is not None:
        query = query.where(payout.c.tenant_id == tenant_id)
    found = (await connection.execute(query)).mappings().one_or_none()
    return None if found is None else Payout(**found)


async def last_call(connection: AsyncConnection, payout_id: str, call: PayoutCall) -> Call | None:
    found = await connection.execute(
        select(payout_call)
        .where(payout_call.c.payout_id == payout_id, payout_call.c.call == call.value)
        .order_by(payout_call.c.attempt.desc())
        .limit(1)
    )
    row = found.mappings().one_or_none()
    return None if row is None else _call(row)


async def calls(connection: AsyncConnection, payout_id: str) -> list[Call]:
    """Every attempt at the PSP, the oldest first."""
    rows = await connection.execute(
        select(payout_call).where(payout_call.c.payout_id == payout_id).order_by(payout_call.c.created_at)
    )
    return [_call(row) for row in rows.mappings()]


def _call(row: Any) -> Call:
    values = {name: row[name] for name in Call.__dataclass_fields__}
    failure = Failure(**values["failure"]) if values["failure"] else None
    return Call(**values | {"call": PayoutCall(values["call"]), "failure": failure})


async def transitions(connection: AsyncConnection, payout_id: str) -> list[dict[str, Any]]:
    rows = await connection.execute(
        select(payout_transition).where(payout_transition.c.payout_id == payout_id).order_by(payout_transition.c.seq)
    )
    return [dict(row) for row in rows.mappings()]


async def page(
    connection: AsyncConnection,
    tenant_id: str | None,
    *,
    seller_account: str | None = None,
    status: str | None = None,
    run_id: str | None = None,
    business_date: date | None = None,
    before: int | None = None,
    limit: int,
) -> list[Payout]:
    """Newest first; `before` is the sequence number that a page ended with."""
    query: Select[Any] = select(payout).order_by(payout.c.seq.desc()).limit(limit)
    for column, wanted in (
        (payout.c.tenant_id, tenant_id),
        (payout.c.seller_account, seller_account),
        (payout.c.status, status),
        (payout.c.run_id, run_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if business_date is not None:  # by the run's id, for which there is an index
        run = select(payout_run.c.id).where(payout_run.c.business_date == business_date)
        query = query.where(payout.c.run_id == run.scalar_subquery())
    if before is not None:
        query = query.where(payout.c.seq < before)
    return [Payout(**row) for row in (await connection.execute(query)).mappings()]


async def items(
    connection: AsyncConnection, payout_id: str, *, after: int = 0, limit: int = 200
) -> Sequence[dict[str, Any]]:
    """What it pays, by posting: `{posting_seq, amount, released, posting_amount, kind, source_id, payment_id, order_id,
    payment_order_id, transaction_id, at}`; `after` is the posting that a page ended with."""
    p, t, o = ledger_posting, ledger_transaction, payment_order
    rows = await connection.execute(
        select(
            payout_item.c.posting_seq,
            payout_item.c.amount,
            payout_item.c.released,
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
    return [dict(row) for row in rows.mappings()]


async def unfinished(connection: AsyncConnection, older_than_s: float, after_id: str, limit: int) -> list[Payout]:
    """Payouts that are not at their end and whose next look is overdue: their workflow was lost. And those that were
    paid, when it is time to look whether the bank has returned them."""
    due = func.now() - timedelta(seconds=older_than_s)
    lost = and_(
        payout.c.status.not_in(sorted(PAYOUT_ENDED)),
        func.coalesce(payout.c.next_check_at, payout.c.updated_at) < due,
    )
    paid = and_(payout.c.status == PayoutStatus.PAID.value, payout.c.next_check_at < due)
    rows = await connection.execute(
        select(payout).where(or_(lost, paid), payout.c.id > after_id).order_by(payout.c.id).limit(limit)
    )
    return [Payout(**row) for row in rows.mappings()]
