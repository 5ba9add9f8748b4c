"""The models that travel between the dispute's workflow and its activities. Versioned by addition: a new field has a
default."""

from datetime import datetime

from domain.model import Failure, Frozen
from domain.psp import DisputeResult
from domain.status import DisputeStatus
from domain.waiting import WaitPolicy

DISPUTE_WORKFLOW = "dispute"


class DisputeInput(Frozen):
    """Starts `dispute:{dispute_id}`: from the buyer's first complaint to the issuer's decision. From version 2 on it
    looks once more if it is nudged while that decision is booked."""

    version: int = 1
    dispute_id: str
    payment_id: str
    psp: str
    task_queue: str
    patience: WaitPolicy = WaitPolicy()


class DisputeStep(Frozen):
    dispute_id: str


class BookDisputeStep(Frozen):
    """Carry the PSP's word on a dispute into the row and the ledger."""

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


EVIDENCE_FIELDS = (
    "product_description",
    "customer_name",
    "customer_email_address",
    "customer_communication",
    "customer_purchase_ip",
    "billing_address",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "service_date",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "duplicate_charge_explanation",
    "access_activity_log",
    "uncategorized_text",
)
"""The pieces of evidence, all text; the names are those that card issuers and PSPs use."""

LONG_EVIDENCE = frozenset(
    {
        "product_description",
        "refund_policy_disclosure",
        "refund_refusal_explanation",
        "cancellation_policy_disclosure",
        "cancellation_rebuttal",
        "duplicate_charge_explanation",
        "access_activity_log",
        "uncategorized_text",
    }
)
"""The fields that may be 20,000 characters long; the others 5,000."""
