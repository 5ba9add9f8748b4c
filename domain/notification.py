"""Notifications: the events that people are told, in which words, over which channel, and with which outcome."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain.model import Frozen

LOCALE_DEFAULT = "en"


class ChannelName(StrEnum):
    """A way to a person. SMS and WhatsApp go to a telephone number."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"


class Audience(StrEnum):
    """The person that an event is told to."""

    BUYER = "buyer"
    SELLER = "seller"
    OPERATOR = "operator"
    """The people of the shop itself, by the one contact of the tenant."""


class Notice(NamedTuple):
    """The words that an event is told in, by their name in the word files, and to whom."""

    template: str
    audience: Audience


NOTICES = {
    "payment.succeeded": Notice("receipt", Audience.BUYER),
    "payment.failed": Notice("payment_failed", Audience.BUYER),
    "payment.requires_action": Notice("payment_action", Audience.BUYER),
    "refund.succeeded": Notice("refund", Audience.BUYER),
    "dispute.needs_response": Notice("dispute", Audience.SELLER),
    "payout.paid": Notice("payout_paid", Audience.SELLER),
    "payout.failed": Notice("payout_failed", Audience.SELLER),
    "payout.returned": Notice("payout_returned", Audience.SELLER),
    "webhook_endpoint.disabled": Notice("endpoint_disabled", Audience.OPERATOR),
}
"""Event type → how it is told. Each is about something that the person has to know, so none needs a consent."""


REPEATABLE = frozenset({ChannelName.EMAIL})
"""Channels that may be given a message again whose outcome is unknown: mail has a Message-ID, by which it is one."""


class NotificationStatus(StrEnum):
    PENDING = "PENDING"
    SENT = "SENT"
    """The mail server or Twilio has taken it."""
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    """It may have been sent; nothing tells, and it is not sent again by itself."""
    SUPPRESSED = "SUPPRESSED"
    """Not sent: the address is suppressed, or there is none any more."""


class SuppressionReason(StrEnum):
    REFUSED = "refused"
    """The mail server of the address does not know it."""
    INVALID = "invalid"
    """It is no number that can be written to."""
    UNSUBSCRIBED = "unsubscribed"
    """The person has asked for no more messages."""


class Verdict(StrEnum):
    """The outcome of one attempt."""

    SENT = "sent"
    DECLINED = "declined"
    """It is refused for good, and was not sent."""
    FAILED = "failed"
    """It was not sent; another attempt may succeed."""
    UNKNOWN = "unknown"
    """It may have been sent."""


class Answer(NamedTuple):
    """A channel's word on an attempt. `code` never has an address in it. `suppress`: why nothing more may be sent to
    this address."""

    verdict: Verdict
    code: str | None = None
    provider_id: str | None = None
    suppress: SuppressionReason | None = None


class Outgoing(NamedTuple):
    """A message as it goes out. `html` and `subject` are those of a mail; `content_sid`, `variables` those of a
    template that WhatsApp has approved."""

    id: str
    to: str
    sender_name: str
    subject: str
    text: str
    html: str = ""
    content_sid: str | None = None
    variables: dict[str, str] = {}  # noqa: RUF012 - nobody writes to it


class Notification(Frozen):
    """One event told to one person over one channel. `recipient`: a payment (its buyer), `seller:NAME` or `operator`.
    `suppression_id`: what keeps it from being sent."""

    id: str
    tenant_id: str
    event_id: str
    type: str
    object_id: str
    recipient: str
    channel: ChannelName
    template: str
    locale: str
    status: NotificationStatus
    attempts: int
    code: str | None
    provider_id: str | None
    suppression_id: str | None
    next_attempt_at: datetime
    created_at: datetime
    ended_at: datetime | None


class Setting(Frozen):
    """A tenant's wish that events of a type are told over a channel. `content_sid`: of the approved template, for
    WhatsApp."""

    type: str
    channel: ChannelName
    enabled: bool
    locale: str = LOCALE_DEFAULT
    content_sid: str | None = None


class Suppression(Frozen):
    """An address that gets nothing more over a channel; the address itself is stored as a digest alone."""

    id: str
    tenant_id: str
    channel: ChannelName
    reason: SuppressionReason
    code: str | None
    created_at: datetime


_MINUTE, _HOUR = 60, 3600
STEPS_S = (_MINUTE, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR)
"""The waits between two attempts; the first attempt is at once."""
ATTEMPTS_MAX = len(STEPS_S) + 1
LOOK_AFTER = timedelta(seconds=30)
"""A message that may have been sent, and cannot be sent under the same name again, is looked for after so long."""


def next_attempt_in(attempts: int) -> timedelta | None:
    """The wait after so many attempts; None: there is no further one."""
    return timedelta(seconds=STEPS_S[attempts - 1]) if attempts < ATTEMPTS_MAX else None
