"""What operators read about what follows a payment: reviews, refunds, disputes; sellers, risk rules and tasks."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from db import dispute, ledger, operator, payout_schedule, refund, reserve, risk, task, wallet, webhook
from db.database import Database
from db.records import Dispute, Payment, Refund, Reserve
from domain.ledger import Kind
from domain.money import to_major
from domain.risk import RuleSet
from domain.status import DISPUTE_ENDED, DisputeStatus
from stack import operator_look as look
from stack.errors import StackError
from stack.operator_aftermath import find_dispute, find_merchant, find_refund
from stack.operator_hints import hint, schedule_words

_OPEN_DISPUTE = tuple(sorted(status.value for status in DisputeStatus if status not in DISPUTE_ENDED))

# --- parts of a payment's page ---


async def aftermath_sections(database: Database, row: Payment) -> list[RenderableType]:
    """Risk, refunds, disputes, and what is set aside for them; each only where there is something."""
    decisions = await database.read(lambda c: risk.decisions(c, row.id))
    refunds = await database.read(lambda c: refund.of_payment(c, row.id))
    disputes = await database.read(lambda c: dispute.of_payment(c, row.id))
    held = await _reserves(database, [*(r.id for r in refunds), *(d.id for d in disputes)])
    return [
        *look.section("Risk", _decisions(decisions) if decisions else None),
        *look.section("Refunds", _refunds(refunds) if refunds else None),
        *look.section("Disputes", _disputes(disputes) if disputes else None),
        *look.section("Set aside for them", _held(held) if held else None),
    ]


async def tasks_section(database: Database, row: Payment) -> list[RenderableType]:
    tasks = await database.read(lambda c: task.open_tasks(c, payment_id=row.id))
    return look.section("Waiting for a person", Group(*map(task_card, tasks)) if tasks else None)


async def _reserves(database: Database, source_ids: Sequence[str]) -> list[Reserve]:
    found = [await database.read(lambda c, i=i: reserve.of_source(c, i)) for i in source_ids]  # type: ignore[misc]
    return [part for parts in found for part in parts]


def _decisions(decisions: Sequence[dict[str, Any]]) -> RenderableType:
    table = look.table("at", "stage", "verdict", "because", "decided")
    for d in decisions:
        decided = f"{d['review']} by {d['reviewed_by']}" if d["review"] else ""
        note = f": {d['review_note']}" if d["review_note"] else ""
        why = "; ".join(d["reasons"]) or f"no rule of version {d['version']} applies"
        table.add_row(look.time(d["at"]), d["stage"], look.status(d["verdict"]), why, decided + note)
    return table


def _refunds(refunds: Sequence[Refund], *, payment: bool = False) -> RenderableType:
    """On a payment's own page with the PSP's reference, in a list with the payment."""
    table = look.table("refund", "why", "amount", "status", "try", "")
    for r in refunds:
        name = look.ids(r.id, r.payment_id if payment else r.reference or "no reference")
        what = (r.origin, look.amount(r.amount, r.currency), look.status(r.status), str(r.attempt))
        table.add_row(name, *what, look.failure(r.failure) if r.status != "SUCCEEDED" else "")
    return table


def _disputes(disputes: Sequence[Dispute], *, payment: bool = False) -> RenderableType:
    table = look.table("dispute", "about", "amount", "status", "evidence due")
    for d in disputes:
        due = Text("–") if d.status in DISPUTE_ENDED else look.left(d.evidence_due_at)
        name = look.ids(d.id, d.payment_id if payment else d.reference)
        table.add_row(name, d.category or "–", look.amount(d.amount, d.currency), look.status(d.status), due)
    return table


def _held(held: Sequence[Reserve]) -> RenderableType:
    table = look.table("for", "seller", "amount", "pending", "available", "owed", "status")
    for part in held:
        covered = (to_major(n, part.currency) for n in (part.pending, part.available, part.receivable))
        amount = look.amount(part.amount, part.currency)
        table.add_row(part.source_id, part.seller_account, amount, *covered, part.status.lower())
    return table


def task_card(row: dict[str, Any]) -> RenderableType:
    first = Text.assemble((row["kind"], "bold magenta"), f"  {row['detail']}")
    return Group(
        first, Text(f"{row['id']}, since {look.time(row['opened_at'])}", "dim"), Text(f"→ {hint(row)}", "cyan")
    )


# --- reviews and tasks ---


async def reviews_page(database: Database, *, tenant: str | None, limit: int) -> RenderableType:
    """The oldest first."""
    rows = await database.read(lambda c: risk.waiting(c, tenant, limit))
    if not rows:
        return Text("No payment waits for a decision.", "green")
    table = look.table("payment", "amount", "because", "deadline (UTC)")
    for row in rows:
        amount = look.amount(row["amount"], row["currency"])
        deadline = Text.assemble(look.time(row["deadline_at"]), "\n", look.left(row["deadline_at"]))
        name = look.ids(row["payment_id"], f"of {row['tenant_id']}")
        table.add_row(name, amount, "\n".join(row["reasons"]), deadline)
    return Group(table, Text("Decide with `paysaga payments review ID --approve` or `--reject`.", "dim"))


async def tasks_page(database: Database) -> RenderableType:
    """The oldest first, each with what a person does about it."""
    rows = await database.read(task.open_tasks)
    if not rows:
        return Text("Nothing waits for a person.", "green")
    parts: list[RenderableType] = []
    for row in rows:
        about = row["payment_id"] or row["object_id"] or "–"
        parts.append(Text.assemble((about, "bold"), (f"  of {row['tenant_id']}", "dim")))
        parts += [task_card(row), ""]
    count = f"{len(rows)} task{'s wait' if len(rows) > 1 else ' waits'} for a person."
    return Group(*parts, Text(f"{count} `paysaga payments show ID`, or `payouts show`, explains.", "dim"))


# --- refunds ---


async def refunds_page(database: Database, row: Payment | None, *, open_only: bool, limit: int) -> RenderableType:
    if row is not None:
        found = await database.read(lambda c: refund.of_payment(c, row.id))
        rows = [r for r in found if not (open_only and r.ended)]
    else:
        rows = await database.read(lambda c: operator.list_refunds(c, open_only=open_only, limit=limit))
    if not rows:
        return Text("No refund is open." if open_only else "No refunds.", "dim")
    return _refunds(rows, payment=True)


async def refund_page(database: Database, refund_id: str) -> RenderableType:
    """Where it stands, who wanted it, what covers it and what is booked of it."""
    row = await find_refund(database, refund_id)
    facts = look.facts()
    facts.add_row("payment", row.payment_id)
    facts.add_row("order", row.order_id or "all of them")
    facts.add_row("origin", f"{row.origin}{f', {row.reason}' if row.reason else ''}, by {row.actor or 'workflow'}")
    facts.add_row("at the PSP", f"{row.reference or 'no reference'}, request {row.attempt}")
    if row.unknown_count:
        facts.add_row("", f"{row.unknown_count} answers could not be trusted")
    if row.failure and row.status != "SUCCEEDED":
        facts.add_row("last answer", look.failure(row.failure))
    facts.add_row("created", look.time(row.created_at))
    title = Text.assemble((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency))
    held = await _reserves(database, [row.id])
    books = await _booked(database, row.tenant_id, row.payment_id, {row.id, *(part.id for part in held)})
    return Group(title, facts, *look.section("Set aside for it", _held(held) if held else None), *_books(books))


# --- disputes ---


async def disputes_page(database: Database, *, open_only: bool, limit: int) -> RenderableType:
    statuses = _OPEN_DISPUTE if open_only else None
    rows = await database.read(lambda c: operator.list_disputes(c, statuses=statuses, limit=limit))
    if not rows:
        return Text("No dispute is open." if open_only else "No disputes.", "green" if open_only else "dim")
    return _disputes(rows, payment=True)


async def dispute_page(database: Database, name: str) -> RenderableType:
    """The deadline, the evidence, every movement of money, and what is set aside."""
    row = await find_dispute(database, name)
    evidence = await database.read(lambda c: dispute.evidence_of(c, row.id))
    held = await _reserves(database, [row.id])
    sources = {row.id, *(part.id for part in held)}
    books = await _booked(database, row.tenant_id, row.payment_id, sources, dispute_of=row.psp)
    return Group(
        Text.assemble((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency)),
        _dispute_facts(row),
        *look.section("Evidence", _evidence(evidence) if evidence else None),
        *look.section("Set aside for it", _held(held) if held else None),
        *_books(books),
    )


def _dispute_facts(row: Dispute) -> RenderableType:
    facts = look.facts()
    facts.add_row("payment", row.payment_id)
    facts.add_row("about", row.category or "–")
    facts.add_row("at the PSP", f"{row.reference}; {'the money is withdrawn' if row.withdrawn else 'no money is held'}")
    facts.add_row("PSP's fee", look.amount(row.fee, row.currency))
    if row.status not in DISPUTE_ENDED:
        due = Text.assemble(look.time(row.evidence_due_at), "  ", look.left(row.evidence_due_at))
        facts.add_row("evidence due", due)
        if row.status in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.INQUIRY):
            facts.add_row("", Text(f"`paysaga disputes evidence {row.id} --field name=text …`, once", "cyan"))
    facts.add_row("opened", look.time(row.created_at))
    if row.closed_at:
        facts.add_row("decided", look.time(row.closed_at))
    return facts


def _evidence(evidence: Sequence[dict[str, Any]]) -> RenderableType:
    table = look.table("evidence", "by", "fields (their text is encrypted)", "status", "submitted (UTC)", "")
    for piece in evidence:
        why = (piece["failure"] or {}).get("message", "")
        what = (piece["id"], piece["actor"], ", ".join(piece["field_names"]), piece["status"])
        table.add_row(*what, look.time(piece["submitted_at"]), why)
    return table


_DISPUTE_MONEY = (Kind.DISPUTE_WITHDRAWN, Kind.DISPUTE_REINSTATED, Kind.DISPUTE_FEE)


async def _booked(
    database: Database, tenant_id: str, payment_id: str, sources: set[str], *, dispute_of: str | None = None
) -> list[dict[str, Any]]:
    """What the ledger says of a refund or dispute: booked under its id, or a reserve's. `dispute_of`: a PSP, whose own
    movements of the payment's disputes belong to it as well."""
    page = await database.read(
        lambda c: ledger.page(
            c,
            tenant_id,
            payment_id=payment_id,
            order_id=None,
            account=None,
            since=None,
            until=None,
            before=None,
            limit=200,
        )
    )
    return [
        t
        for t in page
        if t["source_id"].partition(":")[0] in sources or (dispute_of is not None and t["kind"] in _DISPUTE_MONEY)
    ]


def _books(transactions: Sequence[dict[str, Any]]) -> list[RenderableType]:
    return look.section("Ledger", books_table(transactions) if transactions else None)


def books_table(transactions: Sequence[dict[str, Any]]) -> RenderableType:
    """Transactions, the oldest first, with their lines; `transactions` come newest first."""
    table = look.table("at", "transaction", "account", "debit", "credit")
    for t in reversed(transactions):
        first = (look.clock(t["at"]), t["kind"])
        for posting in t["postings"]:
            amount = to_major(abs(posting["amount"]), posting["currency"])
            table.add_row(*first, posting["account"], *((amount, "") if posting["amount"] > 0 else ("", amount)))
            first = ("", "")
    return table


# --- merchants ---


async def merchants_page(database: Database, *, tenant: str | None, status: str | None, limit: int) -> RenderableType:
    rows = await database.read(lambda c: operator.list_merchants(c, tenant_id=tenant, status=status, limit=limit))
    if not rows:
        return Text("No merchants.", "dim")
    table = look.table("seller", "name", "fee", "status")
    for row in rows:
        name = look.ids(row["seller_account"], f"{row['id']} of {row['tenant_id']}")
        table.add_row(name, row["name"] or "–", _fee(row), look.status(row["status"]))
    return table


def _fee(row: dict[str, Any]) -> str:
    fixed = f" + {row['fee_fixed'].normalize():f}" if row["fee_fixed"] else ""
    return f"{row['fee_percent'].normalize():f} %{fixed}"


async def merchant_page(database: Database, name: str, tenant: str | None) -> RenderableType:
    """Its terms and its wallet."""
    row = await find_merchant(database, name, tenant)
    balances = await database.read(lambda c: wallet.of_seller(c, row["tenant_id"], row["seller_account"]))
    facts = look.facts()
    facts.add_row("id", row["id"])
    facts.add_row("tenant", row["tenant_id"])
    facts.add_row("name", row["name"] or "–")
    facts.add_row("our fee", f"{_fee(row)}; {row['platform_fee_on_refund']} on a refund")
    facts.add_row("PSP's fee", f"paid by the {row['psp_fee_payer']}; of a dispute, by the {row['dispute_fee_payer']}")
    facts.add_row("credit", "may owe for a refund" if row["allow_negative_balance"] else "none for a refund")
    if row["country"]:
        facts.add_row("country", row["country"])
    facts.add_row("paid out", f"{schedule_words(payout_schedule.of(row))}, to {row['payout_account'] or 'no account'}")
    title = Text.assemble((row["seller_account"], "bold"), "  ", look.status(row["status"]))
    return Group(title, facts, *look.section("Wallet", _wallet(balances) if balances else None))


def _wallet(balances: Sequence[dict[str, Any]]) -> RenderableType:
    table = look.table("currency", "pending", "available", "reserved", "owed")
    for row in balances:
        amounts = (to_major(row[name], row["currency"]) for name in ("pending", "available", "reserved", "receivable"))
        table.add_row(row["currency"], *amounts)
    return table


# --- risk rules ---


async def rules_of(database: Database, tenant: str) -> tuple[str, str]:
    """(whose version it is, the rules as JSON that `paysaga risk set` takes)."""
    row = await database.read(lambda c: risk.rules(c, tenant))
    if row is None and not await database.read(lambda c: operator.is_tenant(c, tenant)):
        raise StackError(f"There is no tenant {tenant}: `paysaga keys list` names them.")
    rules = row["rules"] if row else RuleSet()
    written = json.dumps(rules.model_dump(mode="json", exclude_none=True), indent=2, ensure_ascii=False)
    if row is None:
        return f"{tenant} has no rules: every payment is allowed.", written
    return f"{tenant}: version {row['version']}, by {row['actor']} at {look.time(row['created_at'])}.", written


# --- webhooks ---


async def dead_page(database: Database, *, limit: int) -> RenderableType:
    rows = await database.read(lambda c: webhook.dead(c, limit))
    if not rows:
        return Text("No event was given up.", "green")
    table = look.table("event", "type", "payment", "received (UTC)")
    for row in rows:
        name = look.ids(row["id"], row["event_id"])
        table.add_row(name, row["type"], row["payment_id"] or "–", look.time(row["received_at"]))
    return Group(table, Text("Deliver one again with `paysaga webhooks replay whk_…`.", "dim"))
