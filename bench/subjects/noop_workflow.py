"""The workflow that does nothing, and the one that waits a while."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow

waiting: dict[str, asyncio.Future[None]] = {}


def _ended(ticket: str) -> None:
    """Handed over inside the process, as a payment's end is: to ask the server for it is one request more."""
    waiter = waiting.pop(ticket, None)
    if waiter is not None:
        waiter.get_loop().call_soon_threadsafe(waiter.set_result, None)


@workflow.defn(name="bench_noop")
class NoOpWorkflow:
    @workflow.run
    async def run(self, ticket: str) -> None:
        _ended(ticket)


@workflow.defn(name="bench_wait")
class WaitWorkflow:
    """Its events are those of a payment: a start, a task, the mark of a local activity, an end."""

    @workflow.run
    async def run(self, ticket: str, seconds: float) -> None:
        await workflow.execute_local_activity(wait, seconds, start_to_close_timeout=timedelta(seconds=30))
        _ended(ticket)


@activity.defn(name="bench_wait")
async def wait(seconds: float) -> None:
    """As long as the PSP would take."""
    await asyncio.sleep(seconds)
