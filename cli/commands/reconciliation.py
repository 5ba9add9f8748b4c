"""The commands about reconciliation: run one, read what it found, decide about what differs. What one of them needs is
imported when it is called."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Note, Tenant, console, settings, show, steer
from cli.commands.ledger import File, moment, show_slowly
from cli.nouns import Noun, as_json
from domain.reconciliation.reconciliation import Decision, DiscrepancyStatus, LineClass, RunStatus, Subject

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from runtime.wiring import Runtime

reconcile = Noun(no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="ID", help="rec_…")]
DiscrepancyId = Annotated[str, typer.Argument(metavar="ID", help="disc_…")]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter("a day such as 2026-11-30") from error


@reconcile.command("run")
def reconcile_run(
    by: By,
    day: Annotated[
        date | None,
        typer.Option("--date", parser=_day, metavar="YYYY-MM-DD", help="A business date; left out: yesterday."),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", parser=moment, metavar="TIME", help="Instead of a date: from then on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", parser=moment, metavar="TIME", help="… and before this moment.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Stripe's itemized report (CSV) or a bank statement (camt.053), or a zip of them, instead of asking "
            "the PSP."
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="Of the file's times that have none, as Europe/Berlin; left out: the business's."
        ),
    ] = None,
    subject: Annotated[
        Subject | None, typer.Option(help="psp or bank; left out: bank for an XML file, else psp.")
    ] = None,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply", help="Also do what is safe by rule, and keep which payouts a statement confirms; else a dry run."
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 also where something is open.")] = False,
) -> None:
    """Match the other side's lines with our records and books, and show what differs.

    Exit code 0 when it ran, whatever it found; 1 when it could not; with --strict also 1 where something is open.
    """
    from cli.pages.reconciliation_run import run_now, subject_of_path
    from services.command import Caller
    from services.reconciliation.run import Wanted

    still_open = 0

    async def run(runtime: "Runtime") -> "Page":
        nonlocal still_open
        side = subject or subject_of_path(file)
        wanted = Wanted(side, since=since, until=until, business_date=day, zone=zone, apply=apply)
        page, still_open = await run_now(runtime, console(), Caller(by), wanted, file)
        return page

    steer(run)
    if strict and still_open:
        raise typer.Exit(1)


@reconcile.command("list")
def reconcile_list(
    subject: Annotated[Subject | None, typer.Option(help="Only those of psp, or of bank.")] = None,
    status: Annotated[RunStatus | None, typer.Option(case_sensitive=False, help="Only those with this status.")] = None,
    tenant: Tenant = None,
    limit: Limit = 20,
) -> None:
    """Runs, newest first, scheduled ones included."""
    from cli.pages.reconciliation import runs_page

    show(lambda database: runs_page(database, tenant=tenant, subject=subject, status=status, limit=limit))


@reconcile.command("show")
def reconcile_show(run_id: RunId) -> None:
    """A run: the window it compared, how much of it fits, the totals of both sides, and what is open."""
    from cli.pages.reconciliation import run_page

    show(lambda database: run_page(database, run_id))


@reconcile.command("items")
def reconcile_items(
    run_id: RunId,
    cls: Annotated[LineClass | None, typer.Option("--class", help="Only those of this class.")] = None,
    after: Annotated[int, typer.Option(min=0, metavar="NO", help="Those behind the one with this number.")] = 0,
    limit: Limit = 50,
) -> None:
    """Lines and records that a run did not plainly match: each with its class, the three amounts, and why."""
    from cli.pages.reconciliation import items_page

    show(lambda database: items_page(database, run_id, cls=cls, after=after, limit=limit))


@reconcile.command("log")
def reconcile_log(
    run_id: RunId,
    csv: File = None,
) -> None:
    """Every line of a run with its class, our ids, three amounts and the reason, as CSV; with --json as JSON lines."""
    from cli.pages.reconciliation_log import write_log

    if as_json() and csv is not None:
        raise typer.BadParameter("--csv, or --json; not both")
    show_slowly(lambda database: write_log(database, run_id, csv or Path("-"), as_json=as_json()))


@reconcile.command("report")
def reconcile_report(
    run_id: RunId,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; left out: rec_….html here. The log goes beside it.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    tenant: Annotated[str | None, typer.Option(help="As this tenant sees it; left out: all of it.")] = None,
) -> None:
    """Write a run's report as a page for people, with its log as CSV beside it, and print a link to it for a day."""
    from cli.pages.reconciliation_log import report

    async def work(database: "Database") -> "Page":
        return await report(settings(), database, run_id, html, tenant=tenant, open_it=open_it)

    show_slowly(work)


@reconcile.command("discrepancies")
def reconcile_discrepancies(
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what is open past its deadline.")] = False,
    cls: Annotated[LineClass | None, typer.Option("--class", help="Only those of this class.")] = None,
    status: Annotated[
        DiscrepancyStatus | None, typer.Option(case_sensitive=False, help="Left out: those that are OPEN.")
    ] = None,
    tenant: Tenant = None,
    limit: Limit = 50,
) -> None:
    """Breaks, newest first: one entry a break, however many runs find it."""
    from cli.pages.discrepancy import discrepancies_page

    show(
        lambda database: discrepancies_page(
            database, tenant=tenant, status=status or DiscrepancyStatus.OPEN, cls=cls, overdue=overdue, limit=limit
        )
    )


@reconcile.command("discrepancy")
def reconcile_discrepancy(discrepancy_id: DiscrepancyId) -> None:
    """A break and its reason, what each of the three sides says, what is proposed, and what can be decided."""
    from cli.pages.discrepancy import discrepancy_page

    show(lambda database: discrepancy_page(database, discrepancy_id))


@reconcile.command("resolve")
def reconcile_resolve(
    discrepancy_id: DiscrepancyId,
    decision: Annotated[
        Decision,
        typer.Argument(
            help="apply_fix: do what is proposed. adjust: book the difference. to_suspense: hold money that came for "
            "nobody. accept: book nothing, --note explains it."
        ),
    ],
    by: By,
    note: Note = "",
) -> None:
    """Decide about a discrepancy, once."""
    from cli import documents
    from cli.pages.page import said
    from cli.refusals import refusals
    from services import discrepancy
    from services.command import Caller

    async def resolve(runtime: "Runtime") -> "Page":
        with refusals(discrepancy_id):
            decided = await discrepancy.resolve(
                runtime.database, runtime.workflow_client, Caller(by), discrepancy_id, decision, note
            )
        row = decided.row
        booked = f", booked as {row.ledger_transaction_id}" if row.ledger_transaction_id else ""
        words = f"{row.id} is {row.status}: {str(row.resolution).replace('_', ' ')}{booked}."
        if row.open:
            words = f"{row.id}: {row.fix_note}. It closes when a run, or its fix, finds the fact."
        return said(words, lambda: documents.discrepancy(runtime.database, row))

    steer(resolve)
