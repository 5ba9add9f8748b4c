"""The report of a run, for people: how much of each class, the totals of both sides, and what is open of it now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.database import Database
from db.reconciliation import run as reconciliation
from db.reconciliation.log import View, view
from db.schema.reconciliation import discrepancy, reconciliation_item, reconciliation_run
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.reconciliation import BREAKS, DiscrepancyStatus, LineClass

OPEN_MAX = 500
"""Open discrepancies that a page lists; the log has all of them."""

_TIMEOUT_S = 60.0

_EVERYBODYS = ("lines", "outside", "notes", "opened", "closed", "fixed", "asked")


@dataclass(frozen=True)
class Total:
    """The totals of one currency, in minor units, fees taken off: what the other side moved, and what the ledger
    did."""

    currency: str
    there: int
    here: int

    @property
    def difference(self) -> int:
        return self.there - self.here


@dataclass(frozen=True)
class Share:
    """The number of lines and records of a class, and the money in question, by currency."""

    cls: LineClass
    count: int
    amounts: dict[str, int]


@dataclass(frozen=True)
class Summary:
    """The results of a run whose lines were matched. `lines` and `totals` are None where others share the account: they
    would be everybody's. `open` and `settled` are discrepancies as they stand now."""

    run: dict[str, Any]
    at: datetime
    lines: int | None
    shares: list[Share]
    totals: list[Total] | None
    open: list[Discrepancy]
    open_count: int
    settled: list[Discrepancy]

    @property
    def counts(self) -> dict[str, int]:
        return {share.cls.value: share.count for share in self.shares}


async def summary(database: Database, run: dict[str, Any], tenant_id: str | None, at: datetime) -> Summary:
    """`tenant_id` None: an operator. Of a million lines it takes a second."""

    shown = await view(database, run, tenant_id)

    async def work(connection: AsyncConnection) -> Summary:
        return await _summary(connection, run, shown, at)

    return await database.run_long(work, timeout_s=_TIMEOUT_S)


async def brief(connection: AsyncConnection, run: dict[str, Any], tenant_id: str | None) -> dict[str, Any]:
    """The run as a list shows it: where others share the account, with the tenant's own counts alone, and without the
    counters that are everybody's."""
    (told,) = await briefs(connection, [run], tenant_id)
    return told


async def briefs(
    connection: AsyncConnection, runs: Sequence[dict[str, Any]], tenant_id: str | None
) -> list[dict[str, Any]]:
    """The same of many."""
    shown = View(await reconciliation.tenants_shown(connection, tenant_id))
    if shown.whole:
        return list(runs)
    counts = await _own_counts(connection, [run["id"] for run in runs], shown)
    return [run | dict.fromkeys(_EVERYBODYS) | {"counts": counts[run["id"]]} for run in runs]


async def _own_counts(connection: AsyncConnection, run_ids: Sequence[str], shown: View) -> dict[str, dict[str, int]]:
    """Run → class → number of items."""
    item = reconciliation_item.c
    query = (
        select(item.run_id, item["class"], func.count())
        .where(item.run_id.in_(run_ids), item.tenant_id.in_(shown.tenants or ()))
        .group_by(item.run_id, item["class"])
    )
    counts: dict[str, dict[str, int]] = {run_id: {} for run_id in run_ids}
    for run_id, cls, count in await connection.execute(query):
        counts[run_id][cls] = count
    return counts


async def _summary(connection: AsyncConnection, run: dict[str, Any], shown: View, at: datetime) -> Summary:
    own = {} if shown.whole else await _own_counts(connection, [run["id"]], shown)
    counts = run["counts"] or {} if shown.whole else own[run["id"]]
    amounts = await _amounts(connection, run, shown)
    shares = [Share(cls, counts[cls], amounts.get(cls, {})) for cls in LineClass if counts.get(cls)]
    still, count = await _open(connection, run, shown)
    return Summary(
        run=run,
        at=at,
        lines=run["lines"] if shown.whole else None,
        shares=shares,
        totals=await _totals(connection, run, shown) if shown.whole else None,
        open=still,
        open_count=count,
        settled=await _settled(connection, run, shown),
    )


# --- money ---


def _net(side: str) -> ColumnElement[int]:
    item = reconciliation_item.c
    return func.coalesce(item[f"{side}_amount"], 0) - func.coalesce(item[f"{side}_fee"], 0)


def _at_stake() -> ColumnElement[int]:
    """The money that an item is about: the difference where there is one, else what is there, here, or in our
    record."""
    item = reconciliation_item.c
    fee = func.coalesce(item.there_fee, 0) - func.coalesce(item.ledger_fee, 0)
    alone = case((item.kind == "fee", func.coalesce(item.there_amount, 0)), else_=0)
    differ = item.there_currency != item.ledger_currency
    return func.abs(
        case(
            (item["class"] == LineClass.MATCHED.value, _net("there")),
            (item["class"] == LineClass.FEE.value, fee - alone),
            (differ, _net("there")),
            (
                item.there_amount.is_(None) & item.ledger_amount.is_(None) & item.ledger_fee.is_(None),
                func.coalesce(item.record_amount, 0),
            ),
            else_=_net("there") - _net("ledger"),
        )
    )


def _mine(shown: View) -> list[ColumnElement[bool]]:
    return [] if shown.tenants is None else [reconciliation_item.c.tenant_id.in_(shown.tenants)]


async def _amounts(connection: AsyncConnection, run: dict[str, Any], shown: View) -> dict[str, dict[str, int]]:
    """Class → currency → minor units, of what our own reference did not plainly match."""
    item = reconciliation_item.c
    currency = func.coalesce(item.there_currency, item.ledger_currency, item.record_currency)
    query = (
        select(item["class"], currency, func.sum(_at_stake()))
        .where(item.run_id == run["id"], currency.is_not(None), *_mine(shown))
        .group_by(item["class"], currency)
        .order_by(item["class"], currency)
    )
    found: dict[str, dict[str, int]] = {}
    for cls, name, amount in await connection.execute(query):
        if amount and cls in BREAKS:
            found.setdefault(cls, {})[name] = int(amount)
    return found


# The lines of the window are what the other side moved. The ledger moved the same, but for what the items say: an item
# has both sides of its movement, once, also where a fee of it is an item of its own. What is still open of other times
# is an item too, and belongs to the totals of its own time. What is nothing of the PSP's is in neither.
_TOTALS = text(
    """
    WITH moved AS (
        SELECT currency, sum(amount::numeric - fee) AS there FROM reconciliation_line
        WHERE run_id = :run AND occurred_at >= :window_from AND occurred_at < :window_to
          AND NOT line_no = ANY (:repeated)
        GROUP BY currency
    ), item AS (
        SELECT DISTINCT ON (line_no, line_reference, CASE WHEN line_reference IS NULL THEN seq END)
               there_currency, coalesce(there_amount, 0)::numeric - coalesce(there_fee, 0) AS there,
               ledger_currency, coalesce(ledger_amount, 0)::numeric - coalesce(ledger_fee, 0) AS here,
               line_no IS NOT NULL AS counted, class = 'unrelated' AS unrelated
        FROM reconciliation_item
        WHERE run_id = :run AND occurred_at >= :window_from AND occurred_at < :window_to
        ORDER BY line_no, line_reference, CASE WHEN line_reference IS NULL THEN seq END, seq
    ), parts AS (
        SELECT currency, there, there AS here FROM moved
        UNION ALL
        SELECT there_currency, CASE WHEN unrelated THEN -there WHEN counted THEN 0 ELSE there END,
               CASE WHEN counted THEN -there ELSE 0 END
        FROM item WHERE there_currency IS NOT NULL
        UNION ALL
        SELECT ledger_currency, 0, here FROM item WHERE ledger_currency IS NOT NULL
    )
    SELECT currency, sum(there) AS there, sum(here) AS here FROM parts GROUP BY 1 ORDER BY 1
    """
)


async def _totals(connection: AsyncConnection, run: dict[str, Any], shown: View) -> list[Total]:
    if run["window_from"] is None:  # an empty file
        return []
    values = {
        "run": run["id"],
        "window_from": run["window_from"],
        "window_to": run["window_to"],
        "repeated": sorted(shown.repeated),
    }
    return [Total(row.currency, int(row.there), int(row.here)) for row in await connection.execute(_TOTALS, values)]


# --- discrepancies, as they stand now ---


async def _open(connection: AsyncConnection, run: dict[str, Any], shown: View) -> tuple[list[Discrepancy], int]:
    """The run's open discrepancies, what is due first first, and how many there are."""
    d = discrepancy.c
    found = [d.id.in_(_found(run)), d.status == DiscrepancyStatus.OPEN.value, *_theirs(shown)]
    rows = await connection.execute(select(discrepancy).where(*found).order_by(d.due_at, d.seq).limit(OPEN_MAX))
    count = await connection.scalar(select(func.count()).select_from(discrepancy).where(*found))
    return [Discrepancy.model_validate(dict(row)) for row in rows.mappings()], int(count or 0)


async def _settled(connection: AsyncConnection, run: dict[str, Any], shown: View) -> list[Discrepancy]:
    """Closed by this run, or found by it and closed since; the latest first."""
    d = discrepancy.c
    of_run = d.id.in_(_found(run)) | (d.last_run_id == run["id"])
    rows = await connection.execute(
        select(discrepancy)
        .where(of_run, d.status != DiscrepancyStatus.OPEN.value, *_theirs(shown))
        .order_by(d.resolved_at.desc(), d.seq)
        .limit(OPEN_MAX)
    )
    return [Discrepancy.model_validate(dict(row)) for row in rows.mappings()]


def _found(run: dict[str, Any]) -> Any:
    item = reconciliation_item.c
    return select(item.discrepancy_id).where(item.run_id == run["id"], item.discrepancy_id.is_not(None))


def _theirs(shown: View) -> list[ColumnElement[bool]]:
    return [] if shown.tenants is None else [discrepancy.c.tenant_id.in_(shown.tenants)]


class Seen(NamedTuple):
    """A discrepancy as one run saw it."""

    run_id: str
    at: datetime
    cls: LineClass
    reason: str


async def history(connection: AsyncConnection, discrepancy_id: str) -> list[Seen]:
    """A discrepancy as each run saw it, the latest first."""
    item, run = reconciliation_item.c, reconciliation_run.c
    rows = await connection.execute(
        select(item.run_id, run.at, item["class"], item.reason)
        .join(reconciliation_run, run.id == item.run_id)
        .where(item.discrepancy_id == discrepancy_id)
        .order_by(item.seq.desc())
        .limit(OPEN_MAX)
    )
    return [Seen(run_id, at, LineClass(cls), reason) for run_id, at, cls, reason in rows]
