"""Payments as an operator reads them: one on a page, and after a command."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType

from cli import documents
from cli.connection import keyring_if_any
from cli.pages import format as look
from cli.pages.books import books_table
from cli.pages.dispute_list import disputes_table
from cli.pages.page import Page, said
from cli.pages.refund_list import refunds_table
from cli.pages.reserve import reserves_of, reserves_table
from cli.pages.risk import judgements_table
from cli.pages.task import tasks_section
from config.settings import Settings
from db import risk
from db.core.database import Database
from db.dispute import find as disputes
from db.ledger import posting as ledger
from db.ledger.posting import Wanted
from db.payment import action, charge, find
from db.payment.record import Charge, Payment, Transition
from db.refund import find as refunds
from domain.ids import payment_workflow_id
from domain.money import to_major
from domain.psp import ChargeOutcome
from domain.risk import ReviewDecision
from domain.status import TERMINAL
from domain.unknown import in_words
from services.payment import Answer, Nudged

# --- one payment ---


async def payment_page(settings: Settings, database: Database, row: Payment) -> Page:
    """Why it is where it is, from the rows alone: it can be read also while no worker runs."""
    read = database.read
    attempts = await read(lambda c: charge.attempts(c, row.id))
    steps = await read(lambda c: find.transitions(c, row.id))
    books = await read(lambda c: ledger.page(c, row.tenant_id, Wanted(payment_id=row.id), limit=100))
    parts = [
        _head(settings, row),
        *look.section("Orders", _orders(row)),
        *look.section("At the PSP", _attempts(row, attempts)),
    ]
    parts += await _later_sections(database, row)
    parts += look.section("What happened (UTC)", _steps(row, steps))
    parts += look.section("Ledger", books_table(books) if books else None)
    parts += await tasks_section(database, row)
    return Page(Group(*parts), lambda: documents.explained(settings, database, row))


async def _later_sections(database: Database, row: Payment) -> list[RenderableType]:
    """Risk, refunds, disputes, and what is set aside for them; each only where there is something."""
    judgements = await database.read(lambda c: risk.decisions(c, row.id))
    given_back = await database.read(lambda c: refunds.of_payment(c, row.id))
    disputed = await database.read(lambda c: disputes.of_payment(c, row.id))
    held = await reserves_of(database, [*(r.id for r in given_back), *(d.id for d in disputed)])
    return [
        *look.section("Risk", judgements_table(judgements) if judgements else None),
        *look.section("Refunds", refunds_table(given_back) if given_back else None),
        *look.section("Disputes", disputes_table(disputed) if disputed else None),
        *look.section("Set aside for them", reserves_table(held)),
    ]


def _head(settings: Settings, row: Payment) -> RenderableType:
    title = look.text(
        (row.id, "bold"), "  ", look.status(row.status), "  ", (look.amount(row.amount, row.currency), "bold")
    )
    facts = look.facts()
    facts.add_row("tenant", row.tenant_id)
    facts.add_row("checkout", row.checkout_id or "–")
    facts.add_row("buyer", f"{row.buyer_id}, by {row.method}")
    facts.add_row("created", look.time(row.created_at))
    if row.status not in TERMINAL:
        overdue = row.next_check_at is not None and row.next_check_at <= datetime.now(UTC)
        facts.add_row("next look", look.time(row.next_check_at) + (", under way or overdue" if overdue else ""))
        facts.add_row("deadline", look.time(row.deadline_at))
    if row.authorize_only:
        facts.add_row("capture", _capture(row))
    if row.cancel_requested_at:
        facts.add_row("cancel", f"asked for by {row.cancel_requested_by} at {look.time(row.cancel_requested_at)}")
    if row.return_url:
        facts.add_row("returns to", row.return_url)
    if row.next_action or row.sealed_action:
        ring = keyring_if_any(settings)
        step = action.opened(ring, row) if ring is not None else None
        facts.add_row("buyer has to", step.url if step else "… (PAYSAGA_ENCRYPTION_KEYS is not set here)")
    workflow_id = payment_workflow_id(row.id)
    facts.add_row("workflow", workflow_id)
    if settings.temporal_ui_url:
        path = f"namespaces/{settings.temporal_namespace}/workflows/{workflow_id.replace(':', '%3A')}"
        facts.add_row("", look.text((f"{settings.temporal_ui_url}/{path}", "cyan")))
    return Group(title, facts)


def _capture(row: Payment) -> str:
    if row.capture_requested_at:
        return f"asked for by {row.capture_requested_by} at {look.time(row.capture_requested_at)}"
    if not row.capture_by_request:
        return "by itself, once the risk rules have seen the authorisation"
    at_the_end = "captured" if row.capture_on_expiry else "let go"
    return f"on request; {at_the_end} before it expires"


def _orders(row: Payment) -> RenderableType:
    table = look.table("order", "amount", "captured", "status")
    for order in row.orders:
        why = look.failure(order.failure) or ("compensating" if order.compensating and order.open else "")
        if order.wallet_updated and order.ledger_updated:
            why = why or f"credited and posted, our fee {to_major(order.captured_fee, order.currency)}"
        after = (order.refund_status, order.dispute_status and f"dispute {order.dispute_status}")
        why = "; ".join(text for text in (why, *after) if text)
        amount = look.amount(order.amount, order.currency)
        captured = to_major(order.captured_amount, order.currency) if order.captured_amount else "–"
        which = look.ids(order.id, f"{order.payment_order_id}, to {order.seller_account}")
        table.add_row(which, amount, captured, look.because(order.status, why))
    return table


def _attempts(row: Payment, attempts: Sequence[Charge]) -> RenderableType:
    facts = look.facts()
    for a in attempts:
        outcome = a.outcome or "no outcome is known"
        facts.add_row(
            f"attempt {a.attempt}",
            look.text((outcome, "bold"), f" at {a.psp}, {look.psp_id(a.reference)}"),
        )
        if a.received_amount is not None and a.received_currency is not None:
            received = look.amount(a.received_amount, a.received_currency)
            facts.add_row("", f"received {received}, {'booked' if a.booked else 'NOT booked'}")
        if a.unknown_count:
            facts.add_row("", f"{a.unknown_count} answers could not be trusted")
            if row.status not in TERMINAL and (a.last_answer or {}).get("outcome") == ChargeOutcome.UNKNOWN:
                facts.add_row("waits, since", in_words((a.last_answer or {}).get("reason")))
        if a.last_answer:
            facts.add_row("last answer", f"{_answer(a.last_answer)} ({look.time(a.last_answer_at)})")
        if row.status not in TERMINAL:
            facts.add_row("key", f"{a.key}, may be sent until {look.time(a.send_until)}")
    return facts


def _answer(answer: dict[str, Any]) -> str:
    """`UNKNOWN: timeout`, `DECLINED: insufficient_funds (card_decline)`."""
    failure = answer.get("failure") or {}
    why = answer.get("reason") or failure.get("code")
    psp_code = failure.get("psp_code")
    return f"{answer['outcome']}{f': {why}' if why else ''}{f' ({psp_code})' if psp_code else ''}"


def _steps(row: Payment, steps: Sequence[Transition]) -> RenderableType:
    names = {order.id: order.payment_order_id for order in row.orders}
    table = look.table("at", "became", "because")
    for s in steps:
        became = look.because(s.to_status, names[s.order_id] if len(names) > 1 else "")
        table.add_row(look.clock(s.at), became, look.ids(s.reason, f"by {s.actor}"))
    return table


# --- after a command ---


_NUDGED = {
    Nudged.ON_ITS_WAY: "{id} is {status}: it is on its way, and needs no nudge.",
    Nudged.ASKED: "{id} was {status}: the PSP is asked now.",
    Nudged.STARTED_AGAIN: "{id} is {status} and had no workflow: it was started again and goes on from its rows.",
}


def nudged(row: Payment, outcome: Nudged) -> Page:
    """The sentence after `paysaga payments nudge`."""
    words = _NUDGED[outcome].format(id=row.id, status=row.status)
    return said(words, lambda: documents.payment(row, outcome=outcome.name.lower()))


def cancelled(done: Answer) -> Page:
    """The sentence after `paysaga payments cancel`."""
    found = done.found
    words = f"{found.id} is {found.status} already."
    if found.open:
        words = f"{found.id} was {found.status}: it is being cancelled, and refunded if it was charged."
        words += look.later(done.told)
    return said(words, lambda: documents.payment(done.payment))


def captured(done: Answer) -> Page:
    """The sentence after `paysaga payments capture`."""
    found, taken = done.found, done.found.to_capture
    left = f", and {to_major(found.amount - taken, found.currency)} are released" if taken < found.amount else ""
    words = (
        f"{found.id} was {found.status}: {to_major(taken, found.currency)} {found.currency} are being captured{left}."
    )
    return said(words + look.later(done.told), lambda: documents.payment(done.payment))


def reviewed(done: Answer, decision: ReviewDecision) -> Page:
    """The sentence after `paysaga payments review`."""
    after = {
        ReviewDecision.APPROVE: "approved, it goes on.",
        ReviewDecision.REJECT: "rejected, it ends as FAILED; what was reserved is let go.",
    }
    words = f"{done.found.id} was IN_REVIEW: {after[decision]}" + look.later(done.told)
    return said(words, lambda: documents.payment(done.payment))
