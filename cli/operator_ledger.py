"""What finance does with the books from a terminal: statements into files, sealing and verifying with progress."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cli.operator_merchant import find_merchant
from db.core.database import Database
from db.core.snapshot import in_snapshot
from db.ledger import seal, statement
from db.ledger.seal import Verified
from db.ledger.statement import Period
from domain.money import MoneyError, exponent
from domain.seal import Head
from domain.statement import (
    STATEMENT_COLUMNS,
    TRIAL_BALANCE_COLUMNS,
    Entry,
    csv_line,
    statement_csv,
    trial_balance_csv,
)
from embedded.errors import StackError

_PAGE = 5_000


@dataclass(frozen=True)
class Wanted:
    """A statement as it was asked for: `tenant` and `currency` may be left open."""

    seller: str
    tenant: str | None
    currency: str | None
    since: datetime
    until: datetime


async def periods(database: Database, wanted: Wanted) -> list[Period]:
    """One for each currency in which there is anything, or for the one that was asked for. Raises StackError."""
    row = await find_merchant(database, wanted.seller, wanted.tenant)
    tenant_id, seller = row["tenant_id"], row["seller_account"]
    if wanted.currency is not None:
        try:
            exponent(wanted.currency)
        except MoneyError as error:
            raise StackError(str(error)) from error
        found = [wanted.currency]
    else:
        found = await database.read(lambda c: statement.currencies(c, tenant_id, seller))
    return [Period(tenant_id, seller, currency, wanted.since, wanted.until) for currency in found]


# --- CSV ---


async def write_statement(database: Database, wanted: Wanted, path: Path) -> RenderableType | None:
    """The statements of all currencies, one after the other, line by line as they are read."""
    found = await periods(database, wanted)
    lines = 0
    with opened(path) as file:
        file.write(csv_line(STATEMENT_COLUMNS))
        for period in found:

            def write(entry: Entry, currency: str = period.currency) -> None:
                nonlocal lines
                lines += 1
                file.write(statement_csv(entry, currency))

            await statement.whole_statement(database, period, write)
    return written(path, lines)


async def write_trial_balance(
    database: Database, path: Path, *, at: datetime | None, tenant: str | None
) -> RenderableType | None:
    rows = await database.read(lambda c: statement.balances(c, tenant_id=tenant, at=at))
    with opened(path) as file:
        file.write(csv_line(TRIAL_BALANCE_COLUMNS))
        file.writelines(trial_balance_csv(row) for row in rows)
    return written(path, len(rows))


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """`-` is the terminal. Raises StackError for what cannot be written."""
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise StackError(f"{path} cannot be written: {error.strerror}.") from error


def written(path: Path, lines: int) -> RenderableType | None:
    return None if str(path) == "-" else Text(f"{path}: {lines} lines.")


# --- the seal ---


async def seal_now(database: Database, console: Console) -> RenderableType:
    """Seal until nothing is left, and say how the chain ends."""
    waiting = await database.read(seal.waiting)
    at, transactions, blocks = datetime.now(UTC), 0, 0
    with _progress(console, "sealing") as show:
        while True:
            sealed = await database.run(lambda c: seal.seal(c, at, _PAGE))
            transactions, blocks = transactions + sealed.transactions, blocks + sealed.blocks
            show(transactions, max(waiting, transactions))
            if not sealed.more:
                break
    done = (
        f"{transactions:,} transactions sealed in {count(blocks, 'block')}." if blocks else "Nothing was left to seal."
    )
    parts: list[RenderableType] = [Text(done, "green")]
    if sealed.held_up:
        have = "writer has" if sealed.held_up == 1 else "writers have"
        said = f"{sealed.held_up} {have} not ended: what was posted since is left for the next time."
        parts.append(Text(said, "yellow"))
    return Group(*parts, *head_lines(sealed.head))


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def head_lines(head: Head | None) -> list[RenderableType]:
    """The head on a line of its own, never folded: it is copied."""
    if head is None:
        return [Text("Nothing is sealed.", "dim")]
    return [
        Text("The head of the seal; keep it where nobody who owns the database can change it:"),
        Text(f"{head}", "bold", no_wrap=True, overflow="ignore"),
    ]


async def verify_now(database: Database, console: Console, expected: Head | None) -> Verified:
    with _progress(console, "verifying") as show:
        return await in_snapshot(database, lambda c: seal.verify(c, expected=expected, progress=show))


@contextmanager
def _progress(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is gone when it is full; nothing of it in a file."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
