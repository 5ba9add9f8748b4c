"""The operations of `/v1/disputes`."""

from typing import Any

from sandbox import balance, dispute_flow, events
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.wire import Reader, Table, anything, boolean, clearable, hashed, merged, metadata, public

SHORT_MAX, LONG_MAX = 5_000, 20_000


def _text_up_to(most: int) -> Reader:
    def read(name: str, value: Any) -> str | None:
        read = clearable(name, value)
        if read and len(read) > most:
            raise ApiError(400, f"Invalid string: must be at most {most} characters", param=name)
        return read

    return read


EVIDENCE: Table = (
    {name: _text_up_to(SHORT_MAX) for name in dispute_flow.SHORT_TEXTS}
    | {name: _text_up_to(LONG_MAX) for name in dispute_flow.LONG_TEXTS}
    | dict.fromkeys(dispute_flow.FILES, clearable)
    | {"enhanced_evidence": anything}
)


def _evidence(name: str, value: Any) -> Doc:
    given = hashed(name, value)
    for field in given:
        if field not in EVIDENCE:
            text = f"Received unknown parameter: {name}[{field}]"
            raise ApiError(400, text, code="parameter_unknown", param=f"{name}[{field}]")
    return {field: EVIDENCE[field](f"{name}[{field}]", item) for field, item in given.items()}


UPDATE: Table = {"evidence": _evidence, "metadata": metadata, "submit": boolean}


def view(ctx: Context, dispute: Doc) -> Doc:
    """The dispute as `GET /v1/disputes/{id}` shows it: its balance transactions have today's status."""
    transactions = [balance.current(ctx, transaction) for transaction in dispute["balance_transactions"]]
    return public(dispute) | {"balance_transactions": transactions}


def update(ctx: Context, dispute_id: str, params: Doc) -> Doc:
    """`POST /v1/disputes/{id}`: evidence, staged or (the default) submitted; metadata at any time."""
    dispute = ctx.load("disputes", dispute_id)
    previous: Doc = {}
    # Metadata alone submits nothing, though `submit` is true by default.
    if params.keys() & {"evidence", "submit"}:
        submit = params.get("submit", True)
        previous = dispute_flow.respond(ctx, dispute, params.get("evidence", {}), submit=submit)
    if "metadata" in params:
        previous["metadata"] = dispute["metadata"]
        dispute["metadata"] = merged(dispute["metadata"], params["metadata"])
    if previous:
        ctx.store.update("disputes", dispute)
        changed = {name: value for name, value in previous.items() if value != dispute[name]}
        events.emit(ctx, "charge.dispute.updated", dispute, changed)
    return view(ctx, dispute)


def close(ctx: Context, dispute_id: str, _params: Doc) -> Doc:
    """`POST /v1/disputes/{id}/close`: the shop accepts. The dispute is lost; an inquiry just ends."""
    dispute = ctx.load("disputes", dispute_id)
    if dispute["status"] == "needs_response":
        dispute_flow.lose(ctx, dispute)
    elif dispute["status"] == "warning_needs_response":
        dispute_flow.close_inquiry(ctx, dispute)
    else:
        text = f"This dispute cannot be closed because it has a status of {dispute['status']}."
        raise ApiError(400, text, executed=True)
    return view(ctx, dispute)
