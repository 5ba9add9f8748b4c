"""The Temporal workers: which activities and workflows are served on which queue, with which limits."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version

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

from activities.charge import ChargeActivities
from activities.dispute import DisputeActivities
from activities.payment import PaymentActivities
from activities.payout import PayoutActivities
from activities.payout_run import PayoutRunActivities
from activities.reconciliation import ReconciliationActivities
from activities.refund import RefundActivities
from activities.risk import RiskActivities
from activities.seal import SealActivities
from activities.sweep import SweepActivities
from domain.waiting import psp_queue
from runtime.wiring import Runtime, bank_patience
from workers.schedules import carry_out
from workflows.dispute import DisputeWorkflow
from workflows.late_charge import LateChargeWorkflow
from workflows.payment import PaymentWorkflow
from workflows.payout import PayoutWorkflow
from workflows.payout_run import PayoutRunWorkflow, ReleaseWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.refund import RefundWorkflow
from workflows.seal import SealWorkflow
from workflows.sweep import SweepWorkflow

SHUTDOWN_TIMEOUT = timedelta(seconds=5)
"""A step of our own ends within it; a PSP call that does not is made again by another worker, under the same key."""

WORKFLOWS = [
    PaymentWorkflow, LateChargeWorkflow, RefundWorkflow, DisputeWorkflow, PayoutWorkflow, PayoutRunWorkflow,
    ReleaseWorkflow, SealWorkflow, ReconciliationWorkflow, SweepWorkflow,
]  # fmt: skip


class ActivitySet:
    """The activities of a process, with everything they need handed in."""

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self.charge = ChargeActivities(
            runtime.database,
            runtime.psps,
            runtime.keyring,
            fast_timeout_s=settings.stripe_fast_timeout_s,
            timeout_s=settings.stripe_timeout_s,
        )
        self.payment = PaymentActivities(runtime.database, runtime.notifier, send_for_s=runtime.send_for_s)
        self.refund = RefundActivities(
            runtime.database,
            runtime.psps,
            runtime.notifier,
            fast_timeout_s=settings.stripe_fast_timeout_s,
            timeout_s=settings.stripe_timeout_s,
            send_for_s=runtime.send_for_s,
        )
        self.dispute = DisputeActivities(
            runtime.database, runtime.psps, runtime.keyring, timeout_s=settings.stripe_timeout_s
        )
        self.risk = RiskActivities(
            runtime.database, runtime.psps, runtime.keyring, look_timeout_s=settings.stripe_look_timeout_s
        )
        self.payout = PayoutActivities(
            runtime.database,
            runtime.psps,
            runtime.notifier,
            fast_timeout_s=settings.stripe_fast_timeout_s,
            timeout_s=settings.stripe_timeout_s,
            send_for_s=runtime.send_for_s,
            bank=bank_patience(settings),
        )
        self.payout_run = PayoutRunActivities(
            runtime.database,
            runtime.workflow_client,
            psp=runtime.psp.name,
            fit=runtime.payable,
            send_for_s=runtime.send_for_s,
        )
        self.seal = SealActivities(runtime.database)
        self.reconciliation = ReconciliationActivities(
            runtime.database,
            runtime.psps,
            runtime.workflow_client,
            here_s=settings.reconcile_here_grace_s,
            there_s=settings.reconcile_grace_s,
            bank_days=settings.reconcile_bank_days,
            page_timeout_s=settings.stripe_timeout_s,
            match_timeout_s=settings.reconcile_timeout_s,
        )
        self.sweep = SweepActivities(
            runtime.database,
            runtime.workflow_client,
            partial(carry_out, runtime.temporal, settings),
            after_s=settings.sweep_after_s,
        )

    def database_steps(self) -> list:  # type: ignore[type-arg]
        p, r, d, o, run = self.payment, self.refund, self.dispute, self.payout, self.payout_run
        return [
            p.await_confirmation, p.close_unconfirmed, p.settle, p.rest, p.request_cancel, p.begin_compensation,
            p.hold, p.close, p.record_resolution, p.mark_capture, p.expire_authorization, p.review,
            p.review_by_default, p.release, r.begin_late_charge, r.book_refund, r.retry_refund, d.book_dispute,
            d.book_evidence, d.warn_of_deadline, o.book_transfer, o.book_payout, o.look_at_payout, o.resolve_payout,
            run.open_payout_run, run.close_payout_run, run.release_funds, run.pay_due, self.seal.seal_ledger,
        ]  # fmt: skip

    def psp_steps(self) -> list:  # type: ignore[type-arg]
        c, r, d, o = self.charge, self.refund, self.dispute, self.payout
        return [
            c.charge_until_known, c.check_charge, c.capture_charge, c.void_charge, r.refund_until_known,
            r.check_refund, d.check_dispute, d.submit_evidence, o.transfer_until_known, o.pay_out_until_known,
            o.check_payout, o.cancel_payout, o.reverse_transfer, o.check_reference, self.reconciliation.stage_from_psp,
        ]  # fmt: skip

    def local_steps(self) -> list:  # type: ignore[type-arg]
        """PSP steps that also run inside a workflow task."""
        c = self.charge
        return [
            c.charge_once, c.capture_charge, c.void_charge, self.refund.refund_once, self.risk.assess,
            self.payout.transfer_once, self.payout.pay_out_once,
        ]  # fmt: skip

    def reconciliation_steps(self) -> list:  # type: ignore[type-arg]
        """All but the PSP's list, which is asked for on the PSP's queue."""
        r = self.reconciliation
        return [
            r.open_reconciliation, r.stage_from_file, r.match_lines, r.apply_fixes, r.verify_fixes,
            r.complete_reconciliation, r.fail_reconciliation,
        ]  # fmt: skip

    def sweep_steps(self) -> list:  # type: ignore[type-arg]
        s = self.sweep
        return [
            s.sweep_payments, s.sweep_inbox, s.sweep_refunds, s.sweep_disputes, s.sweep_payouts,
            s.sweep_reconciliations,
        ]  # fmt: skip


def payment_worker(runtime: Runtime, activities: ActivitySet) -> Worker:
    """Workflow tasks and database steps."""
    settings = runtime.settings
    return Worker(
        runtime.temporal,
        task_queue=settings.temporal_task_queue,
        workflows=WORKFLOWS,
        activities=[
            *activities.database_steps(),
            *activities.local_steps(),
            *activities.reconciliation_steps(),
            *activities.sweep_steps(),
        ],
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


def psp_worker(runtime: Runtime, activities: ActivitySet, psp: str) -> Worker:
    """The durable PSP calls of one PSP: a queue of its own, so that a slow PSP holds up no other.

    The rate is the same on every worker of the queue: for Temporal the last poller wins.
    """
    settings = runtime.settings
    return Worker(
        runtime.temporal,
        task_queue=psp_queue(settings.temporal_task_queue, psp),
        activities=activities.psp_steps(),
        max_concurrent_activities=settings.stripe_concurrency_max,
        max_task_queue_activities_per_second=settings.stripe_rate_per_s,
        graceful_shutdown_timeout=SHUTDOWN_TIMEOUT,
        deployment_config=_deployment(),
    )


def _runner(*, strict: bool) -> WorkflowRunner:
    """The sandbox re-imports the workflow's modules at each run: a price for the tests to pay, not for each payment."""
    if not strict:
        return UnsandboxedWorkflowRunner()
    ours = ("domain", "activities", "db", "gateways", "pydantic", "pydantic_core", "iso4217")
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*ours))


def _deployment() -> WorkerDeploymentConfig:
    """Named, or each start would hash all bytecode for a name. Who deploys versions beside each other turns it on."""
    release = WorkerDeploymentVersion(deployment_name="paysaga", build_id=version("paysaga"))
    return WorkerDeploymentConfig(version=release, use_worker_versioning=False)


@asynccontextmanager
async def running(workers: list[Worker]) -> AsyncIterator[None]:
    """All of them, stopped together."""
    async with AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker)
        yield
