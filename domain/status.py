"""The states of a payment order, a refund, a dispute and a merchant, and who may bring each to which next.

docs/states.md is generated from these tables; the audit and the database hold every row to them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The status of a payment order; a payment shows the one that `combined` computes from its orders."""

    NOT_STARTED = "NOT_STARTED"
    EXECUTING = "EXECUTING"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    PENDING = "PENDING"
    IN_REVIEW = "IN_REVIEW"
    AUTHORIZED = "AUTHORIZED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


TERMINAL = frozenset({Status.SUCCESS, Status.FAILED, Status.CANCELLED})
"""Never left again: refunds and disputes have statuses of their own beside it."""

RESTING = frozenset(
    {
        Status.REQUIRES_ACTION,
        Status.PENDING,
        Status.IN_REVIEW,
        Status.AUTHORIZED,
        Status.NEEDS_ATTENTION,
    }
)
"""The workflow waits for a message: a request is answered 202, and signals are sent only now."""


class RefundStatus(StrEnum):
    """The status of a refund. UNKNOWN is none: an unanswered refund stays REQUESTED and is asked for again under its
    key."""

    REQUESTED = "REQUESTED"
    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"


class OrderRefundStatus(StrEnum):
    """The share of an order that was given back; none at all is null."""

    REFUNDING = "REFUNDING"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"


def order_refund_status(captured: int, refunded: int, under_way: int) -> OrderRefundStatus | None:
    """The status by sums in minor units: captured, back with the buyer, and on its way there."""
    if under_way:
        return OrderRefundStatus.REFUNDING
    if refunded >= captured > 0:
        return OrderRefundStatus.REFUNDED
    return OrderRefundStatus.PARTIALLY_REFUNDED if refunded else None


class DisputeStatus(StrEnum):
    """The status of a dispute; an order shows that of its latest."""

    OPENED = "OPENED"
    INQUIRY = "INQUIRY"
    NEEDS_RESPONSE = "NEEDS_RESPONSE"
    UNDER_REVIEW = "UNDER_REVIEW"
    WON = "WON"
    LOST = "LOST"
    CLOSED = "CLOSED"


DISPUTE_ENDED = frozenset({DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.CLOSED})
DISPUTE_HOLDS = frozenset({DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW, DisputeStatus.LOST})
"""The disputed money cannot be refunded as well: it is with the buyer's bank."""


class PayoutStatus(StrEnum):
    """The status of a payout. UNKNOWN is none: a call without an answer is made again under its key, or looked up."""

    REQUESTED = "REQUESTED"
    TRANSFERRED = "TRANSFERRED"
    IN_TRANSIT = "IN_TRANSIT"
    PAID = "PAID"
    RETURNING = "RETURNING"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    RETURNED = "RETURNED"


PAYOUT_GIVEN_BACK = frozenset({PayoutStatus.FAILED, PayoutStatus.CANCELLED, PayoutStatus.RETURNED})
"""The money is in the wallet again, for good: the next payout takes it."""

PAYOUT_ENDED = PAYOUT_GIVEN_BACK | {PayoutStatus.PAID}
"""Nothing is left to be done; but a bank may return what was PAID, days later."""


class MerchantStatus(StrEnum):
    """The status of a merchant (a seller)."""

    ACTIVE = "ACTIVE"
    FROZEN = "FROZEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True)
class Step:
    """A transition: `old` may become `new` (from nothing where `old` is empty), caused by `by`, because of `why`."""

    old: tuple[StrEnum, ...]
    new: StrEnum
    by: str
    why: str


_MOVING = (Status.EXECUTING, *sorted(RESTING))

ORDER_STEPS: tuple[Step, ...] = (
    Step((), Status.NOT_STARTED, "checkout", "`POST /v1/payments` with `confirm: false`"),
    Step((), Status.EXECUTING, "checkout", "`POST /v1/payments`"),
    Step((Status.NOT_STARTED,), Status.EXECUTING, "checkout", "`POST …/confirm`"),
    Step((Status.NOT_STARTED,), Status.CANCELLED, "checkout, timer", "`POST …/cancel`, or nobody confirmed in time"),
    Step(
        (Status.EXECUTING, Status.PENDING, Status.NEEDS_ATTENTION),
        Status.REQUIRES_ACTION,
        "PSP",
        "the buyer has to authenticate (3DS)",
    ),
    Step(
        (Status.EXECUTING, Status.REQUIRES_ACTION, Status.IN_REVIEW, Status.AUTHORIZED, Status.NEEDS_ATTENTION),
        Status.PENDING,
        "PSP",
        "it works on the charge, or its answer (to a charge, a capture, a refund) is not known yet",
    ),
    Step(
        (Status.EXECUTING, Status.REQUIRES_ACTION, Status.PENDING, Status.NEEDS_ATTENTION),
        Status.IN_REVIEW,
        "risk rules",
        "a rule says `review`, before the charge or on the PSP's answer to the authorisation",
    ),
    Step(
        (Status.IN_REVIEW,),
        Status.EXECUTING,
        "person, timer",
        "approved before the charge, by a person or by the rule set's default at the deadline",
    ),
    Step(
        (Status.EXECUTING, Status.REQUIRES_ACTION, Status.PENDING, Status.IN_REVIEW, Status.NEEDS_ATTENTION),
        Status.AUTHORIZED,
        "PSP",
        "the amount is reserved on the card and waits to be captured",
    ),
    Step(
        tuple(status for status in _MOVING if status is not Status.NEEDS_ATTENTION),
        Status.NEEDS_ATTENTION,
        "workflow",
        "no answer past the deadline, another amount than asked for, a refused capture, a refund that failed: a person "
        "decides",
    ),
    Step(
        _MOVING,
        Status.SUCCESS,
        "workflow, person",
        "captured, the wallet credited and the ledger posted, in one commit; of another amount than was asked for once "
        "a person accepts it",
    ),
    Step(
        _MOVING,
        Status.FAILED,
        "PSP, risk rules, person, timer",
        "declined, not made (`psp_error`), blocked or rejected, or the wallet refused; whatever was taken is refunded "
        "first",
    ),
    Step(
        _MOVING,
        Status.CANCELLED,
        "checkout, person, PSP, timer",
        "cancelled, not captured, voided or expired; whatever was taken is refunded first",
    ),
)

REFUND_STEPS: tuple[Step, ...] = (
    Step((), RefundStatus.REQUESTED, "shop, person, workflow", "`POST …/refunds`, the CLI, or a compensation"),
    Step((), RefundStatus.REQUESTED, "PSP", "made in the PSP's dashboard: it becomes our record"),
    Step(
        (RefundStatus.REQUESTED, RefundStatus.NEEDS_ATTENTION, RefundStatus.FAILED),
        RefundStatus.PENDING,
        "PSP",
        "it works on it",
    ),
    Step(
        (RefundStatus.REQUESTED, RefundStatus.PENDING, RefundStatus.NEEDS_ATTENTION, RefundStatus.FAILED),
        RefundStatus.SUCCEEDED,
        "PSP",
        "the money is on its way to the buyer (from FAILED only in a compensation: a person made it by hand)",
    ),
    Step(
        (RefundStatus.REQUESTED, RefundStatus.PENDING, RefundStatus.NEEDS_ATTENTION),
        RefundStatus.FAILED,
        "PSP",
        "refused, failed or not made (`psp_error`): the reserved funds are released (a compensation waits for a person "
        "instead)",
    ),
    Step((RefundStatus.SUCCEEDED,), RefundStatus.FAILED, "PSP", "it came back, even days later: booked back"),
    Step(
        (RefundStatus.REQUESTED, RefundStatus.PENDING, RefundStatus.FAILED),
        RefundStatus.NEEDS_ATTENTION,
        "workflow",
        "the PSP does not know it, or made another amount of it",
    ),
    Step(
        (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION),
        RefundStatus.REQUESTED,
        "person",
        "`retry`: a new request under a new key (from FAILED only in a compensation)",
    ),
)

_DISPUTE_OPEN = (DisputeStatus.OPENED, DisputeStatus.INQUIRY, DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW)
_DISPUTE_MAY_END = (
    *_DISPUTE_OPEN,
    DisputeStatus.CLOSED,
)  # an inquiry that was closed may come back between two of our questions

DISPUTE_STEPS: tuple[Step, ...] = (
    Step((), DisputeStatus.OPENED, "buyer's bank", "a webhook tells of it; the PSP is asked for the rest"),
    Step((DisputeStatus.OPENED,), DisputeStatus.INQUIRY, "buyer's bank", "it asks; no money has moved"),
    Step(
        (DisputeStatus.OPENED, DisputeStatus.INQUIRY, DisputeStatus.UNDER_REVIEW, DisputeStatus.CLOSED),
        DisputeStatus.NEEDS_RESPONSE,
        "buyer's bank",
        "the money is withdrawn, ours is held; evidence can be submitted until the deadline",
    ),
    Step(
        (DisputeStatus.OPENED, DisputeStatus.INQUIRY, DisputeStatus.NEEDS_RESPONSE, DisputeStatus.CLOSED),
        DisputeStatus.UNDER_REVIEW,
        "shop, person",
        "evidence was submitted",
    ),
    Step(_DISPUTE_MAY_END, DisputeStatus.WON, "buyer's bank", "the money came back, and what was held is released"),
    Step((DisputeStatus.LOST,), DisputeStatus.WON, "buyer's bank", "it decided anew: the loss is given back"),
    Step(_DISPUTE_MAY_END, DisputeStatus.LOST, "buyer's bank", "the loss is booked"),
    Step(_DISPUTE_OPEN, DisputeStatus.CLOSED, "buyer's bank", "an inquiry ended, or the dispute was prevented"),
)

_PAYOUT_UNDER_WAY = (
    PayoutStatus.REQUESTED,
    PayoutStatus.TRANSFERRED,
    PayoutStatus.IN_TRANSIT,
    PayoutStatus.RETURNING,
)

PAYOUT_STEPS: tuple[Step, ...] = (
    Step((), PayoutStatus.REQUESTED, "shop, person, schedule", "`POST /v1/payouts`, the CLI, or the payout run"),
    Step(
        (PayoutStatus.REQUESTED, PayoutStatus.NEEDS_ATTENTION),
        PayoutStatus.TRANSFERRED,
        "PSP",
        "the amount is on the seller's account at the PSP",
    ),
    Step(
        (PayoutStatus.TRANSFERRED, PayoutStatus.NEEDS_ATTENTION),
        PayoutStatus.IN_TRANSIT,
        "PSP, person",
        "it is on its way to the seller's bank; a person named it, or waits on",
    ),
    Step(
        (PayoutStatus.TRANSFERRED, PayoutStatus.IN_TRANSIT, PayoutStatus.NEEDS_ATTENTION),
        PayoutStatus.PAID,
        "PSP, person",
        "it is at the seller's bank, or a person says that the seller has the money",
    ),
    Step(
        (PayoutStatus.TRANSFERRED, PayoutStatus.IN_TRANSIT, PayoutStatus.PAID, PayoutStatus.NEEDS_ATTENTION),
        PayoutStatus.RETURNING,
        "PSP, shop, person",
        "refused, failed, cancelled, or returned by the bank days after it was paid: the transfer is taken back",
    ),
    Step(
        (PayoutStatus.REQUESTED, PayoutStatus.RETURNING, PayoutStatus.NEEDS_ATTENTION),
        PayoutStatus.FAILED,
        "PSP",
        "refused, failed, or not made under a key whose stored error it repeats; the money is in the wallet again",
    ),
    Step(
        (PayoutStatus.REQUESTED, PayoutStatus.RETURNING, PayoutStatus.NEEDS_ATTENTION),
        PayoutStatus.CANCELLED,
        "shop, person, PSP",
        "cancelled, or the seller was no longer active before it was sent; the money is in the wallet again",
    ),
    Step(
        (PayoutStatus.RETURNING, PayoutStatus.NEEDS_ATTENTION),
        PayoutStatus.RETURNED,
        "bank",
        "it had been paid and came back, and the money is in the wallet again",
    ),
    Step(
        _PAYOUT_UNDER_WAY,
        PayoutStatus.NEEDS_ATTENTION,
        "workflow",
        "the PSP refuses to take the transfer back, made another amount of a call, shows nothing of one whose key has "
        "expired, or the bank has it for too long: a person decides",
    ),
    Step(
        (PayoutStatus.NEEDS_ATTENTION,),
        PayoutStatus.REQUESTED,
        "person",
        "`retry` of the transfer, under a new key",
    ),
    Step(
        (PayoutStatus.NEEDS_ATTENTION,),
        PayoutStatus.TRANSFERRED,
        "person",
        "`retry` of the payout, under a new key",
    ),
    Step(
        (PayoutStatus.NEEDS_ATTENTION,),
        PayoutStatus.RETURNING,
        "person",
        "`retry` of taking the transfer back, under a new key",
    ),
)

MERCHANT_STEPS: tuple[Step, ...] = (
    Step((), MerchantStatus.ACTIVE, "shop", "`POST /v1/merchants`"),
    Step(
        (MerchantStatus.ACTIVE,),
        MerchantStatus.FROZEN,
        "shop, person",
        "new orders, captures and payouts are refused; an order that is charged already is refunded instead of "
        "credited; a payout that was not sent to the bank yet is cancelled; refunds and disputes go on",
    ),
    Step((MerchantStatus.FROZEN,), MerchantStatus.ACTIVE, "shop, person", "unfrozen: whatever waits goes on"),
    Step(
        (MerchantStatus.ACTIVE, MerchantStatus.FROZEN),
        MerchantStatus.CLOSED,
        "shop, person",
        "as frozen, and for ever; refunds are made from what is left in the wallet, never on credit",
    ),
)


def _pairs(steps: tuple[Step, ...]) -> frozenset[tuple[str, str]]:
    return frozenset((old.value, step.new.value) for step in steps for old in step.old)


TRANSITIONS: dict[Status, frozenset[Status]] = {
    status: frozenset(Status(new) for old, new in _pairs(ORDER_STEPS) if old == status) for status in Status
}
REFUND_TRANSITIONS = _pairs(REFUND_STEPS)
DISPUTE_TRANSITIONS = _pairs(DISPUTE_STEPS)
PAYOUT_TRANSITIONS = _pairs(PAYOUT_STEPS)
MERCHANT_TRANSITIONS = _pairs(MERCHANT_STEPS)


def can_become(old: Status, new: Status) -> bool:
    """True if the tables allow an order this transition."""
    return new in TRANSITIONS[old]


_URGENCY = (
    Status.NEEDS_ATTENTION,
    Status.REQUIRES_ACTION,
    Status.IN_REVIEW,
    Status.PENDING,
    Status.AUTHORIZED,
    Status.EXECUTING,
    Status.NOT_STARTED,
)


def combined(statuses: list[Status]) -> Status:
    """The payment's status: the most urgent open one; else SUCCESS if any order succeeded, else what the rest share."""
    for status in _URGENCY:
        if status in statuses:
            return status
    for status in (Status.SUCCESS, Status.FAILED):
        if status in statuses:
            return status
    return Status.CANCELLED
