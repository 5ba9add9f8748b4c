"""What operators read: a payment as one page, the lists of payments, tasks and API keys."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from config.settings import Settings
from db import charge, ledger, operator, payment, refund, task
from db.database import Database
from db.records import Payment, Refund
from domain.ids import payment_workflow_id
from domain.money import to_major
from domain.psp import Failure
from domain.status import TERMINAL

_STYLES = {"SUCCESS": "green", "FAILED": "red", "CANCELLED": "yellow", "NEEDS_ATTENTION": "bold magenta"}


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "amount" else "left")
    return table


def _status(status: str) -> Text:
    return Text(status, _STYLES.get(status, "cyan"))


def _amount(amount: int, currency: str) -> str:
    return f"{to_major(amount, currency)} {currency}"


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "–"


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def _failure(failure: Failure | None) -> str:
    return f"{failure.code}: {failure.message}" if failure else ""


# --- one payment ---


async def payment_page(settings: Settings, database: Database, row: Payment) -> RenderableType:
    """Why it is where it is, from the rows alone: it can be read also while no worker runs."""
    read = database.read
    attempts = await read(lambda c: charge.attempts(c, row.id))
    refunds = await read(lambda c: refund.of_payment(c, row.id))
    steps = await read(lambda c: payment.transitions(c, row.id))
    tasks = await read(lambda c: task.open_tasks(c, payment_id=row.id))
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
    parts = [_head(settings, row), *_section("Orders", _orders(row)), *_section("At the PSP", _attempts(row, attempts))]
    parts += _section("Refunds", _refunds(refunds) if refunds else None)
    parts += _section("What happened (UTC)", _steps(row, steps))
    parts += _section("Ledger", _books(books) if books else None)
    parts += _section("Waiting for a person", _tasks(tasks) if tasks else None)
    return Group(*parts)


def _section(title: str, content: RenderableType | None) -> list[RenderableType]:
    if content is None:
        return []
    return ["", Rule(Text(f"{title} ", "bold cyan"), align="left", style="cyan dim"), content]


def _head(settings: Settings, row: Payment) -> RenderableType:
    title = Text.assemble(
        (row.id, "bold"), "  ", _status(row.status), "  ", (_amount(row.amount, row.currency), "bold")
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("tenant", row.tenant_id)
    facts.add_row("checkout", row.checkout_id or "–")
    facts.add_row("buyer", f"{row.buyer_id}, by {row.method}")
    facts.add_row("created", _time(row.created_at))
    if row.status not in TERMINAL:
        facts.add_row("next look", _time(row.next_check_at))
        facts.add_row("deadline", _time(row.deadline_at))
    if row.cancel_requested_at:
        facts.add_row("cancel", f"asked for by {row.cancel_requested_by} at {_time(row.cancel_requested_at)}")
    if row.next_action:
        facts.add_row("buyer has to", str(row.next_action.get("url", "")))
    workflow_id = payment_workflow_id(row.id)
    facts.add_row("workflow", workflow_id)
    if settings.temporal_ui_url:
        path = f"namespaces/{settings.temporal_namespace}/workflows/{workflow_id.replace(':', '%3A')}"
        facts.add_row("", Text(f"{settings.temporal_ui_url}/{path}", "cyan"))
    return Group(title, facts)


def _orders(row: Payment) -> RenderableType:
    table = _table("order", "yours", "seller", "amount", "status", "why")
    for order in row.orders:
        why = _failure(order.failure) or ("compensating" if order.compensating and order.open else "")
        if order.wallet_updated and order.ledger_updated:
            why = why or f"credited and posted, our fee {to_major(order.platform_fee, order.currency)}"
        amount = _amount(order.amount, order.currency)
        table.add_row(order.id, order.payment_order_id, order.seller_account, amount, _status(order.status), why)
    return table


def _attempts(row: Payment, attempts: Sequence[dict[str, Any]]) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for a in attempts:
        outcome = a["outcome"] or "no outcome is known"
        facts.add_row(
            f"attempt {a['attempt']}",
            Text.assemble((outcome, "bold"), f" at {a['psp']}, {a['reference'] or 'no reference'}"),
        )
        if a["received_amount"] is not None:
            received = _amount(a["received_amount"], a["received_currency"])
            facts.add_row("", f"received {received}, {'booked' if a['booked'] else 'NOT booked'}")
        if a["unknown_count"]:
            facts.add_row("", f"{a['unknown_count']} answers could not be trusted")
        if a["last_answer"]:
            facts.add_row("last answer", f"{_answer(a['last_answer'])} ({_time(a['last_answer_at'])})")
        if row.status not in TERMINAL:
            facts.add_row("key", f"{a['key']}, may be sent until {_time(a['send_until'])}")
    return facts


def _answer(answer: dict[str, Any]) -> str:
    """`UNKNOWN: timeout`, `DECLINED: insufficient_funds (card_decline)`."""
    failure = answer.get("failure") or {}
    why = answer.get("reason") or failure.get("code")
    psp_code = failure.get("psp_code")
    return f"{answer['outcome']}{f': {why}' if why else ''}{f' ({psp_code})' if psp_code else ''}"


def _refunds(refunds: Sequence[Refund]) -> RenderableType:
    table = _table("refund", "why", "amount", "status", "try", "reference", "")
    for r in refunds:
        amount = _amount(r.amount, r.currency)
        table.add_row(r.id, r.origin, amount, r.status, str(r.attempt), r.reference or "–", _failure(r.failure))
    return table


def _steps(row: Payment, steps: Sequence[dict[str, Any]]) -> RenderableType:
    names = {order.id: order.payment_order_id for order in row.orders}
    table = _table("at", "order", "became", "because", "by")
    for s in steps:
        table.add_row(_clock(s["at"]), names[s["order_id"]], _status(s["to_status"]), s["reason"], s["actor"])
    return table


def _books(transactions: Sequence[dict[str, Any]]) -> RenderableType:
    table = _table("at", "transaction", "account")
    table.add_column("debit", justify="right")
    table.add_column("credit", justify="right")
    for t in reversed(transactions):
        first = (_clock(t["at"]), t["kind"])
        for posting in t["postings"]:
            amount = to_major(abs(posting["amount"]), posting["currency"])
            table.add_row(*first, posting["account"], *((amount, "") if posting["amount"] > 0 else ("", amount)))
            first = ("", "")
    return table


def _tasks(tasks: Sequence[dict[str, Any]]) -> RenderableType:
    table = _table("since", "what", "detail")
    for t in tasks:
        table.add_row(_time(t["opened_at"]), Text(t["kind"], "bold magenta"), t["detail"])
    return Group(table, Text("Decide with `paysaga payments resolve`.", "dim"))


# --- lists ---


async def payments_page(database: Database, *, status: str | None, tenant: str | None, limit: int) -> RenderableType:
    rows = await database.read(lambda c: operator.list_payments(c, status=status, tenant_id=tenant, limit=limit))
    if not rows:
        return Text("No payments." if status is None else f"No payments are {status}.", "dim")
    table = _table("payment", "created (UTC)", "tenant", "checkout", "amount", "status", "why")
    for row in rows:
        amount = _amount(row["amount"], row["currency"])
        where = (row["id"], _time(row["created_at"]), row["tenant_id"], row["checkout_id"] or "–")
        table.add_row(*where, amount, _status(row["status"]), Text(row["failure"] or "", "dim"))
    more = Text(f"The newest {limit}; --limit shows more.", "dim") if len(rows) == limit else Text("")
    return Group(table, more) if more.plain else table


async def tasks_page(database: Database) -> RenderableType:
    rows = await database.read(task.open_tasks)
    if not rows:
        return Text("Nothing waits for a person.", "green")
    table = _table("since (UTC)", "payment", "tenant", "what", "detail")
    for row in rows:
        what = Text(row["kind"], "bold magenta")
        table.add_row(_time(row["opened_at"]), row["payment_id"] or "–", row["tenant_id"], what, row["detail"])
    return Group(table, Text("`paysaga payments show ID` explains, `paysaga payments resolve ID` decides.", "dim"))


async def keys_page(database: Database) -> RenderableType:
    rows = await database.read(operator.list_keys)
    if not rows:
        return Text("There are no API keys: `paysaga keys create --tenant T --name N` makes one.", "dim")
    table = _table("key", "tenant", "name", "scopes", "created (UTC)", "")
    for row in rows:
        revoked = Text(f"revoked {_time(row['revoked_at'])}", "red") if row["revoked_at"] else Text("active", "green")
        scopes = ", ".join(row["scopes"])
        table.add_row(row["id"], row["tenant_id"], row["name"], scopes, _time(row["created_at"]), revoked)
    return table
