"""The commands about the books: balances, statements, and the seal. What one of them needs is imported when it is
called."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import Tenant, console, show
from cli.nouns import Noun, as_json
from domain.seal import Head

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

ledger = Noun(no_args_is_help=True)

_TIMEOUT_S = 600.0
"""Of one statement: a large ledger takes its time, and nothing is locked meanwhile."""


def moment(text: str) -> datetime:
    """A day (its beginning, in UTC) or a time; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter("a day such as 2026-11-30, or a time such as 2026-11-30T12:00:00Z") from error


WrittenDown = Annotated[
    str | None,
    typer.Option(
        "--head", metavar="NO:HASH", help="A head of the seal that was written down: the chain must lead there."
    ),
]
At = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Before this moment; left out: everything that is booked."),
]
OfTenant = Annotated[str | None, typer.Option(help="Whose books; left out: of all tenants.")]
File = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write it there as CSV; `-` is the terminal.")]


def written_down(head: str | None) -> Head | None:
    """Raises BadParameter."""
    try:
        return Head.parse(head) if head is not None else None
    except ValueError as error:
        raise typer.BadParameter(f"{error}", param_hint="--head") from error


def show_slowly(work: Callable[["Database"], Awaitable["Page | None"]]) -> None:
    """As `show`, of what may be large."""
    show(work, timeout_s=_TIMEOUT_S)


def refuse_two_forms(csv: Path | None) -> None:
    """`--json` beside a CSV on the same terminal. Raises BadParameter."""
    if as_json() and csv is not None and str(csv) == "-":
        raise typer.BadParameter("--csv -, or --json; not both")


@ledger.command("balance")
def ledger_balance(
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="As in the books: psp_clearing:stripe. Left out: all.")
    ] = None,
    at: At = None,
    tenant: Tenant = None,
) -> None:
    """Show the balance of an account, or of all of them, now or at a past moment."""
    from cli.pages.ledger import balance_page

    show_slowly(lambda database: balance_page(database, account, at=at, tenant=tenant))


@ledger.command("trial-balance")
def ledger_trial_balance(at: At = None, tenant: OfTenant = None, csv: File = None) -> None:
    """Every account on its side; per currency the two sides are equal."""
    from cli.pages.ledger import trial_balance_page, write_trial_balance

    refuse_two_forms(csv)
    if csv is None:
        show_slowly(lambda database: trial_balance_page(database, at=at, tenant=tenant))
    else:
        show_slowly(lambda database: write_trial_balance(database, csv, at=at, tenant=tenant))


@ledger.command("transactions")
def ledger_transactions(
    payment: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this payment: pay_…")] = None,
    account: Annotated[str | None, typer.Option(help="Only those with this account: psp_clearing:stripe")] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", parser=moment, metavar="TIME", help="From this moment on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", parser=moment, metavar="TIME", help="Before this moment.")
    ] = None,
    tenant: OfTenant = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write it there; left out: the terminal.")
    ] = None,
) -> None:
    """The books, newest first, as CSV: a line for each posting."""
    from cli.pages.ledger import write_transactions
    from db.ledger.posting import Wanted

    for text in (payment, account):
        if text is not None and not text.isprintable():
            raise typer.BadParameter("a name is printable")
    wanted = Wanted(payment_id=payment, account=account, since=since, until=until)
    refuse_two_forms(csv)
    show_slowly(lambda database: write_transactions(database, csv or Path("-"), wanted, tenant=tenant))


@ledger.command("statement")
def ledger_statement(
    seller: Annotated[str, typer.Argument(metavar="SELLER", help="The tenant's own id of the seller, or mer_….")],
    since: Annotated[datetime, typer.Option("--from", parser=moment, metavar="TIME", help="From this moment on.")],
    until: Annotated[
        datetime | None,
        typer.Option("--to", parser=moment, metavar="TIME", help="Before this moment; left out: until now."),
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Left out: each in which there is anything.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Whose seller, where several tenants have one of this name.")
    ] = None,
    by_wallet: Annotated[
        bool, typer.Option("--wallet", help="The parts of the wallet in place of gross, fee and net; a file has both.")
    ] = False,
    csv: File = None,
) -> None:
    """Show what a seller was credited and debited in a period: gross, fee, net, and the balance after each."""
    from cli.pages.ledger import statement_page, write_statement
    from services.ledger import StatementRequest

    refuse_two_forms(csv)
    end = until or datetime.now(UTC)
    if since > end:
        raise typer.BadParameter("--from is after --to")
    wanted = StatementRequest(seller, since, end, currency, tenant)
    if csv is None:
        show_slowly(lambda database: statement_page(database, wanted, by_wallet=by_wallet))
    else:
        show_slowly(lambda database: write_statement(database, wanted, csv))


@ledger.command("seal")
def ledger_seal() -> None:
    """Seal what was posted since the last time, and print the head of the chain, to be written down elsewhere."""
    from cli.pages.ledger import sealed_page
    from cli.progress import passing_bar
    from services.ledger import seal_all

    async def seal(database: "Database") -> "Page":
        with passing_bar(console(), "sealing") as progress:
            return sealed_page(await seal_all(database, progress))

    show_slowly(seal)


@ledger.command("verify")
def ledger_verify(head: WrittenDown = None) -> None:
    """Compute the seal anew from the ledger; exit code 1 if anything was changed after it was sealed."""
    from cli.pages.ledger import verified_page
    from cli.progress import passing_bar
    from services.ledger import verify_seal

    expected, whole = written_down(head), True

    async def check(database: "Database") -> "Page":
        nonlocal whole
        with passing_bar(console(), "verifying") as progress:
            found = await verify_seal(database, expected, progress)
        whole = not found.violations
        return verified_page(found)

    show_slowly(check)
    if not whole:
        raise typer.Exit(1)
