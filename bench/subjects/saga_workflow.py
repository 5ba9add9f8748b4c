"""The saga as Temporal's samples write it: a workflow that calls one regular activity after the other."""

from datetime import timedelta
from typing import Any

from temporalio import workflow

_TIMEOUT = timedelta(seconds=30)


@workflow.defn(name="bench_saga")
class SagaWorkflow:
    """Each activity has a transaction of its own."""

    @workflow.run
    async def run(self, payment: dict[str, Any]) -> str:
        await workflow.execute_activity("bench_store", payment, start_to_close_timeout=_TIMEOUT)
        paid: bool = await workflow.execute_activity("bench_charge", payment, start_to_close_timeout=_TIMEOUT)
        if paid:
            await workflow.execute_activity("bench_credit", payment, start_to_close_timeout=_TIMEOUT)
            await workflow.execute_activity("bench_post", payment, start_to_close_timeout=_TIMEOUT)
        status = "SUCCESS" if paid else "FAILED"
        await workflow.execute_activity("bench_complete", args=[payment, status], start_to_close_timeout=_TIMEOUT)
        return status
