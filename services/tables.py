"""Payouts, what they pay, and the transactions of the books as CSV (RFC 4180): the same over HTTP and at a terminal.

Amounts are decimal strings in major units.
"""

from datetime import datetime

from db.ledger.posting import BookedTransaction
from db.payout.record import Payout, PayoutItem
from domain.money import to_major
from domain.statement import csv_line, moment, words

PAYOUT_COLUMNS = (
    "id", "tenant_id", "seller_account", "amount", "currency", "status", "account", "business_date", "reference",
    "arrival_at", "failure_code", "failure_message", "cancel_requested", "created_at",
)  # fmt: skip

ITEM_COLUMNS = (
    "at", "description", "kind", "transaction_id", "payment_id", "order_id", "payment_order_id", "currency", "amount",
    "part_of", "returned",
)  # fmt: skip

POSTING_COLUMNS = (
    "at", "tenant_id", "transaction_id", "kind", "source_id", "payment_id", "payment_order_id", "corrects", "account",
    "currency", "debit", "credit",
)  # fmt: skip
"""A line for each posting; `payment_order_id` is our id of the order."""


def payout_csv(row: Payout) -> str:
    """One line; see PAYOUT_COLUMNS."""
    failure = (row.failure.code, row.failure.message) if row.failure is not None else ("", "")
    return csv_line(
        [
            row.id,
            row.tenant_id,
            row.seller_account,
            to_major(row.amount, row.currency),
            row.currency,
            row.status,
            row.destination,
            str(row.business_date or ""),
            row.reference,
            _moment(row.arrival_at),
            *failure,
            str(row.cancel_requested),
            moment(row.created_at),
        ]
    )


def item_csv(item: PayoutItem) -> str:
    """One line; see ITEM_COLUMNS."""
    part_of = to_major(item.posting_amount, item.currency) if item.posting_amount != item.amount else ""
    return csv_line(
        [
            moment(item.at),
            words(item.kind),
            item.kind,
            item.transaction_id,
            item.payment_id,
            item.order_id,
            item.payment_order_id,
            item.currency,
            to_major(item.amount, item.currency),
            part_of,
            str(item.returned),
        ]
    )


def postings_csv(row: BookedTransaction) -> str:
    """The lines of a transaction; see POSTING_COLUMNS. Together they sum to zero per currency."""
    names = (row.tenant_id, row.id, row.kind, row.source_id, row.payment_id, row.order_id, row.corrects)
    what = [moment(row.at), *names]
    return "".join(
        csv_line(
            [
                *what,
                line.account,
                line.currency,
                to_major(line.amount, line.currency) if line.amount > 0 else "",
                to_major(-line.amount, line.currency) if line.amount < 0 else "",
            ]
        )
        for line in row.postings
    )


def _moment(at: datetime | None) -> str:
    return moment(at) if at is not None else ""
