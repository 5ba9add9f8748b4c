"""Matching a staged run, once, in one transaction: two passes in SQL, and a judgement of what these do not call equal.

One at a time for each PSP, by an advisory lock: two runs at once would find the same break twice.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.reconciliation import bank as reconciliation_bank
from db.reconciliation import finding as reconciliation_finding
from db.reconciliation import run as reconciliation
from db.reconciliation.finding import Tally
from db.reconciliation.sql.facts import OTHER_KINDS
from db.reconciliation.sql.first_pass import PLAIN, PLAIN_COUNTS
from db.reconciliation.sql.pairs import ALIKE, PAIRS, REST, TABLES
from db.reconciliation.stage import bounds
from db.schema.reconciliation import reconciliation_line, reconciliation_run
from domain.ledger import psp_clearing
from domain.reconciliation.pair import Terms
from domain.reconciliation.reconciliation import LineClass, Matching, RunStatus, Source, Subject

PAGE = 1_000
"""Pairs in memory at once."""

_WORK_MEM = "128MB"
"""For the hash tables of the first pass; what does not fit goes to disk in batches, and stays linear."""

GUESS_S = 3_600.0
"""The most seconds between a line and its record where nothing but the amount says that they belong together."""


@dataclass(frozen=True)
class _Scope:
    """The part of the books that a matching looks at. `only`: these open discrepancies alone, and no window."""

    run: dict[str, Any]
    window: tuple[datetime, datetime]
    listed: tuple[datetime, datetime]
    only: Sequence[str] | None = None
    guess_s: float = GUESS_S
    watch: Callable[[str], None] = field(default=lambda _: None)

    def values(self) -> dict[str, Any]:
        run = self.run
        return {
            "run": run["id"] if self.only is None else "",
            "psp": run["psp"],
            "account": psp_clearing(run["psp"]),
            "listed": run["source"] == Source.API,
            "window_from": self.window[0],
            "window_to": self.window[1],
            "since": self.listed[0],
            "until": self.listed[1],
            "only": list(self.only) if self.only is not None else None,
            "guess_s": self.guess_s,
            "kinds": OTHER_KINDS,
        }


async def match(
    connection: AsyncConnection,
    run_id: str,
    terms: Terms,
    *,
    guess_s: float = GUESS_S,
    watch: Callable[[str], None] = lambda _: None,
) -> Matching:
    """Match a run whose lines are all here, and write what it found. A second call finds that in its row. `watch` is
    told the steps: of a million lines each takes seconds."""
    run = await reconciliation.get(connection, run_id, lock=True)
    if run["matched_at"] is not None or run["status"] != RunStatus.MATCHING.value:
        return await _matching(connection, run)
    await _prepare(connection, run["psp"])
    tally = Tally()
    if run["subject"] == Subject.BANK:
        await reconciliation_bank.match(connection, run, terms, tally)
    else:
        await _match_psp(connection, _scope(run, terms.at, guess_s, watch), terms, tally)
    matched = await connection.execute(
        update(reconciliation_run)
        .where(reconciliation_run.c.id == run_id)
        .values(
            matched_at=terms.at,
            outside=await _outside(connection, run_id),
            counts=dict(sorted(tally.counts.items())),
            opened=tally.opened,
            closed=tally.closed,
            updated_at=func.now(),
        )
        .returning(reconciliation_run)
    )
    return await _matching(connection, dict(matched.mappings().one()))


async def _outside(connection: AsyncConnection, run_id: str) -> int:
    """The number of the run's lines that its window leaves out."""
    line, run = reconciliation_line.c, reconciliation_run.c
    found = await connection.scalar(
        select(func.count())
        .select_from(reconciliation_line)
        .join(reconciliation_run, run.id == line.run_id)
        .where(line.run_id == run_id, (line.occurred_at < run.window_from) | (line.occurred_at >= run.window_to))
    )
    return int(found or 0)


async def look_again(connection: AsyncConnection, run_id: str, discrepancies: Sequence[str], terms: Terms) -> int:
    """Close those of these open discrepancies of a PSP run that are gone by now; how many."""
    run = await reconciliation.get(connection, run_id)
    if not discrepancies or run["subject"] != Subject.PSP:
        return 0
    await _prepare(connection, run["psp"])
    tally = Tally(closing_only=True)
    nothing = (terms.at, terms.at)
    await _match_psp(connection, _Scope(run, nothing, nothing, only=discrepancies), terms, tally)
    if tally.closed:
        await reconciliation.count(connection, run_id, closed=tally.closed)
    return tally.closed


async def _prepare(connection: AsyncConnection, psp: str) -> None:
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"reconciliation:{psp}"}
    )
    await connection.exec_driver_sql(f"SET LOCAL work_mem = '{_WORK_MEM}'")


def _scope(run: dict[str, Any], at: datetime, guess_s: float, watch: Callable[[str], None]) -> _Scope:
    if run["window_from"] is None:  # an empty file
        run = run | {"window_from": at, "window_to": at}
    return _Scope(run, (run["window_from"], run["window_to"]), bounds(run), guess_s=guess_s, watch=watch)


async def _match_psp(connection: AsyncConnection, scope: _Scope, terms: Terms, tally: Tally) -> None:
    values = scope.values()
    for statement in PLAIN:
        await _execute(connection, statement, values, scope.watch)
    plain = (await connection.execute(text(PLAIN_COUNTS))).one()
    tally.counts[LineClass.MATCHED] += plain.judged
    for statement in REST:
        await _execute(connection, statement, values, scope.watch)
    alike = await connection.scalar(text(ALIKE))
    if alike and not tally.closing_only:
        await reconciliation.note(
            connection,
            scope.run["id"],
            [f"{alike} lines that no name tells apart were paired in the order of time, which is a guess."],
        )
    after = 0
    while True:
        rows = await connection.execute(text(PAIRS), {"after": after, "limit": PAGE})
        page = [dict(row) for row in rows.mappings()]
        pairs = [(reconciliation_finding.pair_of(row), row) for row in page]
        await reconciliation_finding.record(connection, scope.run, pairs, terms, tally)
        if len(page) < PAGE:
            break
        after = page[-1]["pair_no"]
    for table in TABLES:  # a second matching in the same transaction begins anew
        await connection.exec_driver_sql(f"DROP TABLE {table}")


async def _execute(
    connection: AsyncConnection, statement: str, values: dict[str, Any], watch: Callable[[str], None]
) -> None:
    watch(" ".join(statement.split()[:4]))
    await connection.execute(text(statement), {name: values[name] for name in values if f":{name}" in statement})


async def _matching(connection: AsyncConnection, run: dict[str, Any]) -> Matching:
    return Matching(
        lines=run["lines"],
        counts=Counter(run["counts"] or {}),
        opened=run["opened"],
        closed=run["closed"],
        fixes=await reconciliation_finding.fixes(
            connection, run["id"], await reconciliation.tenants_fixed(connection, run)
        ),
    )
