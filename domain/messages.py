"""Messages to the workflows: from the API, the terminal, webhooks and Temporal's UI."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.model import Frozen

CAPTURE = "capture"
"""The reason of a nudge that tells of a capture's request."""


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
    """A person's choices about a payment, or a refund, that needs attention."""

    RETRY = "retry"
    """Ask the PSP again now; a refund that failed is tried again under a new key."""
    NOT_CHARGED = "not_charged"
    """I looked at the PSP: no money moved. The payment ends FAILED."""
    CANCEL = "cancel"
    """Refund whatever was taken."""
    REFERENCE = "reference"
    """`reference` is the PSP's object of this payment, or of this refund."""
    ACCEPT = "accept"
    """Of a refund that the PSP made of another amount: book what was made. Of a payment of which the PSP took another
    amount, not above its own: credit the sellers with what was taken."""


class Resolution(Frozen):
    """A person's decision, with a name: it is written to the audit log before it is acted on. `address`: of the
    client, where it came over HTTP."""

    decision: Decision
    by: str
    reference: str | None = None
    note: str = ""
    address: str | None = None


class ResolutionStep(Frozen):
    """`refund_id`: the refund that is decided about, where its own workflow asks."""

    payment_id: str
    resolution: Resolution
    refund_id: str | None = None
    at: datetime | None = None
