"""A refund of a settled order in two statements: stored with the seller's funds set aside, and ended once the buyer has
the money."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from asyncpg import IntegrityConstraintViolationError

from db.audit_log import client_address
from db.core import deadline
from db.core.database import Database, LockTimeout
from db.core.idempotency import Claim, Request, in_progress
from db.core.statement import load
from db.hot import ledger
from db.hot.store import compact
from db.hot.terms import TermsCache
from db.ledger import reserve as reserves
from db.ledger.reserve_record import Reserve
from db.payment.record import Order, Payment
from db.refund import booking, creation
from db.refund.creation import NewRefund
from db.refund.event import event_of
from db.refund.record import Refund
from domain import ledger as books
from domain.errors import Conflict, Unprocessable
from domain.ids import new_id
from domain.ledger import Bucket, Kind, Posting, Transaction
from domain.psp import RefundOutcome
from domain.refund import BookRefundStep
from domain.status import OrderRefundStatus, RefundStatus, Status, order_refund_status

_ORDER = load(__package__, "refund_order.sql")
_STORE = load(__package__, "refund_store.sql")
_SETTLE = load(__package__, "refund_settle.sql")


@dataclass(frozen=True)
class OpenRefund:
    """A refund with what its end needs: its payment, what is set aside for it, and, of all refunds of the order
    together, what is set aside (`held`) and what the buyer has (`taken`), in minor units.

    The payment was read before these sums: what changes them raises the order's version.
    """

    refund: Refund
    owner: Payment
    reserve: Reserve
    held: int
    taken: int


async def store(
    database: Database, cache: TermsCache, row: Payment, new: NewRefund, request: Request, at: datetime
) -> OpenRefund | Claim | None:
    """Store a refund of a payment, as it was read, under its key, or find what the same request stored before. None:
    nothing was written, and the general path decides (`db.refund.creation`). Raises Conflict `idempotency_in_progress`;
    Unavailable."""
    try:
        order, amount = creation.checked(row, new)
    except (Conflict, Unprocessable):
        return None  # unless the same request was stored before
    if row.status is not Status.SUCCESS:
        return None
    before = await _refunds_of(database, cache, order)
    made = _as_stored(row, order, new, _set_aside(order, new, amount, before), before)
    await deadline.begin()
    try:
        stored = await database.one(_STORE, **_store_values(made, order, request, new, before.fee_terms, at))
    except IntegrityConstraintViolationError:
        return None
    except LockTimeout as error:
        raise in_progress(error) from error
    if stored is not None and stored["first_id"] is not None:
        return Claim(stored["first_id"], replayed=True) if stored["first_hash"] == request.hash else None
    if stored is None:
        cache.forget(row.tenant_id, [order.seller_account])
        return None
    times = {"created_at": stored["created_at"], "send_until": stored["send_until"]}
    return replace(made, refund=made.refund.model_copy(update=times))


async def settle(database: Database, made: OpenRefund, step: BookRefundStep) -> OpenRefund | None:
    """Post a refund, as it was read, that the PSP has made as it was asked for. Returns it as it is now; None: nothing
    was written, and the general path decides (`db.refund.booking`). Raises Unavailable."""
    if not _as_usual(made.refund, made.owner, step):
        return None
    part = made.reserve
    ended = made.refund.model_copy(
        update={"status": RefundStatus.SUCCEEDED, "reference": step.result.reference, "failure": None}
    )
    order = made.owner.order(part.order_id)
    held, taken = made.held - part.amount, made.taken + part.amount
    status = order_refund_status(order.captured_amount, taken, held)
    try:
        found = await database.one(_SETTLE, **_settle_values(made, ended, status, step))
    except IntegrityConstraintViolationError:
        return None  # such as a name of the PSP's that another refund has
    if found is None:
        return None
    owner = _with_order(made.owner, order, refund_status=status.value if status else None)
    return OpenRefund(ended, owner, part.model_copy(update={"status": "TAKEN"}), held=held, taken=taken)


async def settle_as_read(database: Database, row: Refund, owner: Payment, step: BookRefundStep) -> OpenRefund | None:
    """The same of a refund and its payment, as they were read."""
    if row.order_id is None or not _as_usual(row, owner, step):
        return None
    found = await database.one(_ORDER, order_id=row.order_id, refund_id=row.id)
    if found is None or found["reserve"] is None:
        return None
    part = Reserve.model_validate_json(found["reserve"])
    return await settle(database, OpenRefund(row, owner, part, held=found["held"], taken=found["taken"]), step)


def _as_usual(row: Refund, owner: Payment, step: BookRefundStep) -> bool:
    """Whether the PSP has made exactly what was asked for, and nothing else was taken back of the payment but what we
    asked for, which is never more than was captured."""
    result = step.result
    return (
        result.outcome is RefundOutcome.SUCCEEDED
        and result.reference is not None
        and booking.as_asked(row, result)
        and row.origin == "request"
        and row.status is RefundStatus.REQUESTED
        and not booking.has_tasks(row, step.at)
        and owner.status is Status.SUCCESS
        and not any(order.psp_refund_amount or order.dispute_amount for order in owner.orders)
    )


# --- the rows ---


@dataclass(frozen=True)
class _Refunds:
    """The live refunds of an order together, in minor units, and the seller's terms about the platform's fee."""

    fee_terms: str
    held: int = 0
    taken: int = 0
    fee_returned: int = 0


async def _refunds_of(database: Database, cache: TermsCache, order: Order) -> _Refunds:
    """Read, unless the order has none; its version is of before."""
    known = cache.known(order.tenant_id, order.seller_account)
    if known is not None and order.refund_amount == order.psp_refund_amount == 0:
        return _Refunds(known.platform_fee_on_refund)
    found = await database.one(_ORDER, order_id=order.id, refund_id=None)
    assert found is not None, "an order has a seller"
    return _Refunds(*(found[name] for name in ("fee_terms", "held", "taken", "fee_returned")))


def _set_aside(order: Order, new: NewRefund, amount: int, before: _Refunds) -> Reserve:
    """The funds that are set aside of a wallet that has them."""
    refunded = before.held + before.taken
    fee = reserves.fee_due(order, before.fee_terms, amount, refunded=refunded, returned=before.fee_returned)
    needed = amount - fee
    parts = reserves.cover(order, {Bucket.PENDING: needed, Bucket.AVAILABLE: needed}, needed)
    return Reserve(
        id=new_id("rsv"),
        tenant_id=order.tenant_id,
        source_id=new.id,
        payment_id=order.payment_id,
        order_id=order.id,
        seller_account=order.seller_account,
        currency=order.currency,
        amount=amount,
        platform_fee=fee,
        psp_fee=0,
        pending=parts[Bucket.PENDING],
        available=parts[Bucket.AVAILABLE],
        receivable=0,
        status="HELD",
    )


def _as_stored(row: Payment, order: Order, new: NewRefund, part: Reserve, before: _Refunds) -> OpenRefund:
    """As it would be read, but for the times, which the database sets."""
    made = Refund(
        id=new.id,
        tenant_id=row.tenant_id,
        payment_id=row.id,
        order_id=order.id,
        charge_id=row.charge.id,
        origin="request",
        amount=part.amount,
        currency=order.currency,
        status=RefundStatus.REQUESTED,
        ends_as=None,
        ends_with=None,
        attempt=1,
        send_until=row.created_at,
        reference=None,
        failure=None,
        unknown_count=0,
        dead_since=None,
        next_check_at=None,
        reason=new.reason,
        actor=new.actor,
        created_at=row.created_at,
    )
    held, taken = before.held + part.amount, before.taken
    status = order_refund_status(order.captured_amount, taken, held)
    assert status is not None, "something is set aside"
    owner = _with_order(
        row,
        order,
        refund_amount=order.refund_amount + part.amount,
        pending_amount=order.pending_amount - part.pending,
        refund_status=status.value,
    )
    counted = owner.charge.model_copy(update={"refund_amount": row.charge.refund_amount + part.amount})
    return OpenRefund(made, owner.model_copy(update={"charge": counted}), part, held=held, taken=taken)


def _with_order(row: Payment, order: Order, **changes: Any) -> Payment:
    changed = order.model_copy(update={**changes, "version": order.version + 1})
    return row.model_copy(update={"orders": tuple(changed if one.id == order.id else one for one in row.orders)})


# --- the values of the statements ---


def _store_values(
    made: OpenRefund, order: Order, request: Request, new: NewRefund, fee_terms: str, at: datetime
) -> dict[str, Any]:
    row, part = made.refund, made.reserve
    parts = {Bucket.PENDING: part.pending, Bucket.AVAILABLE: part.available}
    lines = books.reserve(part.seller_account, parts, part.currency)
    return {
        **_common_values(made),
        **_of_ledger(part, Kind.REFUND_RESERVE, lines),
        **_of_event(row, at),
        "order_version": order.version,
        "key": request.key,
        "request_hash": request.hash,
        "fee_terms": fee_terms,
        "charge_id": row.charge_id,
        "order_id": order.id,
        "amount": row.amount,
        "platform_fee": part.platform_fee,
        "pending": part.pending,
        "available": part.available,
        "refundable": order.refundable,
        "refund_status": made.owner.order(order.id).refund_status,
        "send_for": timedelta(seconds=new.send_for_s),
        "reason": row.reason,
        "actor": row.actor,
        "detail": compact(creation.said(row)),
        "client_address": client_address.get(),
    }


def _settle_values(
    made: OpenRefund, ended: Refund, status: OrderRefundStatus | None, step: BookRefundStep
) -> dict[str, Any]:
    part, orders = made.reserve, made.owner.orders
    lines = books.refund(made.owner.psp, part.seller_account, part.covered, part.platform_fee, part.currency)
    return {
        **_common_values(made),
        **_of_ledger(part, Kind.REFUND, lines),
        **_of_event(ended, step.at),
        "order_id": [order.id for order in orders],
        "order_version": [order.version for order in orders],
        "refunded_order": part.order_id,
        "refund_status": status.value if status else None,
        "attempt": made.refund.attempt,
        "reference": ended.reference,
        "reserved": part.covered,
        "asked_at": step.result.asked_at,
        "note": booking.LOOKED_AT,
    }


def _common_values(made: OpenRefund) -> dict[str, Any]:
    row, part = made.refund, made.reserve
    return {
        "tenant_id": row.tenant_id,
        "payment_id": row.payment_id,
        "refund_id": row.id,
        "reserve_id": part.id,
        "seller": part.seller_account,
        "currency": row.currency,
    }


def _of_ledger(part: Reserve, kind: Kind, lines: tuple[Posting, ...]) -> dict[str, Any]:
    fact = Transaction(
        kind=kind,
        source_id=part.id,
        payment_id=part.payment_id,
        payment_order_id=part.order_id,
        postings=lines,
    )
    return ledger.values([fact] if lines else [])


def _of_event(row: Refund, at: datetime) -> Mapping[str, Any]:
    event = event_of(row, at)
    return {
        "event_id": event.id,
        "event_type": event.type,
        "event_payload": compact(event.data),
        "schema_version": event.schema_version,
        "at": event.at,
    }
