"""From rows to the shapes of the contract."""

from typing import Any

from api.schemas.explain import AttemptOut, TaskOut, TransitionOut
from api.schemas.payment import BuyerOut, FailureOut, NextActionOut, PaymentOrderOut, PaymentOut
from db.payment.record import Order, Payment
from domain.model import Failure
from domain.money import to_major


def failure_out(failure: Failure | None) -> FailureOut | None:
    return FailureOut(**failure.model_dump()) if failure else None


def order_out(row: Payment, order: Order) -> PaymentOrderOut:
    return PaymentOrderOut(
        id=order.id,
        payment_id=row.id,
        payment_order_id=order.payment_order_id,
        seller_account=order.seller_account,
        amount=to_major(order.amount, order.currency),
        currency=order.currency,
        status=order.status,
        wallet_updated=order.wallet_updated,
        ledger_updated=order.ledger_updated,
        next_action=_action(row) if order.open else None,
        failure=failure_out(order.failure),
        captured_amount=to_major(order.captured_amount, order.currency),
        refundable_amount=to_major(order.refundable, order.currency),
        refund_status=order.refund_status,
        dispute_status=order.dispute_status,
        created_at=order.created_at,
    )


def payment_out(row: Payment) -> PaymentOut:
    failure = next((order.failure for order in row.orders if order.failure), None)
    return PaymentOut(
        id=row.id,
        status=row.status,
        is_payment_done=row.is_payment_done,
        checkout_id=row.checkout_id,
        buyer=BuyerOut(id=row.buyer_id),
        amount=to_major(row.amount, row.currency),
        currency=row.currency,
        next_action=_action(row),
        failure=failure_out(failure),
        cancel_requested=row.cancel_requested_at is not None,
        metadata=row.metadata,
        payment_orders=[order_out(row, order) for order in row.orders],
        created_at=row.created_at,
    )


def _action(row: Payment) -> NextActionOut | None:
    return NextActionOut(**row.next_action) if row.next_action else None


def attempt_out(row: dict[str, Any]) -> AttemptOut:
    return AttemptOut(
        attempt=row["attempt"],
        psp=row["psp"],
        reference=row["reference"],
        outcome=row["outcome"],
        unknown_answers=row["unknown_count"],
        send_until=row["send_until"],
        last_answer=row["last_answer"],
        last_answer_at=row["last_answer_at"],
    )


def task_out(row: dict[str, Any]) -> TaskOut:
    return TaskOut(id=row["id"], kind=row["kind"], detail=row["detail"], opened_at=row["opened_at"])


def transition_out(row: dict[str, Any], names: dict[str, str]) -> TransitionOut:
    """`names`: our order ids → the client's."""
    return TransitionOut(
        payment_order_id=names[row["order_id"]],
        from_status=row["from_status"],
        to_status=row["to_status"],
        reason=row["reason"],
        actor=row["actor"],
        at=row["at"],
    )
