"""(a) The floor: a workflow that does nothing, on the same server with the same client. (g) The same with one local
activity that waits as long as the PSP takes, and does nothing either."""

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from bench.subjects.noop_workflow import NoOpWorkflow, WaitWorkflow, wait, waiting
from bench.subjects.subject import Subject
from config.settings import Settings
from runtime.temporal import connect
from runtime.wiring import keyring_of

_TASK_QUEUE = "bench-noop"


class NoOps(Subject):
    """Started eagerly, in the process that waits for it."""

    async def open(self) -> None:
        settings = Settings()
        self._temporal: Client = await connect(settings, keyring_of(settings))
        self._workflow = WaitWorkflow.run if self.opening.subject == "wait" else NoOpWorkflow.run
        await self._stack.enter_async_context(_worker(self._temporal, f"{_TASK_QUEUE}-{self.opening.subject}"))

    async def send(self) -> str:
        ticket = self._next()
        ended = waiting[ticket] = asyncio.get_running_loop().create_future()
        workflow_id = f"bench:{ticket}"
        await self._temporal.start_workflow(
            self._workflow,
            args=[ticket, self.opening.psp_s],
            id=workflow_id,
            task_queue=f"{_TASK_QUEUE}-{self.opening.subject}",
            task_timeout=timedelta(seconds=5),
            request_eager_start=True,
        )
        await ended
        self.workflows.append(workflow_id)
        return "completed"


def _worker(client: Client, task_queue: str) -> Worker:
    """With the limits of the worker that payments run on."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[NoOpWorkflow, WaitWorkflow],
        activities=[wait],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=400,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


SUBJECT = NoOps
