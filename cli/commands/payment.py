"""The commands for finance and operators. What one of them needs is imported when it is called."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Note, PaymentName, Tenant, settings, show, steer
from domain.messages import Decision, Resolution
from domain.risk import ReviewDecision
from domain.status import Status

if TYPE_CHECKING:
    from rich.console import RenderableType

    from db.core.database import Database


payments = typer.Typer(help="See and steer payments.", no_args_is_help=True)


# --- payments ---


@payments.command("show")
def payments_show(name: PaymentName) -> None:
    """Explain a payment: why it is where it is, what the PSP said, what is booked."""
    from cli.operator_payment import find_payment
    from cli.pages.payment import payment_page

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
    from cli.pages.payment import payments_page

    show(lambda database: payments_page(database, status=status and status.value, tenant=tenant, limit=limit))


@payments.command("nudge")
def payments_nudge(name: PaymentName) -> None:
    """Have the PSP asked now instead of at the next look."""
    from cli.operator_payment import nudge_payment

    steer(lambda runtime: nudge_payment(runtime, name))


@payments.command("cancel")
def payments_cancel(name: PaymentName, by: By) -> None:
    """Cancel a payment that has not settled; what was charged is refunded."""
    from cli.operator_payment import cancel_payment

    steer(lambda runtime: cancel_payment(runtime, name, by))


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
    from cli.operator_payment_actions import capture_payment

    steer(lambda runtime: capture_payment(runtime, name, amount, part or (), by))


@payments.command("review")
def payments_review(
    name: PaymentName,
    approve: Annotated[bool, typer.Option("--approve/--reject", help="Let it go on, or end it as FAILED.")],
    by: By,
    note: Note = "",
) -> None:
    """Decide about a payment IN_REVIEW; the first decision counts."""
    from cli.operator_payment_actions import review_payment

    decision = ReviewDecision.APPROVE if approve else ReviewDecision.REJECT
    steer(lambda runtime: review_payment(runtime, name, decision, by, note))


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
    from cli.operator_payment import resolve_payment

    resolution = Resolution(decision=decision, by=by, note=note, reference=reference)
    steer(lambda runtime: resolve_payment(runtime, name, resolution))
