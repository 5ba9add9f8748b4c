"""`paysaga payments …`: see payments, and steer them."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Note, PaymentName, Tenant, settings, show, steer
from cli.nouns import Noun
from cli.search import Amount, Before, Buyer, Currency, Reference, Seller, Since, Until
from domain.messages import Decision, Resolution
from domain.risk import ReviewDecision
from domain.status import Status

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from runtime.wiring import Runtime

payments = Noun(no_args_is_help=True)


@payments.command("show")
def payments_show(name: PaymentName) -> None:
    """Explain a payment: why it is where it is, what the PSP said, what is booked."""
    from cli.connection import ANYBODY
    from cli.pages.payment import payment_page
    from services.payment import find

    async def page(database: "Database") -> "Page":
        row, _ = await find(database, ANYBODY, name)
        return await payment_page(settings(), database, row)

    show(page)


@payments.command("list")
def payments_list(
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="Only those with this status.")] = None,
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
    """Payments, newest first; every filter that is given has to match."""
    from cli.pages.payment_list import payments_page
    from services.search import Search

    wanted = Search(status.value if status else None, since, until, seller, buyer, currency, amount, reference)
    show(lambda database: payments_page(database, wanted, tenant=tenant, before=before, limit=limit))


@payments.command("nudge")
def payments_nudge(name: PaymentName) -> None:
    """Have the PSP asked now instead of at the next look."""
    from cli.connection import ANYBODY
    from cli.pages.payment import nudged
    from cli.refusals import refusals
    from services.payment import find, nudge

    async def work(runtime: "Runtime") -> "Page":
        row, _ = await find(runtime.database, ANYBODY, name)
        with refusals(row.id):
            return nudged(*await nudge(runtime, ANYBODY, row.id))

    steer(work)


@payments.command("cancel")
def payments_cancel(name: PaymentName, by: By) -> None:
    """Cancel a payment that has not settled; what was charged is refunded."""
    from cli.connection import person
    from cli.pages.payment import cancelled
    from cli.refusals import refusals
    from services.payment import cancel, find

    async def work(runtime: "Runtime") -> "Page":
        row, _ = await find(runtime.database, person(by), name)
        with refusals(f"{row.id} cannot be cancelled"):
            return cancelled(await cancel(runtime, person(by), row.id))

    steer(work)


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
    from cli.connection import person
    from cli.pages.payment import captured
    from cli.refusals import refusals
    from services.payment import CaptureRequest, capture, find

    # `ORDER=AMOUNT`; what has no sign of equality is no amount either.
    parts = [(order, text) for order, _, text in (one.partition("=") for one in part)] if part else None
    hints = {"payment_order_required": "Here: say --part ORDER=AMOUNT for each, not --amount."}

    async def work(runtime: "Runtime") -> "Page":
        row, _ = await find(runtime.database, person(by), name)
        with refusals(row.id, hints):
            return captured(await capture(runtime, person(by), row.id, CaptureRequest(amount, parts)))

    steer(work)


@payments.command("review")
def payments_review(
    name: PaymentName,
    by: By,
    approve: Annotated[
        bool | None, typer.Option("--approve/--reject", help="Let it go on, or end it as FAILED; one is needed.")
    ] = None,
    note: Note = "",
) -> None:
    """Decide about a payment IN_REVIEW; the first decision counts."""
    if approve is None:
        raise typer.BadParameter("say --approve or --reject")
    from cli.connection import person
    from cli.pages.payment import reviewed
    from cli.refusals import refusals
    from services.payment import find
    from services.risk import review

    decision = ReviewDecision.APPROVE if approve else ReviewDecision.REJECT

    async def work(runtime: "Runtime") -> "Page":
        row, _ = await find(runtime.database, person(by), name)
        with refusals(row.id):
            return reviewed(await review(runtime, person(by), row.id, decision, note), decision)

    steer(work)


@payments.command("resolve")
def payments_resolve(
    name: PaymentName,
    decision: Annotated[
        Decision,
        typer.Option(
            help="retry: ask the PSP again, or capture or refund again. not_charged: no money moved, I looked. "
            "cancel: refund whatever was taken. reference: --reference is the PSP's object. accept: credit the sellers "
            "with what the PSP took, though another amount was asked for."
        ),
    ],
    by: By,
    note: Note = "",
    reference: Annotated[
        str | None, typer.Option(help="The PSP's own id, pi_… or re_…, for the decision reference.")
    ] = None,
) -> None:
    """Decide about a payment that NEEDS_ATTENTION."""
    from cli import documents
    from cli.connection import person
    from cli.pages.page import said
    from cli.refusals import refusals
    from services.decision import resolve_payment
    from services.payment import find, load

    resolution = Resolution(decision=decision, by=by, note=note, reference=reference)

    async def work(runtime: "Runtime") -> "Page":
        row, _ = await find(runtime.database, person(by), name)
        hints = {
            "reference_required": "Say --reference pi_…",
            "nobody_waits": f"See `paysaga payments show {row.id}`.",
            "refund_ambiguous": f"See `paysaga refunds list --payment {row.id}`, and `paysaga refunds resolve --help`.",
        }
        with refusals(row.id, hints):
            answer = await resolve_payment(runtime, person(by), row.id, resolution)
        now = await load(runtime.database, row.id)
        return said(f"{row.id}: {answer}.", lambda: documents.payment(now, answer=answer))

    steer(work)
