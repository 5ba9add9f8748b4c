"""The tables, one file per noun. Amounts are BIGINT minor units beside an ISO 4217 code; every row has its tenant."""

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
