"""History: TODO docstring."""

from typing import Any

from api.schemas.history import HistoryDispute, HistoryEntry, HistoryPayment, HistoryPayout, HistoryRefund
from domain.money import to_major

_HISTORY: dict[str, type[HistoryPayment] | type[HistoryRefund] | type[HistoryDispute] | type[HistoryPayout]] = {
    "payment": HistoryPayment,
    "refund": HistoryRefund,
    "dispute": HistoryDispute,
    "payout": HistoryPayout,
}


def history_out(row: dict[str, Any]) -> HistoryEntry:
    """`row`: of `db.history.page`. What the buyer has to do next is shown with the payment alone."""
    entry = _HISTORY[row["type"]]
    fields = {name: row[name] for name in entry.model_fields if name in row}
    for name in {"amount", "captured_amount", "refundable_amount"} & fields.keys():
        fields[name] = to_major(fields[name], row["currency"])
    return entry.model_validate(fields | ({"next_action": None} if entry is HistoryPayment else {}))
