"""The commands about what follows a payment: reviews, refunds, disputes; and about sellers, risk rules and tasks."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.command_line import By, Limit, Note, PaymentName, show, steer
from domain.messages import Decision, Resolution

if TYPE_CHECKING:
    from rich.console import RenderableType

    from db.core.database import Database


refunds = typer.Typer(help="See refunds, make one, decide about one.", no_args_is_help=True)

RefundId = Annotated[str, typer.Argument(metavar="ID", help="re_…")]
OpenOnly = Annotated[bool, typer.Option("--open", help="Only what has not ended.")]


# --- refunds ---


@refunds.command("list")
def refunds_list(
    payment: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this payment.")] = None,
    open_only: OpenOnly = False,
    limit: Limit = 20,
) -> None:
    """Refunds, newest first: asked for, made at the PSP, and those that undo a charge."""
    from cli.operator_payment import find_payment
    from cli.pages.refund import refunds_page

    async def page(database: "Database") -> "RenderableType":
        row = await find_payment(database, payment) if payment is not None else None
        return await refunds_page(database, row, open_only=open_only, limit=limit)

    show(page)


@refunds.command("show")
def refunds_show(refund_id: RefundId) -> None:
    """Where a refund stands, what covers it, and what is booked of it."""
    from cli.pages.refund import refund_page

    show(lambda database: refund_page(database, refund_id))


@refunds.command("create")
def refunds_create(
    name: PaymentName,
    by: By,
    order: Annotated[str | None, typer.Option(help="po_…, or the client's own id, where there are several.")] = None,
    amount: Annotated[str | None, typer.Option(help="Less than all that is left: 120.00")] = None,
    reason: Annotated[
        Literal["requested_by_customer", "duplicate", "fraudulent"] | None, typer.Option(help="What the PSP is told.")
    ] = None,
) -> None:
    """Give money back to the buyer of a settled payment: all that is left, or a part."""
    from cli.operator_refund import create_refund

    steer(lambda runtime: create_refund(runtime, name, order, amount, reason, by))


@refunds.command("resolve")
def refunds_resolve(
    refund_id: RefundId,
    decision: Annotated[
        Literal["retry", "reference", "accept"],
        typer.Option(
            help="retry: ask for it again. reference: I made it by hand, --reference is the PSP's refund. "
            "accept: the PSP made another amount of it, book that."
        ),
    ],
    by: By,
    note: Note = "",
    reference: Annotated[str | None, typer.Option(help="The PSP's refund, re_…, for the decision reference.")] = None,
) -> None:
    """Decide about a refund that NEEDS_ATTENTION, or one that failed and undoes a charge."""
    from cli.operator_refund import resolve_refund

    resolution = Resolution(decision=Decision(decision), by=by, note=note, reference=reference)
    steer(lambda runtime: resolve_refund(runtime, refund_id, resolution))
