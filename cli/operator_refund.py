"""Operator refund: TODO docstring."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

from cli.operator_payment import find_payment, hand_over, refund_carer
from cli.operator_payment_actions import _LOOK_S, _amount, _order_named
from cli.refusals import refusals
from db import audit_log
from db import lookup as operator
from db.core.database import Database
from db.payment import payment
from db.refund import refund
from db.refund.record import Refund
from db.refund.refund import NewRefund
from domain.errors import Unavailable
from domain.ids import new_id, payment_workflow_id, refund_workflow_id
from domain.messages import Decision, Resolution
from domain.money import to_major
from domain.status import RefundStatus
from embedded.errors import StackError
from runtime.wiring import Runtime

_REFUND_PATIENCE_S = 8.0


# --- refunds ---


async def find_refund(database: Database, refund_id: str) -> Refund:
    found = await database.read(lambda c: operator.find_refund(c, refund_id)) if refund_id.isprintable() else None
    if found is None:
        raise StackError(f"There is no refund {refund_id}: `paysaga refunds list` shows them.")
    return found


async def create_refund(
    runtime: Runtime, name: str, order: str | None, amount: str | None, reason: str | None, by: str
) -> str:
    """Give money back, of the order that `name` or `order` names; the seller's funds are set aside first."""
    row = await find_payment(runtime.database, name)
    named = _order_named(row, order) if order else _order_named(row, name)
    if order and named is None:
        raise StackError(f"{row.id} has no order {order}.")
    wanted = _amount(runtime, row, amount) if amount is not None else None
    if wanted == 0:
        raise StackError(f"{row.id}: an amount is above zero.")
    new = NewRefund(new_id("re"), row.id, named, wanted, reason, by, runtime.send_for_s)

    async def work(connection: Any) -> Refund:
        made = await refund.request(connection, new, datetime.now(UTC))
        detail = {"payment": row.id, "amount": to_major(made.amount, made.currency), "currency": made.currency}
        await audit_log.record(connection, row.tenant_id, by, "refund.create", made.id, detail)
        return made

    with refusals(row.id):
        made = await runtime.database.run(work)
    with contextlib.suppress(Unavailable):  # it is stored: the sweeper starts it
        await runtime.workflow_client.start_refund(row, made.id, fresh=True)
    made = await _refund_outcome(runtime, made)
    why = f" ({made.failure.message})" if made.failure and made.status is not RefundStatus.SUCCEEDED else ""
    return f"{made.id} of {to_major(made.amount, made.currency)} {made.currency} is {made.status}{why}."


async def _refund_outcome(runtime: Runtime, made: Refund) -> Refund:
    """The refund once the PSP has said something, or as it is when the wait is over."""
    refund_id = made.id
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REFUND_PATIENCE_S):
            while made.status is RefundStatus.REQUESTED:
                await asyncio.sleep(_LOOK_S)
                made = await runtime.database.read(lambda c: refund.get(c, refund_id))
    return made


async def resolve_refund(runtime: Runtime, refund_id: str, resolution: Resolution) -> str:
    """Decide about a refund that NEEDS_ATTENTION, or that failed and has to be made all the same."""
    if resolution.decision not in (Decision.RETRY, Decision.REFERENCE, Decision.ACCEPT):
        raise StackError("About a refund one decides `retry`, `reference` or `accept`.")
    if resolution.decision is Decision.REFERENCE and not resolution.reference:
        raise StackError("The decision `reference` needs the PSP's refund: --reference re_…")
    row = await find_refund(runtime.database, refund_id)
    if row.ended or row.status in (RefundStatus.REQUESTED, RefundStatus.PENDING):
        raise StackError(f"{row.id} is {row.status}: {_nothing_to_decide(row)}.")
    if resolution.decision is Decision.ACCEPT and (row.undoes_charge or row.reference is None):
        raise StackError(f"{row.id} was not made by the PSP, or has to be made in full: `retry` or `reference`.")
    owner = await runtime.database.read(lambda c: payment.get(c, row.payment_id))
    assert owner is not None, "a refund has a payment"
    if owner.open:
        workflow_id = payment_workflow_id(owner.id)
    else:
        workflow_id = await refund_carer(runtime, row)
        if not await runtime.workflow_client.is_running(workflow_id):  # it was lost: it goes on from its rows
            await runtime.workflow_client.start_refund(owner, row.id)
    if resolution.decision is Decision.REFERENCE and workflow_id != refund_workflow_id(row.id):
        await _require_first(runtime, row)
    otherwise = f"{row.id} is {row.status} and no workflow waits for a decision about it: try `paysaga sweep`."
    return f"{row.id}: {await hand_over(runtime, workflow_id, resolution, about=row.id, otherwise=otherwise)}."


async def _require_first(runtime: Runtime, row: Refund) -> None:
    """A reference goes to the oldest refund of the payment that waits, so another one has to wait for its turn."""
    unmade = await runtime.database.read(lambda c: refund.unmade(c, row.payment_id))
    waiting = [r.id for r in unmade if r.status in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)]
    if waiting and waiting[0] != row.id:
        raise StackError(
            f"{row.id}: decide about the older {waiting[0]} first, a reference would be taken for its own."
        )


def _nothing_to_decide(row: Refund) -> str:
    if row.status is RefundStatus.SUCCEEDED:
        return "the buyer has the money"
    if row.status is RefundStatus.FAILED:
        return "its funds are the seller's again, and `paysaga refunds create` makes a new one"
    return "the PSP is asked for it, and its word is waited for"
