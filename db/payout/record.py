"""The rows of payouts, of their history and calls, of what they pay, and of runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from domain.model import Failure, Frozen
from domain.payout import PayoutCall
from domain.status import PAYOUT_ENDED, PayoutStatus

WAITS_AS = {
    PayoutCall.TRANSFER: PayoutStatus.REQUESTED,
    PayoutCall.PAYOUT: PayoutStatus.TRANSFERRED,
    PayoutCall.REVERSAL: PayoutStatus.RETURNING,
}
"""A call at the PSP → the status of the payout that waits for its answer."""


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


@dataclass(frozen=True)
class PayoutTransition:
    """A step in a payout's history; `from_status` None: it came into being."""

    from_status: PayoutStatus | None
    to_status: PayoutStatus
    reason: str
    at: datetime


@dataclass(frozen=True)
class Call:
    """One attempt at a call at the PSP."""

    key: str
    call: PayoutCall
    attempt: int
    send_until: datetime
    sent_at: datetime | None
    outcome: str | None
    reference: str | None
    failure: Failure | None
    created_at: datetime


@dataclass(frozen=True)
class PayoutItem:
    """A posting to the wallet's available balance, or `amount` of it, that a payout pays; below zero: it deducts it.

    `posting_amount`: the whole posting. Amounts in minor units, with the sign that they have for the seller.
    `returned`: the payout did not arrive, and another one may pay this. `order_id` is ours, `payment_order_id` the
    client's.
    """

    posting_seq: int
    amount: int
    returned: bool
    posting_amount: int
    currency: str
    transaction_id: str
    kind: str
    source_id: str
    payment_id: str | None
    order_id: str | None
    payment_order_id: str | None
    at: datetime


@dataclass(frozen=True)
class PayoutRun:
    """The run of a business date; `statuses`: how many of its payouts have each status. `ended_at` None: it runs."""

    id: str
    business_date: date
    actor: str
    started_at: datetime
    ended_at: datetime | None
    statuses: Mapping[PayoutStatus, int]
