"""Decisions: a person's word on what a workflow cannot decide by itself, about a payment or about a refund."""

import asyncio

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from db.core import idempotency
from db.core.idempotency import Request
from db.payment.record import Payment
from db.refund import find as refunds
from db.refund.record import Refund
from domain.errors import Conflict, Unavailable, Unprocessable
from domain.ids import late_charge_workflow_id, payment_workflow_id, refund_workflow_id
from domain.limits import Note, PspReference
from domain.messages import Decision, Resolution
from domain.status import RefundStatus
from runtime.wiring import Runtime
from services import payment as payments
from services import refund as refund_service
from services.command import Caller, check
from services.payment import Answer
from services.waiting import wait_until

_TIMEOUT_S = 20.0


async def resolve_payment(runtime: Runtime, caller: Caller, name: str, resolution: Resolution) -> str:
    """Hand a decision to the workflow that waits for it, which writes it to the audit log; its answer.

    Raises NotFound; Unprocessable `reference_required`; Conflict `decision_refused` with the workflow's reason,
    `nobody_waits`, `refund_ambiguous`; Unavailable.
    """
    _check(resolution)
    row, _ = await payments.find(runtime.database, caller, name)
    workflow_id = await _decider(runtime, row)
    otherwise = f"The payment is {row.status} and no workflow waits for a decision about it."
    return await _hand_over(runtime, workflow_id, resolution, otherwise=otherwise)


async def resolve(
    runtime: Runtime, caller: Caller, name: str, resolution: Resolution, *, request: Request, wait_s: float = 0.0
) -> Answer:
    """The same for a client with a key of its own, which is kept once the decision is taken: a request that is refused
    can be sent again under it. The payment is waited for until it has moved on, at most `wait_s`. Raises what
    `resolve_payment` raises, and Unprocessable `idempotency_key_reused`."""
    row, _ = await payments.find(runtime.database, caller, name)
    database, tenant_id = runtime.database, row.tenant_id
    if await database.read(lambda c: idempotency.find(c, tenant_id, request.key, request.hash)) is not None:
        return Answer(row, row, replayed=True, told=True)
    with runtime.notifier.watch(row.id) as changed:
        await resolve_payment(runtime, caller, row.id, resolution)
        await database.run(lambda c: idempotency.claim(c, tenant_id, request.key, request.hash, row.id))
        changed.set()
        now = await wait_until(lambda: payments.load(database, row.id), payments.ended, changed=changed, wait_s=wait_s)
    return Answer(row, now, replayed=False, told=True)


async def resolve_refund(runtime: Runtime, caller: Caller, refund_id: str, resolution: Resolution) -> str:
    """Decide about a refund that NEEDS_ATTENTION, or that failed and has to be made all the same; the workflow's
    answer. Raises what `resolve_payment` raises, Conflict `nothing_to_decide` and
    Unprocessable `decision_unknown`."""
    if resolution.decision not in (Decision.RETRY, Decision.REFERENCE, Decision.ACCEPT):
        raise Unprocessable("About a refund one decides retry, reference or accept.", code="decision_unknown")
    _check(resolution)
    row = await refund_service.find(runtime.database, caller, refund_id)
    if row.ended or row.status in (RefundStatus.REQUESTED, RefundStatus.PENDING):
        raise Conflict(f"The refund is {row.status}: {_nothing_to_decide(row)}.", code="nothing_to_decide")
    if resolution.decision is Decision.ACCEPT and (row.undoes_charge or row.reference is None):
        detail = "The refund was not made by the PSP, or has to be made in full: retry or reference."
        raise Conflict(detail, code="decision_refused")
    owner = await payments.load(runtime.database, row.payment_id)
    if owner.open:
        workflow_id = payment_workflow_id(owner.id)
    else:
        workflow_id = await _refund_workflow(runtime, row)
        if not await runtime.workflow_client.is_running(workflow_id):  # it was lost: it goes on from its rows
            await runtime.workflow_client.start_refund(owner, row.id)
    if resolution.decision is Decision.REFERENCE and workflow_id != refund_workflow_id(row.id):
        await _require_oldest(runtime, row)
    otherwise = f"The refund is {row.status} and no workflow waits for a decision about it."
    return await _hand_over(runtime, workflow_id, resolution, otherwise=otherwise)


def _check(resolution: Resolution) -> None:
    check(Note, resolution.note, "note")
    if resolution.reference:
        check(PspReference, resolution.reference, "reference")
    elif resolution.decision is Decision.REFERENCE:
        raise Unprocessable("The decision reference needs the PSP's object.", code="reference_required")


async def _decider(runtime: Runtime, row: Payment) -> str:
    """The workflow that waits for the decision. Of a payment that has ended, what is left to decide is a refund: of its
    late charge, or one that came back or that the PSP does not know."""
    if row.open:
        return payment_workflow_id(row.id)
    waiting = await _waiting(runtime, row.id)
    if len(waiting) > 1:
        ids = ", ".join(r.id for r in waiting)
        detail = f"The payment has several refunds to decide about: {ids}. Decide about each by its own id."
        raise Conflict(detail, code="refund_ambiguous")
    return await _refund_workflow(runtime, waiting[0]) if waiting else late_charge_workflow_id(row.charge.id)


async def _waiting(runtime: Runtime, payment_id: str) -> list[Refund]:
    """A payment's refunds that a person has to decide about, the oldest first."""
    unmade = await runtime.database.read(lambda c: refunds.unmade(c, payment_id))
    return [r for r in unmade if r.status in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)]


async def _refund_workflow(runtime: Runtime, row: Refund) -> str:
    """The workflow that sees to a refund of a payment that has ended: its own, or that of the late charge it undoes."""
    own, late = refund_workflow_id(row.id), late_charge_workflow_id(row.charge_id)
    if row.undoes_charge and not await runtime.workflow_client.is_running(own):
        return late if await runtime.workflow_client.is_running(late) else own
    return own


async def _require_oldest(runtime: Runtime, row: Refund) -> None:
    """A reference goes to the oldest refund of the payment that waits, so another one has to wait for its turn."""
    waiting = await _waiting(runtime, row.payment_id)
    if waiting and waiting[0].id != row.id:
        detail = f"Decide about the older {waiting[0].id} first: a reference would be taken for its own."
        raise Conflict(detail, code="decision_refused")


def _nothing_to_decide(row: Refund) -> str:
    if row.status is RefundStatus.SUCCEEDED:
        return "the buyer has the money"
    if row.status is RefundStatus.FAILED:
        return "its funds are the seller's again, and another refund can be asked for"
    return "the PSP is asked for it, and its word is waited for"


async def _hand_over(runtime: Runtime, workflow_id: str, resolution: Resolution, *, otherwise: str) -> str:
    """Tell the workflow; its answer. Raises Conflict with its reason if it refuses, and `otherwise` if it does not run;
    Unavailable."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await runtime.workflow_client.resolve(workflow_id, resolution)
    except WorkflowUpdateFailedError as error:
        raise Conflict(str(getattr(error.cause, "message", error.cause)), code="decision_refused") from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise Unavailable("Temporal does not answer: the decision was not taken.") from error
        raise Conflict(otherwise, code="nobody_waits") from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        detail = f"No worker has acted on the decision within {_TIMEOUT_S:.0f} s. Is one running? See its log."
        raise Unavailable(detail, code="decision_pending") from error
