"""The shapes of reconciliation: what is asked for, and what a file, a run and its items look like."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.fields import DayIn, In, MomentIn, Out
from db.reconciliation.record import Item, SettlementFile
from db.reconciliation.report import Share, Summary, Total
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.reconciliation import (
    DiscrepancyStatus,
    LineClass,
    MatchedBy,
    RunStatus,
    Source,
    Subject,
)
from services.reconciliation.log_file import SideOut, said
from services.reconciliation.run import Wanted

FileId = Annotated[str, Field(min_length=1, max_length=64)]


# --- asked for ---


class ReconciliationIn(In):
    """The time to compare: a day (`business_date`), or a window (`from`, `to`), or a file, which gives its own."""

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
    zone: str | None = Field(
        default=None,
        max_length=64,
        description="the time zone of a file's times that have none, such as Europe/Berlin; left out: the business's",
    )
    apply: bool = Field(
        default=False, description="true: also do what is safe by rule, of what is yours; false: find and say only"
    )

    @model_validator(mode="after")
    def _source_fits(self) -> "ReconciliationIn":
        by_file = self.source == "file" or (self.source is None and self.file_id is not None)
        if by_file != (self.file_id is not None):
            why = "A file is named where the source is one."
            raise PydanticCustomError("reconciliation", "{why}", {"code": "file_required", "why": why})
        return self

    @property
    def wanted(self) -> Wanted:
        same = {name: getattr(self, name) for name in ("file_id", "since", "until", "business_date", "zone", "apply")}
        return Wanted(Subject(self.subject), **same)


# --- answered ---


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
    zone: str | None = Field(description="of a file's times that have none")
    apply: bool
    status: RunStatus
    failure: str | None = Field(description="why it FAILED: of a file, the line and what is wrong with it")
    lines: int | None
    outside: int | None = Field(description="lines outside the window, which this run does not judge")
    notes: list[str] = Field(description="what a person should know of how the lines were read")
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


# --- from rows ---


def file_out(file: SettlementFile) -> SettlementFileOut:
    same = {name: getattr(file, name) for name in ("id", "kind", "name", "size", "created_at")}
    return SettlementFileOut(sha256=file.sha256.hex(), **same)


# --- runs ---


def run_out(row: dict[str, Any]) -> ReconciliationOut:
    """`row`: of `db.reconciliation.report.brief`."""
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
        "id", "psp", "subject", "source", "file_id", "business_date", "zone", "apply", "status", "failure", "lines",
        "outside", "opened", "closed", "fixed", "asked", "created_at", "completed_at",
    )  # fmt: skip
    return {name: row[name] for name in same} | {
        "file": row["file_name"],
        "since": row["window_from"],
        "until": row["window_to"],
        "counts": row["counts"] or {},
        "notes": row["notes"] or [],
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


def sides_of(row: Item | Discrepancy) -> Sides:
    """The words of the three sides."""

    def side(name: str) -> SideOut | None:
        return SideOut.of(*(getattr(row, f"{name}_{part}") for part in ("amount", "currency", "fee")))

    return Sides(there=side("there"), record=side("record"), ledger=side("ledger"))


def item_out(item: Item) -> ReconciliationItemOut:
    same = (
        "line_no", "line_reference", "cls", "kind", "object_id", "payment_id", "record_status", "occurred_at", "reason",
        "due_at", "discrepancy_id", "discrepancy_status",
    )  # fmt: skip
    return ReconciliationItemOut(
        matched_by=item.how, sides=sides_of(item), **{name: getattr(item, name) for name in same}
    )
