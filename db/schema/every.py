"""Every table, for who needs them all: migrations are compared with them."""

from db.schema import (
    dispute,
    ledger,
    merchant,
    messages,
    month,
    notification,
    operator,
    payment,
    payout,
    person,
    reconciliation,
    refund,
    tenant,
    webhook_endpoint,
)
from db.schema.base import metadata

__all__ = [
    "dispute",
    "ledger",
    "merchant",
    "messages",
    "metadata",
    "month",
    "notification",
    "operator",
    "payment",
    "payout",
    "person",
    "reconciliation",
    "refund",
    "tenant",
    "webhook_endpoint",
]
