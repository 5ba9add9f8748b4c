"""A refund as the code reads it."""

from datetime import datetime

from domain.model import Failure, Frozen
from domain.status import RefundStatus, Status


class Refund(Frozen):
    """`reference`: the PSP's own id of it; `amount` in minor units."""

    id: str
    tenant_id: str
    payment_id: str
    order_id: str | None
    charge_id: str
    origin: str
    amount: int
    currency: str
    status: RefundStatus
    ends_as: Status | None
    ends_with: Failure | None
    attempt: int
    send_until: datetime
    reference: str | None
    failure: Failure | None
    unknown_count: int
    dead_since: datetime | None
    next_check_at: datetime | None
    reason: str | None
    actor: str | None
    created_at: datetime

    @property
    def undoes_charge(self) -> bool:
        """Part of a compensation or a late charge: its money is in suspense, and it is made whatever it takes."""
        return self.origin in ("compensation", "late_charge")

    @property
    def ended(self) -> bool:
        """Nothing more is to be done about it."""
        return self.status is RefundStatus.SUCCEEDED or (self.status is RefundStatus.FAILED and not self.undoes_charge)
