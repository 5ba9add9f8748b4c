"""Payout runs: one for each business date, however often it is started; and who is due on that date."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    cast,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.payout.record import PayoutRun
from db.schema.merchant import merchant, wallet
from db.schema.payout import payout, payout_run
from domain.ids import new_id
from domain.payout import Interval, due_monthdays
from domain.status import MerchantStatus, PayoutStatus

WalletKey = tuple[str, str, str]
"""Tenant, seller, currency."""

_GAP_DAYS_MAX = 31
_RUNS_FOR = timedelta(days=1)


async def open_run(connection: AsyncConnection, business_date: date, by: str, at: datetime) -> str:
    """The run of this date, made now or before. Returns its id."""
    await connection.execute(
        upsert(payout_run)
        .values(id=new_id("prun"), business_date=business_date, actor=by, started_at=at)
        .on_conflict_do_nothing(index_elements=["business_date"])
    )
    found: str | None = await connection.scalar(
        select(payout_run.c.id).where(payout_run.c.business_date == business_date)
    )
    assert found is not None, "the run is there"
    return found


async def missed(connection: AsyncConnection, day: date, at: datetime) -> list[date]:
    """Business dates since the last run before `day` that had none, and dates before it whose run never came to its
    end; of the last month."""
    earlier = select(payout_run.c.business_date, payout_run.c.started_at, payout_run.c.ended_at).where(
        payout_run.c.business_date < day, payout_run.c.business_date >= day - timedelta(days=_GAP_DAYS_MAX)
    )
    runs = (await connection.execute(earlier)).all()
    if not runs:
        return []
    last = max(run.business_date for run in runs)
    gap = [last + timedelta(days=n) for n in range(1, (day - last).days)]
    return sorted([run.business_date for run in runs if run.ended_at is None and run.started_at < at - _RUNS_FOR] + gap)


async def close_run(connection: AsyncConnection, run_id: str, at: datetime) -> date:
    """Note the end of a run and how many payouts it made. Returns its business date."""
    made = select(func.count()).where(payout.c.run_id == run_id).scalar_subquery()
    ended = update(payout_run).where(payout_run.c.id == run_id).values(ended_at=at, payouts=made)
    day: date = (await connection.execute(ended.returning(payout_run.c.business_date))).scalar_one()
    return day


class DueWallet(NamedTuple):
    """The wallet of a seller who is due, with its balance as it was read."""

    tenant_id: str
    seller_account: str
    currency: str
    available: int


@dataclass(frozen=True)
class DuePage:
    """Sellers who are due. `after`: the last wallet that was looked at, due or not; None at the end."""

    wallets: list[DueWallet]
    after: WalletKey | None


async def due(connection: AsyncConnection, day: date, after: WalletKey | None, limit: int) -> DuePage:
    """The sellers who are due on `day` among the next `limit` wallets that hold something, by tenant, seller, currency.

    Due is who has a schedule that means this day, an account to be paid to, and more available than is owed to us and
    than the schedule's minimum. A page costs what its wallets cost, however few of them are due.
    """
    key = (wallet.c.tenant_id, wallet.c.seller_account, wallet.c.currency)
    looked_at = select(wallet).where(wallet.c.available > 0).order_by(*key).limit(limit)
    if after is not None:
        looked_at = looked_at.where(tuple_(*key) > tuple_(*after))
    some = looked_at.subquery()
    wallets = (some.c.tenant_id, some.c.seller_account, some.c.currency)
    found = _of_merchant(some, _is_due(some, day), *wallets, some.c.available).order_by(*wallets)
    rows = (await connection.execute(found)).all()
    is_due = [DueWallet(row.tenant_id, row.seller_account, row.currency, row.available) for row in rows if row.is_due]
    last = rows[-1] if len(rows) == limit else None
    return DuePage(is_due, (last.tenant_id, last.seller_account, last.currency) if last else None)


async def due_count(connection: AsyncConnection, day: date) -> int:
    """The number of sellers and currencies that are due on `day`; with a million wallets that hold something it takes
    seconds."""
    some = select(wallet).where(wallet.c.available > 0).subquery()
    every = _of_merchant(some, _is_due(some, day)).subquery()
    return int(await connection.scalar(select(func.count()).where(every.c.is_due)) or 0)


def _of_merchant(some: FromClause, is_due: ColumnElement[bool], *columns: ColumnElement[Any]) -> Select[Any]:
    of = and_(merchant.c.tenant_id == some.c.tenant_id, merchant.c.seller_account == some.c.seller_account)
    return select(*columns, is_due.label("is_due")).select_from(some.join(merchant, of))


def _is_due(some: FromClause, day: date) -> ColumnElement[bool]:
    least = cast(merchant.c.payout_minimum[some.c.currency].astext, BigInteger)
    return and_(
        merchant.c.status == MerchantStatus.ACTIVE.value,
        merchant.c.payout_account.is_not(None),
        some.c.available - some.c.receivable >= func.greatest(func.coalesce(least, 1), 1),
        or_(
            merchant.c.payout_interval == Interval.DAILY.value,
            and_(
                merchant.c.payout_interval == Interval.WEEKLY.value,
                merchant.c.payout_weekdays.contains([day.weekday()]),
            ),
            and_(
                merchant.c.payout_interval == Interval.MONTHLY.value,
                merchant.c.payout_monthdays.overlap(cast(due_monthdays(day), ARRAY(Integer))),
            ),
        ),
    )


async def page(connection: AsyncConnection, *, day: date | None = None, limit: int = 1) -> list[PayoutRun]:
    """Runs, the latest date first, or that of `day`."""
    query = select(payout_run).order_by(payout_run.c.business_date.desc()).limit(limit)
    if day is not None:
        query = query.where(payout_run.c.business_date == day)
    runs = (await connection.execute(query)).all()
    counts = await connection.execute(
        select(payout.c.run_id, payout.c.status, func.count().label("n"))
        .where(payout.c.run_id.in_([run.id for run in runs]))
        .group_by(payout.c.run_id, payout.c.status)
    )
    statuses: dict[str, dict[PayoutStatus, int]] = {run.id: {} for run in runs}
    for row in counts:
        statuses[row.run_id][PayoutStatus(row.status)] = row.n
    return [
        PayoutRun(run.id, run.business_date, run.actor, run.started_at, run.ended_at, statuses[run.id]) for run in runs
    ]
