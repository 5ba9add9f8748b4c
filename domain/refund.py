"""The models that travel between the refund's workflow and its activities. Versioned by addition: a new field has a
default."""

from datetime import datetime

from domain.messages import Decision
from domain.model import Frozen
from domain.psp import RefundResult
from domain.status import RefundStatus, Status
from domain.waiting import WaitPolicy

REFUND_WORKFLOW = "refund"


class RefundStep(Frozen):
    """`tries` and `patience_s` as in ChargeStep."""

    refund_id: str
    tries: int | None = None
    patience_s: float = 600


class BookRefundStep(Frozen):
    """Carry the PSP's word on a refund into the row and the ledger."""

    refund_id: str
    result: RefundResult
    at: datetime


class RefundState(Frozen):
    """Of the refund, and of the payment after it was booked. `ended`: nothing more is to be done about it. `offered`:
    what a person can decide about it; None where the PSP's word was not known, so that nothing has changed."""

    status: RefundStatus
    payment_status: Status
    ended: bool = False
    offered: tuple[Decision, ...] | None = None


class RefundInput(Frozen):
    """Starts `refund:{refund_id}`: a refund of a payment whose own workflow has ended. From version 2 on the first
    attempt is made in the first task; from 3 on it looks once more if it is nudged while its end is booked."""

    version: int = 1
    payment_id: str
    refund_id: str
    psp: str
    task_queue: str
    patience: WaitPolicy = WaitPolicy()
