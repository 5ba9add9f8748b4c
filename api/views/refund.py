"""Refund: TODO docstring."""

from collections.abc import Mapping

from api.schemas.refund import RefundOut
from api.views.payment import failure_out
from db.refund.record import Refund
from domain.money import to_major


def refund_out(row: Refund, names: Mapping[str, str]) -> RefundOut:
    """`names`: our order ids → the client's."""
    return RefundOut.model_validate(
        {
            "id": row.id,
            "payment_id": row.payment_id,
            "payment_order_id": names[row.order_id] if row.order_id else None,
            "origin": row.origin,
            "reason": row.reason,
            "amount": to_major(row.amount, row.currency),
            "currency": row.currency,
            "status": row.status,
            "attempt": row.attempt,
            "reference": row.reference,
            "failure": failure_out(row.failure),
            "created_at": row.created_at,
        }
    )
