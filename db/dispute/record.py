"""Record: TODO docstring."""

from datetime import datetime

from domain.model import Frozen
from domain.status import DisputeStatus


class Dispute(Frozen):
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
