"""The seal of the ledger, on a schedule."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.seal import SealActivities
    from domain.seal import SEAL_WORKFLOW, SealReport, SealStep


@workflow.defn(name=SEAL_WORKFLOW)
class SealWorkflow:
    @workflow.run
    async def run(self) -> SealReport:
        """Seal what was posted since the last time. What cannot be done now is left to the next time; the audit says
        since when."""
        report: SealReport = await workflow.execute_activity_method(
            SealActivities.seal_ledger,
            SealStep(at=workflow.now()),
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=5),
        )
        return report
