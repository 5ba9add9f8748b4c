"""A discrepancy: a break between the other side and us, and the decisions that it allows."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import ConfigDict, Field

from domain.model import Frozen
from domain.reconciliation.reconciliation import (
    BREAKS,
    Decision,
    DiscrepancyStatus,
    Fix,
    LineClass,
    MatchedBy,
    Subject,
)


class Discrepancy(Frozen):
    """One break, however many runs find it. Amounts are in minor units, and None where a side says nothing: `there_…`
    is the other side, `record_…` our own record, `ledger_…` the books. `difference`: what is there, less what the
    ledger says, where that is of one currency; `differences`: the same in each. `line_run_id` and `line_no` name the
    line that is the evidence."""

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    id: str
    seq: int
    tenant_id: str
    psp: str
    subject: Subject
    fingerprint: str
    cls: LineClass = Field(alias="class")
    kind: str
    reason: str
    how: MatchedBy | None
    object_id: str | None
    payment_id: str | None
    record_status: str | None
    line_run_id: str | None
    line_no: int | None
    line_reference: str | None
    occurred_at: datetime | None
    there_amount: int | None
    there_currency: str | None
    there_fee: int | None
    record_amount: int | None
    record_currency: str | None
    record_fee: int | None
    ledger_amount: int | None
    ledger_currency: str | None
    ledger_fee: int | None
    difference: int | None
    currency: str | None
    differences: dict[str, int] | None
    due_at: datetime | None
    fix: Fix | None
    fix_asked_at: datetime | None
    fix_note: str | None
    status: DiscrepancyStatus
    first_run_id: str
    last_run_id: str
    resolution: str | None
    note: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    ledger_transaction_id: str | None
    opened_at: datetime

    @property
    def open(self) -> bool:
        return self.status is DiscrepancyStatus.OPEN

    def overdue(self, at: datetime) -> bool:
        """Tell whether it is open past its deadline."""
        return self.open and self.due_at is not None and self.due_at <= at


DECISIONS: Mapping[Decision, frozenset[LineClass]] = {
    Decision.APPLY_FIX: frozenset(BREAKS),
    Decision.ADJUST: frozenset(BREAKS) - {LineClass.TIMING},
    Decision.TO_SUSPENSE: frozenset({LineClass.MISSING_HERE, LineClass.DUPLICATE, LineClass.AMOUNT}),
    Decision.ACCEPT: frozenset(BREAKS),
}
"""Beyond the class: `apply_fix` needs a proposed fix; the bookings a difference, and that no fix books it."""


def allowed_decisions(row: Discrepancy) -> list[Decision]:
    """The decisions that a discrepancy allows now; none once it is closed."""
    if row.status != DiscrepancyStatus.OPEN:
        return []
    return [decision for decision in Decision if refusal(row, decision) is None]


def refusal(row: Discrepancy, decision: Decision) -> str | None:
    """The reason why this cannot be decided about an open discrepancy, as a sentence; None if it can."""
    if decision is Decision.ACCEPT:
        return None
    if decision is Decision.APPLY_FIX:
        return None if row.fix is not None else "There is nothing that could be done by rule."
    if row.cls not in DECISIONS[decision]:
        return f"{decision} is not for the class {row.cls}."
    # A correction on top of what a rule or a workflow books is the same money twice.
    if row.fix is not None:
        return f"It is booked by {row.fix}: apply that fix, or wait for it."
    if row.fix_asked_at is not None and row.ledger_amount is None:
        return "A workflow was asked for it and may still book it."
    if not row.differences:
        return "The two sides do not differ in money."
    if decision is Decision.TO_SUSPENSE and (row.subject != Subject.PSP or (row.difference or 0) <= 0):
        return "Only what came in at the PSP, in one currency, can be held in suspense."
    return None
