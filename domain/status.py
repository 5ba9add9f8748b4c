"""The states of a payment order and the transitions that are allowed between them."""

from enum import StrEnum


class Status(StrEnum):
    """Of a payment order; a payment shows the one that `combined` computes from its orders."""

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

_OPEN = frozenset(Status) - TERMINAL - {Status.NOT_STARTED}

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.NOT_STARTED: frozenset({Status.EXECUTING, Status.CANCELLED}),
    **{status: (_OPEN | TERMINAL) - {status, Status.EXECUTING} for status in _OPEN},
    **{status: frozenset() for status in TERMINAL},
}


def can_become(old: Status, new: Status) -> bool:
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


class RefundStatus(StrEnum):
    """Of a refund; UNKNOWN is no status: an unanswered refund stays REQUESTED and is asked for again under its key."""

    REQUESTED = "REQUESTED"
    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
