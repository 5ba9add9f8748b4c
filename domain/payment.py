"""What travels between a payment's workflow and its activities. Versioned by addition: a new field has a default."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.psp import ChargeResult, Failure, Frozen, RefundResult
from domain.status import RefundStatus, Status

PAYMENT_WORKFLOW = "payment"
LATE_CHARGE_WORKFLOW = "late_charge"
REFUND_WORKFLOW = "refund"
SWEEP_WORKFLOW = "sweep"


def psp_queue(task_queue: str, psp: str) -> str:
    """The task queue of a PSP's durable calls: its own, so that a slow PSP holds up no other."""
    return f"{task_queue}-psp-{psp}"


class Patience(Frozen):
    """How long a payment waits, in seconds; from the settings, fixed when the workflow starts."""

    confirm_s: float = 86_400
    action_s: float = 3_600
    pending_s: float = 259_200
    poll_first_s: float = 5
    poll_max_s: float = 3_600


class PaymentInput(Frozen):
    """Starts `payment:{payment_id}`, the first time or again from the rows."""

    version: int = 1
    payment_id: str
    tenant_id: str
    psp: str
    amount: int
    currency: str
    confirmed: bool = Field(description="false: wait for the confirm message first")
    order_ids: tuple[str, ...] = Field(description="in the order in which they are settled")
    keep_successful: bool = False
    task_queue: str
    patience: Patience = Patience()


class PaymentEnd(Frozen):
    """How a payment's workflow ends."""

    status: Status
    failure: Failure | None = None


class ChargeStep(Frozen):
    """`reference`: the PSP's object, where one is known; without it the attempt's key is all there is."""

    payment_id: str
    reference: str | None = None


class RestStep(Frozen):
    """Put the payment into a resting status. A deadline that is already recorded for that status stays."""

    payment_id: str
    status: Status
    result: ChargeResult | None = None
    deadline_s: float | None = None
    next_check_s: float
    reason: str
    task: str | None = Field(default=None, description="kind of the task to open for a person")
    at: datetime


class RestState(Frozen):
    """What the row said when the payment came to rest: a message that arrived before is not lost."""

    status: Status
    deadline_at: datetime | None = None
    nudged: bool = False
    cancel_requested: bool = False


class SettleStep(Frozen):
    """Credit and post one order. `completes`: these orders become SUCCESS in the same transaction."""

    payment_id: str
    order_id: str
    result: ChargeResult
    completes: tuple[str, ...]
    at: datetime


class SettleOutcome(StrEnum):
    SETTLED = "SETTLED"
    CLOSED = "CLOSED"
    """The order had already ended otherwise; nothing was written."""
    CANCELLED = "CANCELLED"
    """A cancel was requested before this settlement."""
    COMPENSATING = "COMPENSATING"
    """A compensation of this order had begun: its refund knows how it ends."""
    HELD = "HELD"
    """What the PSP took is held in suspense, for a person to decide."""
    REFUSED = "REFUSED"
    """The wallet cannot be credited: the seller is frozen or closed."""


class Settlement(Frozen):
    """`status` is the payment's, afterwards."""

    outcome: SettleOutcome
    status: Status
    failure: Failure | None = None


class CompensateStep(Frozen):
    """Mark open orders as compensating, book their money to suspense and record the refunds they need.

    `order_ids` empty: every open order, in reverse.
    """

    payment_id: str
    order_ids: tuple[str, ...] = ()
    result: ChargeResult
    ends_as: Status
    failure: Failure | None = None
    at: datetime


class Compensation(Frozen):
    """The refunds to make, in this order."""

    refund_ids: tuple[str, ...]


class RefundStep(Frozen):
    refund_id: str


class BookRefundStep(Frozen):
    refund_id: str
    result: RefundResult
    at: datetime


class RefundState(Frozen):
    """Of the refund, and of the payment after it was booked."""

    status: RefundStatus
    payment_status: Status


class HoldStep(Frozen):
    """Money came in that is not what was asked for: book what came to suspense, for a person to decide."""

    payment_id: str
    result: ChargeResult
    at: datetime


class CloseStep(Frozen):
    """End every open order. FAILED or CANCELLED only when the PSP's object can no longer be paid."""

    payment_id: str
    status: Status
    failure: Failure | None = None
    result: ChargeResult | None = None
    at: datetime


class CancelStep(Frozen):
    payment_id: str
    by: str
    at: datetime


class LateChargeInput(Frozen):
    """Starts `late_charge:{charge_id}`: a payment that had ended was paid after all."""

    version: int = 1
    payment_id: str
    charge_id: str
    reference: str
    psp: str
    task_queue: str
    patience: Patience = Patience()


class LateChargeStep(Frozen):
    payment_id: str
    charge_id: str
    result: ChargeResult
    at: datetime


class RefundInput(Frozen):
    """Starts `refund:{refund_id}`: a refund of a payment whose own workflow has ended."""

    version: int = 1
    payment_id: str
    refund_id: str
    psp: str
    task_queue: str
    patience: Patience = Patience()


class Nudge(Frozen):
    """Something changed at the PSP or a person looked: ask the PSP now."""

    reason: str = "nudge"
    event_id: str | None = None


class CancelRequest(Frozen):
    """A person or the API wants the payment undone."""

    by: str = "operator"


class Decision(StrEnum):
    """What a person can decide about a payment that needs attention."""

    RETRY = "retry"
    """Ask the PSP again now; a refund that failed is tried again under a new key."""
    NOT_CHARGED = "not_charged"
    """I looked at the PSP: no money moved. The payment ends FAILED."""
    CANCEL = "cancel"
    """Refund whatever was taken."""
    REFERENCE = "reference"
    """`reference` is the PSP's object of this payment."""


class Resolution(Frozen):
    """A person's decision, with a name: it is written to the audit log before it is acted on."""

    decision: Decision
    by: str
    reference: str | None = None
    note: str = ""


class ResolutionStep(Frozen):
    payment_id: str
    resolution: Resolution


class SweepReport(Frozen):
    restarted: int = 0
    nudged: int = 0
    late_charges: int = 0
    refunds: int = 0
    tasks: int = 0
