"""The log of a run: every line that the other side listed, with what it turned out to be, then every record of ours
that has no line, and what is still open of other times. Read in pages, in constant memory."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.database import Database
from db.reconciliation import run as reconciliation
from db.schema.base import PLATFORM_TENANT
from db.schema.reconciliation import reconciliation_item, reconciliation_line
from domain.reconciliation.reconciliation import LineClass, MatchedBy, Source

PAGE = 5_000
_TIMEOUT_S = 60.0

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
    """The part of a run that somebody sees: `tenants` None is everything. Of an account that several share, the lines
    that our own reference matched plainly are not told apart by tenant, so nobody but the operator sees them
    (`whole`)."""

    tenants: Collection[str] | None
    repeated: Collection[int] = ()

    @property
    def whole(self) -> bool:
        return self.tenants is None or PLATFORM_TENANT in self.tenants


async def view(database: Database, run: dict[str, Any], tenant_id: str | None) -> View:
    """`tenant_id` None: an operator. The PSP's own list says nothing twice: what comes again there is left out, as it
    was when the run was matched. To find that, all lines are looked through once, beside the requests' connections."""
    tenants = await database.read(lambda c: reconciliation.tenants_shown(c, tenant_id))
    shown = View(tenants)
    if not shown.whole or run["source"] != Source.API:
        return shown
    repeated = await database.run_long(lambda c: _repeated(c, run["id"]), timeout_s=_TIMEOUT_S)
    return View(tenants, repeated)


async def _repeated(connection: AsyncConnection, run_id: str) -> frozenset[int]:
    line = reconciliation_line.c
    first = func.min(line.line_no).label("first")
    of_run = select(line.reference, first).where(line.run_id == run_id)
    same = of_run.group_by(line.reference).having(func.count() > 1).subquery()
    found = await connection.execute(
        select(line.line_no)
        .join(same, same.c.reference == line.reference)
        .where(line.run_id == run_id, line.line_no > same.c.first)
    )
    return frozenset(found.scalars())


async def entries(database: Database, run: dict[str, Any], shown: View) -> AsyncIterator[Entry]:
    """The entries of a run whose lines were matched: in the order in which they were listed, then what was not. Each
    page is a read of its own, along a key, so a run of a million lines takes no more memory, and no longer statement,
    than one of a thousand."""
    listed = _whole_lines if shown.whole else _own_lines
    for part in (listed, _loose):
        after: _Key | None = _START
        while after is not None:
            page = await database.read(lambda c, p=part, a=after: p(c, run, shown, a))  # type: ignore[misc]
            for entry in page.entries:
                yield entry
            after = page.after


_Key = tuple[int, int]
"""The line's number and the item's `seq` that a page ended with."""

_START: _Key = (0, 0)


@dataclass(frozen=True)
class _Page:
    """`after`: where the next one begins; None at the end."""

    entries: list[Entry]
    after: _Key | None


async def _whole_lines(connection: AsyncConnection, run: dict[str, Any], shown: View, after: _Key) -> _Page:
    """Lines, each with all its items, or plainly matched. Lines around the window were read to find what belongs to
    the window's: they are judged in another run."""
    line, item = reconciliation_line.c, reconciliation_item.c
    query = (
        select(reconciliation_line)
        .where(line.run_id == run["id"], line.line_no > after[0])
        .order_by(line.line_no)
        .limit(PAGE)
    )
    lines = [dict(row) for row in (await connection.execute(query)).mappings()]
    if not lines:
        return _Page([], None)
    last = lines[-1]["line_no"]
    found = await connection.execute(
        select(reconciliation_item)
        .where(item.run_id == run["id"], item.line_no > after[0], item.line_no <= last)
        .order_by(item.line_no, item.seq)
    )
    items: dict[int, list[dict[str, Any]]] = {}
    for row in found.mappings():
        items.setdefault(row["line_no"], []).append(dict(row))
    page: list[Entry] = []
    for listed in lines:
        no = listed["line_no"]
        if no not in shown.repeated:
            page += [_of_item(row | _named(listed), no) for row in items.get(no, [])]
            page += [_plain(listed)] if no not in items and _inside(run, listed) else []
    return _Page(page, (last, 0) if len(lines) == PAGE else None)


def _inside(run: dict[str, Any], line: dict[str, Any]) -> bool:
    return run["window_from"] is not None and bool(run["window_from"] <= line["occurred_at"] < run["window_to"])


def _named(line: Mapping[str, Any]) -> dict[str, Any]:
    """The line's own name and time: an item may be about another line that this one is a part of."""
    return {"line_reference": line["reference"], "occurred_at": line["occurred_at"]}


async def _own_lines(connection: AsyncConnection, run: dict[str, Any], shown: View, after: _Key) -> _Page:
    """Lines with an item of these tenants."""
    line, item = reconciliation_line.c, reconciliation_item.c
    query = (
        select(reconciliation_item, line.reference, line.occurred_at.label("listed_at"))
        .join(reconciliation_line, (line.run_id == item.run_id) & (line.line_no == item.line_no))
        .where(item.run_id == run["id"], item.tenant_id.in_(shown.tenants or ()))
        .where(tuple_(item.line_no, item.seq) > tuple_(*after))
        .order_by(item.line_no, item.seq)
        .limit(PAGE)
    )
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    named = [row | {"line_reference": row["reference"], "occurred_at": row["listed_at"]} for row in rows]
    following = (rows[-1]["line_no"], rows[-1]["seq"]) if len(rows) == PAGE else None
    return _Page([_of_item(row, row["line_no"]) for row in named], following)


async def _loose(connection: AsyncConnection, run: dict[str, Any], shown: View, after: _Key) -> _Page:
    """Records of ours that have no line, and what is still open of other times."""
    item = reconciliation_item.c
    query = (
        select(reconciliation_item)
        .where(item.run_id == run["id"], item.line_no.is_(None), item.seq > after[1])
        .order_by(item.seq)
        .limit(PAGE)
    )
    if shown.tenants is not None:
        query = query.where(item.tenant_id.in_(shown.tenants))
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    following = (0, rows[-1]["seq"]) if len(rows) == PAGE else None
    return _Page([_of_item(row, None) for row in rows], following)


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
