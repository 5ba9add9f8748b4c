"""The log of a run: every line that the other side listed, with what it turned out to be, then every record of ours
that has no line, and what is still open of other times. Read in pages, in constant memory."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import reconciliation
from db.database import Database
from db.tables import PLATFORM_TENANT
from db.tables_reconciliation import reconciliation_item, reconciliation_line
from domain.reconciliation import LineClass, MatchedBy, Source

PAGE = 5_000

_ITEM = (
    "class", "how", "kind", "object_id", "payment_id", "record_status", "there_amount", "there_currency", "there_fee",
    "record_amount", "record_currency", "ledger_amount", "ledger_currency", "ledger_fee", "reason", "due_at",
    "discrepancy_id",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A line with its class, or a record that has no line; amounts in minor units, and None where a side says nothing.

    `there_…` is the other side, `record_…` our own record, `ledger_…` the books; a fee above zero was kept.
    """

    line_no: int | None
    reference: str | None
    cls: str
    how: str | None
    kind: str
    occurred_at: datetime | None
    object_id: str | None
    payment_id: str | None
    record_status: str | None
    there_amount: int | None
    there_currency: str | None
    there_fee: int | None
    record_amount: int | None
    record_currency: str | None
    ledger_amount: int | None
    ledger_currency: str | None
    ledger_fee: int | None
    reason: str
    due_at: datetime | None
    discrepancy_id: str | None


@dataclass(frozen=True)
class View:
    """What of a run is shown to whom: `tenants` None is everything. Of an account that several share, the lines that
    our own reference matched plainly are not told apart by tenant, so nobody but the operator sees them (`whole`)."""

    tenants: Collection[str] | None
    repeated: Collection[int] = ()

    @property
    def whole(self) -> bool:
        return self.tenants is None or PLATFORM_TENANT in self.tenants


async def view(connection: AsyncConnection, run: dict[str, Any], tenant_id: str | None) -> View:
    """`tenant_id` None: an operator. The PSP's own list says nothing twice: what comes again there is left out, as it
    was when the run was matched."""
    tenants = await reconciliation.tenants_shown(connection, tenant_id)
    shown = View(tenants)
    if not shown.whole or run["source"] != Source.API:
        return shown
    line = reconciliation_line.c
    copy = func.row_number().over(partition_by=line.reference, order_by=line.line_no).label("copy")
    numbered = select(line.line_no, copy).where(line.run_id == run["id"]).subquery()
    found = await connection.execute(select(numbered.c.line_no).where(numbered.c.copy > 1))
    return View(tenants, frozenset(found.scalars()))


async def entries(database: Database, run: dict[str, Any], shown: View) -> AsyncIterator[Entry]:
    """Of a run whose lines were matched: in the order in which they were listed, then what was not."""
    after = 0
    while True:
        page = await database.read(lambda c, a=after: _lines(c, run, shown, a))  # type: ignore[misc]
        for entry in page.entries:
            yield entry
        if page.after is None:
            break
        after = page.after
    after = 0
    while True:
        rows = await database.read(lambda c, a=after: _loose(c, run["id"], shown, a))  # type: ignore[misc]
        for row in rows:
            yield _of_item(row, None)
        if len(rows) < PAGE:
            return
        after = rows[-1]["seq"]


@dataclass(frozen=True)
class _Page:
    entries: list[Entry]
    after: int | None


async def _lines(connection: AsyncConnection, run: dict[str, Any], shown: View, after: int) -> _Page:
    """Lines after one, each with all its items: of a full page the last line comes again with the next one."""
    item, line = reconciliation_item.c, reconciliation_line.c
    told = [item[name].label(f"item_{name}") for name in _ITEM]
    on = (item.run_id == line.run_id) & (item.line_no == line.line_no)
    if shown.tenants is not None:
        on &= item.tenant_id.in_(shown.tenants)
    query: Select[Any] = (
        select(reconciliation_line, *told, item.seq.label("item_seq"))
        .outerjoin(reconciliation_item, on)
        .where(line.run_id == run["id"], line.line_no > after, _belongs(run, shown))
        .order_by(line.line_no, item.seq)
        .limit(PAGE)
    )
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    full = len(rows) == PAGE
    last = rows[-1]["line_no"] if full else None
    kept = [row for row in rows if row["line_no"] != last]
    following = kept[-1]["line_no"] if full and kept else None
    return _Page([_of_line(row) for row in kept if row["line_no"] not in shown.repeated], following)


def _belongs(run: dict[str, Any], shown: View) -> ColumnElement[bool]:
    """Lines around the window were read to find what belongs to the window's: they are judged in another run."""
    item, line = reconciliation_item.c, reconciliation_line.c
    if not shown.whole or run["window_from"] is None:
        return item.seq.is_not(None)
    inside = (line.occurred_at >= run["window_from"]) & (line.occurred_at < run["window_to"])
    return or_(inside, item.seq.is_not(None))


async def _loose(connection: AsyncConnection, run_id: str, shown: View, after: int) -> list[dict[str, Any]]:
    item = reconciliation_item.c
    query = (
        select(reconciliation_item)
        .where(item.run_id == run_id, item.line_no.is_(None), item.seq > after)
        .order_by(item.seq)
        .limit(PAGE)
    )
    if shown.tenants is not None:
        query = query.where(item.tenant_id.in_(shown.tenants))
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def _of_line(row: dict[str, Any]) -> Entry:
    if row["item_seq"] is None:
        return _plain(row)
    item = {name: row[f"item_{name}"] for name in _ITEM}
    return _of_item(item | {"line_reference": row["reference"], "occurred_at": row["occurred_at"]}, row["line_no"])


def _of_item(row: dict[str, Any], line_no: int | None) -> Entry:
    same = {name: row[name] for name in _ITEM if name != "class"}
    return Entry(
        line_no=line_no,
        reference=row["line_reference"],
        cls=row["class"],
        occurred_at=row["occurred_at"],
        **same,
    )


def _plain(row: dict[str, Any]) -> Entry:
    """Our own reference is on it, and all three sides are alike."""
    amount, currency, fee = row["amount"], row["currency"], row["fee"]
    ours = row["our_reference"]
    return Entry(
        line_no=row["line_no"],
        reference=row["reference"],
        cls=LineClass.MATCHED.value,
        how=MatchedBy.REFERENCE.value if ours else None,
        kind=row["kind"],
        occurred_at=row["occurred_at"],
        object_id=ours,
        payment_id=None,
        record_status=None,
        there_amount=amount,
        there_currency=currency,
        there_fee=fee,
        record_amount=amount if ours else None,
        record_currency=currency if ours else None,
        ledger_amount=amount,
        ledger_currency=currency,
        ledger_fee=fee,
        reason="",
        due_at=None,
        discrepancy_id=None,
    )
