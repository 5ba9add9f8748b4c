"""The client that starts and signals the workflows of payments, refunds, disputes and payouts, by their ids."""

import asyncio
import math
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from db.payment.payment import NewPayment
from db.payment.record import Payment
from db.payout.record import Payout
from domain.dispute import DISPUTE_WORKFLOW, DisputeInput
from domain.errors import Unavailable
from domain.ids import (
    dispute_workflow_id,
    late_charge_workflow_id,
    payment_workflow_id,
    payout_workflow_id,
    refund_workflow_id,
)
from domain.late_charge import LATE_CHARGE_WORKFLOW, LateChargeInput
from domain.messages import CancelRequest, Nudge, Resolution
from domain.money import Money
from domain.payment import PAYMENT_WORKFLOW, PaymentInput
from domain.payout import PAYOUT_WORKFLOW, PayoutInput, PayoutResolution
from domain.refund import REFUND_WORKFLOW, RefundInput
from domain.status import Status
from domain.waiting import WaitPolicies, WaitPolicy
from runtime import troubles
from runtime.priority import of_tenant
from runtime.search_attributes import CHECKOUT, TENANT
from runtime.troubles import Trouble

_RPC_TIMEOUT = timedelta(seconds=5)
_LATELY_S = 5.0

_AWAY = (RPCError, RuntimeError)
"""What the client raises when the server does not answer; the latter where it was to connect at its first call."""

_EAGERLY_STARTED = "__temporal_eagerly_started"
"""The SDK's mark of a workflow whose first task came with the answer to its start."""


class WorkflowClient:
    """`task_timeout_s` decides how soon another worker takes over from one that died in the middle of a task."""

    def __init__(
        self,
        client: Client,
        task_queue: str,
        wait_policies: WaitPolicies,
        *,
        payout_wait_policy: WaitPolicy,
        task_timeout_s: float,
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._wait_policies = wait_policies
        self._payout_wait_policy = payout_wait_policy
        self._task_timeout = timedelta(seconds=task_timeout_s)
        self._started_here_s = -math.inf

    @property
    def starts_here(self) -> bool:
        """Whether the last payment that was started got its first task in this process, with the server's answer, and
        did so a moment ago: a start that gets no answer is given up after up to ten seconds."""
        return asyncio.get_running_loop().time() - self._started_here_s < _LATELY_S

    def input_of(self, row: Payment) -> PaymentInput:
        """The input of a payment's workflow, the first time or again: all of it is in the rows."""
        return self._input(row, row.to_capture, confirmed=row.status is not Status.NOT_STARTED)

    def input_of_new(self, new: NewPayment) -> PaymentInput:
        """The same for a payment that was stored just now."""
        return self._input(new, sum(order.amount for order in new.orders), confirmed=new.confirmed)

    def _input(self, of: Payment | NewPayment, amount: int, *, confirmed: bool) -> PaymentInput:
        return PaymentInput(
            version=2,
            payment_id=of.id,
            tenant_id=of.tenant_id,
            psp=of.psp,
            amount=amount,
            currency=of.currency,
            confirmed=confirmed,
            order_ids=tuple(order.id for order in of.orders),
            keep_successful=of.on_partial_failure == "keep_successful",
            risk=of.risk_version is not None,
            authorize_only=of.authorize_only,
            capture_by_request=of.capture_by_request,
            capture_on_expiry=of.capture_on_expiry,
            task_queue=self._task_queue,
            patience=self._wait_policies.of(of.method),
        )

    async def start_payment(self, inp: PaymentInput, checkout_id: str | None, *, again: bool = False) -> bool:
        """Start a payment's workflow; `again` also if an earlier run of it has ended. False: it was there already.

        Eager: a worker in this process gets the first task with the answer, without a round through the queue.
        Raises Unavailable; the row is stored then, and the sweeper starts it.
        """
        checkout = [SearchAttributePair(CHECKOUT, checkout_id)] if checkout_id else []
        total = Money(amount=inp.amount, currency=inp.currency)
        try:
            handle = await self._client.start_workflow(
                PAYMENT_WORKFLOW,
                inp,
                id=payment_workflow_id(inp.payment_id),
                task_queue=self._task_queue,
                task_timeout=self._task_timeout,
                id_reuse_policy=(
                    WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE
                ),
                request_eager_start=True,
                priority=of_tenant(inp.tenant_id),
                search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, inp.tenant_id), *checkout]),
                static_summary=f"{total} · {len(inp.order_ids)} order{'s' if len(inp.order_ids) > 1 else ''}",
                rpc_timeout=_RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        except _AWAY as error:
            self._started_here_s = -math.inf
            raise Unavailable("Temporal does not answer; the payment is stored and will be started.") from error
        here = getattr(handle, _EAGERLY_STARTED, False)
        self._started_here_s = asyncio.get_running_loop().time() if here else -math.inf
        return True

    async def start_late_charge(self, row: Payment, charge_id: str, reference: str) -> None:
        """Once per charge and for ever; while it runs, a repetition nudges it."""
        inp = LateChargeInput(
            version=2,
            payment_id=row.id,
            charge_id=charge_id,
            reference=reference,
            psp=row.psp,
            task_queue=self._task_queue,
            patience=self._wait_policies.of(row.method),
        )
        workflow_id = late_charge_workflow_id(charge_id)
        summary = f"{row.id} was paid after it had ended"
        await self._start_or_nudge(LATE_CHARGE_WORKFLOW, inp, workflow_id, row, summary)

    async def start_refund(self, row: Payment, refund_id: str, *, fresh: bool = False) -> None:
        """Take care of a refund whose payment has ended; while that runs, a repetition nudges it. `fresh`: it was
        stored just now, so nothing runs yet, and a worker in this process gets the first task with the answer."""
        inp = RefundInput(
            version=3,
            payment_id=row.id,
            refund_id=refund_id,
            psp=row.psp,
            task_queue=self._task_queue,
            patience=self._wait_policies.of(row.method),
        )
        workflow_id, summary = refund_workflow_id(refund_id), f"refund of {row.id}"
        await self._start_or_nudge(REFUND_WORKFLOW, inp, workflow_id, row, summary, fresh=fresh)

    async def start_dispute(self, row: Payment, dispute_id: str) -> None:
        """Take care of a dispute; while that runs, a repetition nudges it."""
        inp = DisputeInput(
            version=2,
            dispute_id=dispute_id,
            payment_id=row.id,
            psp=row.psp,
            task_queue=self._task_queue,
            patience=self._wait_policies.of(row.method),
        )
        await self._start_or_nudge(DISPUTE_WORKFLOW, inp, dispute_workflow_id(dispute_id), row, f"dispute of {row.id}")

    async def start_payout(self, row: Payout, *, fresh: bool = False) -> None:
        """Take care of a payout; while that runs, a repetition nudges it. Behind payments where a worker has to choose.
        `fresh`: it was stored just now."""
        inp = PayoutInput(
            version=2,
            payout_id=row.id,
            tenant_id=row.tenant_id,
            psp=row.psp,
            status=row.status,
            task_queue=self._task_queue,
            patience=self._payout_wait_policy,
        )
        summary = f"{Money(amount=row.amount, currency=row.currency)} to {row.seller_account}"
        await self._start_or_nudge(PAYOUT_WORKFLOW, inp, payout_workflow_id(row.id), row, summary, fresh=fresh)

    async def nudge_payout(self, row: Payout) -> None:
        """Have a payout that waits for its bank ask the PSP; one whose workflow is gone is started. A signal alone is a
        tenth cheaper than one that starts what is missing. Raises Unavailable."""
        if not await self._signal(payout_workflow_id(row.id), "nudge"):
            await self.start_payout(row)

    async def resolve_payout(self, payout_id: str, message: PayoutResolution) -> str:
        """Hand a person's decision to the payout that waits for it; it answers what it made of it."""
        handle = self._client.get_workflow_handle(payout_workflow_id(payout_id))
        answer: str = await handle.execute_update("resolve", message, result_type=str)
        return answer

    async def _start_or_nudge(
        self,
        name: str,
        inp: LateChargeInput | RefundInput | DisputeInput | PayoutInput,
        workflow_id: str,
        row: Payment | Payout,
        summary: str,
        *,
        fresh: bool = False,
    ) -> None:
        """One at a time per id, started or nudged. Raises Unavailable."""
        nudge: dict[str, Any] = {"start_signal": "nudge", "start_signal_args": [Nudge(reason="start")]}
        try:
            await self._client.start_workflow(
                name,
                inp,
                id=workflow_id,
                task_queue=self._task_queue,
                task_timeout=self._task_timeout,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, row.tenant_id)]),
                static_summary=summary,
                priority=of_tenant(row.tenant_id, after_payments=isinstance(row, Payout)),
                rpc_timeout=_RPC_TIMEOUT,
                **({"request_eager_start": True} if fresh else nudge),
            )
        except _AWAY as error:
            raise Unavailable("Temporal does not answer.") from error

    async def tell(self, row: Payment, message: Nudge | CancelRequest) -> None:
        """Signal a payment's workflow. One that is gone (terminated, lost) is started again: it reads the row, which
        says what the message would have said. Raises Unavailable."""
        name = "cancel" if isinstance(message, CancelRequest) else "nudge"
        if not await self._signal(payment_workflow_id(row.id), name, message):
            await self.start_payment(self.input_of(row), row.checkout_id, again=True)

    async def resolve(self, workflow_id: str, message: Resolution) -> str:
        """Hand a person's decision to the workflow that waits for it; it answers what it made of it."""
        handle = self._client.get_workflow_handle(workflow_id)
        answer: str = await handle.execute_update("resolve", message, result_type=str)
        return answer

    async def _signal(self, workflow_id: str, name: str, *message: Nudge | CancelRequest) -> bool:
        """False: there is no running workflow to tell. Raises Unavailable."""
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            await handle.signal(name, args=message, rpc_timeout=_RPC_TIMEOUT)
        except _AWAY as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise Unavailable("Temporal does not answer.") from error
        return True

    async def is_running(self, workflow_id: str) -> bool:
        """Whether a run of this workflow is open now. Raises Unavailable."""
        return await self._running(workflow_id) is not None

    async def troubles(self) -> list[Trouble]:
        """Our workflows that get nowhere. Raises Unavailable."""
        try:
            return await troubles.find(self._client, self._task_queue)
        except _AWAY as error:
            raise Unavailable("Temporal does not answer.") from error

    async def is_failing(self, workflow_id: str) -> bool:
        """Whether the workflow's task has failed, or was lost, and is tried again. Raises Unavailable."""
        description = await self._running(workflow_id)
        return description is not None and troubles.is_failing(description)

    async def _running(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        """The open run of a workflow, or None. Raises Unavailable."""
        try:
            description = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=_RPC_TIMEOUT)
        except _AWAY as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise Unavailable("Temporal does not answer.") from error
        return description if description.status is WorkflowExecutionStatus.RUNNING else None

    async def terminate(self, workflow_id: str, reason: str) -> None:
        """End a workflow as it stands; what it was at is in the rows. Raises Unavailable."""
        try:
            await self._client.get_workflow_handle(workflow_id).terminate(reason=reason, rpc_timeout=_RPC_TIMEOUT)
        except _AWAY as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return
            raise Unavailable("Temporal does not answer.") from error
