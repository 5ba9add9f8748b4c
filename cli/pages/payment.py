"""What operators read: a payment as one page, the lists of payments and of API keys."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from cli.pages import format as look
from cli.pages.after_settlement import aftermath_sections
from cli.pages.books import books_table
from cli.pages.task import tasks_section
from config.settings import Settings
from db import lookup as operator
from db.core.database import Database
from db.ledger import posting as ledger
from db.payment import charge, payment
from db.payment.record import Payment
from domain.ids import payment_workflow_id
from domain.money import to_major
from domain.status import TERMINAL

# --- one payment ---


async def payment_page(settings: Settings, database: Database, row: Payment) -> RenderableType:
    """Why it is where it is, from the rows alone: it can be read also while no worker runs."""
    read = database.read
    attempts = await read(lambda c: charge.attempts(c, row.id))
    steps = await read(lambda c: payment.transitions(c, row.id))
    books = await read(
        lambda c: ledger.page(
            c,
            row.tenant_id,
            payment_id=row.id,
            order_id=None,
            account=None,
            since=None,
            until=None,
            before=None,
            limit=100,
        )
    )
    parts = [
        _head(settings, row),
        *look.section("Orders", _orders(row)),
        *look.section("At the PSP", _attempts(row, attempts)),
    ]
    parts += await aftermath_sections(database, row)
    parts += look.section("What happened (UTC)", _steps(row, steps))
    parts += look.section("Ledger", books_table(books) if books else None)
    parts += await tasks_section(database, row)
    return Group(*parts)


def _head(settings: Settings, row: Payment) -> RenderableType:
    title = Text.assemble(
        (row.id, "bold"), "  ", look.status(row.status), "  ", (look.amount(row.amount, row.currency), "bold")
    )
    facts = look.facts()
    facts.add_row("tenant", row.tenant_id)
    facts.add_row("checkout", row.checkout_id or "–")
    facts.add_row("buyer", f"{row.buyer_id}, by {row.method}")
    facts.add_row("created", look.time(row.created_at))
    if row.status not in TERMINAL:
        facts.add_row("next look", look.time(row.next_check_at))
        facts.add_row("deadline", look.time(row.deadline_at))
    if row.authorize_only:
        facts.add_row("capture", _capture(row))
    if row.cancel_requested_at:
        facts.add_row("cancel", f"asked for by {row.cancel_requested_by} at {look.time(row.cancel_requested_at)}")
    if row.next_action:
        facts.add_row("buyer has to", str(row.next_action.get("url", "")))
    workflow_id = payment_workflow_id(row.id)
    facts.add_row("workflow", workflow_id)
    if settings.temporal_ui_url:
        path = f"namespaces/{settings.temporal_namespace}/workflows/{workflow_id.replace(':', '%3A')}"
        facts.add_row("", Text(f"{settings.temporal_ui_url}/{path}", "cyan"))
    return Group(title, facts)


def _capture(row: Payment) -> str:
    if row.capture_requested_at:
        return f"asked for by {row.capture_requested_by} at {look.time(row.capture_requested_at)}"
    if not row.capture_by_request:
        return "by itself, once the risk rules have seen the authorisation"
    at_the_end = "captured" if row.capture_on_expiry else "let go"
    return f"on request; {at_the_end} before it expires"


def _orders(row: Payment) -> RenderableType:
    table = look.table("order", "seller", "amount", "captured", "status", "why")
    for order in row.orders:
        why = look.failure(order.failure) or ("compensating" if order.compensating and order.open else "")
        if order.wallet_updated and order.ledger_updated:
            why = why or f"credited and posted, our fee {to_major(order.captured_fee, order.currency)}"
        after = (order.refund_status, order.dispute_status and f"dispute {order.dispute_status}")
        why = "; ".join(text for text in (why, *after) if text)
        amount = look.amount(order.amount, order.currency)
        captured = to_major(order.captured_amount, order.currency) if order.captured_amount else "–"
        where = (look.ids(order.id, order.payment_order_id), order.seller_account)
        table.add_row(*where, amount, captured, look.status(order.status), why)
    return table


def _attempts(row: Payment, attempts: Sequence[dict[str, Any]]) -> RenderableType:
    facts = look.facts()
    for a in attempts:
        outcome = a["outcome"] or "no outcome is known"
        facts.add_row(
            f"attempt {a['attempt']}",
            Text.assemble((outcome, "bold"), f" at {a['psp']}, {a['reference'] or 'no reference'}"),
        )
        if a["received_amount"] is not None:
            received = look.amount(a["received_amount"], a["received_currency"])
            facts.add_row("", f"received {received}, {'booked' if a['booked'] else 'NOT booked'}")
        if a["unknown_count"]:
            facts.add_row("", f"{a['unknown_count']} answers could not be trusted")
        if a["last_answer"]:
            facts.add_row("last answer", f"{_answer(a['last_answer'])} ({look.time(a['last_answer_at'])})")
        if row.status not in TERMINAL:
            facts.add_row("key", f"{a['key']}, may be sent until {look.time(a['send_until'])}")
    return facts


def _answer(answer: dict[str, Any]) -> str:
    """`UNKNOWN: timeout`, `DECLINED: insufficient_funds (card_decline)`."""
    failure = answer.get("failure") or {}
    why = answer.get("reason") or failure.get("code")
    psp_code = failure.get("psp_code")
    return f"{answer['outcome']}{f': {why}' if why else ''}{f' ({psp_code})' if psp_code else ''}"


def _steps(row: Payment, steps: Sequence[dict[str, Any]]) -> RenderableType:
    names = {order.id: order.payment_order_id for order in row.orders}
    table = look.table("at", "order", "became", "because", "by")
    for s in steps:
        table.add_row(look.clock(s["at"]), names[s["order_id"]], look.status(s["to_status"]), s["reason"], s["actor"])
    return table


# --- lists ---


async def payments_page(database: Database, *, status: str | None, tenant: str | None, limit: int) -> RenderableType:
    rows = await database.read(lambda c: operator.list_payments(c, status=status, tenant_id=tenant, limit=limit))
    if not rows:
        return Text("No payments." if status is None else f"No payments are {status}.", "dim")
    table = look.table("payment", "created (UTC)", "tenant", "checkout", "amount", "status", "why")
    for row in rows:
        amount = look.amount(row["amount"], row["currency"])
        where = (row["id"], look.time(row["created_at"]), row["tenant_id"], row["checkout_id"] or "–")
        table.add_row(*where, amount, look.status(row["status"]), Text(row["failure"] or "", "dim"))
    more = Text(f"The newest {limit}; --limit shows more.", "dim") if len(rows) == limit else Text("")
    return Group(table, more) if more.plain else table
