"""`python -m bench.load`: a process that makes one subject's load. What runs in process runs in here; of what is asked
through HTTP it is the client alone.

It reads an opening and connects. Then, plan by plan: it prepares what the plan needs, says that it is ready, waits for
a line, sends, and tells what it saw. It ends with its standard input.
"""

import asyncio
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import uvloop

from bench.plan import LoadEvent, LoadResult, Opening, Plan, Timing
from bench.subjects.registry import subject_of
from bench.subjects.subject import Subject

_AFTER_ERROR_S = 0.05
"""A client that is refused takes a breath, or a server that is down would be asked a million times."""


class Load:
    """A closed loop: each client sends its next request when its last one is answered."""

    def __init__(self, plan: Plan, subject: Subject) -> None:
        self._plan, self._subject = plan, subject
        self._answers: Counter[str] = Counter()
        self._early_s: list[float] = []
        self._latencies_s: list[float] = []
        self._sent = self._done = self._done_in_window = self._done_since_open = 0
        self._last_done_at = 0.0
        self._opens = self._closes = math.inf
        self._over = asyncio.Event()

    async def run(self) -> LoadResult:
        """Send the whole plan; returns once every request is answered."""
        plan = self._plan
        cpu_before_s = time.process_time()
        self._opens = time.perf_counter() + plan.lead_s
        self._closes = self._opens + plan.seconds
        telling = asyncio.create_task(self._tell())
        await asyncio.gather(*(self._client() for _ in range(plan.concurrency)))
        await telling
        return LoadResult(
            sent=self._sent,
            per_s=self._per_s(),
            timing=timing(self._latencies_s or self._early_s),
            answers=dict(self._answers.most_common()),
            cpu_s=time.process_time() - cpu_before_s,
            made=self._subject.made,
            workflows=list(self._subject.workflows),
        )

    def _per_s(self) -> float:
        """Answers in the window. Where an answer takes so long that the window saw few: all that came after it opened,
        until the last one."""
        done, ended = self._done_in_window, min(self._closes, self._last_done_at)
        if done < self._plan.concurrency:
            done, ended = self._done_since_open, self._last_done_at
        return done / (ended - self._opens) if ended > self._opens else 0.0

    async def _client(self) -> None:
        clock = time.perf_counter
        while (began := clock()) < self._closes and self._sent < self._plan.count_max:
            self._sent += 1
            answer = await self._subject.send()
            ended = self._last_done_at = clock()
            self._done += 1
            if self._done >= self._plan.count_max:
                self._over.set()
            self._answers[answer] += 1
            (self._latencies_s if began >= self._opens else self._early_s).append(ended - began)
            self._done_since_open += ended >= self._opens
            self._done_in_window += self._opens <= ended <= self._closes
            if answer.startswith("error"):
                await asyncio.sleep(_AFTER_ERROR_S)

    async def _tell(self) -> None:
        """Say exactly when the measured window opens and closes; of a plan with a number of requests, when it ends."""
        for mark, moment in (("opens", self._opens), ("closes", self._closes)):
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, moment - time.perf_counter())):
                    await self._over.wait()
            say(LoadEvent.model_validate({"mark": mark}))


def timing(latencies_s: Sequence[float]) -> Timing:
    """The percentiles by nearest rank: each is the time of a request that there was."""
    ranked = sorted(latencies_s)
    if not ranked:
        return Timing()

    def rank(percent: float) -> float:
        return round(ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)] * 1000, 3)

    return Timing(p50_ms=rank(50), p95_ms=rank(95), p99_ms=rank(99), max_ms=rank(100))


def say(line: LoadEvent) -> None:
    """One line for the process that started us."""
    sys.stdout.write(line.model_dump_json(exclude_none=True) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Until the standard input ends."""
    opening = Opening.model_validate_json(await asyncio.to_thread(sys.stdin.readline))
    async with subject_of(opening) as subject:
        say(LoadEvent(mark="open"))
        while line := await asyncio.to_thread(sys.stdin.readline):
            plan = Plan.model_validate_json(line)
            await subject.begin(plan)
            say(LoadEvent(mark="ready"))
            await asyncio.to_thread(sys.stdin.readline)
            result = await Load(plan, subject).run()
            say(LoadEvent(mark="ended", result=result))


if __name__ == "__main__":
    uvloop.run(main())
    # A process that used the Temporal client may abort in its own exit.
    sys.stdout.flush()
    os._exit(0)
