"""The workflow that does nothing."""

import asyncio

from temporalio import workflow

waiting: dict[str, asyncio.Future[None]] = {}


@workflow.defn(name="bench_noop")
class NoOpWorkflow:
    """Its end is handed over inside the process, as a payment's is: to ask the server for it is one request more."""

    @workflow.run
    async def run(self, ticket: str) -> None:
        waiter = waiting.pop(ticket, None)
        if waiter is not None:
            waiter.get_loop().call_soon_threadsafe(waiter.set_result, None)
