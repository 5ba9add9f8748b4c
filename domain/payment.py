"""The models that travel between a payment's workflow and its activities. Versioned by addition: a new field has a
default."""

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from domain.model import Failure, Frozen
from domain.psp import ChargeResult
from domain.risk import ReviewDecision, Stage, Verdict
from domain.status import Status
from domain.waiting import WaitPolicy

PAYMENT_WORKFLOW = "payment"


class PaymentInput(Frozen):
    """Starts `payment:{payment_id}`, the first time or again from the rows.

    `version` 2: the charge and what a plain answer leads to are one step, and so are a capture and its settlement.
    """

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
    patience: WaitPolicy = WaitPolicy()


class PaymentEnd(Frozen):
    """The end of a payment's workflow."""

    status: Status
    failure: Failure | None = None


class ChargeStep(Frozen):
    """`reference`: the PSP's object, where one is known; without it the attempt's key is all there is.

    `tries`: how often it was asked for before, by a workflow that waits out long gaps itself. None: by one of an
    earlier release, which leaves all waiting to the activity. `patience_s`: so long what is not found under a dead key
    is looked for.
    """

    payment_id: str
    reference: str | None = None
    tries: int | None = None
    patience_s: float = 600


class WaitStep(Frozen):
    """Let the payment wait in a status. A deadline that is already recorded for that status stays."""

    payment_id: str
    status: Status
    result: ChargeResult | None = None
    deadline_s: float | None = None
    next_check_s: float
    reason: str
    task: str | None = Field(default=None, description="kind of the task to open for a person")
    detail: str | None = Field(default=None, description="what the task says instead of the reason")
    stage: Stage | None = Field(default=None, description="the review that is waited for")
    at: datetime


class WaitState(Frozen):
    """The payment's row when it began to wait: a message that arrived before is not lost."""

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
    """The verdict, and, where that is a review, by when a person has to decide and what holds otherwise."""

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


class ResumeStep(Frozen):
    """Let an approved payment go on to its charge."""

    payment_id: str
    at: datetime


class Resumed(Frozen):
    """`resumed`: go on and charge. Else it ends: because of `failure`, a cancel, or it has ended already."""

    model_config = ConfigDict(validate_by_name=True)

    resumed: bool = Field(alias="released", description="under the name that stored histories have")
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


class PayStep(Frozen):
    """Charge the buyer, and end the payment where the PSP's answer is as plain as most are."""

    payment_id: str
    at: datetime


class Paid(Frozen):
    """`result`: the PSP's answer. `status`: the payment's, where it has ended as well."""

    result: ChargeResult
    status: Status | None = None


class TakeStep(Frozen):
    """Capture what was asked for, and settle all orders."""

    payment_id: str
    at: datetime


class Taken(Frozen):
    """`result`: the PSP's answer when asked for `amount`; None: it was not asked. `status`: the payment's, where it is
    settled as well."""

    result: ChargeResult | None = None
    amount: int = 0
    status: Status | None = None


class SettleOutcome(StrEnum):
    SETTLED = "SETTLED"
    CLOSED = "CLOSED"
    """The order had already ended otherwise; nothing was written."""
    CANCELLED = "CANCELLED"
    """A cancel was requested before this settlement."""
    COMPENSATING = "COMPENSATING"
    """A compensation of this order had begun: its refund knows how it ends."""
    HELD = "HELD"
    """The money that the PSP took is held in suspense, for a person to decide."""
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


def failure_of(declined: ChargeResult) -> Failure:
    """Why a payment that was declined has failed."""
    return declined.failure or Failure(code="declined", message="The payment was declined.")
