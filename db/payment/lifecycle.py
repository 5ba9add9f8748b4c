"""A payment's lifecycle: it waits, is confirmed, is cancelled, ends; each under its row lock, each safe to repeat."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, risk, task
from db.core.keyring import Keyring
from db.payment import acceptance, action, payment
from db.payment import charge as charges
from db.payment.capture import inactive_seller
from db.payment.record import Payment
from db.refund import find as refunds
from db.refund.booking import accept
from db.schema.payment import charge
from db.schema.payment import payment as row
from db.schema.refund import refund
from domain.errors import Conflict, Unprocessable
from domain.messages import Decision, ResolutionStep
from domain.payment import CancelStep, CloseStep, WaitState, WaitStep
from domain.psp import ChargeOutcome, PspEvent, PspEventKind
from domain.status import RESTING, TERMINAL, RefundStatus, Status
from domain.unknown import TASK_KIND

_ASKED_ABOUT = (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)
NOTED_AT_REST = "read when the payment came to rest"


async def wait_in_status(connection: AsyncConnection, keyring: Keyring, step: WaitStep) -> WaitState:
    """Let the payment wait in a status. From this commit on webhooks are signalled to the workflow; those that came
    before are reported as `nudged`, so that none falls between the two."""
    locked = await payment.lock(connection, step.payment_id)
    review = await risk.reviewed(connection, locked.id, step.stage) if step.stage is not None else None
    if review is not None or not locked.open:
        # Decided: a second run of what followed must not bring the payment back into review.
        return WaitState(status=locked.status, review=review)
    if step.result is not None:
        await charges.record(connection, locked.charge.id, step.result)
    waiting = [order for order in locked.orders if order.open]
    same = all(order.status is step.status for order in waiting)
    # A payment that a person had to look at does not get its old wait all over again; a review or an authorisation
    # has a deadline of its own.
    attended = Status.NEEDS_ATTENTION in (locked.status, step.status)
    stays = same or (attended and step.status not in (Status.IN_REVIEW, Status.AUTHORIZED))
    deadline = locked.deadline_at if stays else None
    if deadline is None and step.deadline_s is not None:
        deadline = step.at + timedelta(seconds=step.deadline_s)
    fields: dict[str, Any] = {
        "deadline_at": deadline,
        "next_check_at": step.at + timedelta(seconds=step.next_check_s),
    }
    # The look at the PSP has put it on the row; a workflow whose answer came from an earlier release hands it on.
    told = step.result.next_action if step.result is not None else None
    if step.status is not Status.REQUIRES_ACTION:
        fields |= {"next_action": None, "sealed_action": None}
    elif told is not None and action.opened(keyring, locked) != told:
        fields |= {"next_action": None, "sealed_action": action.sealed(keyring, locked.id, told)}
    if same:
        await payment.touch(connection, locked.id, **fields)
    else:
        await payment.move(connection, locked, waiting, step.status, reason=step.reason, at=step.at, fields=fields)
    if step.task is not None:
        await task.open_task(connection, locked.tenant_id, locked.id, step.task, step.detail or step.reason)
    if step.task != TASK_KIND and locked.charge.unknown_count and not (step.result and step.result.unclear):
        await task.close_tasks(connection, locked.id, kind=TASK_KIND, by="workflow", resolution="the PSP has answered")
    nudged = await payment.inbox_done(connection, locked.id, NOTED_AT_REST)
    return WaitState(
        status=step.status,
        deadline_at=deadline,
        nudged=nudged,
        cancel_requested=locked.cancel_requested_at is not None,
        capture_requested=locked.capture_requested_at is not None,
    )


async def close(connection: AsyncConnection, step: CloseStep) -> Status:
    """End every open order as FAILED or CANCELLED (which a requested cancel makes it). Returns the payment's status."""
    locked = await payment.lock(connection, step.payment_id)
    open_orders = [order for order in locked.orders if order.open]
    if not open_orders:
        return locked.status
    if step.result is not None:
        await charges.record(connection, locked.charge.id, step.result)
    status = Status.CANCELLED if locked.cancel_requested_at else step.status
    return await payment.move(
        connection,
        locked,
        open_orders,
        status,
        reason=step.failure.code if step.failure else "cancelled",
        at=step.at,
        failure=step.failure,
    )


async def request_cancel(connection: AsyncConnection, step: CancelStep) -> Payment:
    """Mark the wish to cancel; from here on no order of it is settled. Returns the payment as it was found.

    Raises Conflict `payment_settled` when every order has succeeded: then a refund is the way.
    """
    locked = await payment.lock(connection, step.payment_id)
    if locked.status is Status.SUCCESS and not any(order.open for order in locked.orders):
        raise Conflict("The payment has succeeded; refund it instead.", code="payment_settled")
    if locked.status is Status.FAILED:
        raise Conflict("The payment has failed; there is nothing to cancel.", code="payment_failed")
    if locked.open and locked.cancel_requested_at is None:
        await payment.touch(connection, locked.id, cancel_requested_at=step.at, cancel_requested_by=step.by)
    return locked


async def confirm(connection: AsyncConnection, payment_id: str, send_for_s: float, at: datetime, actor: str) -> Payment:
    """Let an unconfirmed payment be charged. Returns it as it was found; a payment on its way is left alone.

    Attempt 1 gets a fresh `send_until`: nothing was sent under its key while the status was NOT_STARTED.
    Raises Conflict `payment_closed` for one that has failed or was cancelled; Unprocessable `merchant_not_active` where
    a seller was frozen or closed since, before the PSP hears of it.
    """
    locked = await payment.lock(connection, payment_id)
    if locked.status in TERMINAL - {Status.SUCCESS} or (locked.cancel_requested_at and locked.open):
        raise Conflict("The payment has ended or is being cancelled.", code="payment_closed")
    if locked.status is Status.NOT_STARTED:
        refusal = await inactive_seller(connection, locked, [order.id for order in locked.orders])
        if refusal is not None:
            raise Unprocessable(refusal.message, code="merchant_not_active")
        await connection.execute(
            update(charge)
            .where(charge.c.id == locked.charge.id)
            .values(send_until=func.now() + timedelta(seconds=send_for_s))
        )
        await payment.move(
            connection,
            locked,
            locked.orders,
            Status.EXECUTING,
            reason="confirmed",
            at=at,
            actor=actor,
            fields={"deadline_at": None, "next_check_at": None},
        )
    return locked


async def await_confirmation(
    connection: AsyncConnection, payment_id: str, deadline_s: float, at: datetime
) -> WaitState:
    """An unconfirmed payment starts to wait; its deadline is fixed the first time. Any other status says go on."""
    locked = await payment.lock(connection, payment_id)
    deadline = locked.deadline_at
    if locked.status is Status.NOT_STARTED and deadline is None:
        deadline = at + timedelta(seconds=deadline_s)
        await payment.touch(connection, payment_id, deadline_at=deadline, next_check_at=deadline)
    return WaitState(
        status=locked.status, deadline_at=deadline, cancel_requested=locked.cancel_requested_at is not None
    )


async def close_unconfirmed(connection: AsyncConnection, step: CloseStep) -> Status:
    """Cancel a payment that nobody confirmed. One that was confirmed meanwhile is left alone: see the status."""
    locked = await payment.lock(connection, step.payment_id)
    if locked.status is not Status.NOT_STARTED:
        return locked.status
    return await payment.move(
        connection,
        locked,
        locked.orders,
        step.status,
        reason=step.failure.code if step.failure else "cancelled",
        at=step.at,
        failure=step.failure,
    )


async def record_resolution(
    connection: AsyncConnection, step: ResolutionStep, unit: Callable[[Payment], int]
) -> str | None:
    """Write a person's decision to the audit log and close the tasks it answers; a PSP object that the person found
    becomes the charge's own (the workflow has seen at the PSP that it is), so that it is asked for by name. An amount
    that is accepted is credited, in multiples of `unit`. Returns why it cannot be, having written nothing."""
    locked = await payment.lock(connection, step.payment_id)
    decision = step.resolution
    asked = [r for r in await refunds.unmade(connection, locked.id) if r.status in _ASKED_ABOUT]
    about = next((r for r in asked if step.refund_id in (None, r.id)), None)  # unnamed: the oldest that waits
    accepted_at = step.at if decision.decision is Decision.ACCEPT else None
    if not locked.open and about is None:
        return f"The payment is {locked.status}: nothing waits for a decision about it."
    shares = await acceptance.shares(connection, locked, unit(locked)) if accepted_at is not None else None
    if shares is not None and (refused := await acceptance.refusal(connection, locked, shares)) is not None:
        return refused
    if accepted_at is not None and shares is None and locked.open and (about is None or about.undoes_charge):
        return "Its money is being given back: there is nothing left to accept."
    about_refund = {"refund": step.refund_id} if step.refund_id is not None else {}
    detail = decision.model_dump(mode="json", exclude={"address"}) | about_refund
    await audit_log.record(
        connection, locked.tenant_id, decision.by, "payment.resolve", locked.id, detail, address=decision.address
    )
    await task.close_tasks(
        connection, locked.id, by=decision.by, resolution=decision.decision, keep=task.OTHER_QUESTIONS
    )
    if accepted_at is not None and shares is not None:
        await acceptance.accept(connection, locked, shares, by=decision.by, at=accepted_at)
    elif accepted_at is not None and about is not None:
        await accept(connection, locked, about, accepted_at)
    if decision.decision is not Decision.REFERENCE:
        return None
    if locked.charge.booked:  # what is left to be found is a refund that was made by hand
        if about is not None:
            await connection.execute(update(refund).where(refund.c.id == about.id).values(reference=decision.reference))
    else:
        await connection.execute(
            update(charge).where(charge.c.id == locked.charge.id).values(reference=decision.reference)
        )
    return None


def listens(row: Payment) -> bool:
    """Whether a message to the payment's workflow is sent as a signal now; else the row is read by its next step."""
    return row.status in RESTING or row.status is Status.NOT_STARTED


def is_being_captured(row: Payment) -> bool:
    """Whether its workflow has been told to capture it: another message would make it ask the PSP twice."""
    return row.status is Status.AUTHORIZED and row.capture_requested_at is not None and row.cancel_requested_at is None


def is_needless(row: Payment, event: PspEvent) -> bool:
    """Whether nothing can ever come of it: the payment has ended unpaid, and the event tells of no money. Each decline
    has two of these, the second about our own void."""
    return (
        event.kind is PspEventKind.CHARGE
        and row.status in (Status.FAILED, Status.CANCELLED)
        and not (event.paid or event.refund_failed or event.refund_id is not None)
        and (row.charge.id, row.charge.reference) == (event.charge_id, event.reference)
    )


def is_held(row: Payment, event: PspEvent) -> bool:
    """Whether the payment waits with the very authorisation that the event tells of."""
    charge = row.charge
    return (
        event.authorized
        and row.status is Status.AUTHORIZED
        and charge.outcome == ChargeOutcome.AUTHORIZED
        and (charge.id, charge.reference) == (event.charge_id, event.reference)
    )


async def noted(connection: AsyncConnection, payment_id: str) -> None:
    """Write the payment's row anew, unchanged, since a webhook was stored beside it: a settlement in one statement that
    began before this commits, and so does not see the webhook, is not written then (db/hot/settle.sql)."""
    await connection.execute(update(row).where(row.c.id == payment_id).values(version=row.c.version))
