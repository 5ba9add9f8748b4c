"""The shapes of discrepancies, and of what is decided about them, over HTTP."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.fields import In, Out
from api.reconciliation.shapes import Named, Sides, sides_of
from db.reconciliation.report import Seen
from domain.limits import Note
from domain.reconciliation.discrepancy import Discrepancy, allowed_decisions
from domain.reconciliation.reconciliation import (
    Decision,
    DiscrepancyStatus,
    Fix,
    LineClass,
    MatchedBy,
    Subject,
    shown,
)


class DiscrepancyOut(Named):
    """A break between the other side and us: one, however many runs find it."""

    id: str = Field(examples=["disc_01kafm6e8x7f5h9k3n1p4r6t8w"])
    object: Literal["discrepancy"] = "discrepancy"
    psp: str
    subject: Subject
    cls: LineClass = Field(alias="class")
    kind: str
    status: DiscrepancyStatus
    reason: str = Field(examples=["The PSP lists 490.00 INR for ch_…, and we booked 500.00 INR."])
    object_id: str | None
    payment_id: str | None
    record_status: str | None
    line_reference: str | None
    matched_by: MatchedBy | None
    sides: Sides
    difference: str | None = Field(description="what is there, less what the ledger says")
    currency: str | None
    occurred_at: datetime | None
    due_at: datetime | None = Field(description="a person is called when it is open after this")
    overdue: bool
    proposed_fix: Fix | None
    fix_asked_at: datetime | None
    first_run_id: str
    last_run_id: str
    resolution: str | None
    note: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    ledger_transaction_id: str | None = Field(description="what was booked to settle it")
    opened_at: datetime


class DiscrepancySeen(Named):
    """A discrepancy as one run saw it."""

    run_id: str
    at: datetime
    cls: LineClass = Field(alias="class")
    reason: str


class DiscrepancyDetail(DiscrepancyOut):
    allowed_decisions: list[Decision]
    history: list[DiscrepancySeen] = Field(description="the latest first")


class DiscrepancyList(Out):
    object: Literal["list"] = "list"
    data: list[DiscrepancyOut]
    next_cursor: str | None


class DiscrepancyResolveIn(In):
    decision: Literal["apply_fix", "adjust", "to_suspense", "accept"] = Field(
        description="apply_fix: do what is proposed. adjust: book the difference against `adjustments`. to_suspense: "
        "hold money that came for nobody. accept: book nothing, and the note says why."
    )
    note: Note = Field(default="", examples=["Stripe confirmed by mail, ticket 4711"])


def discrepancy_out(row: Discrepancy, at: datetime) -> DiscrepancyOut:
    return DiscrepancyOut(**_discrepancy(row, at))


def discrepancy_detail(row: Discrepancy, seen: Sequence[Seen], at: datetime) -> DiscrepancyDetail:
    history = [DiscrepancySeen(**s._asdict()) for s in seen]
    return DiscrepancyDetail(**_discrepancy(row, at), allowed_decisions=allowed_decisions(row), history=history)


def _discrepancy(row: Discrepancy, at: datetime) -> dict[str, Any]:
    same = (
        "id", "psp", "subject", "kind", "status", "reason", "object_id", "payment_id", "record_status",
        "line_reference", "currency", "occurred_at", "due_at", "fix_asked_at", "first_run_id", "last_run_id",
        "resolution", "note", "resolved_by", "resolved_at", "ledger_transaction_id", "opened_at",
    )  # fmt: skip
    return {name: getattr(row, name) for name in same} | {
        "cls": row.cls,
        "matched_by": row.how,
        "sides": sides_of(row),
        "difference": shown(row.difference, row.currency),
        "overdue": row.overdue(at),
        "proposed_fix": row.fix if row.open else None,
    }
