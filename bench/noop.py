"""The floor under every payment: a workflow that does nothing, started eagerly, in the process that waits for it."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

TASK_QUEUE = "bench-noop"

_waiting: dict[str, asyncio.Future[None]] = {}


@workflow.defn(name="bench_noop")
class NoOpWorkflow:
    """Its end is handed over inside the process, as a payment's is: to ask the server for it is one request more."""

    @workflow.run
    async def run(self, ticket: str) -> None:
        waiter = _waiting.pop(ticket, None)
        if waiter is not None:
            waiter.get_loop().call_soon_threadsafe(waiter.set_result, None)


async def run_noop(client: Client, ticket: str) -> None:
    """Start one and wait for its end; `ticket` names it."""
    waiter = _waiting[ticket] = asyncio.get_running_loop().create_future()
    await client.start_workflow(
        NoOpWorkflow.run,
        ticket,
        id=f"bench:{ticket}",
        task_queue=TASK_QUEUE,
        task_timeout=timedelta(seconds=5),
        request_eager_start=True,
    )
    await waiter


def noop_worker(client: Client) -> Worker:
    """With the limits of the worker that payments run on."""
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[NoOpWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=400,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )
