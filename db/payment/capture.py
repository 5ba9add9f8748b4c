"""Taking what was authorised: a request, or the workflow's own decision, is marked before the PSP is asked."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log
from db.payment import payment
from db.payment.record import Payment
from db.schema.merchant import merchant
from db.schema.payment import payment_order
from domain.errors import Conflict, Unprocessable
from domain.model import Failure
from domain.payment import CaptureMark, CaptureOutcome, CaptureStep
from domain.status import Status


async def request(
    connection: AsyncConnection, payment_id: str, amounts: Mapping[str, int] | None, by: str, at: datetime
) -> Payment:
    """Mark the wish to capture; `amounts`: our order id → minor units, None for everything, an order that is left out
    is released. Returns the payment as it is now: its workflow captures.

    Raises Conflict `payment_settled`, `payment_not_authorized`, `payment_cancelling`, `capture_requested`;
    Unprocessable `merchant_not_active`.
    """
    locked = await payment.lock(connection, payment_id)
    if locked.status is Status.SUCCESS or (locked.charge.booked and locked.open):
        raise Conflict("The payment is captured already.", code="payment_settled")
    if locked.cancel_requested_at is not None and locked.open:
        raise Conflict("The payment is being cancelled.", code="payment_cancelling")
    if locked.capture_requested_at is not None and locked.open:
        raise Conflict("A capture of it was requested already.", code="capture_requested")
    if locked.status is not Status.AUTHORIZED or not locked.capture_by_request:
        raise Conflict(f"The payment is {locked.status}, not AUTHORIZED.", code="payment_not_authorized")
    taken = wanted(locked, amounts)
    refusal = await inactive_seller(connection, locked, [order_id for order_id, amount in taken.items() if amount])
    if refusal is not None:
        raise Unprocessable(refusal.message, code="merchant_not_active")
    for order in locked.orders:
        await connection.execute(
            update(payment_order).where(payment_order.c.id == order.id).values(capture_amount=taken[order.id])
        )
    await payment.touch(connection, locked.id, capture_requested_at=at, capture_requested_by=by)
    await audit_log.record(connection, locked.tenant_id, by, "payment.capture", locked.id, said(amounts))
    marked = await payment.get(connection, locked.id)
    assert marked is not None, "it was locked above"
    return marked


def wanted(row: Payment, amounts: Mapping[str, int] | None) -> dict[str, int]:
    """The amount to take of each order, by our order id."""
    return {order.id: order.amount if amounts is None else amounts.get(order.id, 0) for order in row.orders}


def said(amounts: Mapping[str, int] | None) -> dict[str, Any]:
    """The words of the audit log about a capture."""
    return {"amounts": dict(amounts) if amounts else "in full"}


async def mark(connection: AsyncConnection, step: CaptureStep) -> CaptureMark:
    """The point of no return: from this commit on the PSP may be asked to capture. A cancel that came before wins, one
    that comes later is obeyed by the settlement, which refunds."""
    locked = await payment.lock(connection, step.payment_id)
    if not locked.open:
        return CaptureMark(status=locked.status, outcome=CaptureOutcome.CLOSED)
    if locked.cancel_requested_at is not None:
        return CaptureMark(status=locked.status, outcome=CaptureOutcome.CANCELLED)
    wanted = [order.id for order in locked.orders if order.to_capture]
    refusal = await inactive_seller(connection, locked, wanted)
    if refusal is not None:
        return CaptureMark(status=locked.status, outcome=CaptureOutcome.REFUSED, failure=refusal)
    if locked.capture_requested_at is None:
        await payment.touch(connection, locked.id, capture_requested_at=step.at, capture_requested_by=step.by)
    return CaptureMark(status=locked.status, outcome=CaptureOutcome.MARKED, amount=locked.to_capture)


async def expire(connection: AsyncConnection, step: CaptureStep) -> CaptureMark:
    """Nobody captured in time: from this commit on it is void, unless a capture was marked before."""
    locked = await payment.lock(connection, step.payment_id)
    if not locked.open:
        return CaptureMark(status=locked.status, outcome=CaptureOutcome.CLOSED)
    if locked.capture_requested_at is not None and locked.cancel_requested_at is None:
        return CaptureMark(status=locked.status, outcome=CaptureOutcome.MARKED, amount=locked.to_capture)
    if locked.cancel_requested_at is None:
        await payment.touch(connection, locked.id, cancel_requested_at=step.at, cancel_requested_by=step.by)
    return CaptureMark(status=locked.status, outcome=CaptureOutcome.CANCELLED)


async def inactive_seller(connection: AsyncConnection, locked: Payment, order_ids: list[str]) -> Failure | None:
    """Why the wallets of these orders would not be credited, if one would not."""
    accounts = [locked.order(order_id).seller_account for order_id in order_ids]
    row = (
        await connection.execute(
            select(merchant.c.seller_account, merchant.c.status)
            .where(
                merchant.c.tenant_id == locked.tenant_id,
                merchant.c.seller_account.in_(accounts),
                merchant.c.status != "ACTIVE",
            )
            .order_by(merchant.c.seller_account)
            .limit(1)
        )
    ).one_or_none()
    if row is None:
        return None
    return Failure(code="wallet_refused", message=f"{row.seller_account} is {row.status.lower()}.")
