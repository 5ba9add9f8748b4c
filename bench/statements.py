"""Round trips to PostgreSQL and its transactions, counted in its own log: the wheel's PostgreSQL has no
pg_stat_statements, and pg_stat_database is told about once a second, too seldom for a few payments.

While the log is on, every statement that a client has PostgreSQL carry out is a line of it: a query, a BEGIN, a COMMIT,
or an execution of what was prepared before. Each is a round trip, as no client here sends a statement before the last
one's result is there. To prepare a statement, once for each connection, is not counted.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded.postgres import Postgres

COUNTED_HOW = (
    "round trips: statements in PostgreSQL's log, each sent when the last one was answered, less what the servers do"
    " by themselves in that time"
)

_LINE = re.compile(
    r"^\d{4}-\d\d-\d\d \S+ \S+ \[(\d+)\] [^@\s]*@(\S+) LOG:  (?:execute [^:]*|statement): \s*(\w*)", re.MULTILINE
)
_ENDS = frozenset({"COMMIT", "END", "ROLLBACK", "ABORT"})


@dataclass(frozen=True)
class Statements:
    """By database: statements that were carried out, and transactions that they were committed in, of which one outside
    BEGIN and COMMIT is its own."""

    sent: Counter[str]
    commits: Counter[str]


def count_statements(log: str) -> Statements:
    """The statements in a piece of the log in which no transaction is left open."""
    found = Statements(Counter(), Counter())
    inside: set[str] = set()
    for line in _LINE.finditer(log):
        process, database, word = line[1], line[2], line[3].upper()
        found.sent[database] += 1
        if word in ("BEGIN", "START"):
            inside.add(process)
        elif word in _ENDS:
            inside.discard(process)
            found.commits[database] += word in ("COMMIT", "END")
        elif process not in inside:
            found.commits[database] += 1
    return found


@asynccontextmanager
async def logged_statements(postgres: Postgres, log: Path) -> AsyncIterator[Callable[[], Statements]]:
    """While the block lasts every statement is logged; call what it gives for the numbers since the last call."""
    at = log.stat().st_size  # noqa: ASYNC240 - once

    def count() -> Statements:
        nonlocal at
        with log.open("rb") as file:
            file.seek(at)
            said = file.read()
        at += len(said)
        return count_statements(said.decode(errors="replace"))

    await _set(postgres, "ALTER SYSTEM SET log_statement = 'all'")
    try:
        yield count
    finally:
        await _set(postgres, "ALTER SYSTEM RESET log_statement")


async def _set(postgres: Postgres, statement: str) -> None:
    await postgres.sql(statement)
    await postgres.sql("SELECT pg_reload_conf()")
