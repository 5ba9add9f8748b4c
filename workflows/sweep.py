"""The sweeper, on a schedule."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from workflows.patches import SWEEP_DISPUTES, SWEEP_PAYOUTS, SWEEP_RECONCILIATIONS

with workflow.unsafe.imports_passed_through():
    from activities.sweep import SweepActivities
    from domain.sweep import SWEEP_WORKFLOW, SweepReport


@workflow.defn(name=SWEEP_WORKFLOW)
class SweepWorkflow:
    @workflow.run
    async def run(self) -> SweepReport:
        """Look once for payments without a workflow, then for webhooks that nobody took notice of, then for refunds,
        disputes, payouts and reconciliations that nobody takes care of, and for discrepancies that are overdue."""
        payments = await self._sweep(SweepActivities.sweep_payments)
        inbox = await self._sweep(SweepActivities.sweep_inbox)
        refunds = await self._sweep(SweepActivities.sweep_refunds)
        disputes = SweepReport()
        if workflow.patched(SWEEP_DISPUTES):
            disputes = await self._sweep(SweepActivities.sweep_disputes)
        payouts = SweepReport()
        if workflow.patched(SWEEP_PAYOUTS):
            payouts = await self._sweep(SweepActivities.sweep_payouts)
        reconciled = SweepReport()
        if workflow.patched(SWEEP_RECONCILIATIONS):
            reconciled = await self._sweep(SweepActivities.sweep_reconciliations)
        return SweepReport(
            restarted=payments.restarted,
            nudged=inbox.nudged,
            late_charges=inbox.late_charges,
            refunds=inbox.refunds + refunds.refunds,
            disputes=inbox.disputes + disputes.disputes,
            payouts=inbox.payouts + payouts.payouts,
            reconciliations=reconciled.reconciliations,
            tasks=payments.tasks + reconciled.tasks,
        )

    @staticmethod
    async def _sweep(method: Any) -> SweepReport:
        """The report of one of them. An activity that fails must not keep the others from their work: the next run
        tries again."""
        try:
            report: SweepReport = await workflow.execute_activity_method(
                method,
                start_to_close_timeout=timedelta(minutes=10),
                heartbeat_timeout=timedelta(seconds=30),
                retry_policy=RetryPolicy(maximum_attempts=3),
            )
        except ActivityError as error:
            workflow.logger.error("sweep failed: %s", error.cause)
            return SweepReport()
        return report
