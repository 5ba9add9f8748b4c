"""The effect of each kind of fault on a request, by the moment it strikes: before, during or after the work."""

import asyncio
import re

from sandbox.connection import Connection
from sandbox.errors import ApiError, Doc, internal, rate_limited
from sandbox.faults import Fault

# After these the server's work is done and only its answer was lost: the key is free for the retry.
ANSWER_LOST = ("timeout_after", "cut_after")
# With these the work never begins, whatever happens: the key is free from the start.
NOTHING_DONE = ("timeout_before", "cut_before")


async def before(fault: Fault, connection: Connection) -> None:
    """Delay, hold, refuse or cut a request that has done nothing yet. Raises ApiError or ClientGoneError."""
    kind = fault.spec.kind
    if kind == "hold_before":
        await connection.unless_gone(fault.hold())
    elif kind == "latency":
        fault.hit()
        # No look at the client: a real server does the work for one that has left, too.
        await asyncio.sleep(fault.spec.delay_s)
    elif kind == "timeout_before":
        fault.hit()
        await connection.unless_gone(asyncio.Event().wait())
    elif kind == "cut_before":
        fault.hit()
        connection.cut()
    else:
        refuse(fault)


def refuse(fault: Fault) -> None:
    """Answer with an error instead of working. Raises ApiError."""
    kind = fault.spec.kind
    errors = {
        # Stripe stores a 500 under the key like any other result; `executed` says so.
        "http_500": (internal(), True),
        "http_500_uncached": (internal(), False),
        "http_503": (internal(503), False),
        "rate_limit": (rate_limited(), False),
    }
    if kind in errors:
        fault.hit()
        error: ApiError
        error, error.executed = errors[kind]
        raise error


def distorted_params(fault: Fault | None, raw: Doc) -> Doc:
    """The parameters with which a persistent lie is executed: another amount or currency than was asked for."""
    if fault is None or not fault.spec.persist:
        return raw
    if fault.spec.kind == "wrong_amount" and re.fullmatch("[0-9]{1,18}", str(raw.get("amount"))):
        fault.hit()
        return raw | {"amount": str(int(raw["amount"]) + fault.spec.delta)}
    if fault.spec.kind == "wrong_currency" and isinstance(raw.get("currency"), str):
        fault.hit()
        return raw | {"currency": _other_currency(fault, raw["currency"])}
    return raw


async def after(fault: Fault, connection: Connection) -> None:
    """Hold, drop or cut an answer whose work is committed. Raises ClientGoneError."""
    kind = fault.spec.kind
    if kind == "hold_after":
        await connection.unless_gone(fault.hold())
    elif kind == "timeout_after":
        fault.hit()
        await connection.unless_gone(asyncio.Event().wait())
    elif kind == "cut_after":
        fault.hit()
        connection.cut()


def distorted_answer(fault: Fault, body: Doc, *, executed_wrong: bool) -> Doc:
    """The answer with a lie in it; `executed_wrong` says that the lie is already the stored truth."""
    kind = fault.spec.kind
    if executed_wrong or kind not in ("wrong_amount", "wrong_currency", "unknown_status") or "error" in body:
        return body
    fault.hit()
    if body.get("object") == "list":
        return body | {"data": [_lie(fault, item) for item in body["data"]]}
    return _lie(fault, body)


def _lie(fault: Fault, document: Doc) -> Doc:
    if fault.spec.kind == "unknown_status":
        return document | ({"status": fault.spec.status} if "status" in document else {})
    if fault.spec.kind == "wrong_currency":
        lies: Doc = {"currency": _other_currency(fault, document["currency"])} if "currency" in document else {}
    else:
        names = ("amount", "amount_received", "amount_captured")
        lies = {name: document[name] + fault.spec.delta for name in names if document.get(name)}
    if isinstance(document.get("latest_charge"), dict):
        lies["latest_charge"] = _lie(fault, document["latest_charge"])
    return document | lies


def _other_currency(fault: Fault, currency: str) -> str:
    return fault.spec.currency or ("eur" if currency.lower() == "usd" else "usd")
