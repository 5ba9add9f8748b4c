"""The places where a PSP sends its events, and whether they are sent those that we want."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from domain.model import Failure, Frozen

EVERY = "*"
"""All types, also those that there will be."""


class EventScope(StrEnum):
    """The accounts whose events an endpoint is sent."""

    ACCOUNT = "account"
    """Our own account's."""
    SELLERS = "sellers"
    """Those of the sellers' accounts at the PSP."""


class EventEndpoint(Frozen):
    """An endpoint as the PSP has it. One that is not `enabled` is sent nothing."""

    reference: str
    url: str
    scope: EventScope
    types: tuple[str, ...]
    enabled: bool


class EndpointOutcome(StrEnum):
    """The outcome of asking for endpoints, or of changing one."""

    DONE = "DONE"
    REFUSED = "REFUSED"
    """The PSP's definite word that nothing was changed; `failure` says why."""
    UNKNOWN = "UNKNOWN"


class EndpointAnswer(Frozen):
    """The PSP's answer: all endpoints, or the one that was changed. `secret` of a new one signs its events; the PSP
    tells it once."""

    outcome: EndpointOutcome
    endpoints: tuple[EventEndpoint, ...] = ()
    secret: str | None = Field(default=None, repr=False)
    failure: Failure | None = None
    reason: str | None = None


class Subscription(Frozen):
    """The endpoints of a scope, compared with what is wanted. `missing` types are not sent to any of them; what is
    `superfluous` is sent, costs work and changes nothing."""

    scope: EventScope
    endpoints: tuple[EventEndpoint, ...]
    missing: tuple[str, ...]
    superfluous: tuple[str, ...]

    @property
    def as_wanted(self) -> bool:
        return not self.missing and not self.superfluous


def compared(scope: EventScope, wanted: Sequence[str], endpoints: Sequence[EventEndpoint]) -> Subscription:
    """Compare what is wanted of a scope with the endpoints that are ours."""
    ours = tuple(one for one in endpoints if one.scope is scope)
    sent = {kind for one in ours if one.enabled for kind in one.types}
    return Subscription(
        scope=scope,
        endpoints=ours,
        missing=() if EVERY in sent else tuple(sorted(set(wanted) - sent)),
        superfluous=tuple(sorted(sent - set(wanted))),
    )
