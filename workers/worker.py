"""The Temporal workers: which activities and workflows are served on which queue, with which limits."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import (
    FixedSizeSlotSupplier,
    PollerBehaviorAutoscaling,
    ResourceBasedSlotConfig,
    ResourceBasedSlotSupplier,
    ResourceBasedTunerConfig,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkerTuner,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.queues import Queue, served_on
from domain.waiting import batch_queue, psp_queue
from runtime.wiring import Runtime
from workers.registry import WORKFLOWS, activity_holders

SHUTDOWN_TIMEOUT = timedelta(seconds=5)
"""A step of our own ends within it; a PSP call that does not is made again by another worker, under the same key."""


def payment_worker(runtime: Runtime) -> Worker:
    """Workflow tasks, and the activities of our own queue."""
    settings = runtime.settings
    return Worker(
        runtime.temporal,
        task_queue=settings.temporal_task_queue,
        workflows=WORKFLOWS,
        activities=served_on(Queue.OWN, activity_holders(runtime)),
        workflow_runner=_runner(strict=settings.worker_strict_sandbox),
        max_cached_workflows=settings.worker_max_cached_workflows,
        tuner=_tuner(),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.sticky_queue_timeout_s),
        graceful_shutdown_timeout=SHUTDOWN_TIMEOUT,
        deployment_config=_deployment(),
    )


def _tuner() -> WorkerTuner:
    """A local activity holds its task's slot while the PSP answers, hence many tasks at once; but only while the
    processor keeps up. Tasks that it does not come to in time are given to be done again, on top of the others: so a
    crowd of webhooks would bring a worker to a standstill."""
    resources = ResourceBasedTunerConfig(target_memory_usage=0.9, target_cpu_usage=0.9)
    slots = ResourceBasedSlotConfig(minimum_slots=50, maximum_slots=400, ramp_throttle=timedelta(0))
    tasks = ResourceBasedSlotSupplier(slots, resources)
    return WorkerTuner.create_composite(
        workflow_supplier=tasks,
        local_activity_supplier=tasks,
        activity_supplier=FixedSizeSlotSupplier(200),
        nexus_supplier=FixedSizeSlotSupplier(1),
    )


def psp_worker(runtime: Runtime, psp: str) -> Worker:
    """The durable PSP calls of one PSP: a queue of its own, so that a slow PSP holds up no other.

    The rate is the same on every worker of the queue: for Temporal the last poller wins.
    """
    settings = runtime.settings
    return Worker(
        runtime.temporal,
        task_queue=psp_queue(settings.temporal_task_queue, psp),
        activities=served_on(Queue.PSP, activity_holders(runtime)),
        max_concurrent_activities=settings.stripe_concurrency_max,
        max_task_queue_activities_per_second=settings.stripe_rate_per_s,
        graceful_shutdown_timeout=SHUTDOWN_TIMEOUT,
        deployment_config=_deployment(),
    )


def batch_worker(runtime: Runtime) -> Worker:
    """The matching of reconciliations, one at a time: it takes minutes of the database that payments share."""
    return Worker(
        runtime.temporal,
        task_queue=batch_queue(runtime.settings.temporal_task_queue),
        activities=served_on(Queue.BATCH, activity_holders(runtime)),
        max_concurrent_activities=1,
        graceful_shutdown_timeout=SHUTDOWN_TIMEOUT,
        deployment_config=_deployment(),
    )


def _runner(*, strict: bool) -> WorkflowRunner:
    """The sandbox re-imports the workflow's modules at each run: a price for the tests to pay, not for each payment."""
    if not strict:
        return UnsandboxedWorkflowRunner()
    ours = ("domain", "activities", "db", "gateways", "pydantic", "pydantic_core", "iso4217")
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*ours))


RELEASE = "0.1.0"
"""As in pyproject.toml. Not asked from the installed packages: in the image, Paysaga is none of them."""


def _deployment() -> WorkerDeploymentConfig:
    """Named, or each start would hash all bytecode for a name. Who deploys versions beside each other turns it on."""
    release = WorkerDeploymentVersion(deployment_name="paysaga", build_id=RELEASE)
    return WorkerDeploymentConfig(version=release, use_worker_versioning=False)


@asynccontextmanager
async def running(workers: list[Worker]) -> AsyncIterator[None]:
    """All of them, stopped together."""
    async with AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker)
        yield
