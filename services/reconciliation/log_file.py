"""The log of a reconciliation as CSV (RFC 4180) and as JSON lines, entry by entry."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from db.reconciliation.log import Entry
from domain.reconciliation.reconciliation import LineClass, MatchedBy, shown
from domain.statement import csv_line, moment

LOG_COLUMNS = (
    "line_no", "class", "matched_by", "kind", "reference", "occurred_at", "object_id", "payment_id", "there_amount",
    "there_fee", "there_currency", "record_amount", "record_currency", "record_status", "ledger_amount", "ledger_fee",
    "ledger_currency", "reason", "due_at", "discrepancy_id",
)  # fmt: skip
"""`there_…` is the other side. A record of ours without a line has no `line_no`."""


def log_csv(entry: Entry) -> str:
    """One line; see LOG_COLUMNS. Amounts keep their sign."""
    return csv_line(
        [
            "" if entry.line_no is None else str(entry.line_no),
            entry.cls,
            entry.how,
            entry.kind,
            entry.reference,
            _moment(entry.occurred_at),
            entry.object_id,
            entry.payment_id,
            shown(entry.there_amount, entry.there_currency) or "",
            shown(entry.there_fee, entry.there_currency) or "",
            entry.there_currency,
            shown(entry.record_amount, entry.record_currency) or "",
            entry.record_currency,
            entry.record_status,
            shown(entry.ledger_amount, entry.ledger_currency) or "",
            shown(entry.ledger_fee, entry.ledger_currency) or "",
            entry.ledger_currency,
            entry.reason,
            _moment(entry.due_at),
            entry.discrepancy_id,
        ]
    )


class SideOut(BaseModel):
    """The word of one side, in major units."""

    model_config = ConfigDict(frozen=True)

    amount: str
    currency: str
    fee: str | None = None

    @classmethod
    def of(cls, amount: int | None, currency: str | None, fee: int | None = None) -> "SideOut | None":
        """Convert from minor units; None where the side says nothing."""
        if currency is None or (amount is None and fee is None):
            return None
        return cls(amount=said(amount or 0, currency), currency=currency, fee=shown(fee, currency))


def said(amount: int, currency: str) -> str:
    """The amount in major units, or in minor ones where the currency is not one that we know."""
    return shown(amount, currency) or str(amount)


class ReconciliationLogEntry(BaseModel):
    """One line of the log as JSON: amounts are null where a side says nothing."""

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    line_no: int | None
    cls: LineClass = Field(alias="class")
    matched_by: MatchedBy | None
    kind: str
    reference: str | None
    occurred_at: datetime | None
    object_id: str | None
    payment_id: str | None
    there: SideOut | None
    record: SideOut | None
    record_status: str | None
    ledger: SideOut | None
    reason: str
    due_at: datetime | None
    discrepancy_id: str | None


def log_json(entry: Entry) -> str:
    """One line of JSON."""
    return _entry(entry).model_dump_json(by_alias=True) + "\n"


def _entry(entry: Entry) -> ReconciliationLogEntry:
    same = (
        "line_no", "cls", "kind", "reference", "occurred_at", "object_id", "payment_id", "record_status", "reason",
        "due_at", "discrepancy_id",
    )  # fmt: skip
    return ReconciliationLogEntry(
        matched_by=entry.how,
        there=SideOut.of(entry.there_amount, entry.there_currency, entry.there_fee),
        record=SideOut.of(entry.record_amount, entry.record_currency),
        ledger=SideOut.of(entry.ledger_amount, entry.ledger_currency, entry.ledger_fee),
        **{name: getattr(entry, name) for name in same},
    )


def _moment(at: datetime | None) -> str:
    return moment(at) if at is not None else ""
