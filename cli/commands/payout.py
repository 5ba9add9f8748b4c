"""The commands about payouts: see them, make one, stop one, decide about one; schedules and runs. What one of them
needs is imported when it is called."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.command_line import By, Limit, Note, Tenant, change, console, settings, show, steer
from cli.commands.ledger import with_database
from domain.payout import PayoutDecision, PayoutResolution
from domain.status import PayoutStatus

payouts = typer.Typer(
    help="See payouts, make and stop them, decide about one; schedules and runs.", no_args_is_help=True
)

PayoutId = Annotated[str, typer.Argument(metavar="ID", help="pt_…")]
Seller = Annotated[str, typer.Argument(metavar="SELLER", help="The tenant's own id of the seller, or mer_….")]
OfTenant = Annotated[str | None, typer.Option(help="Whose seller, where several tenants have one of this name.")]


@payouts.command("list")
def payouts_list(
    seller: Annotated[str | None, typer.Option(help="Only those of this seller.")] = None,
    status: Annotated[
        PayoutStatus | None, typer.Option(case_sensitive=False, help="Only those with this status.")
    ] = None,
    tenant: Tenant = None,
    limit: Limit = 20,
) -> None:
    """Payouts, newest first."""
    from cli.pages.payout import payouts_page

    show(lambda database: payouts_page(database, tenant=tenant, seller=seller, status=status, limit=limit))


@payouts.command("show")
def payouts_show(payout_id: PayoutId) -> None:
    """Where a payout stands, what the PSP said, what it pays, and what a person has to do about it."""
    from cli.pages.payout import payout_page

    show(lambda database: payout_page(settings(), database, payout_id))


@payouts.command("items")
def payouts_items(
    payout_id: PayoutId,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write it there; left out: the terminal.")
    ] = None,
) -> None:
    """Every posting that a payout pays or deducts, as CSV."""
    from cli.operator_payout import write_items

    with_database(lambda database: write_items(database, payout_id, csv or Path("-")))


@payouts.command("create")
def payouts_create(
    seller: Seller,
    by: By,
    amount: Annotated[str | None, typer.Option(help="Less than all that is available: 120.00")] = None,
    currency: Annotated[str | None, typer.Option(help="Where the wallet has several.")] = None,
    tenant: OfTenant = None,
) -> None:
    """Pay a seller out: all that is available, or a part."""
    from cli.operator_payout import create_payout

    steer(lambda runtime: create_payout(runtime, seller, tenant, amount, currency, by))


@payouts.command("cancel")
def payouts_cancel(payout_id: PayoutId, by: By) -> None:
    """Stop a payout that the bank has not got."""
    from cli.operator_payout import cancel_payout

    steer(lambda runtime: cancel_payout(runtime, payout_id, by))


@payouts.command("resolve")
def payouts_resolve(
    payout_id: PayoutId,
    decision: Annotated[
        Literal["retry", "reference", "done", "paid"],
        typer.Argument(
            help="retry: make the call again, nothing came of the last; or wait on for the bank. reference: it was "
            "made, --reference is the PSP's name for it. done: I took the transfer back at the PSP by hand. paid: the "
            "seller has the money."
        ),
    ],
    by: By,
    note: Note = "",
    reference: Annotated[
        str | None, typer.Option(help="The PSP's transfer, tr_…, or payout, po_…, for the decision reference.")
    ] = None,
) -> None:
    """Decide about a payout that NEEDS_ATTENTION."""
    from cli.operator_payout import resolve_payout

    resolution = PayoutResolution(decision=PayoutDecision(decision), by=by, note=note, reference=reference)
    steer(lambda runtime: resolve_payout(runtime, payout_id, resolution))


# --- schedules, releases, runs ---


@payouts.command("schedule")
def payouts_schedule(
    seller: Seller,
    by: By,
    daily: Annotated[bool, typer.Option("--daily", help="Each day.")] = False,
    weekly: Annotated[str | None, typer.Option(metavar="DAYS", help="monday,thursday")] = None,
    monthly: Annotated[str | None, typer.Option(metavar="DAYS", help="1,15; 31 is the month's last day.")] = None,
    manual: Annotated[bool, typer.Option("--manual", help="Only when asked for.")] = False,
    minimum: Annotated[
        list[str] | None,
        typer.Option(metavar="CUR=AMOUNT", help="Nothing below it: INR=100.00. Repeat for several; INR=0: none."),
    ] = None,
    delay_days: Annotated[
        int | None, typer.Option(min=0, max=365, help="How long new orders stay in the wallet's pending at least.")
    ] = None,
    tenant: OfTenant = None,
) -> None:
    """When a seller is paid without asking; what is not said stays as it is."""
    from cli.operator_payout import ScheduleChange, set_schedule

    wanted = ScheduleChange(daily, weekly, monthly, manual, tuple(minimum or ()), delay_days)
    change(lambda database: set_schedule(settings(), database, seller, tenant, wanted, by))


@payouts.command("release")
def payouts_release(by: By) -> None:
    """Make available now what is due; it happens by itself every few minutes."""
    from cli.operator_payout import release_now

    out = console()
    change(lambda database: release_now(database, out, by))


@payouts.command("run")
def payouts_run(
    by: By,
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The business date; left out: today's."),
    ] = None,
) -> None:
    """Pay every seller who is due on a date, once however often it is run, and follow it to its end."""
    from cli.operator_payout_run import run_payouts

    out = console()
    steer(lambda runtime: run_payouts(runtime, out, date and date.date(), by))


@payouts.command("runs")
def payouts_runs(limit: Limit = 20) -> None:
    """Payout runs, the latest date first, with their payouts by status."""
    from cli.pages.payout import runs_page

    show(lambda database: runs_page(database, limit=limit))
