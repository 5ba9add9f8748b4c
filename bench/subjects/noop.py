"""(a) The floor: a workflow that does nothing, on the same server with the same client. (g) The same with one local
activity that waits as long as the PSP takes, and does nothing either."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from bench.subjects.noop_workflow import NoOpWorkflow, WaitWorkflow, wait, waiting
from bench.subjects.subject import Subject
from config.settings import Settings
from runtime.temporal import connect
from runtime.wiring import keyring_of


class NoOps(Subject):
    """Started eagerly, in the process that waits for it."""

    async def open(self) -> None:
        settings = Settings()
        self._temporal: Client = await connect(settings, keyring_of(settings))
        self._waits = self.opening.subject == "wait"
        self._task_queue = f"bench-{self.opening.subject}"
        activities = [wait] if self._waits else []
        await self._stack.enter_async_context(_worker(self._temporal, self._task_queue, activities))

    async def send(self) -> str:
        ticket = self._next()
        ended = waiting[ticket] = asyncio.get_running_loop().create_future()
        workflow_id = f"bench:{ticket}"
        asked = (WaitWorkflow.run, [ticket, self.opening.psp_s]) if self._waits else (NoOpWorkflow.run, [ticket])
        await self._temporal.start_workflow(
            asked[0],
            args=asked[1],
            id=workflow_id,
            task_queue=self._task_queue,
            task_timeout=timedelta(seconds=5),
            request_eager_start=True,
        )
        await ended
        self.workflows.append(workflow_id)
        return "completed"


def _worker(client: Client, task_queue: str, activities: Sequence[Callable[..., Any]]) -> Worker:
    """With the limits of the worker that payments run on."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[NoOpWorkflow, WaitWorkflow],
        activities=activities,
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=400,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


SUBJECT = NoOps
