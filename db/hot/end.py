"""Ending a payment in one statement: the settlement of all its orders, or the end of one of which nothing was taken."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from db.core.database import Database
from db.core.statement import load
from db.hot import ledger
from db.hot.store import compact
from db.hot.terms import Terms, TermsCache
from db.hot.transition import Move, values_of
from db.payment.charge import kept
from db.payment.payment import TASKS_KEPT
from db.payment.record import Payment
from db.payment.settlement import NOT_CAPTURED, available_at, captured_fee, of_capture
from domain.ledger import Bucket, Transaction, wallet_changes
from domain.payment import CloseStep, SettleStep
from domain.psp import ChargeOutcome, ChargeResult
from domain.status import Status, can_become

_SETTLE = load(__package__, "settle.sql")
_CLOSE = load(__package__, "close.sql")


async def settle(database: Database, cache: TermsCache, row: Payment, step: SettleStep) -> Payment | None:
    """Credit the sellers and post the ledger for all orders of a payment, as it was read. Returns it as it is now;
    None: nothing was written, and the general path decides (`db.payment.settlement`). Raises Unavailable."""
    order = row.order(step.order_id)
    if order.status is Status.SUCCESS or (not order.open and not order.to_capture):
        return row
    if not _as_usual(row, step):
        return None
    sellers = list(dict.fromkeys(order.seller_account for order in row.orders if order.to_capture))
    terms = await cache.of(database, row.tenant_id, sellers)
    if terms is None:
        return None
    values = _settle_values(row, step, terms)
    try:
        ended = await database.one(_SETTLE, **values)
    except asyncpg.IntegrityConstraintViolationError:
        return None  # such as a fee of the PSP's that is booked already
    if ended is None:
        cache.forget(row.tenant_id, sellers)
        return None
    of_orders = {
        order_id: {
            "captured_amount": captured,
            "captured_fee": fee,
            "pending_amount": pending,
            "available_at": available,
            "wallet_updated": captured > 0,
            "ledger_updated": captured > 0,
        }
        for order_id, captured, fee, pending, available in zip(
            *(values[f"order_{name}"] for name in ("id", "captured", "fee", "pending", "available")), strict=True
        )
    }
    fee = step.result.fee
    of_charge = {
        "received_amount": step.result.amount,
        "received_currency": step.result.currency,
        "fee": fee.model_dump(mode="json") if fee else row.charge.fee,
        "booked": True,
    }
    return _ended(row, _settled(row), Status.SUCCESS, step.result, ended, of_orders, of_charge)


async def close(database: Database, row: Payment, step: CloseStep) -> Payment | None:
    """End the orders of a payment, as it was read, of which the PSP took nothing. Returns it as it is now; None:
    nothing was written, and the general path decides (`db.payment.lifecycle`). Raises Unavailable."""
    result = step.result
    if (
        row.cancel_requested_at is not None
        or row.charge.booked
        or result is None
        or result.unclear
        or result.outcome is ChargeOutcome.SUCCEEDED
        or not all(order.open and can_become(order.status, step.status) for order in row.orders)
    ):
        return None
    reason = step.failure.code if step.failure else "cancelled"
    moves = [Move(order, step.status, step.failure, reason) for order in row.orders]
    values = {
        **_end_values(row, moves, step.status),
        "at": step.at,
        "status": step.status.value,
        "outcome": result.outcome.value,
        "reference": result.reference,
        "answer": compact(kept(result)),
    }
    ended = await database.one(_CLOSE, **values)
    if ended is None:
        return None
    return _ended(row, moves, step.status, result, ended, {}, {})


def _as_usual(row: Payment, step: SettleStep) -> bool:
    """Whether the PSP has taken exactly what was asked for, and nothing else has happened to the payment."""
    result = step.result
    return (
        row.cancel_requested_at is None
        and row.risk_version is None
        and not row.charge.booked
        and (result.amount, result.currency) == (row.to_capture, row.currency)
        and (result.fee is None or result.fee.currency == row.currency)
        and all(
            not (order.compensating or order.ledger_updated) and can_become(order.status, to)
            for order, to, _, _ in _settled(row)
        )
    )


def _settled(row: Payment) -> list[Move]:
    """The end of each order, in the sequence in which the general path ends them: those of which nothing was captured
    are let go before the others succeed together, or each in its turn."""
    moves = [
        Move(order, Status.SUCCESS, None, "settled")
        if order.to_capture
        else Move(order, Status.CANCELLED, NOT_CAPTURED, NOT_CAPTURED.code)
        for order in row.orders
    ]
    return moves if row.on_partial_failure == "keep_successful" else sorted(moves, key=lambda m: m.order.to_capture > 0)


def _ended(
    row: Payment,
    moves: Sequence[Move],
    status: Status,
    result: ChargeResult,
    ended: asyncpg.Record,
    of_orders: Mapping[str, Mapping[str, Any]],
    of_charge: Mapping[str, Any],
) -> Payment:
    """The payment as it would be read."""
    answered = {
        "outcome": result.outcome.value,
        "reference": result.reference or row.charge.reference,
        "last_answer": kept(result),
        "last_answer_at": ended["answered_at"],
    }
    nothing_left = dict.fromkeys(("next_action", "sealed_action", "deadline_at", "next_check_at"))
    orders = [
        order.model_copy(
            update={"status": to, "failure": failure, "version": order.version + 1, **of_orders.get(order.id, {})}
        )
        for order, to, failure, _ in moves
    ]
    return row.model_copy(
        update={
            "status": status,
            "is_payment_done": all(order.status is Status.SUCCESS for order in orders),
            "version": row.version + 1,
            "updated_at": ended["updated_at"],
            "orders": tuple(sorted(orders, key=lambda order: order.position)),
            "charge": row.charge.model_copy(update={**answered, **of_charge}),
            **nothing_left,
        }
    )


# --- the values of the statements ---


def _end_values(row: Payment, moves: Sequence[Move], to: Status) -> dict[str, Any]:
    return {**values_of(row, moves), "resolution": f"ended {to}", "tasks_kept": list(TASKS_KEPT)}


def _settle_values(row: Payment, step: SettleStep, terms: Mapping[str, Terms]) -> dict[str, Any]:
    result, moves = step.result, _settled(row)
    captured = [order for order in row.orders if order.to_capture]
    of = {order.id: of_capture(row, order, terms[order.seller_account].settlement, result) for order in captured}
    once = {(t.kind, t.source_id): t for transactions in of.values() for t in transactions if t.postings}
    card = result.card
    orders = [move.order for move in moves]
    return {
        **_end_values(row, moves, Status.SUCCESS),
        **_of_ledger(list(once.values())),
        "at": step.at,
        "currency": row.currency,
        "is_done": len(captured) == len(orders),
        "reference": result.reference,
        "received": result.amount,
        "fee": compact(result.fee.model_dump(mode="json")) if result.fee else None,
        "answer": compact(kept(result)),
        "card_fingerprint": card.fingerprint if card and card.fingerprint else None,
        "terms_seller": list(terms),
        "terms_payer": [one.psp_fee_payer for one in terms.values()],
        "terms_days": [one.payout_delay_days for one in terms.values()],
        "order_captured": [order.to_capture for order in orders],
        "order_fee": [captured_fee(order) for order in orders],
        "order_pending": [sum(wallet_changes(_lines(of.get(order.id, []))).values()) for order in orders],
        "order_available": [
            available_at(result, step.at, terms[order.seller_account].settlement) if order.id in of else None
            for order in orders
        ],
    }


def _lines(transactions: Sequence[Transaction]) -> list[Any]:
    return [posting for transaction in transactions for posting in transaction.postings]


def _of_ledger(transactions: Sequence[Transaction]) -> dict[str, Any]:
    changes = wallet_changes(_lines(transactions))
    assert all(bucket is Bucket.PENDING for _, _, bucket in changes), "a settlement credits what is pending"
    return {
        **ledger.values(transactions),
        "wallet_seller": [seller for seller, _, _ in changes],
        "wallet_pending": list(changes.values()),
    }
