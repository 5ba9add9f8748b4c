"""The itemized report of balance changes: Stripe's `balance_change_from_activity.itemized.3` as a CSV file.

Amounts are decimals in major units; `…_utc` are UTC, the other times of the account's `local_timezone`. Unlike
Stripe's, it has the payouts as well unless `report_payouts` is false, so that all lines add up to the balance.
https://docs.stripe.com/reports/report-types/balance
"""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from sandbox.context import Context
from sandbox.currencies import major
from sandbox.errors import Doc
from sandbox.store import PREFIXES

LINES_AT_ONCE = 500
COLUMNS = (
    "balance_transaction_id", "created_utc", "created", "available_on_utc", "available_on", "currency", "gross", "fee",
    "net", "reporting_category", "source_id", "description", "automatic_payout_id", "customer_id", "charge_id",
    "payment_intent_id", "charge_created_utc", "payment_method_type", "card_brand", "card_funding", "card_country",
    "refund_id", "dispute_id", "dispute_reason", "transfer_id", "payout_id", "trace_id", "connected_account_id",
)  # fmt: skip
DEFAULT_COLUMNS = (
    "balance_transaction_id", "created", "available_on", "currency", "gross", "fee", "net", "reporting_category",
    "description",
)  # fmt: skip
ID_COLUMNS = {"refund": "refund_id", "dispute": "dispute_id", "payout": "payout_id", "transfer": "transfer_id"}


async def itemized(ctx: Context, start: int, end: int) -> str:
    """The lines created from `start` until before `end`, oldest first, and a column for every metadata key in them."""
    rows: list[Doc] = []
    seen = (start, 0)
    while lines := _lines(ctx, seen, end):
        rows += [_row(ctx, line, payout) for payout, line in _shown(ctx, lines)]
        seen = (lines[-1][0], lines[-1][1])
        await asyncio.sleep(0)  # others have their turn while a long report is made
    extra = sorted({name for row in rows for name in row} - set(COLUMNS))
    columns = DEFAULT_COLUMNS if ctx.account.settings.report_columns == "default" else (*COLUMNS, *extra)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _lines(ctx: Context, seen: tuple[int, int], end: int) -> list[tuple[int, int, str | None, str]]:
    query = """
        SELECT created, seq, payout, doc FROM balance_transactions
        WHERE account = ? AND (created, seq) > (?, ?) AND +created < ? AND NOT hidden
        ORDER BY created, seq LIMIT ?"""
    return ctx.store.db.execute(query, (ctx.account.id, *seen, end, LINES_AT_ONCE)).fetchall()


def _shown(ctx: Context, lines: list[tuple[int, int, str | None, str]]) -> Iterator[tuple[str | None, Doc]]:
    for _, _, payout, text in lines:
        line = json.loads(text)
        if ctx.account.settings.report_payouts or line["reporting_category"] not in ("payout", "payout_reversal"):
            yield payout, line


def _row(ctx: Context, line: Doc, payout: str | None) -> Doc:
    currency = line["currency"]
    zone = ctx.account.settings.zone
    row = {
        "balance_transaction_id": line["id"],
        "created_utc": _moment(line["created"]),
        "created": _moment(line["created"], zone),
        "available_on_utc": _moment(line["available_on"]),
        "available_on": _moment(line["available_on"], zone),
        "currency": currency,
        "gross": major(line["amount"], currency),
        "fee": major(line["fee"], currency),
        "net": major(line["net"], currency),
        "reporting_category": line["reporting_category"],
        "source_id": line["source"],
        "description": line["description"],
        "automatic_payout_id": payout,
    }
    source = _find(ctx, line["source"])
    return row | _about(ctx, source) if source else row


def _about(ctx: Context, source: Doc) -> Doc:
    """The columns about the object that a line comes from, and of the objects behind that one."""
    row: Doc = {"connected_account_id": source.get("destination") if source["object"] == "transfer" else None}
    if source["object"] in ID_COLUMNS:
        row[ID_COLUMNS[source["object"]]] = source["id"]
    if source["object"] == "payout":
        row["trace_id"] = source["trace_id"]["value"]
    if source["object"] == "refund":
        row |= _metadata("refund", source)
    if source["object"] == "dispute":
        row["dispute_reason"] = source["reason"]
    transfer = _find(ctx, source["transfer"]) if source["object"] == "transfer_reversal" else source
    if transfer and transfer["object"] == "transfer":
        row |= {"transfer_id": transfer["id"], "connected_account_id": transfer["destination"]}
        row |= _metadata("transfer", transfer)
    charge = _find(ctx, source["charge"]) if "charge" in source else source
    return row | _of_charge(charge) if charge and charge["object"] == "charge" else row


def _of_charge(charge: Doc) -> Doc:
    details = charge["payment_method_details"]
    card = details.get("card") or {}
    row = {
        "customer_id": charge["customer"],
        "charge_id": charge["id"],
        "payment_intent_id": charge["payment_intent"],
        "charge_created_utc": _moment(charge["created"]),
        "payment_method_type": details["type"],
        "card_brand": card.get("brand"),
        "card_funding": card.get("funding"),
        "card_country": card.get("country"),
    }
    return row | _metadata("payment", charge)


def _metadata(of: str, document: Doc) -> Doc:
    return {f"{of}_metadata[{key}]": value for key, value in document["metadata"].items()}


def _find(ctx: Context, object_id: str | None) -> Doc | None:
    kind = PREFIXES.get((object_id or "").partition("_")[0])
    return ctx.find(kind, object_id) if kind and object_id else None


def _moment(at: int, zone: tzinfo = UTC) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")
