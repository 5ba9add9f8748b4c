"""The log: what really happened, whatever a client was told and whatever the books say."""

import json
from collections.abc import Callable

from sandbox import dispute_flow
from sandbox.context import Context
from sandbox.errors import Doc

KINDS = ("charge", "authorization", "refund", "dispute", "transfer", "transfer_reversal", "payout", "request")


def _picked(*fields: str) -> Callable[[Doc], Doc]:
    return lambda document: {field: document[field] for field in fields}


# How an entry stands today: the table of its object, and what is read from there.
TODAY: dict[str, tuple[str, Callable[[Doc], Doc]]] = {
    "refund": ("refunds", _picked("status")),
    "dispute": (
        "disputes",
        lambda dispute: {"status": dispute["status"], "fee": dispute_flow.fee_kept(dispute)},
    ),
    "transfer": ("transfers", _picked("amount_reversed")),
    "payout": ("payouts", _picked("status", "failure_code")),
}


def read(ctx: Context, wanted: Doc, payment_intent: str | None) -> Doc:
    """All entries by kind, in order; only those with the `wanted` metadata and of this payment intent."""
    where, values = "account = ?", [ctx.account.id]
    if payment_intent is not None:
        where, values = where + " AND payment_intent = ?", [*values, payment_intent]
    found: dict[str, list[Doc]] = {kind: [] for kind in KINDS}
    query = f"SELECT kind, doc FROM log WHERE {where} ORDER BY seq"  # noqa: S608
    for kind, text in ctx.store.db.execute(query, values).fetchall():
        entry = json.loads(text)
        if wanted.items() <= entry["metadata"].items():
            found[kind].append(entry)
    # A request is written when it ends and belongs where it arrived.
    found["request"].sort(key=lambda entry: float(entry["at"]))
    for kind, (table, today) in TODAY.items():
        for entry in found[kind]:
            # The entry stays where it is in the order; only how it stands today is looked up.
            entry.update(today(ctx.find_anywhere(table, entry[kind]) or entry))
    return {f"{kind}s": entries for kind, entries in found.items()}
