"""Record: TODO docstring."""

from datetime import date, datetime

from domain.model import Failure, Frozen
from domain.status import PAYOUT_ENDED, PayoutStatus


class Payout(Frozen):
    """Money on its way to a seller. `destination`: the seller's account at the PSP."""

    id: str
    tenant_id: str
    seller_account: str
    amount: int
    currency: str
    psp: str
    destination: str
    run_id: str | None
    business_date: date | None
    status: PayoutStatus
    ends_as: PayoutStatus | None
    transfer_reference: str | None
    reference: str | None
    arrival_at: datetime | None
    failure: Failure | None
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    cancel_failure: Failure | None
    unknown_count: int
    next_check_at: datetime | None
    actor: str
    seq: int
    created_at: datetime
    updated_at: datetime

    @property
    def ended(self) -> bool:
        return self.status in PAYOUT_ENDED

    @property
    def cancel_requested(self) -> bool:
        """Asked for, and not refused yet."""
        return self.cancel_requested_at is not None and self.cancel_failure is None

    @property
    def settled(self) -> bool:
        """PAID by a person's word though it had failed: the PSP's word on it, which is FAILED, says no more."""
        return self.status is PayoutStatus.PAID and self.ends_as is not None
