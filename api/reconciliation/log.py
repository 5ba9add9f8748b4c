"""The log of a reconciliation as CSV (RFC 4180) and as JSON lines, entry by entry."""

from datetime import datetime

from api.reconciliation.views import log_entry
from db.reconciliation.log import Entry
from domain.reconciliation.reconciliation import shown
from domain.statement import csv_line, moment, plain

LOG_COLUMNS = (
    "line_no", "class", "matched_by", "kind", "reference", "occurred_at", "object_id", "payment_id", "there_amount",
    "there_fee", "there_currency", "record_amount", "record_currency", "record_status", "ledger_amount", "ledger_fee",
    "ledger_currency", "reason", "due_at", "discrepancy_id",
)  # fmt: skip
"""`there_…` is the other side. A record of ours without a line has no `line_no`."""


def log_csv(entry: Entry) -> str:
    """One line; see LOG_COLUMNS. Amounts keep their sign; a text that a spreadsheet would compute is behind an
    apostrophe."""
    return csv_line(
        [
            "" if entry.line_no is None else str(entry.line_no),
            *(plain(text) for text in (entry.cls, entry.how, entry.kind, entry.reference)),
            _moment(entry.occurred_at),
            plain(entry.object_id),
            plain(entry.payment_id),
            shown(entry.there_amount, entry.there_currency) or "",
            shown(entry.there_fee, entry.there_currency) or "",
            plain(entry.there_currency),
            shown(entry.record_amount, entry.record_currency) or "",
            plain(entry.record_currency),
            plain(entry.record_status),
            shown(entry.ledger_amount, entry.ledger_currency) or "",
            shown(entry.ledger_fee, entry.ledger_currency) or "",
            plain(entry.ledger_currency),
            plain(entry.reason),
            _moment(entry.due_at),
            plain(entry.discrepancy_id),
        ]
    )


def log_json(entry: Entry) -> str:
    return log_entry(entry).model_dump_json(by_alias=True) + "\n"


def _moment(at: datetime | None) -> str:
    return moment(at) if at is not None else ""
