"""The data of events: the object as it is after the step, amounts as decimal strings in major units.

Consumers build on these models. A field may be added; one is never removed, renamed, retyped or made nullable, or the
event's version goes up (`domain.event_types`). Statuses are plain strings, since more may come. There is no name, no
address and no token in them: who needs to know more about a buyer asks the API, with a key of their own."""

from pydantic import Field

from domain.model import Failure, Frozen


class PartData(Frozen):
    """An order of a payment."""

    id: str
    payment_order_id: str = Field(description="the shop's own name of it")
    seller_account: str
    amount: str
    status: str


class PaymentData(Frozen):
    """A payment, with its orders."""

    id: str
    checkout_id: str | None
    amount: str = Field(description="of all orders together")
    currency: str
    status: str = Field(description="the most urgent status of its orders")
    is_payment_done: bool
    method: str
    failure: Failure | None
    payment_orders: tuple[PartData, ...]


class OrderData(Frozen):
    """A payment order: what one seller is owed of a payment."""

    id: str
    payment_id: str
    payment_order_id: str = Field(description="the shop's own name of it")
    seller_account: str
    amount: str
    currency: str
    status: str
    failure: Failure | None


class RefundData(Frozen):
    """A refund."""

    id: str
    payment_id: str
    payment_order_id: str | None = Field(description="our id of the order; null: of the charge as a whole")
    origin: str = Field(description="request, psp (made in its dashboard), compensation or late_charge")
    amount: str
    currency: str
    status: str
    failure: Failure | None


class DisputeData(Frozen):
    """A dispute."""

    id: str
    payment_id: str
    amount: str
    currency: str
    category: str | None
    status: str
    evidence_due_at: str | None


class PayoutData(Frozen):
    """A payout to a seller."""

    id: str
    seller_account: str
    amount: str
    currency: str
    status: str
    failure: Failure | None


class ReconciliationData(Frozen):
    """A run of the reconciliation."""

    id: str
    psp: str
    subject: str
    source: str
    window_from: str | None = Field(serialization_alias="from")
    window_to: str | None = Field(serialization_alias="to")
    business_date: str | None
    status: str
    lines: int
    counts: dict[str, int] = Field(description="lines and records by the class that they were found to be of")


class DiscrepancyData(Frozen):
    """A break that a reconciliation has found."""

    id: str
    psp: str
    subject: str
    class_: str = Field(serialization_alias="class")
    reason: str
    object_id: str | None
    payment_id: str | None
    line_reference: str | None
    difference: str | None
    currency: str | None
    due_at: str | None
    status: str
    resolution: str | None


class MerchantData(Frozen):
    """A seller, by the shop's own name of it."""

    id: str
    seller_account: str
    status: str


class ReviewData(Frozen):
    """A payment that the risk rules want a person to look at."""

    payment_id: str
    stage: str = Field(description="before or after the PSP was asked")
    reasons: tuple[str, ...] = Field(description="the names of the rules")
    decision: str | None = Field(description="null until it is decided")


class EndpointData(Frozen):
    """A shop's webhook endpoint."""

    id: str
    status: str
    because: str = Field(description="failing (for five days) or gone (it answered 410)")


class TaskData(Frozen):
    """A question to a person; what it says is read over the API."""

    id: str
    kind: str
    payment_id: str | None
    object_id: str | None
    status: str


class PostingData(Frozen):
    """A line of a transaction of the ledger."""

    account: str
    currency: str
    amount: str = Field(description="a debit is positive, a credit negative")


class BookedData(Frozen):
    """A transaction of the ledger; its postings add up to zero in each currency."""

    id: str
    at: str
    kind: str
    source_id: str = Field(description="the charge, refund, payout … that it books")
    payment_id: str | None
    order_id: str | None
    corrects: str | None
    postings: tuple[PostingData, ...]


class LedgerData(Frozen):
    """A part of a sealed block of the ledger: each transaction of a tenant is in one of them, once and whole."""

    id: str
    block: int = Field(description="its number in the chain of the seal")
    transactions: tuple[BookedData, ...]
