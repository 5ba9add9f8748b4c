"""`expand[]`: ids in an answer replaced by the objects they name, along dotted paths."""

from typing import Any

from sandbox import connected
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import PREFIXES
from sandbox.views import view
from sandbox.wire import public

DEPTH_MAX = 4
FIELDS = {
    "balance_transaction", "charge", "destination", "destination_payment", "destination_payment_refund",
    "failure_balance_transaction", "latest_charge", "payment_intent", "payment_method", "source", "source_transaction",
    "source_transfer", "transfer",
}  # fmt: skip
# Expandable at Stripe, always null here.
ALWAYS_NULL = {
    "application", "application_fee", "customer", "on_behalf_of", "original_payout", "review", "reversed_by",
    "source_refund",
}  # fmt: skip


def expand(ctx: Context, document: Doc, paths: list[str]) -> Doc:
    """The document with each path expanded. Raises ApiError on a path that cannot be."""
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEPTH_MAX:
            text = f"You cannot expand more than {DEPTH_MAX} levels of a property, as in {path}."
            raise ApiError(400, text, param="expand")
        _walk(ctx, document, parts, path)
    return document


def _walk(ctx: Context, node: Any, parts: list[str], path: str) -> None:
    if isinstance(node, list):
        for item in node:
            _walk(ctx, item, parts, path)
    elif isinstance(node, dict) and parts:
        field, rest = parts[0], parts[1:]
        if isinstance(node.get(field), str) or (field == "refunds" and node.get("object") == "charge"):
            node[field] = _load(ctx, node, field, path)
        elif field not in FIELDS | ALWAYS_NULL and not isinstance(node.get(field), dict | list):
            raise _refused(path)
        _walk(ctx, node.get(field), rest, path)


def _load(ctx: Context, node: Doc, field: str, path: str) -> Doc | str:
    if field == "refunds":
        found = [public(item) for item in ctx.store.find_by_intent("refunds", node["payment_intent"])]
        url = f"/v1/charges/{node['id']}/refunds"
        return {"object": "list", "data": found[::-1], "has_more": False, "total_count": len(found), "url": url}
    if field not in FIELDS:
        raise _refused(path)
    name: str = node[field]
    if field == "destination" and node.get("object") == "transfer":
        return connected.find(ctx.store, ctx.account.platform, name) or name
    kind = PREFIXES.get(name.partition("_")[0], "")
    # The payment at the other end of a transfer is in another account than the transfer that names it.
    loaded = ctx.find_anywhere(kind, name) if kind else None
    if loaded is not None:
        return view(ctx, kind, loaded)
    if field == "source":
        return name  # a line that was planted may name anything
    raise _refused(path)


def _refused(path: str) -> ApiError:
    return ApiError(400, f"This property cannot be expanded ({path}).", param="expand")
