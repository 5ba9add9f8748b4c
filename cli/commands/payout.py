"""The commands about payouts: see them, make one, stop one, decide about one; schedules and runs. What one of them
needs is imported when it is called."""

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.command_line import By, Limit, Note, Tenant, console, settings, show, steer
from cli.commands.ledger import File, refuse_two_forms, show_slowly
from cli.nouns import Noun
from domain.payout import PayoutDecision, PayoutResolution
from domain.status import PayoutStatus

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from runtime.wiring import Runtime

payouts = Noun(no_args_is_help=True)

PayoutId = Annotated[str, typer.Argument(metavar="ID", help="Our own id, pt_…, or the PSP's tr_… or po_…")]
Seller = Annotated[str, typer.Argument(metavar="SELLER", help="The tenant's own id of the seller, or mer_….")]
_WAIT_S = 8.0
"""For what is quick where nothing is wrong."""
OfTenant = Annotated[str | None, typer.Option(help="Whose seller, where several tenants have one of this name.")]


@payouts.command("list")
def payouts_list(
    seller: Annotated[str | None, typer.Option(help="Only those of this seller.")] = None,
    status: Annotated[
        PayoutStatus | None, typer.Option(case_sensitive=False, help="Only those with this status.")
    ] = None,
    tenant: Tenant = None,
    limit: Limit = 20,
    csv: File = None,
) -> None:
    """Payouts, newest first; a file has all of them."""
    from cli.pages.payout import payouts_page, write_payouts

    refuse_two_forms(csv)
    if csv is None:
        show(lambda database: payouts_page(database, tenant=tenant, seller=seller, status=status, limit=limit))
    else:
        show_slowly(lambda database: write_payouts(database, csv, tenant=tenant, seller=seller, status=status))


@payouts.command("show")
def payouts_show(payout_id: PayoutId) -> None:
    """Show a payout: its status, the PSP's answers, what it pays, and what a person has to do about it."""
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
    from cli.pages.payout import write_items

    show_slowly(lambda database: write_items(database, payout_id, csv or Path("-")))


@payouts.command("create")
def payouts_create(
    seller: Seller,
    by: By,
    amount: Annotated[str | None, typer.Option(help="Less than all that is available: 120.00")] = None,
    currency: Annotated[str | None, typer.Option(help="Where the wallet has several.")] = None,
    tenant: OfTenant = None,
) -> None:
    """Pay a seller out: all that is available, or a part."""
    from cli import documents
    from cli.pages import format as look
    from cli.pages.page import said
    from cli.refusals import refusals
    from domain.money import to_major
    from services import payout
    from services.command import Caller

    async def create(runtime: "Runtime") -> "Page":
        wanted = payout.PayoutRequest(seller, amount, currency, tenant)
        with refusals(seller):
            done = await payout.create(runtime, Caller(by), wanted, wait_s=_WAIT_S, until=payout.sent)
        made = done.payout
        why = f" ({made.failure.message})" if made.failure else ""
        paid = f"{to_major(made.amount, made.currency)} {made.currency}"
        words = f"{made.id} of {paid} is {made.status}{why}." + look.later(done.told)
        return said(words, lambda: documents.payout(runtime.database, made))

    steer(create)


@payouts.command("cancel")
def payouts_cancel(payout_id: PayoutId, by: By) -> None:
    """Stop a payout that the bank has not got."""
    from cli import documents
    from cli.pages import format as look
    from cli.pages.page import said
    from cli.refusals import refusals
    from domain.money import to_major
    from embedded.errors import StackError
    from services import payout
    from services.command import Caller

    async def cancel(runtime: "Runtime") -> "Page":
        with refusals(payout_id):
            done = await payout.cancel(runtime, Caller(by), payout_id, wait_s=_WAIT_S)
        now = done.payout
        if done.found.status is PayoutStatus.CANCELLED:
            words = f"{now.id} is CANCELLED already."
        elif now.cancel_failure is not None:
            raise StackError(f"{now.id} is {now.status} and goes on: {now.cancel_failure.message}")
        elif now.status is PayoutStatus.CANCELLED:
            amount = f"{to_major(now.amount, now.currency)} {now.currency}"
            words = f"{now.id} is CANCELLED: {amount} are in the wallet again."
        else:
            words = f"{now.id} was {done.found.status}: it is being cancelled, if it is not too late."
            words += look.later(done.told)
        return said(words, lambda: documents.payout(runtime.database, now))

    steer(cancel)


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
    from cli import documents
    from cli.pages import format as look
    from cli.pages.page import said
    from cli.refusals import refusals
    from embedded.errors import StackError
    from services import payout
    from services.command import Caller

    if decision == "reference" and not reference:
        raise StackError("The decision `reference` needs the PSP's name for it: --reference tr_… or po_…")
    resolution = PayoutResolution(decision=PayoutDecision(decision), by=by, note=note, reference=reference)

    async def resolve(runtime: "Runtime") -> "Page":
        with refusals(payout_id):
            done = await payout.resolve(runtime, Caller(by), payout_id, resolution)
        words = f"{done.payout.id} was NEEDS_ATTENTION and is {done.payout.status}." + look.later(done.told)
        return said(words, lambda: documents.payout(runtime.database, done.payout))

    steer(resolve)


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
    """Set when a seller is paid without asking; what is not said stays as it is."""
    from cli.payout_schedule import ScheduleOptions, set_schedule

    wanted = ScheduleOptions(daily, weekly, monthly, manual, tuple(minimum or ()), delay_days)
    show(lambda database: set_schedule(settings(), database, by, seller, tenant, wanted))


@payouts.command("release")
def payouts_release(by: By) -> None:
    """Make available now what is due; it happens by itself every few minutes."""
    from cli import documents
    from cli.pages.page import said
    from cli.progress import progress
    from services.command import Caller
    from services.payout import release_all

    async def release(database: "Database") -> "Page":
        with ExitStack() as stack:
            bar = progress(console())
            line = bar.add_task("released", total=None, note="")

            def draw(orders: int, due: int) -> None:
                if not bar.live.is_started:  # where nothing is due there is no bar
                    stack.enter_context(bar)
                bar.update(line, completed=orders, total=due)

            released = await release_all(database, Caller(by), draw)
        left = released.due - released.orders
        held = f"; {left} are held by others just now" if left > 0 else ""
        are = "s are" if released.orders != 1 else " is"
        words = f"{released.orders} order{are} released: their sellers can be paid{held}."
        if not released.due:
            words = "Nothing is due: what is pending becomes available later."
        return said(words, lambda: documents.plain("release", orders=released.orders, due=released.due))

    show(release)


@payouts.command("run")
def payouts_run(
    by: By,
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The business date; left out: today's."),
    ] = None,
) -> None:
    """Pay every seller who is due on a date, once however often it is run, and follow it to its end."""
    from cli.payout_run import run_payouts

    out = console()
    steer(lambda runtime: run_payouts(runtime, out, date and date.date(), by))


@payouts.command("runs")
def payouts_runs(limit: Limit = 20) -> None:
    """Payout runs, the latest date first, with their payouts by status."""
    from cli.pages.payout import runs_page

    show(lambda database: runs_page(database, limit=limit))
