"""Patience with a Temporal that takes connections and does not answer: one deadline for all calls of a process."""

import asyncio
from typing import Any

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import (
    DescribeScheduleInput,
    DescribeWorkflowInput,
    Interceptor,
    OutboundInterceptor,
    ScheduleDescription,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
    TriggerScheduleInput,
    WorkflowExecutionDescription,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from temporalio.service import RPCError, RPCStatusCode, WorkflowService


class Patience(Interceptor):
    """The first call waits `patience_s` at most for the server's first answer; where there is none, it and all that
    follow raise RPCError DEADLINE_EXCEEDED. A call's own timeout does not count the time to connect."""

    def __init__(self, patience_s: float) -> None:
        self.server: WorkflowService | None = None
        self._patience_s = patience_s
        self._asked: asyncio.Task[bool] | None = None

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - as the base has it
        return _Patient(next, self)

    async def require_answer(self) -> None:
        """Raises RPCError."""
        if self._asked is None:
            self._asked = asyncio.create_task(self._answers())
        if not await asyncio.shield(self._asked):
            raise RPCError("Temporal does not answer", RPCStatusCode.DEADLINE_EXCEEDED, b"")

    async def _answers(self) -> bool:
        assert self.server is not None, "set once the client is made"
        try:
            async with asyncio.timeout(self._patience_s):
                await self.server.get_system_info(GetSystemInfoRequest())
        except TimeoutError:
            return False
        except (RPCError, RuntimeError):
            return True  # it refuses, or nobody is there: each call says so by itself, and at once
        return True


class _Patient(OutboundInterceptor):
    """The calls that commands make; one that pages or follows comes after one of these."""

    def __init__(self, following: OutboundInterceptor, patience: Patience) -> None:
        super().__init__(following)
        self._patience = patience

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        await self._patience.require_answer()
        return await super().start_workflow(input)

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:  # noqa: A002
        await self._patience.require_answer()
        return await super().describe_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002
        await self._patience.require_answer()
        await super().signal_workflow(input)

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:  # noqa: A002
        await self._patience.require_answer()
        await super().terminate_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:  # noqa: A002
        await self._patience.require_answer()
        return await super().start_workflow_update(input)

    async def describe_schedule(self, input: DescribeScheduleInput) -> ScheduleDescription:  # noqa: A002
        await self._patience.require_answer()
        return await super().describe_schedule(input)

    async def trigger_schedule(self, input: TriggerScheduleInput) -> None:  # noqa: A002
        await self._patience.require_answer()
        await super().trigger_schedule(input)
