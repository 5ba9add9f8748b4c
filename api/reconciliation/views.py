"""From the rows of reconciliation to the shapes of the contract."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from api.reconciliation.schemas import (
    ClassShare,
    CurrencyTotal,
    DiscrepancyDetail,
    DiscrepancyOut,
    DiscrepancySeen,
    InQuestion,
    ReconciliationDetail,
    ReconciliationItemOut,
    ReconciliationLogEntry,
    ReconciliationOut,
    SettlementFileOut,
    SideOut,
    Sides,
)
from db.reconciliation.log import Entry
from db.reconciliation.report import Share, Summary, Total
from domain.reconciliation.reconciliation import DiscrepancyStatus, allowed_decisions, shown


def file_out(row: Mapping[str, Any]) -> SettlementFileOut:
    same = {name: row[name] for name in ("id", "kind", "name", "size", "created_at")}
    return SettlementFileOut(sha256=row["sha256"].hex(), **same)


# --- runs ---


def run_out(row: dict[str, Any]) -> ReconciliationOut:
    """`row`: of `db.reconciliation_report.brief`."""
    return ReconciliationOut(**_run(row))


def run_detail(row: dict[str, Any], summary: Summary | None) -> ReconciliationDetail:
    """`summary`: None while its lines are not matched."""
    if summary is None:
        return ReconciliationDetail(**_run(row), classes=None, totals=None, open=None)
    totals = [total_out(total) for total in summary.totals] if summary.totals is not None else None
    return ReconciliationDetail(
        **_run(row | {"lines": summary.lines, "counts": summary.counts}),
        classes=[share_out(share) for share in summary.shares],
        totals=totals,
        open=summary.open_count,
    )


def _run(row: Mapping[str, Any]) -> dict[str, Any]:
    same = (
        "id", "psp", "subject", "source", "file_id", "business_date", "apply", "status", "failure", "lines", "opened",
        "closed", "fixed", "asked", "created_at", "completed_at",
    )  # fmt: skip
    return {name: row[name] for name in same} | {
        "file": row["file_name"],
        "since": row["window_from"],
        "until": row["window_to"],
        "counts": row["counts"] or {},
        "created_by": row["actor"],
    }


def share_out(share: Share) -> ClassShare:
    amounts = [InQuestion(amount=said(amount, name), currency=name) for name, amount in sorted(share.amounts.items())]
    return ClassShare(cls=share.cls, count=share.count, in_question=amounts)


def total_out(total: Total) -> CurrencyTotal:
    return CurrencyTotal(
        currency=total.currency,
        there=said(total.there, total.currency),
        ledger=said(total.here, total.currency),
        difference=said(total.difference, total.currency),
    )


def said(amount: int, currency: str) -> str:
    """In major units, or minor ones where the currency is not one that we know."""
    return shown(amount, currency) or str(amount)


# --- lines, records, breaks ---


def _side(amount: int | None, currency: str | None, fee: int | None = None) -> SideOut | None:
    if currency is None or (amount is None and fee is None):
        return None
    return SideOut(amount=said(amount or 0, currency), currency=currency, fee=shown(fee, currency))


def _sides(row: Mapping[str, Any]) -> Sides:
    sides = {
        name: _side(row[f"{name}_amount"], row[f"{name}_currency"], row[f"{name}_fee"])
        for name in ("there", "record", "ledger")
    }
    return Sides(**sides)


def item_out(row: Mapping[str, Any]) -> ReconciliationItemOut:
    """`row`: of `db.reconciliation.items`."""
    same = (
        "line_no", "line_reference", "kind", "object_id", "payment_id", "record_status", "occurred_at", "reason",
        "due_at", "discrepancy_id", "discrepancy_status",
    )  # fmt: skip
    return ReconciliationItemOut(
        cls=row["class"], matched_by=row["how"], sides=_sides(row), **{name: row[name] for name in same}
    )


def log_entry(entry: Entry) -> ReconciliationLogEntry:
    same = (
        "line_no", "cls", "kind", "reference", "occurred_at", "object_id", "payment_id", "record_status", "reason",
        "due_at", "discrepancy_id",
    )  # fmt: skip
    return ReconciliationLogEntry(
        matched_by=entry.how,
        there=_side(entry.there_amount, entry.there_currency, entry.there_fee),
        record=_side(entry.record_amount, entry.record_currency),
        ledger=_side(entry.ledger_amount, entry.ledger_currency, entry.ledger_fee),
        **{name: getattr(entry, name) for name in same},
    )


def discrepancy_out(row: Mapping[str, Any], at: datetime) -> DiscrepancyOut:
    return DiscrepancyOut(**_discrepancy(row, at))


def discrepancy_detail(row: Mapping[str, Any], seen: Sequence[Mapping[str, Any]], at: datetime) -> DiscrepancyDetail:
    """`seen`: of `db.reconciliation_report.history`."""
    history = [DiscrepancySeen(cls=s["class"], **{n: s[n] for n in ("run_id", "at", "reason")}) for s in seen]
    return DiscrepancyDetail(**_discrepancy(row, at), allowed_decisions=allowed_decisions(row), history=history)


def is_overdue(row: Mapping[str, Any], at: datetime) -> bool:
    return row["status"] == DiscrepancyStatus.OPEN and row["due_at"] is not None and bool(row["due_at"] <= at)


def _discrepancy(row: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    same = (
        "id", "psp", "subject", "kind", "status", "reason", "object_id", "payment_id", "record_status",
        "line_reference", "currency", "occurred_at", "due_at", "fix_asked_at", "first_run_id", "last_run_id",
        "resolution", "note", "resolved_by", "resolved_at", "ledger_transaction_id", "opened_at",
    )  # fmt: skip
    return {name: row[name] for name in same} | {
        "cls": row["class"],
        "matched_by": row["how"],
        "sides": _sides(row),
        "difference": shown(row["difference"], row["currency"]),
        "overdue": is_overdue(row, at),
        "proposed_fix": row["fix"] if row["status"] == DiscrepancyStatus.OPEN else None,
    }
