"""Rows of the reconciliation as other rooms see them."""

from datetime import datetime

from pydantic import ConfigDict, Field

from domain.model import Frozen
from domain.reconciliation.reconciliation import DiscrepancyStatus, LineClass, MatchedBy, Subject


class SettlementFile(Frozen):
    """A settlement file or a bank statement that was uploaded; `size` in bytes."""

    id: str
    tenant_id: str
    kind: Subject
    name: str
    sha256: bytes
    size: int
    actor: str
    created_at: datetime


class Item(Frozen):
    """A line or a record that our own reference did not plainly match, as a run saw it. Amounts are in minor units, and
    None where a side says nothing; `line_no` is None for a record without a line."""

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    seq: int
    run_id: str
    tenant_id: str
    line_no: int | None
    line_reference: str | None
    cls: LineClass = Field(alias="class")
    kind: str
    how: MatchedBy | None
    object_id: str | None
    payment_id: str | None
    record_status: str | None
    there_amount: int | None
    there_currency: str | None
    there_fee: int | None
    record_amount: int | None
    record_currency: str | None
    record_fee: int | None
    ledger_amount: int | None
    ledger_currency: str | None
    ledger_fee: int | None
    occurred_at: datetime | None
    reason: str
    due_at: datetime | None
    discrepancy_id: str | None
    discrepancy_status: DiscrepancyStatus | None
