"""What operators do from a terminal: steer a payment, hand out API keys, have the sweeper look now.

Each is written to the audit log with the name of whoever did it. A payment is steered through its workflow, which is
the one that writes to it; these commands only tell it.
"""

import asyncio

from temporalio.client import (
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from db import lookup as operator
from db.core.database import Database
from db.payment import lifecycle, payment
from db.payment.record import Payment
from db.refund import refund
from db.refund.record import Refund
from domain.ids import late_charge_workflow_id, payment_workflow_id, refund_workflow_id
from domain.messages import Decision, Nudge, Resolution
from domain.status import RefundStatus
from embedded.errors import StackError
from runtime.wiring import Runtime
from services import payment as payments
from services.command import Caller

_DECISION_TIMEOUT_S = 20.0
_LOOK_S = 0.2


async def find_payment(database: Database, name: str) -> Payment:
    """By our ids or the client's own. Raises StackError where there is none, or more than one tenant has it."""
    found = await database.read(lambda c: operator.find_payments(c, name)) if name.isprintable() else []
    if not found:
        raise StackError(f"There is no payment {name}.")
    if len({tenant for _, tenant in found}) > 1:
        ids = ", ".join(f"{payment_id} ({tenant})" for payment_id, tenant in found)
        raise StackError(f"{name} is the name of several tenants' payments: {ids}. Use the payment's own id.")
    row = await database.read(lambda c: payment.get(c, found[0][0]))
    if row is None:
        raise StackError(f"There is no payment {name}.")
    return row


# --- payments ---


async def nudge_payment(runtime: Runtime, name: str) -> str:
    """Have the workflow ask the PSP now. One that is missing is started again from the rows."""
    row = await find_payment(runtime.database, name)
    if not row.open:
        raise StackError(f"{row.id} is {row.status}: there is nothing to look at any more.")
    running = await runtime.workflow_client.is_running(payment_workflow_id(row.id))
    # In its first task a signal would make the workflow run twice.
    if running and not lifecycle.listens(row):
        return f"{row.id} is {row.status}: it is on its way, and needs no nudge."
    await runtime.workflow_client.tell(row, Nudge(reason="operator"))
    if running:
        return f"{row.id} was {row.status}: the PSP is asked now."
    return f"{row.id} is {row.status} and had no workflow: it was started again and goes on from its rows."


async def cancel_payment(runtime: Runtime, name: str, by: str) -> str:
    """Cancel wins until the settlement commits."""
    row = (await payments.cancel(runtime, Caller(by), name)).payment
    if not row.open:
        return f"{row.id} is {row.status} already."
    return f"{row.id} was {row.status}: it is being cancelled, and refunded if it was charged."


async def resolve_payment(runtime: Runtime, name: str, resolution: Resolution) -> str:
    """Hand a person's decision to the workflow that waits for it. Raises StackError with the reason if it refuses."""
    if resolution.decision is Decision.REFERENCE and not resolution.reference:
        raise StackError("The decision `reference` needs the PSP's object: --reference pi_…")
    row = await find_payment(runtime.database, name)
    workflow_id = await _decider(runtime, row)
    otherwise = f"{row.id} is {row.status} and no workflow waits for a decision about it: see `paysaga payments show`."
    answer = await hand_over(runtime, workflow_id, resolution, about=row.id, otherwise=otherwise)
    return f"{row.id}: {answer}."


async def _decider(runtime: Runtime, row: Payment) -> str:
    """The workflow that waits for the decision. Of a payment that has ended, what is left to decide is a refund: of its
    late charge, or one that came back or that the PSP does not know."""
    if row.open:
        return payment_workflow_id(row.id)
    unmade = await runtime.database.read(lambda c: refund.unmade(c, row.id))
    waiting = [r for r in unmade if r.status in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)]
    if len(waiting) > 1:
        ids = ", ".join(r.id for r in waiting)
        raise StackError(f"{row.id} has several refunds to decide about: {ids}. Use `paysaga refunds resolve`.")
    return await refund_carer(runtime, waiting[0]) if waiting else late_charge_workflow_id(row.charge.id)


async def refund_carer(runtime: Runtime, row: Refund) -> str:
    """The workflow that sees to a refund of a payment that has ended: its own, or that of the late charge it undoes."""
    own, late = refund_workflow_id(row.id), late_charge_workflow_id(row.charge_id)
    if row.undoes_charge and not await runtime.workflow_client.is_running(own):
        return late if await runtime.workflow_client.is_running(late) else own
    return own


async def hand_over(runtime: Runtime, workflow_id: str, resolution: Resolution, *, about: str, otherwise: str) -> str:
    """Tell the workflow what was decided; its answer. Raises StackError with its reason if it refuses, `otherwise` if
    it does not run."""
    try:
        async with asyncio.timeout(_DECISION_TIMEOUT_S):
            return await runtime.workflow_client.resolve(workflow_id, resolution)
    except WorkflowUpdateFailedError as error:
        raise StackError(f"{about}: {getattr(error.cause, 'message', error.cause)}") from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise StackError(otherwise) from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        why = f"no worker has acted on the decision within {_DECISION_TIMEOUT_S:.0f} s. Is one running? See its log"
        raise StackError(f"{about}: {why}.") from error
