"""Transactions of the ledger as the values of a statement that posts them."""

from collections.abc import Sequence
from typing import Any

from domain.ids import new_id
from domain.ledger import Transaction, account_kind


def values(transactions: Sequence[Transaction]) -> dict[str, Any]:
    """Of transactions that have postings: their rows, the accounts, and the lines."""
    ids = [new_id("lt") for _ in transactions]
    lines = [(i, line) for i, t in zip(ids, transactions, strict=True) for line in t.postings]
    accounts = sorted({line.account for _, line in lines})
    return {
        "transaction_id": ids,
        "transaction_kind": [t.kind.value for t in transactions],
        "transaction_source": [t.source_id for t in transactions],
        "transaction_order": [t.payment_order_id for t in transactions],
        "account_name": accounts,
        "account_kind": [account_kind(name).value for name in accounts],
        "line_transaction": [i for i, _ in lines],
        "line_account": [line.account for _, line in lines],
        "line_amount": [line.amount for _, line in lines],
    }
