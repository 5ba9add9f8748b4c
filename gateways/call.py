"""A call of a PSP, whichever it is: admitted by the guard, under a deadline, measured, its errors translated once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from prometheus_client import Counter, Histogram

from gateways.guard import Guard, Refused, Verdict

_CALLS = Counter(
    "paysaga_psp_calls", "PSP operations by outcome; of an unknown, its reason", ["psp", "operation", "outcome"]
)
_SECONDS = Histogram(
    "paysaga_psp_call_seconds",
    "Duration of PSP operations",
    ["psp", "operation"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40),
)


class Answer(Protocol):
    """The end of an operation; `reason` says why an UNKNOWN is one."""

    @property
    def outcome(self) -> StrEnum: ...

    @property
    def reason(self) -> str | None: ...


T = TypeVar("T")
R = TypeVar("R", bound=Answer)


class LookupOutcome(StrEnum):
    """The outcome of looking up something that has none of its own."""

    FOUND = "FOUND"
    NOT_FOUND = "NOT_FOUND"
    UNKNOWN = "UNKNOWN"


_FAULTS = frozenset({"timeout", "connection", "server_error", "malformed"})
"""Reasons that speak of the PSP's health. A replayed 500 does not: it is an old answer, given by a healthy server."""


class Unanswered(Exception):
    """No answer that can be trusted; `reason` as in ChargeResult."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refusal(Exception):
    """The PSP's definite word that the request was not carried out. `error` is its error object, in its own terms."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error.get("code"))
        self.error = error
        self.code = error.get("code")


class PspCalls:
    """The common part of all adapters. `name` is the PSP's, in metrics and in what is stored."""

    def __init__(self, *, name: str, guard: Guard) -> None:
        self.name = name
        self._guard = guard

    async def _run(
        self,
        operation: str,
        timeout_s: float,
        unknown: Callable[[str], R],
        steps: Callable[[float], Awaitable[R]],
    ) -> R:
        """All requests of one operation under one deadline, measured; what has no answer becomes its `unknown`, and so
        does a refusal that the operation has no use for (of a list)."""
        started = time.perf_counter()
        try:
            result = await steps(asyncio.get_running_loop().time() + timeout_s)
        except Unanswered as unanswered:
            result = unknown(unanswered.reason)
        except Refusal:
            result = unknown("unrecognised")
        _SECONDS.labels(self.name, operation).observe(time.perf_counter() - started)
        _CALLS.labels(self.name, operation, result.reason or result.outcome.value.lower()).inc()
        return result

    async def _guarded(
        self,
        deadline: float,
        request: Callable[[], Awaitable[T]],
        translate: Callable[[Exception], Unanswered | Refusal],
    ) -> T:
        """One request through the guard, until `deadline` of the loop's clock. Raises Unanswered or Refusal, and
        nothing else; `translate` makes either of them out of any error."""
        try:
            async with self._guard.admit() as permit:
                try:
                    async with asyncio.timeout_at(deadline):
                        answer = await request()
                except Exception as error:  # noqa: BLE001 - `translate` knows every error, the unexpected as well
                    trouble = translate(error)
                    permit.verdict = verdict_of(trouble)
                    # Without its cause, which quotes the request: no traceback shall show a token.
                    raise trouble from None
                permit.verdict = Verdict.ANSWERED
                return answer
        except Refused as refused:
            raise Unanswered(refused.reason) from None


def verdict_of(trouble: Unanswered | Refusal) -> Verdict:
    """The verdict about the PSP's health; a refusal is an answer like any other."""
    if isinstance(trouble, Refusal):
        return Verdict.ANSWERED
    if trouble.reason == "rate_limited":
        return Verdict.THROTTLED
    return Verdict.FAULT if trouble.reason in _FAULTS else Verdict.ANSWERED
