"""Accepting what the PSP took though another amount was asked for, as when somebody captured a part in its dashboard:
the money leaves suspense for where a capture of ours would have booked it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import risk
from db.payment import payment, settlement
from db.payment.capture import inactive_seller
from db.payment.compensation import held
from db.payment.record import Payment
from db.payment.settlement import NOT_CAPTURED
from db.schema.payment import payment_order
from domain.money import allocate
from domain.psp import ChargeOutcome, ChargeResult
from domain.status import Status


async def shares(connection: AsyncConnection, locked: Payment, unit: int) -> list[int] | None:
    """The parts of the orders in the money that is held for all of them, in multiples of `unit` (minor units): as was
    asked for, or by the orders' amounts where the PSP took more than that. None: no money is held that can be shared
    among them, or it is being given back."""
    if any(order.compensating or not order.open for order in locked.orders):
        return None
    received = await held(connection, locked)
    if received is None:
        return None
    amount, currency = received
    if currency != locked.currency or not 0 < amount <= locked.amount:
        return None
    more_than_asked = amount > locked.to_capture
    weights = [order.amount if more_than_asked else order.to_capture for order in locked.orders]
    return allocate(amount, weights, unit)


async def refusal(connection: AsyncConnection, locked: Payment, parts: Sequence[int]) -> str | None:
    """Why the sellers cannot be credited with these parts, if so."""
    if locked.cancel_requested_at is not None:
        return "The payment is being cancelled."
    stopped = await risk.refusal(connection, locked) if locked.risk_version is not None else None
    credited = [order.id for order, part in zip(locked.orders, parts, strict=True) if part]
    stopped = stopped or await inactive_seller(connection, locked, credited)
    return f"{stopped.message} Nothing is credited: cancel refunds what came." if stopped else None


async def accept(connection: AsyncConnection, locked: Payment, parts: Sequence[int], *, by: str, at: datetime) -> None:
    """Credit each order with its part, and end it: SUCCESS, or CANCELLED where nothing is left for it."""
    for order, part in zip(locked.orders, parts, strict=True):
        await connection.execute(
            update(payment_order).where(payment_order.c.id == order.id).values(capture_amount=part)
        )
    await payment.touch(connection, locked.id, accepted_at=at, accepted_by=by)
    locked = await payment.lock(connection, locked.id)
    result = _result(locked)
    for order in locked.orders:
        if order.to_capture:
            await settlement.credit_held(connection, locked, order, result, at)
    nothing_left = [order for order in locked.orders if not order.to_capture]
    if nothing_left:
        await payment.move(
            connection, locked, nothing_left, Status.CANCELLED, reason="not_captured", at=at, failure=NOT_CAPTURED
        )
        locked = await payment.lock(connection, locked.id)
    captured = [order for order in locked.orders if order.to_capture]
    await payment.move(
        connection,
        locked,
        captured,
        Status.SUCCESS,
        reason="amount_accepted",
        at=at,
        actor=by,
        fields=settlement.known_card(result),
    )


def _result(locked: Payment) -> ChargeResult:
    """The PSP's last word on the charge, as it is kept."""
    charge = locked.charge
    return ChargeResult.model_validate(
        {
            "outcome": ChargeOutcome.SUCCEEDED,
            "reference": charge.reference,
            "amount": charge.received_amount,
            "currency": charge.received_currency,
            "fee": charge.fee,
            "card": (charge.last_answer or {}).get("card"),
        }
    )
