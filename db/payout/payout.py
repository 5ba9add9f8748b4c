"""Payouts: their rows, their calls at the PSP and their history, read and written."""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.ledger import posting as ledger
from db.ledger import wallet
from db.payout.record import WAITS_AS, Call, Payout, PayoutTransition
from db.schema.payout import payout, payout_call, payout_run, payout_transition
from domain import ledger as books
from domain.events import Event, payout_event_data
from domain.ids import new_id, payout_key
from domain.ledger import Kind, Transaction
from domain.model import Failure
from domain.payout import PayoutCall
from domain.psp import TransferOutcome
from domain.status import PAYOUT_ENDED, PayoutStatus


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


async def get(connection: AsyncConnection, payout_id: str) -> Payout:
    row = (await connection.execute(select(payout).where(payout.c.id == payout_id))).mappings().one()
    return Payout(**row)


async def lock(connection: AsyncConnection, payout_id: str) -> Payout:
    """Under its row lock: whoever writes to it comes through here."""
    found = await connection.execute(select(payout).where(payout.c.id == payout_id).with_for_update())
    return Payout(**found.mappings().one())


async def now(connection: AsyncConnection, payout_id: str, *, lock: bool = False) -> tuple[Payout, datetime]:
    """The row with the time on the database's clock; `lock`: as in `lock`."""
    query = select(payout, func.clock_timestamp().label("now")).where(payout.c.id == payout_id)
    found = (await connection.execute(query.with_for_update() if lock else query)).mappings().one()
    return Payout(**found), found["now"]


async def find(connection: AsyncConnection, tenant_id: str | None, name: str) -> Payout | None:
    """Of this tenant (None: of any), by our id or the PSP's of its transfer, its payout, or an earlier attempt at
    either; or None."""
    called = select(payout_call.c.payout_id).where(payout_call.c.reference == name)
    named = (payout.c.id == name, payout.c.reference == name, payout.c.transfer_reference == name)
    query = select(payout).where(or_(*named, payout.c.id.in_(called)))
    if tenant_id is not None:
        query = query.where(payout.c.tenant_id == tenant_id)
    query = query.order_by((payout.c.id == name).desc(), payout.c.seq.desc()).limit(1)
    found = (await connection.execute(query)).mappings().one_or_none()
    return None if found is None else Payout(**found)


async def last_call(connection: AsyncConnection, payout_id: str, call: PayoutCall) -> Call | None:
    """The latest attempt at a call at the PSP."""
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
        select(payout_call)
        .where(payout_call.c.payout_id == payout_id)
        .order_by(payout_call.c.created_at, payout_call.c.key)
    )
    return [_call(row) for row in rows.mappings()]


def _call(row: Any) -> Call:
    values = {name: row[name] for name in Call.__dataclass_fields__}
    failure = Failure(**values["failure"]) if values["failure"] else None
    return Call(**values | {"call": PayoutCall(values["call"]), "failure": failure})


async def transitions(connection: AsyncConnection, payout_id: str) -> list[PayoutTransition]:
    """The steps of its history, the oldest first."""
    columns = (payout_transition.c[name] for name in PayoutTransition.__dataclass_fields__)
    rows = await connection.execute(
        select(*columns).where(payout_transition.c.payout_id == payout_id).order_by(payout_transition.c.seq)
    )
    return [
        PayoutTransition(PayoutStatus(row.from_status) if row.from_status else None, PayoutStatus(row.to_status),
                         row.reason, row.at)
        for row in rows
    ]  # fmt: skip


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


async def unanswered(connection: AsyncConnection, row: Payout) -> Call | None:
    """The call that the payout waits for, if the last answer to it cannot be trusted."""
    wanted = next((call for call, status in WAITS_AS.items() if status is row.status), None)
    call = await last_call(connection, row.id, wanted) if wanted else None
    return call if call is not None and call.outcome == TransferOutcome.UNKNOWN else None


async def unanswered_since(connection: AsyncConnection, since: ColumnElement[datetime]) -> list[tuple[Payout, Call]]:
    """The payouts that have waited since then for an answer that can be trusted, each with the call at the PSP."""
    waits = payout.c.status.in_([status.value for status in WAITS_AS.values()])
    rows = await connection.execute(select(payout).where(waits, payout.c.unknown_count > 0))
    found = [(row, await unanswered(connection, row)) for row in [Payout(**row) for row in rows.mappings()]]
    due: datetime = (await connection.execute(select(since))).scalar_one()
    return [(row, call) for row, call in found if call is not None and call.created_at < due]


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
