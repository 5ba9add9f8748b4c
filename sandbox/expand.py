"""`expand[]`: ids in an answer replaced by the objects they name, along dotted paths."""

from typing import Any

from sandbox import balance
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import PREFIXES
from sandbox.wire import public

DEPTH_MAX = 4
FIELDS = {
    "balance_transaction", "charge", "failure_balance_transaction", "latest_charge", "payment_intent",
    "payment_method", "source",
}  # fmt: skip
# Expandable at Stripe, always null here.
ALWAYS_NULL = {
    "application", "application_fee", "customer", "on_behalf_of", "review", "source_transfer", "transfer",
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


def _load(ctx: Context, node: Doc, field: str, path: str) -> Doc:
    if field == "refunds":
        found = [public(item) for item in ctx.store.find_by_intent("refunds", node["payment_intent"])]
        url = f"/v1/charges/{node['id']}/refunds"
        return {"object": "list", "data": found[::-1], "has_more": False, "total_count": len(found), "url": url}
    if field not in FIELDS:
        raise _refused(path)
    kind = PREFIXES[node[field].partition("_")[0]]
    loaded = public(ctx.load(kind, node[field]))
    return balance.current(ctx, loaded) if kind == "balance_transactions" else loaded


def _refused(path: str) -> ApiError:
    return ApiError(400, f"This property cannot be expanded ({path}).", param="expand")
