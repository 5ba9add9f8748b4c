"""A dispute and its evidence as the code reads them."""

from datetime import datetime
from typing import Literal

from domain.model import Failure, Frozen
from domain.status import DisputeStatus


class Dispute(Frozen):
    """`seq` numbers disputes in the order in which we heard of them; `reference` is the PSP's own id."""

    seq: int
    id: str
    tenant_id: str
    payment_id: str
    charge_id: str
    psp: str
    reference: str
    amount: int
    currency: str
    category: str | None
    status: DisputeStatus
    evidence_due_at: datetime | None
    withdrawn: bool
    fee: int
    closed_at: datetime | None
    created_at: datetime


class Evidence(Frozen):
    """A submission, without what it says: that is stored encrypted."""

    id: str
    actor: str
    field_names: tuple[str, ...]
    status: Literal["STORED", "SUBMITTED", "REFUSED"]
    failure: Failure | None
    created_at: datetime
    submitted_at: datetime | None
