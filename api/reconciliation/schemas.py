"""The shapes of reconciliation: what is asked for, and what a run, its log and a discrepancy look like."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.fields import In, Out
from domain.reconciliation.reconciliation import (
    Decision,
    DiscrepancyStatus,
    Fix,
    LineClass,
    MatchedBy,
    RunStatus,
    Source,
    Subject,
)

WINDOW_DAYS_MAX = 400

_YEARS = range(2000, 2200)
"""Of a time that anybody may mean."""


def _moment(value: object) -> object:
    """RFC 3339 with a zone, in UTC; a number is no time here."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None and moment.year in _YEARS:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("time", "a time with its zone, such as 2026-11-20T00:00:00Z", {"code": "time_invalid"})


def _day(value: object) -> object:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
        if day is not None and day.year in _YEARS:
            return day
    except ValueError:
        pass
    raise PydanticCustomError("date", "a day such as 2026-11-20", {"code": "date_invalid"})


MomentIn = Annotated[datetime, BeforeValidator(_moment)]
DayIn = Annotated[date, BeforeValidator(_day)]
FileId = Annotated[str, Field(min_length=1, max_length=64)]


class ReconciliationIn(In):
    """What to compare: a day (`business_date`), or a window (`from`, `to`), or a file, which gives its own."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_by_name=False)

    subject: Literal["psp", "bank"] = Field(
        default="psp",
        description="psp: the movements on our account at the PSP; bank: the entries of our bank statement",
    )
    source: Literal["api", "file"] | None = Field(
        default=None, description="left out: a file where one is named, else the PSP is asked. A bank comes as a file"
    )
    file_id: FileId | None = Field(default=None, description="`sf_…`, of `POST /v1/reconciliations/files`")
    since: MomentIn | None = Field(default=None, alias="from", description="from this moment on")
    until: MomentIn | None = Field(default=None, alias="to", description="before this moment")
    business_date: DayIn | None = Field(default=None, description="a whole day in the business's time zone")
    apply: bool = Field(
        default=False, description="true: also do what is safe by rule, of what is yours; false: find and say only"
    )

    @model_validator(mode="after")
    def _whole(self) -> "ReconciliationIn":
        by_file = self.source == "file" or (self.source is None and self.file_id is not None)
        _require(by_file == (self.file_id is not None), "file_required", "A file is named where the source is one.")
        _require(by_file or self.subject == "psp", "file_required", "A bank statement comes as a file.")
        _require((self.since is None) == (self.until is None), "window_invalid", "A window has two ends: from and to.")
        windowed = self.since is not None
        _require(not (windowed and self.business_date), "window_invalid", "A day, or a window; not both.")
        given = windowed or self.business_date is not None or by_file
        _require(given, "window_required", "Say which time: business_date, or from and to.")
        if self.since is not None and self.until is not None:
            _require(self.since < self.until, "window_invalid", "`from` is not before `to`.")
            short = self.until - self.since <= timedelta(days=WINDOW_DAYS_MAX)
            _require(short, "window_too_long", f"A window has at most {WINDOW_DAYS_MAX} days.")
        return self

    @property
    def by_file(self) -> bool:
        return self.file_id is not None


def _require(holds: bool, code: str, detail: str) -> None:
    if not holds:
        raise PydanticCustomError("reconciliation", "{why}", {"code": code, "why": detail})


class Named(Out):
    """An answer with members whose names are words of Python: `from`, `class`."""

    model_config = ConfigDict(frozen=True, validate_by_name=True)


class SettlementFileOut(Out):
    id: str = Field(examples=["sf_01kafm6e8x7f5h9k3n1p4r6t8w"])
    object: Literal["settlement_file"] = "settlement_file"
    kind: Subject
    name: str
    sha256: str
    size: int = Field(description="bytes")
    created_at: datetime


class ReconciliationOut(Named):
    """A run. Where others share the PSP account, `counts` are of what is yours alone, and `lines`, `opened`, `closed`,
    `fixed` and `asked` are null: they would be everybody's."""

    id: str = Field(examples=["rec_01kafm6e8x7f5h9k3n1p4r6t8w"])
    object: Literal["reconciliation"] = "reconciliation"
    psp: str
    subject: Subject
    source: Source
    file: str | None = Field(description="its name")
    file_id: str | None
    since: datetime | None = Field(alias="from")
    until: datetime | None = Field(alias="to")
    business_date: date | None
    apply: bool
    status: RunStatus
    failure: str | None = Field(description="why it FAILED: of a file, the line and what is wrong with it")
    lines: int | None
    counts: dict[str, int] = Field(description="class → lines and records", examples=[{"matched": 1204, "fee": 2}])
    opened: int | None = Field(description="discrepancies that are new")
    closed: int | None = Field(description="discrepancies of before that are found matched")
    fixed: int | None = Field(description="discrepancies that were booked by rule")
    asked: int | None = Field(description="discrepancies about which a workflow was asked")
    created_by: str
    created_at: datetime
    completed_at: datetime | None


class CurrencyTotal(Out):
    currency: str
    there: str = Field(description="what the other side moved, its fees taken off")
    ledger: str = Field(description="what the ledger says of the same")
    difference: str


class InQuestion(Out):
    amount: str
    currency: str


class ClassShare(Named):
    cls: LineClass = Field(alias="class")
    count: int
    in_question: list[InQuestion] = Field(description="by currency; of what is matched or unrelated there is none")


class ReconciliationDetail(ReconciliationOut):
    """`classes` and `totals` are there once it is matched."""

    classes: list[ClassShare] | None
    totals: list[CurrencyTotal] | None = Field(description="null also where others share the PSP account")
    open: int | None = Field(description="discrepancies that it found and that are open now")


class ReconciliationList(Out):
    object: Literal["list"] = "list"
    data: list[ReconciliationOut]
    next_cursor: str | None


class SideOut(Out):
    """What one side says."""

    amount: str
    currency: str
    fee: str | None = None


class Sides(Out):
    there: SideOut | None = Field(description="the PSP, or the bank")
    record: SideOut | None = Field(description="our charge, refund, dispute or payout")
    ledger: SideOut | None


class ReconciliationItemOut(Named):
    object: Literal["reconciliation_item"] = "reconciliation_item"
    line_no: int | None = Field(description="null: a record of ours without a line")
    line_reference: str | None
    cls: LineClass = Field(alias="class")
    matched_by: MatchedBy | None
    kind: str
    object_id: str | None = Field(description="our charge, refund, dispute or payout")
    payment_id: str | None
    record_status: str | None
    sides: Sides
    occurred_at: datetime | None
    reason: str
    due_at: datetime | None
    discrepancy_id: str | None
    discrepancy_status: DiscrepancyStatus | None = Field(description="as it stands now")


class ReconciliationItemList(Out):
    object: Literal["list"] = "list"
    data: list[ReconciliationItemOut]
    next_cursor: str | None


class ReconciliationLogEntry(Named):
    """One line of the log: amounts are null where a side says nothing."""

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
    """What one run saw of it."""

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
    note: str = Field(default="", max_length=2000, examples=["Stripe confirmed by mail, ticket 4711"])
