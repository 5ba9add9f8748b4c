"""Payout: TODO docstring."""

from collections.abc import Sequence
from typing import Any

from api.fields import failure_out
from api.schemas.payout import PayoutDetail, PayoutItemOut, PayoutOut, PayoutTransitionOut
from db.payout.record import Payout
from domain.money import to_major
from domain.statement import words


def payout_out(row: Payout) -> PayoutOut:
    return PayoutOut(**_payout(row))


def payout_detail(row: Payout, transitions: Sequence[dict[str, Any]]) -> PayoutDetail:
    steps = [PayoutTransitionOut(**{n: t[n] for n in PayoutTransitionOut.model_fields}) for t in transitions]
    return PayoutDetail(**_payout(row), transitions=steps)


def _payout(row: Payout) -> dict[str, Any]:
    return {
        "id": row.id,
        "seller_account": row.seller_account,
        "amount": to_major(row.amount, row.currency),
        "currency": row.currency,
        "status": row.status,
        "account": row.destination,
        "business_date": row.business_date,
        "reference": row.reference,
        "arrival_at": row.arrival_at,
        "failure": failure_out(row.failure),
        "cancel_requested": row.cancel_requested,
        "created_at": row.created_at,
    }


def payout_item(row: dict[str, Any]) -> PayoutItemOut:
    """`row`: of `db.payout.items`."""
    amount, whole, currency = row["amount"], row["posting_amount"], row["currency"]
    return PayoutItemOut(
        description=words(row["kind"]),
        kind=row["kind"],
        transaction_id=row["transaction_id"],
        payment_id=row["payment_id"],
        order_id=row["order_id"],
        payment_order_id=row["payment_order_id"],
        amount=to_major(amount, currency),
        part_of=to_major(whole, currency) if amount != whole else None,
        returned=row["released"],
        at=row["at"],
    )
