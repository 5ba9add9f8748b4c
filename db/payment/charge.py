"""Charge attempts: what was sent under which key, and what the PSP said."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import dead_key
from db.core.database import clock
from db.payment.record import Charge
from db.schema.payment import charge, payment
from domain.psp import ChargeOutcome, ChargeResult
from domain.status import TERMINAL


async def may_send(connection: AsyncConnection, send_until: datetime) -> bool:
    """Compared on the clock that wrote `send_until`: a worker's own clock may be off by minutes."""
    return await clock(connection) < send_until


async def record(connection: AsyncConnection, charge_id: str, result: ChargeResult, *, booked: bool = False) -> None:
    """Keep the PSP's word. What is known stays known: an UNKNOWN after a reference does not erase it. An unclear answer
    that is recorded twice is counted once: it is known by its time."""
    values: dict[str, Any] = {
        "last_answer": kept(result),
        "last_answer_at": result.answered_at or func.now(),
    }
    if result.unclear:
        again = charge.c.last_answer_at == result.answered_at
        values["unknown_count"] = case((again, charge.c.unknown_count), else_=charge.c.unknown_count + 1)
    else:
        values["outcome"] = result.outcome.value
    if result.reference is not None:
        values["reference"] = result.reference
    if result.outcome is ChargeOutcome.SUCCEEDED:
        values |= {"received_amount": result.amount, "received_currency": result.currency}
        if result.fee is not None:
            values["fee"] = result.fee.model_dump(mode="json")
    if booked:
        values["booked"] = True
    await connection.execute(update(charge).where(charge.c.id == charge_id).values(**values))


def kept(result: ChargeResult) -> dict[str, Any]:
    """The PSP's answer as it stays on the charge."""
    return result.model_dump(mode="json", exclude_none=True, exclude=_NOT_KEPT)


_NOT_KEPT = {"next_action", "answered_at", "again_s", "tries"}


async def unanswered(
    connection: AsyncConnection, payment_id: str, charge_id: str, result: ChargeResult, again_s: float
) -> None:
    """Keep an answer that leaves all open, and when the PSP is asked again, as long as the payment waits for that."""
    await connection.execute(
        update(payment)
        .where(payment.c.id == payment_id, payment.c.status.not_in([status.value for status in TERMINAL]))
        .values(
            version=payment.c.version + 1,
            updated_at=func.now(),
            next_check_at=func.clock_timestamp() + timedelta(seconds=again_s),
        )
    )
    await record(connection, charge_id, result)


async def dead_for(connection: AsyncConnection, charge_id: str) -> timedelta:
    """The time since when the charge's key is known to be dead; the first call writes that down."""
    return await dead_key.dead_for(connection, charge, charge_id)


async def attempts(connection: AsyncConnection, payment_id: str) -> list[Charge]:
    """All of a payment, the first one first."""
    rows = await connection.execute(select(charge).where(charge.c.payment_id == payment_id).order_by(charge.c.attempt))
    return [Charge(**row) for row in rows.mappings()]
