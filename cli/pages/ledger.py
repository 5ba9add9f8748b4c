"""Pages and CSV files of the books: balances, statements, and the seal."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.rule import Rule

from cli import documents
from cli.connection import ANYBODY
from cli.files import opened, write, written
from cli.nouns import as_json
from cli.pages import format as look
from cli.pages.page import Page
from db.core.database import Database
from db.core.snapshot import in_snapshot
from db.ledger import posting, statement
from db.ledger.posting import BookedTransaction, Wanted
from db.ledger.seal import Sealed
from db.ledger.statement import Period
from db.ledger.verify import Verified
from domain.ledger import AccountKind
from domain.money import to_major
from domain.seal import Head
from domain.statement import (
    STATEMENT_COLUMNS,
    TRIAL_BALANCE_COLUMNS,
    AccountBalance,
    Balances,
    Closing,
    Entry,
    Line,
    Opening,
    Turnover,
    csv_line,
    statement_csv,
    totals,
    trial_balance_csv,
)
from embedded.errors import StackError
from services.ledger import StatementRequest, periods
from services.pages import pages
from services.tables import POSTING_COLUMNS, postings_csv

_DEBIT_SIDE = (AccountKind.ASSET, AccountKind.EXPENSE)


def _as_of(at: datetime | None) -> look.Words:
    return look.text((f"before {look.time(at)} UTC" if at else "now", "dim"))


# --- accounts ---


async def balance_page(database: Database, account: str | None, *, at: datetime | None, tenant: str | None) -> Page:
    """Each on its own side, so that what is owed to a seller is a plain number; the wrong side is in red."""
    if account is not None and not account.isprintable():
        raise StackError("There is no such account.")
    rows = await in_snapshot(database, lambda c: statement.balances(c, tenant_id=tenant, account=account, at=at))
    if not rows:
        what = f"account {account}" if account is not None else "account yet"
        raise StackError(f"There is no {what}: `paysaga ledger trial-balance` shows them.")
    table = look.table("account", "tenant", "kind", "balance")
    for row in rows:
        own = row.balance if row.kind in _DEBIT_SIDE else -row.balance
        amount = look.text((look.amount(own, row.currency), "bold red" if own < 0 else ""))
        table.add_row(row.account, row.tenant_id or "", look.text((row.kind, "dim")), amount)
    return Page(Group(_as_of(at), table), lambda: documents.balances(rows, at))


async def trial_balance_page(database: Database, *, at: datetime | None, tenant: str | None) -> Page:
    """One table for each currency, with the sums of both sides."""
    rows = await in_snapshot(database, lambda c: statement.balances(c, tenant_id=tenant, at=at, by_tenant=False))
    if not rows:
        raise StackError(f"The books of {tenant} are empty." if tenant else "The books are empty.")
    parts: list[RenderableType] = [_as_of(at)]
    for total in totals(rows):
        table = look.table("account", "kind", "debit", "credit")
        for row in rows:
            if row.currency == total.currency and row.balance:
                table.add_row(row.account, look.text((row.kind, "dim")), *_sides(row))
        table.add_section()
        sums = (to_major(total.debit, total.currency), to_major(total.credit, total.currency))
        equal = total.debit == total.credit
        said = look.text(("both sides are equal", "green")) if equal else look.text(("the sides differ", "bold red"))
        table.add_row(said, "", *(look.text((amount, "bold")) for amount in sums))
        parts += ["", Rule(look.text((f"{total.currency} ", "bold cyan")), align="left", style="cyan dim"), table]
    return Page(Group(*parts), lambda: documents.trial_balance(rows, at))


def _sides(row: AccountBalance) -> tuple[str, str]:
    return (
        to_major(row.debit, row.currency) if row.debit else "",
        to_major(row.credit, row.currency) if row.credit else "",
    )


async def write_trial_balance(
    database: Database, path: Path, *, at: datetime | None, tenant: str | None
) -> Page | None:
    rows = await in_snapshot(database, lambda c: statement.balances(c, tenant_id=tenant, at=at))
    with opened(path) as file:
        file.write(csv_line(TRIAL_BALANCE_COLUMNS))
        file.writelines(trial_balance_csv(row) for row in rows)
    return written(path, len(rows))


async def write_transactions(database: Database, path: Path, wanted: Wanted, *, tenant: str | None) -> Page | None:
    """The transactions of the books, posting by posting."""

    async def read(before: int | None, count: int) -> list[BookedTransaction]:
        return await database.read(lambda c: posting.page(c, tenant, wanted, before=before, limit=count))

    found = pages(read, lambda row: row.seq)
    if as_json() and str(path) == "-":
        return Page("", lambda: documents.transactions(found))
    return await write(path, POSTING_COLUMNS, found, postings_csv)


# --- statements ---

_SHOWN_MAX = 500


_WALLET = ("pending", "available", "reserved", "owed")
_TURNOVER = ("gross", "fee", "net")


async def statement_page(database: Database, wanted: StatementRequest, *, by_wallet: bool = False) -> Page:
    """For each currency a table of gross, fee and net, or of the parts of the wallet; of a long period the first lines
    and the last, all of it with `--csv`."""
    found = await periods(database, ANYBODY, wanted)
    parts: list[RenderableType] = []
    for period in found if not as_json() else ():
        parts += await _statement(database, period, by_wallet=by_wallet)
    none = look.text((f"Nothing was ever booked to the wallet of {wanted.seller}.", "dim"))
    return Page(Group(*parts) if found else none, lambda: documents.statements(database, found))


async def _statement(database: Database, period: Period, *, by_wallet: bool) -> list[RenderableType]:
    amounts = _WALLET if by_wallet else _TURNOVER
    table = look.table("at (UTC)", "what", *amounts, "balance")
    currency, lines = period.currency, 0

    def balance(entry: Opening | Closing) -> list[look.Words]:
        held = [_amount(getattr(entry.balance, name), currency) for name in amounts if by_wallet]
        return [*(held or [look.text("")] * len(amounts)), _amount(entry.balance.total, currency)]

    def add(entry: Entry) -> None:
        nonlocal lines
        match entry:
            case Line():
                lines += 1
                if lines <= _SHOWN_MAX:
                    table.add_row(*_row(entry, entry.change if by_wallet else entry.turnover, amounts, currency))
            case Opening():
                table.add_row(look.time(entry.at), look.text(("opening balance", "bold")), *balance(entry))
            case Closing():
                if lines > _SHOWN_MAX:
                    more = look.text((f"… and {lines - _SHOWN_MAX} more: --csv FILE has them", "dim"))
                    table.add_row("", more, *[""] * (len(amounts) + 1))
                if not by_wallet:
                    sums = [_amount(getattr(entry.turnover, name), currency) for name in amounts]
                    table.add_row("", look.text(("totals", "bold")), *sums, "")
                table.add_row(look.time(entry.at), look.text(("closing balance", "bold")), *balance(entry))

    await statement.whole_statement(database, period, add)
    title = look.text((f"{period.seller_account}", "bold"), f" of {period.tenant_id}, {currency} ")
    return ["", Rule(title, align="left", style="cyan dim"), table]


def _row(line: Line, moved: Balances | Turnover, amounts: Sequence[str], currency: str) -> list[look.Words | str]:
    about = [name for name in (line.payment_order_id, line.reference) if name]
    changes = [_change(getattr(moved, name), currency) for name in amounts]
    total = look.text(to_major(line.balance.total, currency))
    return [look.time(line.at), look.ids(line.description, "\n".join(about)), *changes, total]


def _change(amount: int, currency: str) -> look.Words:
    if not amount:
        return look.text("")
    return look.text((f"{'+' if amount > 0 else ''}{to_major(amount, currency)}", "green" if amount > 0 else "yellow"))


def _amount(amount: int, currency: str) -> look.Words:
    return look.text((to_major(amount, currency), "bold"))


async def write_statement(database: Database, wanted: StatementRequest, path: Path) -> Page | None:
    """The statements of all currencies, one after the other, line by line as they are read."""
    found = await periods(database, ANYBODY, wanted)
    lines = 0
    with opened(path) as file:
        file.write(csv_line(STATEMENT_COLUMNS))
        for period in found:

            def write_entry(entry: Entry, currency: str = period.currency) -> None:
                nonlocal lines
                lines += 1
                file.write(statement_csv(entry, currency))

            await statement.whole_statement(database, period, write_entry)
    return written(path, lines)


# --- the seal ---


def sealed_page(done: Sealed) -> Page:
    """The number of transactions that were sealed, and the head of the chain."""
    said = "Nothing was left to seal."
    if done.blocks:
        said = f"{done.transactions:,} transactions sealed in {_count(done.blocks, 'block')}."
    parts: list[RenderableType] = [look.text((said, "green"))]
    if done.held_up:
        have = "writer has" if done.held_up == 1 else "writers have"
        said = f"{done.held_up} {have} not ended: what was posted since is left for the next time."
        parts.append(look.text((said, "yellow")))
    return Page(Group(*parts, *_head_lines(done.head)), lambda: documents.sealed(done))


def verified_page(found: Verified) -> Page:
    """Changes after the sealing, and the head of the chain."""
    parts: list[RenderableType] = [
        look.text(("   • ", "red"), (broken.object_id, "bold"), f" ({broken.tenant_id}): {broken.problem}")
        for broken in found.broken
    ]
    left = found.violations - len(found.broken)
    if left > 0:
        parts.append(look.text((f"   … and {left} more", "dim")))
    what = f"{found.transactions:,} transactions in {found.blocks:,} blocks"
    if found.violations:
        parts.append(look.text((f"{what}: {_count(found.violations, 'difference')} from what was sealed.", "bold red")))
    else:
        parts.append(look.text((f"{what}: all as they were sealed.", "bold green")))
    if found.waiting:
        parts.append(
            look.text(f"{found.waiting:,} more wait for the next seal, since {look.time(found.waiting_since)} UTC.")
        )
    return Page(Group(*parts, *_head_lines(found.head)), lambda: documents.verified(found))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _head_lines(head: Head | None) -> list[RenderableType]:
    """The head on a line of its own, never folded: it is copied."""
    if head is None:
        return [look.text(("Nothing is sealed.", "dim"))]
    return [
        look.text("The head of the seal; keep it where nobody who owns the database can change it:"),
        look.whole((f"{head}", "bold")),
    ]
