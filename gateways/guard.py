"""The guard between us and a PSP: a bulkhead, a pacer and a circuit breaker, in one small object per PSP.

A guard never queues: a call that cannot go within `WAIT_MAX_S` is refused, so that one slow PSP cannot hold the
process, and the refused payment takes the durable path instead. One guard belongs to one event loop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn

from prometheus_client import Counter, Gauge

WAIT_MAX_S = 0.05
"""The longest wait for the pacer: short against an HTTP call, long enough to smooth a burst."""

BURST_S = 0.25
"""Unused time that may be saved up: in any second at most 1.25 × the rate is sent (80/s stays at Stripe's 100/s)."""

SLOWEST = 16
"""A PSP that answers 429 again and again gets 1/16 of the rate, never nothing."""

_ACTIVE = Gauge("paysaga_psp_active_calls", "Calls to the PSP that are under way", ["psp"], multiprocess_mode="livesum")
_RATE = Gauge(
    "paysaga_psp_rate_per_second",
    "The pacer's present rate; 429 answers lower it",
    ["psp"],
    multiprocess_mode="livesum",
)
_BREAKER = Gauge(
    "paysaga_psp_breaker_open",
    "1 while the circuit breaker refuses calls, 0.5 while it probes",
    ["psp"],
    multiprocess_mode="livemax",
)
_REFUSED = Counter("paysaga_psp_refused", "Calls refused before anything was sent", ["psp", "reason"])


class Verdict(Enum):
    """The bearing of a call's answer on the PSP's health."""

    NOTHING = auto()
    """The caller gave up before there was an answer."""
    ANSWERED = auto()
    """Any answer that the PSP meant to give; a decline is one."""
    THROTTLED = auto()
    """Alive, but asks for fewer calls (429)."""
    FAULT = auto()
    """No connection, no answer in time, a 5xx or a body that cannot be read."""


class Refused(Exception):
    """A call that was not admitted: nothing was sent. `reason` is `busy` or `breaker_open`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Permit:
    """One admitted call. The holder sets `verdict` before it leaves."""

    era: int
    verdict: Verdict = Verdict.NOTHING


class Guard:
    """`async with guard.admit() as permit: …` raises Refused at once, or lets the call through and learns from it.

    `rate_per_s` paces, `concurrency_max` bounds the calls under way, `breaker_failures` faults in a row open the
    breaker for `breaker_open_s`, after which one probe decides. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency_max: int,
        rate_per_s: float,
        breaker_failures: int,
        breaker_open_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._concurrency_max = concurrency_max
        self._rate_max = self._rate = rate_per_s
        self._breaker_failures = breaker_failures
        self._breaker_open_s = breaker_open_s
        self._clock, self._sleep = clock, sleep
        self._active = 0
        self._next_at = clock() - BURST_S  # when the next call may go
        self._slowed_at = float("-inf")
        self._faults = 0  # in a row
        self._open_until: float | None = None  # None: closed
        self._probing = False
        # Counts the breaker's changes: an answer to a call of an earlier era says nothing about the present one.
        self._era = 0
        _RATE.labels(name).set(rate_per_s)
        _BREAKER.labels(name).set(0)

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[Permit]:
        """Raises Refused; inside, the call is counted as under way."""
        wait_s = self._enter()
        permit = Permit(self._era)
        try:
            if wait_s > 0:
                await self._sleep(wait_s)
            yield permit
        finally:
            self._leave(permit)

    def _enter(self) -> float:
        """Count the call as under way, or raise Refused without having counted it. Returns the pacer's wait in
        seconds."""
        now = self._clock()
        if self._open_until is not None and (now < self._open_until or self._probing):
            self._refuse("breaker_open")
        slot = max(self._next_at, now - BURST_S)
        if self._active >= self._concurrency_max or slot - now > WAIT_MAX_S:
            self._refuse("busy")
        if self._open_until is not None:
            self._probing = True
            _BREAKER.labels(self.name).set(0.5)
        self._next_at = slot + 1 / self._rate
        self._active += 1
        _ACTIVE.labels(self.name).set(self._active)
        return slot - now

    def _refuse(self, reason: str) -> NoReturn:
        _REFUSED.labels(self.name, reason).inc()
        raise Refused(reason)

    def _leave(self, permit: Permit) -> None:
        self._active -= 1
        _ACTIVE.labels(self.name).set(self._active)
        self._pace(permit.verdict)
        if permit.era == self._era:
            self._judge(permit.verdict)

    def _pace(self, verdict: Verdict) -> None:
        """Halve the rate on 429, at most once a second (one burst is one complaint); each answer gives 1 % back."""
        now = self._clock()
        if verdict is Verdict.THROTTLED and now - self._slowed_at >= 1:
            self._slowed_at = now
            self._rate = max(self._rate / 2, self._rate_max / SLOWEST)
        elif verdict is Verdict.ANSWERED and self._rate < self._rate_max:
            self._rate = min(self._rate + self._rate_max / 100, self._rate_max)
        else:
            return
        _RATE.labels(self.name).set(self._rate)

    def _judge(self, verdict: Verdict) -> None:
        """Move the breaker. A probe that taught nothing leaves room for the next one."""
        probe, self._probing = self._probing, False
        if verdict is Verdict.NOTHING:
            return
        if verdict is Verdict.FAULT:
            self._faults += 1
            if probe or self._faults >= self._breaker_failures:
                self._turn(self._clock() + self._breaker_open_s)
            return
        self._faults = 0
        if probe:
            self._turn(None)

    def _turn(self, open_until: float | None) -> None:
        self._open_until = open_until
        self._faults = 0
        self._era += 1
        _BREAKER.labels(self.name).set(0 if open_until is None else 1)
