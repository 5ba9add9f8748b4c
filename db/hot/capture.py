"""Asking for the capture of an authorised payment, in one statement."""

from collections.abc import Mapping
from datetime import datetime

from db.audit_log import client_address
from db.core import deadline
from db.core.database import Database, LockTimeout
from db.core.idempotency import Request, in_progress
from db.core.statement import load
from db.hot.store import compact
from db.payment.capture import said, wanted
from db.payment.record import Payment
from domain.status import Status

_CAPTURE = load(__package__, "capture.sql")


async def request(
    database: Database, row: Payment, amounts: Mapping[str, int] | None, by: str, at: datetime, under: Request
) -> Payment | None:
    """Mark the wish to capture a payment, as it was read, under the client's key. Returns it as it is now; None:
    nothing was written, and the general path decides (`db.payment.capture`). Raises Conflict
    `idempotency_in_progress`; Unavailable."""
    if (
        row.status is not Status.AUTHORIZED
        or not row.capture_by_request
        or row.charge.booked
        or row.cancel_requested_at is not None
        or row.capture_requested_at is not None
    ):
        return None
    taken = wanted(row, amounts)
    await deadline.begin()
    try:
        marked = await database.one(
            _CAPTURE,
            payment_id=row.id,
            tenant_id=row.tenant_id,
            version=row.version,
            key=under.key,
            request_hash=under.hash,
            order_id=[order.id for order in row.orders],
            order_seller=[order.seller_account for order in row.orders],
            order_amount=[taken[order.id] for order in row.orders],
            actor=by,
            detail=compact(said(amounts)),
            client_address=client_address.get(),
            at=at,
        )
    except LockTimeout as error:
        raise in_progress(error) from error
    if marked is None:
        return None
    orders = tuple(order.model_copy(update={"capture_amount": taken[order.id]}) for order in row.orders)
    return row.model_copy(
        update={
            "capture_requested_at": at,
            "capture_requested_by": by,
            "version": row.version + 1,
            "updated_at": marked["updated_at"],
            "orders": orders,
        }
    )
