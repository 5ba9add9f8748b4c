"""Stripe's objects as they come over the wire, and how their members are read. No I/O.

Nothing raises but where a docstring says so.
"""

from datetime import UTC, datetime
from typing import Any

from gateways.settlement_file import bounded_name

Object = dict[str, Any]
"""A Stripe object as it came over the wire."""

UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
"""All that reading a member of an object of an unexpected shape can raise."""


def carried(thing: Object, name: str) -> object:
    """The metadata that we wrote on an object of Stripe's under this name; None if nothing."""
    return inside(thing, "metadata", name)


def inside(thing: Any, *names: str) -> Any:
    """The member of an object under these names, one inside the other; None where there is no such thing."""
    for name in names:
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def trace_of(payout: Any) -> str | None:
    """The bank's own reference of a payout. It is `pending` until days after the payout has arrived; some banks have
    none. https://docs.stripe.com/api/payouts/object#payout_object-trace_id"""
    trace = text_or_none(inside(payout, "trace_id", "value"))
    try:
        return bounded_name(trace.strip() or None) if trace else None
    except ValueError:
        return None


def text_or_none(value: object) -> str | None:
    """The value if it is a text that is not empty."""
    return value if isinstance(value, str) and value else None


def time_of(seconds: Any) -> datetime:
    """Seconds since 1970 as a time in UTC. Raises one of UNREADABLE."""
    return datetime.fromtimestamp(seconds, UTC)


def time_or_none(seconds: Any) -> datetime | None:
    """The same; None where there is no such time."""
    try:
        return time_of(seconds) if seconds else None
    except UNREADABLE:
        return None
