"""What travels between a payment's workflow and its activities. Versioned by addition: a new field has a default."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.psp import ChargeResult, DisputeResult, Failure, Frozen, RefundResult
from domain.risk import ReviewDecision, Stage, Verdict
from domain.status import DisputeStatus, RefundStatus, Status

PAYMENT_WORKFLOW = "payment"
LATE_CHARGE_WORKFLOW = "late_charge"
REFUND_WORKFLOW = "refund"
DISPUTE_WORKFLOW = "dispute"
SWEEP_WORKFLOW = "sweep"


def psp_queue(task_queue: str, psp: str) -> str:
    """The task queue of a PSP's durable calls: its own, so that a slow PSP holds up no other."""
    return f"{task_queue}-psp-{psp}"


class Patience(Frozen):
    """How long a payment waits, in seconds; from the settings, fixed when the workflow starts."""

    confirm_s: float = 86_400
    action_s: float = 3_600
    pending_s: float = 259_200
    authorization_s: float = Field(default=518_400, description="where the PSP does not say how long it holds")
    authorization_margin_s: float = Field(default=21_600, description="decided so long before the PSP lets go")
    evidence_warning_s: float = Field(default=172_800, description="a person is told so long before the deadline")
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
    risk: bool = Field(default=False, description="the tenant has risk rules")
    authorize_only: bool = Field(
        default=False, description="reserve first: to be captured by request, or after a check"
    )
    capture_by_request: bool = False
    capture_on_expiry: bool = Field(default=False, description="capture, not void, what nears its expiry")
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
    stage: Stage | None = Field(default=None, description="the review that is waited for")
    at: datetime


class RestState(Frozen):
    """What the row said when the payment came to rest: a message that arrived before is not lost."""

    status: Status
    deadline_at: datetime | None = None
    nudged: bool = False
    cancel_requested: bool = False
    capture_requested: bool = False
    review: ReviewDecision | None = None


class AssessStep(Frozen):
    """Judge the payment by the tenant's rules, once per stage; `result`: the PSP's answer to the authorisation."""

    payment_id: str
    stage: Stage
    result: ChargeResult | None = None
    at: datetime


class RiskDecision(Frozen):
    """What was decided, and, where that was a review, by when a person has to decide and what holds otherwise."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    review: ReviewDecision | None = None
    deadline_s: float = 0
    on_deadline: ReviewDecision = ReviewDecision.REJECT


class Review(Frozen):
    """A person's decision about a payment IN_REVIEW, with a name."""

    decision: ReviewDecision
    by: str = Field(min_length=1)
    note: str = ""


class ReviewStep(Frozen):
    """`stage`: the one that is decided; None for whichever waits."""

    payment_id: str
    review: Review
    stage: Stage | None = None
    at: datetime


class ReleaseStep(Frozen):
    """Let an approved payment go on to its charge."""

    payment_id: str
    at: datetime


class Released(Frozen):
    """`released`: go on and charge. Else it ends: because of `failure`, a cancel, or it has ended already."""

    released: bool
    status: Status
    failure: Failure | None = None


class CaptureStep(Frozen):
    """Mark the capture, the point of no return; `by` is who wants it."""

    payment_id: str
    by: str
    at: datetime


class CaptureOutcome(StrEnum):
    MARKED = "MARKED"
    """Take `amount`."""
    CANCELLED = "CANCELLED"
    """A cancel was requested before: void it."""
    REFUSED = "REFUSED"
    """A seller is frozen or closed: void it."""
    CLOSED = "CLOSED"


class CaptureMark(Frozen):
    """`status` is the payment's."""

    outcome: CaptureOutcome
    status: Status
    amount: int = 0
    failure: Failure | None = None


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
    """Of the refund, and of the payment after it was booked. `ended`: nothing more is to be done about it."""

    status: RefundStatus
    payment_status: Status
    ended: bool = False


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


class DisputeInput(Frozen):
    """Starts `dispute:{dispute_id}`: from the buyer's first complaint to the issuer's decision."""

    version: int = 1
    dispute_id: str
    payment_id: str
    psp: str
    task_queue: str
    patience: Patience = Patience()


class DisputeStep(Frozen):
    dispute_id: str


class BookDisputeStep(Frozen):
    dispute_id: str
    result: DisputeResult
    next_check_at: datetime
    at: datetime


class DisputeState(Frozen):
    """`evidence_id`: evidence that waits to be submitted. `ended`: decided, and booked."""

    status: DisputeStatus
    ended: bool = False
    evidence_id: str | None = None
    evidence_due_at: datetime | None = None


class EvidenceStep(Frozen):
    dispute_id: str
    evidence_id: str


class BookEvidenceStep(Frozen):
    """Write down what the PSP made of a submission."""

    dispute_id: str
    evidence_id: str
    failure: Failure | None = None
    at: datetime


class EvidenceWarningStep(Frozen):
    """Tell a person that the deadline nears and nothing was submitted."""

    dispute_id: str
    due_at: datetime


class Nudge(Frozen):
    """Something changed at the PSP or a person looked: ask the PSP now."""

    reason: str = "nudge"
    event_id: str | None = None


class CancelRequest(Frozen):
    """A person or the API wants the payment undone."""

    by: str = "operator"


class CaptureCommand(Frozen):
    """A person wants an authorised payment captured in full."""

    by: str = Field(min_length=1)


class Decision(StrEnum):
    """What a person can decide about a payment that needs attention."""

    RETRY = "retry"
    """Ask the PSP again now; a refund that failed is tried again under a new key."""
    NOT_CHARGED = "not_charged"
    """I looked at the PSP: no money moved. The payment ends FAILED."""
    CANCEL = "cancel"
    """Refund whatever was taken."""
    REFERENCE = "reference"
    """`reference` is the PSP's object of this payment, or of this refund."""
    ACCEPT = "accept"
    """Of a refund that the PSP made of another amount: book what was made."""


class Resolution(Frozen):
    """A person's decision, with a name: it is written to the audit log before it is acted on."""

    decision: Decision
    by: str
    reference: str | None = None
    note: str = ""


class ResolutionStep(Frozen):
    """`refund_id`: the refund that is decided about, where its own workflow asks."""

    payment_id: str
    resolution: Resolution
    refund_id: str | None = None
    at: datetime | None = None


class SweepReport(Frozen):
    restarted: int = 0
    nudged: int = 0
    late_charges: int = 0
    refunds: int = 0
    disputes: int = 0
    payouts: int = 0
    reconciliations: int = 0
    tasks: int = 0
