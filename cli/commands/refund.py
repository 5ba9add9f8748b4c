"""`paysaga refunds …`: see refunds, make one, decide about one."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.command_line import By, Limit, Note, OpenOnly, PaymentName, Tenant, show, steer
from cli.nouns import Noun
from cli.search import Amount, Before, Buyer, Currency, Reference, Seller, Since, Until
from domain.messages import Decision, Resolution
from domain.status import RefundStatus

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from runtime.wiring import Runtime

refunds = Noun(no_args_is_help=True)

RefundId = Annotated[str, typer.Argument(metavar="ID", help="Our own id, re_…")]


@refunds.command("list")
def refunds_list(
    payment: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this payment.")] = None,
    open_only: OpenOnly = False,
    status: Annotated[
        RefundStatus | None, typer.Option(case_sensitive=False, help="Only those with this status.")
    ] = None,
    seller: Seller = None,
    buyer: Buyer = None,
    currency: Currency = None,
    amount: Amount = None,
    reference: Reference = None,
    since: Since = None,
    until: Until = None,
    before: Before = None,
    tenant: Tenant = None,
    limit: Limit = 20,
) -> None:
    """Refunds, newest first: asked for, made at the PSP, and those that undo a charge. Every filter has to match."""
    from cli.connection import ANYBODY
    from cli.pages.refund_list import refunds_page
    from services.payment import find
    from services.search import Search

    async def page(database: "Database") -> "Page":
        row = (await find(database, ANYBODY, payment))[0] if payment is not None else None
        wanted = Search(
            status.value if status else None,
            since,
            until,
            seller,
            buyer,
            currency,
            amount,
            reference,
            open_only=open_only,
            payment_id=row.id if row else None,
        )
        return await refunds_page(database, wanted, tenant=tenant, before=before, limit=limit)

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
    order: Annotated[
        str | None, typer.Option(help="Our po_…, or the client's own id, where there are several.")
    ] = None,
    amount: Annotated[str | None, typer.Option(help="Less than all that is left: 120.00")] = None,
    reason: Annotated[
        str | None,
        typer.Option(help="In your own words; the PSP understands requested_by_customer, duplicate and fraudulent."),
    ] = None,
) -> None:
    """Give money back to the buyer of a settled payment: all that is left, or a part."""
    from cli.connection import person
    from cli.pages.refund import created
    from cli.refusals import refusals
    from services.payment import find
    from services.refund import RefundRequest, create

    async def work(runtime: "Runtime") -> "Page":
        row, _ = await find(runtime.database, person(by), name)
        with refusals(row.id, {"payment_order_required": "Here: --order."}):
            wanted = RefundRequest(order, amount, reason)
            return created(runtime.database, await create(runtime, person(by), name, wanted, wait_s=_WAIT_S))

    steer(work)


_WAIT_S = 8.0
"""For the PSP's answer; a refund that it does not answer in this time is shown as it is."""


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
    reference: Annotated[
        str | None, typer.Option(help="The PSP's own id of the refund, re_…, for the decision reference.")
    ] = None,
) -> None:
    """Decide about a refund that NEEDS_ATTENTION, or one that failed and undoes a charge."""
    from cli import documents
    from cli.connection import person
    from cli.pages.page import said
    from cli.refusals import refusals
    from services.decision import resolve_refund
    from services.refund import find

    resolution = Resolution(decision=Decision(decision), by=by, note=note, reference=reference)
    hints = {
        "reference_required": "Say --reference and the PSP's re_…",
        "nobody_waits": "Try `paysaga sweep`.",
    }

    async def work(runtime: "Runtime") -> "Page":
        with refusals(refund_id, hints):
            answer = await resolve_refund(runtime, person(by), refund_id, resolution)
        row = await find(runtime.database, person(by), refund_id)
        return said(f"{refund_id}: {answer}.", lambda: documents.refund(runtime.database, row, answer=answer))

    steer(work)
