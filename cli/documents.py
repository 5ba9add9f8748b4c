"""The documents that `--json` prints: the shapes of the HTTP API where it has one, with the tenant beside them since a
terminal sees those of all. They are imported here, when a document is asked for."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from db.core.database import Database

if TYPE_CHECKING:
    from config.settings import Settings
    from db.api_key import ApiKey
    from db.audit_log import AuditEntry
    from db.core.keyring import Keyring
    from db.dispute.record import Dispute
    from db.ledger.posting import BookedTransaction
    from db.ledger.seal import Sealed
    from db.ledger.statement import Period
    from db.ledger.verify import Verified
    from db.merchant import Merchant
    from db.operator import Operator
    from db.payment.record import Payment
    from db.payout.record import Payout, PayoutItem, PayoutRun
    from db.reconciliation.record import Item
    from db.refund.record import Refund
    from db.risk import OpenReview, RuleSetVersion
    from db.task import Task
    from db.tenant import Tenant
    from domain.endpoint import Subscription
    from domain.reconciliation.discrepancy import Discrepancy
    from domain.seal import Head
    from domain.statement import AccountBalance, Entry
    from services.endpoint import SetUp
    from services.payout import Shown

Json = dict[str, object]


def of_tenant(tenant_id: str | None, shape: BaseModel, **more: object) -> Json:
    """A shape with the tenant beside it."""
    return {"tenant_id": tenant_id, **shape.model_dump(mode="json", by_alias=True), **more}


def _list(rows: Iterable[Json], **more: object) -> Json:
    return {"object": "list", "data": list(rows), **more}


async def plain(name: str, /, **members: object) -> Json:
    """An object of which HTTP has no shape."""
    return {"object": name, **members}


async def written(path: Path, lines: int) -> Json:
    return await plain("file", path=str(path), lines=lines)


# --- payments, refunds, disputes ---


async def payment(row: "Payment", **more: object) -> Json:
    from api.payment.shapes import payment_out

    return of_tenant(row.tenant_id, payment_out(row, _ring((row,))), **more)


async def payments(rows: "Sequence[Payment]", next_cursor: str | None) -> Json:
    """`next_cursor`: for `--before`."""
    from api.payment.shapes import payment_out

    ring = _ring(rows)
    return _list([of_tenant(row.tenant_id, payment_out(row, ring)) for row in rows], next_cursor=next_cursor)


def _ring(rows: "Sequence[Payment]") -> "Keyring | None":
    """The encryption keys where one of the payments needs them, and they are at hand."""
    from cli.command_line import settings
    from cli.connection import keyring_if_any

    return keyring_if_any(settings()) if any(row.sealed_action for row in rows) else None


async def explained(settings: "Settings", database: Database, row: "Payment") -> Json:
    """A payment with its explanation and its books."""
    from api.explain.shapes import explanation
    from api.ledger.shapes import ledger_out
    from db.ledger.posting import Wanted, page
    from services.command import Caller

    books = await database.read(lambda c: page(c, row.tenant_id, Wanted(payment_id=row.id), limit=200))
    why = await explanation(settings, database, Caller(""), row)
    return await payment(row, explanation=why, ledger=[ledger_out(one) for one in books])


async def refund(database: Database, row: "Refund", **more: object) -> Json:
    from api.refund.shapes import refund_out
    from services.payment import load

    owner = await load(database, row.payment_id)
    return of_tenant(row.tenant_id, refund_out(row, {o.id: o.payment_order_id for o in owner.orders}), **more)


async def refunds(database: Database, rows: "Sequence[Refund]", next_cursor: str | None) -> Json:
    """`next_cursor`: for `--before`."""
    return _list([await refund(database, row) for row in rows], next_cursor=next_cursor)


async def dispute(database: Database, row: "Dispute", **more: object) -> Json:
    from api.dispute.shapes import dispute_detail
    from db.dispute import evidence

    return of_tenant(
        row.tenant_id, dispute_detail(row, await database.read(lambda c: evidence.of_dispute(c, row.id))), **more
    )


async def disputes(rows: "Sequence[Dispute]") -> Json:
    from api.dispute.shapes import dispute_out

    return _list(of_tenant(row.tenant_id, dispute_out(row)) for row in rows)


# --- what waits for a person ---


async def reviews(rows: "Sequence[OpenReview]") -> Json:
    from api.risk.shapes import review_out

    return _list(of_tenant(row.tenant_id, review_out(row)) for row in rows)


async def rules(tenant_id: str, row: "RuleSetVersion | None") -> Json:
    from api.risk.shapes import rules_out

    return of_tenant(tenant_id, rules_out(row))


async def task(row: "Task") -> Json:
    """`what_to_do`: in words, with the command to type."""
    from cli.hints import hint

    return {"object": "task", **vars(row), "what_to_do": hint(row) if row.closed_at is None else None}


async def tasks(rows: "Sequence[Task]") -> Json:
    return _list([await task(row) for row in rows])


async def subscriptions(found: "Sequence[Subscription]") -> Json:
    return _list([{"object": "webhook_subscription", **one.model_dump(mode="json")} for one in found])


async def endpoints_set_up(done: "Sequence[SetUp]") -> Json:
    """`secret`: of a new one, told this once."""
    rows = [(one.endpoint.model_dump(mode="json"), one) for one in done]
    return _list(
        [{"object": "webhook_endpoint", **row, "is_new": one.is_new, "secret": one.secret} for row, one in rows]
    )


# --- sellers and payouts ---


async def merchant(row: "Merchant", **more: object) -> Json:
    from api.merchant.shapes import merchant_out

    return of_tenant(row.tenant_id, merchant_out(row), **more)


async def merchant_with_wallet(settings: "Settings", database: Database, row: "Merchant") -> Json:
    from api.merchant.shapes import wallet_out
    from db.ledger import wallet
    from db.payout import release

    owner, seller, zone = row.tenant_id, row.seller_account, settings.business_zone
    balances = await database.read(lambda c: wallet.of_seller(c, owner, seller))
    days = await database.read(lambda c: release.pending_by_day(c, owner, seller, zone))
    return await merchant(row, wallet=wallet_out(seller, balances, days))


async def merchants(rows: "Sequence[Merchant]") -> Json:
    return _list([await merchant(row) for row in rows])


async def schedule(settings: "Settings", row: "Merchant") -> Json:
    from api.payout.shapes import schedule_out
    from services.payout import next_payout_on

    following = next_payout_on(row, zone=settings.business_zone, run_at=settings.payout_run_at)
    return of_tenant(row.tenant_id, schedule_out(row, following))


async def payout(database: Database, row: "Payout") -> Json:
    from services.payout import shown

    return _payout(await shown(database, row.id))


async def payout_with_tasks(found: "Shown", waiting: "Sequence[Task]") -> Json:
    return _payout(found, tasks=[await task(one) for one in waiting])


def _payout(found: "Shown", **more: object) -> Json:
    from api.payout.shapes import payout_detail

    return of_tenant(found.row.tenant_id, payout_detail(found), **more)


async def payouts(rows: "Sequence[Payout]") -> Json:
    from api.payout.shapes import payout_out

    return _list(of_tenant(row.tenant_id, payout_out(row)) for row in rows)


async def payout_items(row: "Payout", found: "AsyncIterator[Sequence[PayoutItem]]") -> Json:
    """All of them."""
    from api.payout.shapes import payout_item

    return _list([of_tenant(row.tenant_id, payout_item(item)) async for page in found for item in page])


async def payout_run(row: "PayoutRun", **more: object) -> Json:
    return {"object": "payout_run", **vars(row), "statuses": dict(row.statuses), **more}


async def payout_runs(rows: "Sequence[PayoutRun]") -> Json:
    return _list([await payout_run(row) for row in rows])


# --- reconciliation ---


async def runs(rows: Sequence[dict[str, Any]]) -> Json:
    from api.reconciliation.shapes import run_out

    return _list(run_out(row).model_dump(mode="json", by_alias=True) for row in rows)


async def run(database: Database, row: dict[str, Any]) -> Json:
    """With what it found, as that stands now."""
    from api.reconciliation.shapes import run_detail
    from services.reconciliation import run as reconciliation

    summary = await reconciliation.summary(database, None, row)
    found = await discrepancies([*summary.open, *summary.settled] if summary is not None else [])
    return {**run_detail(row, summary).model_dump(mode="json", by_alias=True), "discrepancies": found["data"]}


async def items(rows: "Sequence[Item]", next_cursor: int | None) -> Json:
    """`next_cursor`: for `--after`."""
    from api.reconciliation.shapes import item_out

    return _list((item_out(row).model_dump(mode="json", by_alias=True) for row in rows), next_cursor=next_cursor)


async def discrepancies(rows: "Sequence[Discrepancy]") -> Json:
    from api.discrepancy.shapes import discrepancy_out

    now = datetime.now(UTC)
    return _list(of_tenant(row.tenant_id, discrepancy_out(row, now)) for row in rows)


async def discrepancy(database: Database, row: "Discrepancy") -> Json:
    from api.discrepancy.shapes import discrepancy_detail
    from db.reconciliation.report import history

    seen = await database.read(lambda c: history(c, row.id))
    return of_tenant(row.tenant_id, discrepancy_detail(row, seen, datetime.now(UTC)))


async def report(page: Path | None, log: Path | None, link: str | None) -> Json:
    """`path` and `log`: the files, where they are written; `link`: to the same page of the API, for a day."""
    return await plain("report", path=page and str(page), log=log and str(log), link=link)


# --- the books ---


async def balances(rows: "Sequence[AccountBalance]", at: datetime | None) -> Json:
    """Of each tenant by itself."""
    from api.ledger.shapes import account_out

    return _list((of_tenant(row.tenant_id, account_out(row)) for row in rows), at=at)


async def trial_balance(rows: "Sequence[AccountBalance]", at: datetime | None) -> Json:
    from api.ledger.shapes import TrialBalanceOut, account_out, total_out
    from domain.statement import totals

    data, sums = [account_out(row) for row in rows], [total_out(total) for total in totals(rows)]
    return TrialBalanceOut(at=at, data=data, totals=sums, next_cursor=None).model_dump(mode="json")


async def audit_log(rows: "Sequence[AuditEntry]", next_cursor: int | None) -> Json:
    """`next_cursor`: for `--before`."""
    from services.audit_log import entry_out

    return _list((entry_out(row).model_dump(mode="json") for row in rows), next_cursor=next_cursor)


async def transactions(found: "AsyncIterator[Sequence[BookedTransaction]]") -> Json:
    """All that were asked for."""
    from api.ledger.shapes import ledger_out

    return _list([of_tenant(row.tenant_id, ledger_out(row)) async for page in found for row in page])


async def statements(database: Database, periods: "Sequence[Period]") -> Json:
    """One for each currency."""
    return _list([await _statement(database, period) for period in periods])


async def _statement(database: Database, period: "Period") -> Json:
    from api.ledger.shapes import StatementOut, statement_balances, statement_line, statement_turnover
    from db.ledger.statement import whole_statement
    from domain.statement import Closing, Line

    entries: list[Entry] = []
    await whole_statement(database, period, entries.append)
    opening, *lines, closing = entries
    assert isinstance(closing, Closing), "it is the last"
    shape = StatementOut(
        seller_account=period.seller_account,
        currency=period.currency,
        since=period.since,
        until=period.until,
        opening=statement_balances(opening.balance, period.currency),
        lines=[statement_line(line, period.currency) for line in lines if isinstance(line, Line)],
        totals=statement_turnover(closing.turnover, period.currency),
        closing=statement_balances(closing.balance, period.currency),
    )
    return of_tenant(period.tenant_id, shape)


async def sealed(done: "Sealed") -> Json:
    return await plain(
        "seal", transactions=done.transactions, blocks=done.blocks, held_up=done.held_up, head=_head(done.head)
    )


async def verified(found: "Verified") -> Json:
    return await plain(
        "seal_verification",
        whole=not found.violations,
        transactions=found.transactions,
        blocks=found.blocks,
        violations=found.violations,
        broken=[vars(one) for one in found.broken],
        waiting=found.waiting,
        waiting_since=found.waiting_since,
        head=_head(found.head),
    )


def _head(head: "Head | None") -> str | None:
    return str(head) if head is not None else None


# --- tenants, keys and people ---


async def tenant(tenant_id: str, **sites: Sequence[str]) -> Json:
    """One of a tenant's lists after a command: `return_origins`, or `page_origins`."""
    return await plain("tenant", id=tenant_id, **{name: list(of) for name, of in sites.items()})


async def tenants(rows: "Sequence[Tenant]") -> Json:
    """`return_origins`: the sites that buyers may be sent back to; none: those that the deployment says.
    `page_origins`: those whose pages may call with a client token."""
    return _list([await plain("tenant", **vars(row)) for row in rows])


async def operators(rows: "Sequence[Operator]") -> Json:
    return _list([{"object": "operator", **vars(row)} for row in rows])


async def keys(rows: "Sequence[ApiKey]") -> Json:
    return _list([{"object": "api_key", **vars(row), "scopes": list(row.scopes)} for row in rows])
