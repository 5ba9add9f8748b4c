"""Balances: what is sealed is summed by day and month, and it makes no difference to what anybody reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

from db.core.snapshot import in_snapshot
from db.ledger import seal, statement
from domain.statement import totals
from tests.audit.copies import Copy

Sums = dict[tuple[str, str], int]

OVER_MONTHS_AND_UNSEALED = """
    UPDATE ledger_transaction SET at = at - seq % 90 * interval '17 hours';
    DELETE FROM ledger_balance; DELETE FROM ledger_seal_row; DELETE FROM ledger_seal
"""


async def posted(copy: Copy, tenant: str, at: datetime | None) -> Sums:
    """By adding up every posting."""
    rows = await copy.database.read(
        lambda c: c.exec_driver_sql(
            "SELECT a.name, a.currency, coalesce(sum(p.amount) FILTER (WHERE t.at < $2::timestamptz), 0) AS balance"
            " FROM ledger_account a LEFT JOIN ledger_posting p"
            " ON (p.tenant_id, p.account, p.currency) = (a.tenant_id, a.name, a.currency)"
            " LEFT JOIN ledger_transaction t ON t.id = p.transaction_id WHERE a.tenant_id = $1 GROUP BY 1, 2",
            (tenant, at or datetime(2999, 1, 1, tzinfo=UTC)),
        )
    )
    return {(row.name, row.currency): int(row.balance) for row in rows}


async def read(copy: Copy, tenant: str, at: datetime | None, **wanted: Any) -> Sums:
    rows = await in_snapshot(copy.database, lambda c: statement.balances(c, tenant_id=tenant, at=at, **wanted))
    return {(row.account, row.currency): row.balance for row in rows}


async def moments(copy: Copy) -> list[datetime | None]:
    """Now; the moments of some transactions, and just after; the beginnings of their days and months."""
    rows = await copy.database.read(
        lambda c: c.exec_driver_sql(
            "SELECT at FROM (SELECT at, row_number() OVER (ORDER BY seq) AS n FROM ledger_transaction) AS numbered"
            " WHERE n % 30 = 7 ORDER BY n"  # by seq alone they would be some more or fewer: it has gaps
        )
    )
    some = [row.at for row in rows]
    days = [at.replace(hour=0, minute=0, second=0, microsecond=0) for at in some]
    return [None, *some, *(at + timedelta(microseconds=1) for at in some), *days, *(day.replace(day=1) for day in days)]


async def test_a_balance_is_the_same_however_much_of_the_ledger_is_sealed(copy: Copy) -> None:
    await copy.damage(OVER_MONTHS_AND_UNSEALED)
    asked = await moments(copy)
    assert len(asked) > 12
    wanted = {(tenant, at): await posted(copy, tenant, at) for tenant in ("acme", "careful") for at in asked}
    for limit in (0, 60, 45, 10_000):  # nothing is sealed, a part of it, a little more, all of it
        if limit:
            sealed = await copy.database.run(lambda c, n=limit: seal.seal(c, datetime.now(UTC), n))  # type: ignore[misc]
            assert sealed.transactions
        for (tenant, at), sums in wanted.items():
            assert await read(copy, tenant, at) == sums, (limit, tenant, at)
            rows = await in_snapshot(copy.database, lambda c, t=tenant, a=at: statement.balances(c, tenant_id=t, at=a))  # type: ignore[misc]
            found = await in_snapshot(copy.database, lambda c, t=tenant, a=at: statement.totals(c, t, a))  # type: ignore[misc]
            assert [one for one in found if one.debit] == [one for one in totals(rows) if one.debit]
    of_one = await read(copy, "acme", asked[1], account="platform_fees")
    assert of_one == {key: sum_ for key, sum_ in wanted["acme", asked[1]].items() if key[0] == "platform_fees"}
