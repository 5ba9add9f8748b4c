"""Payout runs: one for each business date, however often it is started; and who is due on that date."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Integer, Select, and_, cast, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import merchant, payout, payout_run, wallet
from domain.ids import new_id
from domain.payout import Interval, due_monthdays
from domain.status import MerchantStatus, PayoutStatus


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


async def close_run(connection: AsyncConnection, run_id: str, at: datetime) -> None:
    made = select(func.count()).where(payout.c.run_id == run_id).scalar_subquery()
    await connection.execute(update(payout_run).where(payout_run.c.id == run_id).values(ended_at=at, payouts=made))


async def due(
    connection: AsyncConnection, day: date, after: tuple[str, str, str] | None, limit: int
) -> list[tuple[str, str, str]]:
    """The next sellers who are due on `day` with their currencies: (tenant, seller, currency), in that order.

    Due is who has a schedule that means this day, an account to be paid to, and more available than is owed to us and
    than the schedule's minimum. A page is a walk along the wallets' primary key, whatever their number.
    """
    place = tuple_(wallet.c.tenant_id, wallet.c.seller_account, wallet.c.currency)
    query = _due(day).order_by(wallet.c.tenant_id, wallet.c.seller_account, wallet.c.currency).limit(limit)
    if after is not None:
        query = query.where(place > tuple_(*after))
    return [(row.tenant_id, row.seller_account, row.currency) for row in await connection.execute(query)]


async def due_count(connection: AsyncConnection, day: date) -> int:
    """How many sellers and currencies are due on `day`."""
    return int(await connection.scalar(select(func.count()).select_from(_due(day).subquery())) or 0)


def _due(day: date) -> Select[Any]:
    smallest = func.greatest(func.coalesce(merchant.c.payout_minimum[wallet.c.currency].as_integer(), 1), 1)
    return (
        select(wallet.c.tenant_id, wallet.c.seller_account, wallet.c.currency)
        .join(
            merchant,
            and_(merchant.c.tenant_id == wallet.c.tenant_id, merchant.c.seller_account == wallet.c.seller_account),
        )
        .where(
            merchant.c.status == MerchantStatus.ACTIVE.value,
            merchant.c.payout_account.is_not(None),
            wallet.c.available - wallet.c.receivable >= smallest,
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
    )


async def unsent(connection: AsyncConnection, run_id: str) -> int:
    """Payouts of a run that the PSP has not got yet."""
    found = await connection.scalar(
        select(func.count()).where(payout.c.run_id == run_id, payout.c.status == PayoutStatus.REQUESTED.value)
    )
    return int(found or 0)


async def page(connection: AsyncConnection, *, day: date | None = None, limit: int = 1) -> list[dict[str, Any]]:
    """Runs, the latest date first, or that of `day`; each with its payouts by status: `statuses`."""
    query = select(payout_run).order_by(payout_run.c.business_date.desc()).limit(limit)
    if day is not None:
        query = query.where(payout_run.c.business_date == day)
    runs = await connection.execute(query)
    found = {row["id"]: dict(row) | {"statuses": {}} for row in runs.mappings()}
    counts = await connection.execute(
        select(payout.c.run_id, payout.c.status, func.count().label("n"))
        .where(payout.c.run_id.in_(found))
        .group_by(payout.c.run_id, payout.c.status)
    )
    for row in counts:
        found[row.run_id]["statuses"][row.status] = row.n
    return list(found.values())
