"""Reconciliation: the values between its workflow and activities, and the decisions that a break allows.

Three sides are compared: the PSP's lines (or the bank's), our records (charge, refund, dispute, payout) and the ledger.
The rules that judge one pair of them are in `domain.reconciliation.rules`.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from domain.event_data import DiscrepancyData, ReconciliationData
from domain.events import Event
from domain.ids import new_id
from domain.model import Frozen
from domain.money import MoneyError, to_major

RECONCILIATION_WORKFLOW = "reconciliation"

BY_ITSELF = "reconciliation"
"""The name in the audit log where no person did it."""

IMPOSSIBLE = "Impossible"
"""The type of an activity's error that no repetition helps; its message is the run's failure."""

TASK_KIND = "unmatched"
"""Of the operator's task about a discrepancy that is open past its deadline."""

FAILED_KIND = "reconciliation_failed"
"""Of the operator's task about a scheduled run that could not be carried out."""


class Subject(StrEnum):
    """The side whose lines are matched."""

    PSP = "psp"
    """The movements on our account at the PSP, against charges, refunds, disputes, payouts and their postings."""
    BANK = "bank"
    """The entries of our bank statement, against what the PSP paid to our bank."""


class Source(StrEnum):
    """Where the lines of a run come from: the PSP's list, or an uploaded file."""

    API = "api"
    FILE = "file"


class RunStatus(StrEnum):
    """The status of a run."""

    STAGING = "STAGING"
    """Its lines are being copied."""
    MATCHING = "MATCHING"
    """All lines are here; they are matched, and what is safe is fixed."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    """It could not be carried out, such as a file that cannot be read: `failure` says why. Nothing was judged."""


class LineClass(StrEnum):
    """The class of a line, or of a record of ours without one. The other side is the PSP, or the bank in a bank run."""

    MATCHED = "matched"
    MISSING_AT_PSP = "missing_at_psp"
    """We booked it, and the other side does not list it."""
    MISSING_HERE = "missing_here"
    """The other side lists it, and we have nothing of it."""
    AMOUNT = "amount"
    CURRENCY = "currency"
    FEE = "fee"
    DUPLICATE = "duplicate"
    """The other side lists twice what happened once."""
    TIMING = "timing"
    """One side is still expected; past `due_at` it is missing."""
    STATUS = "status"
    """We know of it, and our record stands elsewhere than the other side says."""
    UNRELATED = "unrelated"
    """Of a bank's statement: an entry that is nothing of the PSP's, such as the rent. No break: it is only told."""


BREAKS = tuple(c for c in LineClass if c not in (LineClass.MATCHED, LineClass.UNRELATED))


class MatchedBy(StrEnum):
    """The key that brought the two sides together, the surest first."""

    REFERENCE = "reference"
    """The other side carries our own id."""
    PSP_ID = "psp_id"
    """The PSP's name, which we wrote down."""
    GUESS = "guess"
    """Amount, currency and time, and there was one candidate on each side."""


class Fix(StrEnum):
    """The fixes that are safe to make by rule: each through the code that owns the matter, each the same when done
    twice."""

    ADVANCE_PAYMENT = "advance_payment"
    """The payment's workflow asks the PSP and brings the order up to date; one that had ended unpaid is refunded."""
    ADVANCE_REFUND = "advance_refund"
    ADVANCE_DISPUTE = "advance_dispute"
    ADVANCE_PAYOUT = "advance_payout"
    BOOK_FEE = "book_fee"
    BOOK_BANK_PAYOUT = "book_bank_payout"


BOOKING_FIXES = frozenset({Fix.BOOK_FEE, Fix.BOOK_BANK_PAYOUT})
"""Done when they return: the money is booked. The others only ask a workflow, and a later look sees what it did."""


class DiscrepancyStatus(StrEnum):
    """The status of a discrepancy."""

    OPEN = "OPEN"
    FIXED = "FIXED"
    """Gone: booked by rule, or found matched by a later run."""
    RESOLVED = "RESOLVED"
    """A person decided."""


class Decision(StrEnum):
    """A person's decision about an open discrepancy."""

    APPLY_FIX = "apply_fix"
    """Do what is proposed. It stays open until the fact is there."""
    ADJUST = "adjust"
    """Book the difference between what is there and what the ledger says, against the account `adjustments`."""
    TO_SUSPENSE = "to_suspense"
    """Hold money in `suspense` that came in and belongs to no payment."""
    ACCEPT = "accept"
    """No booking: the note explains it."""


# --- what starts a run ---


class Occasion(StrEnum):
    """The origin of a run's window."""

    GIVEN = "given"
    """By whoever asked for it, or by the file."""
    RECENT = "recent"
    """Scheduled: the last `recent_s` before the scheduled time."""
    DAY = "day"
    """Scheduled: the day before the scheduled time, in `zone`, as the business date."""


def day_window(zone: str, scheduled: datetime, day: date | None) -> tuple[datetime, datetime, date]:
    """(from, to, business date) of a whole day in `zone`; `day` None: the one before the scheduled time."""
    there = ZoneInfo(zone)
    day = day or scheduled.astimezone(there).date() - timedelta(days=1)
    return datetime.combine(day, time(), there), datetime.combine(day + timedelta(days=1), time(), there), day


class ReconciliationInput(Frozen):
    """Starts a reconciliation. One that a person or a schedule's backfill starts again finds the same breaks again, and
    changes nothing. `run_id`: stored already, by whoever asked; else the workflow stores the run first."""

    version: int = 1
    run_id: str | None = None
    tenant_id: str = "platform"
    psp: str = "stripe"
    subject: Subject = Subject.PSP
    source: Source = Source.API
    occasion: Occasion = Occasion.GIVEN
    window_from: datetime | None = None
    window_to: datetime | None = None
    business_date: date | None = None
    recent_s: float = 21_600
    zone: str = "UTC"
    apply: bool = False
    by: str = BY_ITSELF
    task_queue: str
    margin_s: float = Field(default=3_600, description="lines so far outside the window are looked at as well")
    verify_s: float = Field(default=20, description="how long after a fix its effect is looked for")
    pages: int = Field(default=20, description="pages that one activity stages")


class NewRun(Frozen):
    """A run to be stored. `key` makes it one: the workflow's run, or the run's own id. `window_to` is exclusive; a file
    without a window gives its own: from its first line to its last."""

    key: str
    tenant_id: str
    psp: str
    subject: Subject
    source: Source
    file_id: str | None = None
    window_from: datetime | None = None
    window_to: datetime | None = None
    business_date: date | None = None
    zone: str | None = Field(default=None, description="of a file's times that have none")
    margin_s: float = 3_600
    apply: bool
    by: str
    at: datetime

    @model_validator(mode="after")
    def _whole(self) -> "NewRun":
        if (self.source is Source.FILE) != (self.file_id is not None):
            raise ValueError("a run over a file names it, and no other does")
        if (self.window_from is None) != (self.window_to is None):
            raise ValueError("a window has two ends")
        if self.window_from is not None and self.window_to is not None and self.window_from >= self.window_to:
            raise ValueError("a window ends after it begins")
        if self.source is Source.API and (self.window_from is None or self.subject is Subject.BANK):
            raise ValueError("the PSP is asked for a window; the bank comes as a file")
        return self


class StageStep(Frozen):
    """Stage up to so many pages of a run, from where the last ended."""

    run_id: str
    pages: int = 20


class Staged(Frozen):
    """`done`: every line is here. `failure`: the source cannot be read, ever."""

    lines: int
    done: bool
    failure: str | None = None


class RunStep(Frozen):
    """The input of an activity about a run that needs no more."""

    run_id: str
    at: datetime


class FailStep(Frozen):
    """End a run that cannot be carried out; `failure` says why, for a person."""

    run_id: str
    failure: str
    at: datetime


class FixStep(Frozen):
    """Apply the proposed fixes of a run, one page of them after discrepancy `after`."""

    run_id: str
    after: str = ""
    limit: int = 100
    at: datetime


class Fixed(Frozen):
    """`asked`: a workflow was told, and the effect is not there yet. `after`: None at the end."""

    booked: int = 0
    asked: int = 0
    refused: int = 0
    after: str | None = None


class Matching(Frozen):
    """The result of matching. `fixes`: open discrepancies with a proposed fix."""

    lines: int
    counts: Mapping[str, int]
    opened: int
    closed: int
    fixes: int


class ReconciliationReport(Frozen):
    """The end of a run. `counts`: class → lines and records."""

    run_id: str
    status: RunStatus
    lines: int
    counts: Mapping[str, int] = Field(default_factory=dict)
    opened: int = 0
    closed: int = 0
    fixed: int = 0
    asked: int = 0
    overdue: int = 0
    failure: str | None = None


class ResolveStep(Frozen):
    """A person's decision about a discrepancy."""

    discrepancy_id: str
    decision: Decision
    by: str = Field(min_length=1)
    note: str = ""
    at: datetime


# --- events ---


def shown(amount: int | None, currency: str | None) -> str | None:
    """An amount as people read it: `"490.00"`, or the minor units where the currency is not one that we know."""
    if amount is None or currency is None:
        return None
    try:
        return to_major(amount, currency)
    except MoneyError:
        return str(amount)


def run_event(
    verb: Literal["started", "matching", "completed", "failed"], row: Mapping[str, Any], at: datetime
) -> Event:
    """The event of a run's step, from its row as it is then."""
    return Event(
        id=new_id("evt"),
        type=f"reconciliation.{verb}",
        tenant_id=row["tenant_id"],
        object_id=row["id"],
        at=at,
        data=ReconciliationData(
            id=row["id"],
            psp=row["psp"],
            subject=row["subject"],
            source=row["source"],
            window_from=row["window_from"].isoformat() if row["window_from"] else None,
            window_to=row["window_to"].isoformat() if row["window_to"] else None,
            business_date=row["business_date"].isoformat() if row["business_date"] else None,
            status=row["status"],
            lines=row["lines"],
            counts=dict(row["counts"] or {}),
        ).model_dump(mode="json", by_alias=True),
    )


def discrepancy_event(kind: Literal["opened", "overdue", "resolved"], row: Mapping[str, Any], at: datetime) -> Event:
    """The event `discrepancy.opened`, `….overdue` or `….resolved`, from a discrepancy's row; the last also for what was
    fixed."""
    return Event(
        id=new_id("evt"),
        type=f"discrepancy.{kind}",
        tenant_id=row["tenant_id"],
        object_id=row["id"],
        at=at,
        data=DiscrepancyData(
            id=row["id"],
            psp=row["psp"],
            subject=row["subject"],
            class_=row["class"],
            reason=row["reason"],
            object_id=row["object_id"],
            payment_id=row["payment_id"],
            line_reference=row["line_reference"],
            difference=shown(row["difference"], row["currency"]),
            currency=row["currency"],
            due_at=row["due_at"].isoformat() if row["due_at"] else None,
            status=row["status"],
            resolution=row["resolution"],
        ).model_dump(mode="json", by_alias=True),
    )
