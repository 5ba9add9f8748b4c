"""Calls of activities: where a step runs, its timeouts, and who decides "retry?"."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from domain.waiting import psp_queue

S = TypeVar("S")
R = TypeVar("R")

LOCAL_TIMEOUT = timedelta(seconds=3)
"""Below the workflow task's own five seconds, above what the activities allow themselves."""

ONCE = RetryPolicy(maximum_attempts=1)
"""schedule_to_close does not bound local retries; this does."""

FOR_EVER = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=1)
)
"""Money is never given up: a step that fails is tried again until it succeeds or a person steps in. PSP activities
bring a delay of their own with jitter."""

PSP_TIMEOUT = timedelta(seconds=60)
HEARTBEAT_TIMEOUT = timedelta(seconds=6)
"""A killed worker's call is taken over after this; most calls end before their first heartbeat, which costs one."""

DATABASE_TIMEOUT = timedelta(seconds=15)


class Calls:
    """The ways to call an activity. `summary` is what operators read of the step in Temporal's UI.

    `task_queue` is the workflow's own; PSP calls that wait go to the PSP's queue.
    """

    def __init__(self, task_queue: str, psp: str) -> None:
        self.psp = psp
        self._task_queue = task_queue
        self._psp_queue = psp_queue(task_queue, psp)

    async def local(self, method: Callable[[Any, S], Awaitable[R]], step: S, summary: str) -> R:
        """In the workflow's own task, once. Raises FailureError."""
        return await workflow.execute_local_activity_method(
            method, step, start_to_close_timeout=LOCAL_TIMEOUT, retry_policy=ONCE, summary=summary
        )

    async def durable(
        self, method: Callable[[Any, S], Awaitable[R]], step: S, summary: str, *, within: timedelta | None = None
    ) -> R:
        """At the PSP, until there is an answer; with `within` for so long at most, which raises FailureError."""
        return await workflow.execute_activity_method(
            method,
            step,
            task_queue=self._psp_queue,
            start_to_close_timeout=PSP_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            schedule_to_close_timeout=within,
            retry_policy=FOR_EVER,
            summary=summary,
        )

    async def commit(self, method: Callable[[Any, S], Awaitable[R]], step: S, summary: str) -> R:
        """In our own database: in the task first, as an activity of its own if that fails."""
        try:
            return await self.local(method, step, summary)
        except FailureError:
            return await workflow.execute_activity_method(
                method,
                step,
                task_queue=self._task_queue,
                start_to_close_timeout=DATABASE_TIMEOUT,
                retry_policy=FOR_EVER,
                summary=summary,
            )


def reason(error: FailureError) -> str:
    """The reason of an UNKNOWN answer: an attempt in the task that failed. Live it is an ActivityError around a
    TimeoutError, on replay the bare TimeoutError: both are FailureErrors. The request may have left this machine, so
    nothing is known."""
    cause = error.cause or error
    return f"not_answered: {type(cause).__name__}"
