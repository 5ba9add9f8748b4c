"""The commands about what follows a payment: reviews, refunds, disputes; and about sellers, risk rules and tasks."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from domain.payment import Decision, Resolution
from domain.status import MerchantStatus
from stack.command_line import By, Limit, Note, PaymentName, Tenant, change, settings, show, steer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from db.database import Database

refunds = typer.Typer(help="See refunds, make one, decide about one.", no_args_is_help=True)
disputes = typer.Typer(help="See disputes, and submit evidence.", no_args_is_help=True)
merchants = typer.Typer(help="See, freeze and close sellers.", no_args_is_help=True)
risk = typer.Typer(help="The risk rules of tenants.", no_args_is_help=True)
tasks = typer.Typer(help="What waits for a person, and what to do about it.")
webhooks = typer.Typer(help="Events that were given up.", no_args_is_help=True)

RefundId = Annotated[str, typer.Argument(metavar="ID", help="re_…")]
DisputeId = Annotated[str, typer.Argument(metavar="ID", help="dp_…, or the PSP's own id of it.")]
Seller = Annotated[str, typer.Argument(metavar="SELLER", help="The tenant's own id of the seller, or mer_….")]
OfTenant = Annotated[str | None, typer.Option(help="Whose seller, where several tenants have one of this name.")]
OpenOnly = Annotated[bool, typer.Option("--open", help="Only what has not ended.")]


def reviews(tenant: Tenant = None, limit: Limit = 50) -> None:
    """Payments that wait for a decision, with the reasons and the deadline; the oldest first."""
    from stack.operator_aftermath_pages import reviews_page

    show(lambda database: reviews_page(database, tenant=tenant, limit=limit))


# --- refunds ---


@refunds.command("list")
def refunds_list(
    payment: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this payment.")] = None,
    open_only: OpenOnly = False,
    limit: Limit = 20,
) -> None:
    """Refunds, newest first: asked for, made at the PSP, and those that undo a charge."""
    from stack.operator import find_payment
    from stack.operator_aftermath_pages import refunds_page

    async def page(database: "Database") -> "RenderableType":
        row = await find_payment(database, payment) if payment is not None else None
        return await refunds_page(database, row, open_only=open_only, limit=limit)

    show(page)


@refunds.command("show")
def refunds_show(refund_id: RefundId) -> None:
    """Where a refund stands, what covers it, and what is booked of it."""
    from stack.operator_aftermath_pages import refund_page

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
    from stack.operator_aftermath import create_refund

    steer(lambda services: create_refund(services, name, order, amount, reason, by))


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
    from stack.operator_aftermath import resolve_refund

    resolution = Resolution(decision=Decision(decision), by=by, note=note, reference=reference)
    steer(lambda services: resolve_refund(services, refund_id, resolution))


# --- disputes ---


@disputes.command("list")
def disputes_list(open_only: OpenOnly = False, limit: Limit = 20) -> None:
    """Disputes; the one whose evidence is due first comes first."""
    from stack.operator_aftermath_pages import disputes_page

    show(lambda database: disputes_page(database, open_only=open_only, limit=limit))


@disputes.command("show")
def disputes_show(name: DisputeId) -> None:
    """The deadline, the evidence, the movements of money, and what is set aside."""
    from stack.operator_aftermath_pages import dispute_page

    show(lambda database: dispute_page(database, name))


@disputes.command("evidence")
def disputes_evidence(
    name: DisputeId,
    field: Annotated[list[str], typer.Option(metavar="NAME=TEXT", help="Repeat for several.")],
    by: By,
) -> None:
    """Submit evidence to the buyer's bank, which takes it once: so all of it at once. It is stored encrypted."""
    from stack.operator_aftermath import submit_evidence

    steer(lambda services: submit_evidence(services, name, field, by))


# --- merchants ---


@merchants.command("list")
def merchants_list(
    tenant: Tenant = None,
    status: Annotated[
        MerchantStatus | None, typer.Option(case_sensitive=False, help="Only those with this status.")
    ] = None,
    limit: Limit = 100,
) -> None:
    """Sellers, by tenant and name."""
    from stack.operator_aftermath_pages import merchants_page

    show(lambda database: merchants_page(database, tenant=tenant, status=status and status.value, limit=limit))


@merchants.command("show")
def merchants_show(seller: Seller, tenant: OfTenant = None) -> None:
    """A seller's status, terms and wallet."""
    from stack.operator_aftermath_pages import merchant_page

    show(lambda database: merchant_page(database, seller, tenant))


@merchants.command("freeze")
def merchants_freeze(seller: Seller, by: By, tenant: OfTenant = None) -> None:
    """No new orders, confirmations and captures; refunds and disputes go on."""
    _set_status(seller, tenant, MerchantStatus.FROZEN, by)


@merchants.command("unfreeze")
def merchants_unfreeze(seller: Seller, by: By, tenant: OfTenant = None) -> None:
    """Whatever waits goes on."""
    _set_status(seller, tenant, MerchantStatus.ACTIVE, by)


@merchants.command("close")
def merchants_close(seller: Seller, by: By, tenant: OfTenant = None) -> None:
    """As frozen, and for ever."""
    _set_status(seller, tenant, MerchantStatus.CLOSED, by)


def _set_status(seller: str, tenant: str | None, status: MerchantStatus, by: str) -> None:
    from stack.operator_aftermath import set_merchant_status

    change(lambda database: set_merchant_status(database, seller, tenant, status, by))


# --- risk rules ---


@risk.command("show")
def risk_show(tenant: Annotated[str, typer.Argument(metavar="TENANT")]) -> None:
    """A tenant's rules as JSON: `paysaga risk show T > rules.json`, change it, `paysaga risk set T rules.json`."""
    from stack.operator import database_of
    from stack.operator_aftermath_pages import rules_of

    async def read() -> tuple[str, str]:
        async with database_of(settings()) as database:
            return await rules_of(database, tenant)

    whose, rules = asyncio.run(read())
    typer.echo(whose, err=True)  # beside the JSON, which may go to a file
    typer.echo(rules)


@risk.command("set")
def risk_set(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    rules: Annotated[Path, typer.Argument(metavar="RULES.JSON", help="All rules; they replace those of before.")],
    by: By,
) -> None:
    """Replace a tenant's rules; what is wrong with them is said, and nothing changes then."""
    from stack.operator_aftermath import set_rules

    change(lambda database: set_rules(database, tenant, rules, by))


# --- tasks ---


@tasks.callback(invoke_without_command=True)
def tasks_list(context: typer.Context) -> None:
    """What waits for a person, and what to do about it."""
    if context.invoked_subcommand is not None:
        return
    from stack.operator_aftermath_pages import tasks_page

    show(tasks_page)


@tasks.command("close")
def tasks_close(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="task_…")],
    by: By,
    note: Annotated[str, typer.Option(help="What was done about it, for the audit log.")],
) -> None:
    """Close a task that nothing closes by itself."""
    from stack.operator_aftermath import close_task

    change(lambda database: close_task(database, task_id, by, note))


# --- webhooks ---


@webhooks.command("dead")
def webhooks_dead(limit: Limit = 20) -> None:
    """Events of PSPs that could not be used after many tries, newest first."""
    from stack.operator_aftermath_pages import dead_page

    show(lambda database: dead_page(database, limit=limit))


@webhooks.command("replay")
def webhooks_replay(inbox_id: Annotated[str, typer.Argument(metavar="ID", help="whk_…")], by: By) -> None:
    """Have the sweeper deliver a dead event again."""
    from stack.operator_aftermath import replay_webhook

    change(lambda database: replay_webhook(database, inbox_id, by))
