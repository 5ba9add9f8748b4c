"""Webhooks to a shop: its endpoints, the deliveries of events to them, when each is tried again, and signatures
(Standard Webhooks)."""

import base64
import hashlib
import hmac
import random
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain.model import Frozen

TEST_TYPE = "webhook_endpoint.test"
"""Of the event that an endpoint is sent on request; it is in no outbox."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - of the standard
OVERLAP = timedelta(hours=24)
"""For which a replaced secret still signs."""

IN_FLIGHT_MAX = 4
"""Deliveries to one endpoint at once."""

FAILURES_HOLD = 5
"""Failures in a row after which an endpoint gets one delivery at a time, a probe, until one succeeds."""
PROBE_EVERY = timedelta(minutes=1)
FAILING_MAX = timedelta(days=5)
"""An endpoint that has failed without a success for so long is disabled."""
EARLIER_WAIT = timedelta(minutes=10)
"""An event waits for so long for an earlier one of its object that has failed."""

_MINUTE, _HOUR = 60, 3600
STEPS_S = (
    5, _MINUTE, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR,
)  # fmt: skip
"""The waits between two attempts; the first attempt is at once."""
ATTEMPTS_MAX = len(STEPS_S) + 1
_SPREAD = 0.2


class EndpointStatus(StrEnum):
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class DeliveryStatus(StrEnum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"
    """All attempts have failed: it is a dead letter."""
    SKIPPED = "SKIPPED"
    """Its endpoint was disabled before."""


class Endpoint(Frozen):
    """A place of a shop's that its events are sent to. `types`: only these; empty: all. `failing_since`: when the
    first failure after the last success was."""

    id: str
    tenant_id: str
    url: str
    types: tuple[str, ...]
    status: EndpointStatus
    disabled_because: str | None
    failures: int
    failing_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime


class Delivery(Frozen):
    """An event for an endpoint. `seq`: its number in the outbox, which a test has none of."""

    id: str
    tenant_id: str
    endpoint_id: str
    event_id: str
    seq: int | None
    type: str
    object_id: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None


class Attempt(Frozen):
    """One try at a delivery: what was answered, or why there was no answer. `response`: its first 2 KB."""

    n: int
    at: datetime
    address: str | None
    status_code: int | None
    latency_ms: int
    error: str | None
    response: str | None


class Answer(NamedTuple):
    """The result of one request. `retry_after_s`: for which the receiver asks to be left alone."""

    status_code: int | None
    error: str | None
    address: str | None
    latency_ms: int
    response: str | None
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def gone(self) -> bool:
        """The receiver wants no more events, ever."""
        return self.status_code == 410


def next_attempt_in(attempts: int, retry_after_s: float | None = None) -> timedelta | None:
    """The wait after so many failed attempts; None: it was the last. A receiver may ask for a longer wait, up to twice
    the step's."""
    if attempts >= ATTEMPTS_MAX:
        return None
    step_s = STEPS_S[attempts - 1]
    wait_s = step_s * (1 + random.uniform(0, _SPREAD))  # noqa: S311 - it only spreads them
    return timedelta(seconds=max(wait_s, min(retry_after_s or 0.0, 2 * step_s)))


def new_secret() -> str:
    """192 bits of chance, written as the standard asks for."""
    return secret_of(secrets.token_bytes(24))


def secret_of(key: bytes) -> str:
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signed_headers(event_id: str, at: datetime, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers that prove to whoever has one of the secrets that the body is ours."""
    timestamp = str(int(at.timestamp()))
    signed = f"{event_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(signed, key) for key in keys),
    }


def _signature(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
