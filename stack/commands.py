"""The commands for finance and operators. What one of them needs is imported when it is called."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from domain.payment import Decision, Resolution
from domain.risk import ReviewDecision
from domain.status import Status
from stack.command_line import (
    By,
    ByOrLogin,
    Limit,
    Note,
    PaymentName,
    Tenant,
    change,
    console,
    login,
    settings,
    show,
    steer,
)
from stack.commands_aftermath import disputes, merchants, refunds, reviews, risk, tasks, webhooks
from stack.commands_ledger import WrittenDown, ledger, written_down
from stack.commands_payouts import payouts
from stack.commands_reconcile import reconcile

if TYPE_CHECKING:
    from rich.console import RenderableType

    from db.database import Database

payments = typer.Typer(help="See and steer payments.", no_args_is_help=True)
keys = typer.Typer(help="API keys of tenants.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Put the commands on `paysaga`."""
    app.command()(audit)
    app.command()(demo)
    app.add_typer(payments, name="payments")
    app.command()(reviews)
    app.add_typer(tasks, name="tasks")
    app.add_typer(refunds, name="refunds")
    app.add_typer(disputes, name="disputes")
    app.add_typer(merchants, name="merchants")
    app.add_typer(payouts, name="payouts")
    app.add_typer(risk, name="risk")
    app.add_typer(webhooks, name="webhooks")
    app.add_typer(reconcile, name="reconcile")
    app.add_typer(ledger, name="ledger")
    app.add_typer(keys, name="keys")
    app.command()(sweep)


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    head: WrittenDown = None,
) -> None:
    """Check the money invariants; exit code 1 on any violation."""
    from stack.audit import run_audit_command

    expected = written_down(head)
    if not asyncio.run(run_audit_command(settings(), console(), as_json=as_json, head=expected)):
        raise typer.Exit(1)


def demo(
    attach: Annotated[
        bool, typer.Option("--attach", help="The stories alone, in the stack that runs here instead of one of its own.")
    ] = False,
    stories_only: Annotated[bool, typer.Option("--stories-only", help="Without the day.")] = False,
    day_only: Annotated[bool, typer.Option("--day-only", help="Without the stories.")] = False,
    checkouts: Annotated[int, typer.Option(min=60, max=2000, help="Of the day.", show_default=True)] = 200,
) -> None:
    """Tell what can happen to a checkout: stories, each with its outcome and its ledger; then a day of 200 checkouts
    at a PSP that fails, with payouts and a reconciliation that has something to find.

    Exit code 1 if something ends otherwise than it should.
    """
    from stack.demo import Programme, run_demo

    if day_only and (attach or stories_only):
        raise typer.BadParameter("The day needs a stack of its own: it moves the PSP's clock and falsifies its books.")
    programme = Programme(stories=not day_only, checkouts=None if stories_only else checkouts)
    try:
        as_told = asyncio.run(run_demo(console(), programme, attach=settings() if attach else None))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if not as_told:
        raise typer.Exit(1)


# --- payments ---


@payments.command("show")
def payments_show(name: PaymentName) -> None:
    """Explain a payment: why it is where it is, what the PSP said, what is booked."""
    from stack.operator import find_payment
    from stack.operator_pages import payment_page

    async def page(database: "Database") -> "RenderableType":
        return await payment_page(settings(), database, await find_payment(database, name))

    show(page)


@payments.command("list")
def payments_list(
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="Only those with this status.")] = None,
    tenant: Tenant = None,
    limit: Limit = 20,
) -> None:
    """Payments, newest first."""
    from stack.operator_pages import payments_page

    show(lambda database: payments_page(database, status=status and status.value, tenant=tenant, limit=limit))


@payments.command("nudge")
def payments_nudge(name: PaymentName) -> None:
    """Have the PSP asked now instead of at the next look."""
    from stack.operator import nudge_payment

    steer(lambda services: nudge_payment(services, name))


@payments.command("cancel")
def payments_cancel(name: PaymentName, by: By) -> None:
    """Cancel a payment that has not settled; what was charged is refunded."""
    from stack.operator import cancel_payment

    steer(lambda services: cancel_payment(services, name, by))


@payments.command("capture")
def payments_capture(
    name: PaymentName,
    by: By,
    amount: Annotated[str | None, typer.Option(help="Less than all of it: 120.00; the rest is released.")] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="ORDER=AMOUNT", help="Of several orders; repeat. One left out is released."),
    ] = None,
) -> None:
    """Take what is AUTHORIZED: all of it, or a part. An authorisation is captured once."""
    from stack.operator_aftermath import capture_payment

    steer(lambda services: capture_payment(services, name, amount, part or (), by))


@payments.command("review")
def payments_review(
    name: PaymentName,
    approve: Annotated[bool, typer.Option("--approve/--reject", help="Let it go on, or end it as FAILED.")],
    by: By,
    note: Note = "",
) -> None:
    """Decide about a payment IN_REVIEW; the first decision counts."""
    from stack.operator_aftermath import review_payment

    decision = ReviewDecision.APPROVE if approve else ReviewDecision.REJECT
    steer(lambda services: review_payment(services, name, decision, by, note))


@payments.command("resolve")
def payments_resolve(
    name: PaymentName,
    decision: Annotated[
        Decision,
        typer.Option(
            help="retry: ask the PSP again, or capture or refund again. not_charged: no money moved, I looked. "
            "cancel: refund whatever was taken. reference: --reference is the PSP's object."
        ),
    ],
    by: By,
    note: Note = "",
    reference: Annotated[str | None, typer.Option(help="The PSP's object, pi_…, for the decision reference.")] = None,
) -> None:
    """Decide about a payment that NEEDS_ATTENTION."""
    from stack.operator import resolve_payment

    resolution = Resolution(decision=decision, by=by, note=note, reference=reference)
    steer(lambda services: resolve_payment(services, name, resolution))


# --- API keys ---


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="Whose key; a new name is a new tenant.")],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="Repeat for several; left out: all.")] = None,
    by: ByOrLogin = None,
) -> None:
    """Make an API key and print its secret, once."""
    from stack.operator import create_key, database_of

    async def create() -> tuple[str, str]:
        async with database_of(settings()) as database:
            return await create_key(database, tenant, name, frozenset(scope or ()), by or login())

    key_id, secret = asyncio.run(create())
    out = console()
    out.print(f"{key_id} for {tenant}. Its secret is shown now and never again:", markup=False)
    out.print(secret, style="bold green", markup=False, soft_wrap=True)


@keys.command("revoke")
def keys_revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="key_…")], by: ByOrLogin = None) -> None:
    """Take an API key back."""
    from stack.operator import revoke_key

    change(lambda database: revoke_key(database, key_id, by or login()))


@keys.command("list")
def keys_list() -> None:
    """All API keys, without their secrets."""
    from stack.operator_pages import keys_page

    show(keys_page)


def sweep() -> None:
    """Look now for payments without a workflow and for webhooks that nobody has read."""
    from stack.operator import sweep_now

    steer(sweep_now)
