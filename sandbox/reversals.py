"""The operations of `/v1/transfers/{id}/reversals`: money back from a connected account."""

from sandbox import balance, connected, destination_payments, events, transfers
from sandbox.context import Context
from sandbox.currencies import written
from sandbox.errors import ApiError, Doc, not_found
from sandbox.store import new_id
from sandbox.wire import Table, boolean, merged, metadata, positive, public, text

CREATE: Table = {"amount": positive, "description": text, "metadata": metadata, "refund_application_fee": boolean}
UPDATE: Table = {"metadata": metadata}


def create(ctx: Context, transfer_id: str, params: Doc) -> Doc:
    """`POST …/reversals`, full or partial; takes it from the connected account's available balance."""
    transfer = ctx.load("transfers", transfer_id)
    amount = _amount(transfer, params.get("amount"))
    if connected.behaviour_of(transfer["destination"]) == "reversalRefused":
        text = "The connected account's balance does not cover this reversal."
        raise ApiError(400, text, code="balance_insufficient", executed=True)
    refund = destination_payments.give_back(ctx, transfer, amount)
    reversal: Doc = {
        "id": new_id("trr"),
        "object": "transfer_reversal",
        "amount": amount,
        "balance_transaction": None,
        "created": ctx.account.now,
        "currency": transfer["currency"],
        "destination_payment_refund": refund["id"],
        "metadata": merged({}, params.get("metadata")),
        "source_refund": None,
        "transfer": transfer["id"],
    }
    booked = balance.book(
        ctx,
        "transfer_refund",
        amount,
        transfer["currency"],
        reversal["id"],
        available_on=ctx.account.now,
        description=params.get("description"),
    )
    reversal["balance_transaction"] = booked["id"]
    ctx.insert("transfer_reversals", reversal)
    reversed_before = transfer["amount_reversed"]
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    ctx.store.update("transfers", transfer)
    _log(ctx, transfer, reversal)
    events.emit(ctx, "transfer.reversed", transfers.view(ctx, transfer), {"amount_reversed": reversed_before})
    return public(reversal)


def retrieve(ctx: Context, ids: str, _params: Doc) -> Doc:
    """`GET …/reversals/{trr}`; `ids` are the transfer's and the reversal's."""
    return public(_load(ctx, ids))


def update(ctx: Context, ids: str, params: Doc) -> Doc:
    """`POST …/reversals/{trr}`: metadata only."""
    reversal = _load(ctx, ids)
    if "metadata" in params:
        reversal["metadata"] = merged(reversal["metadata"], params["metadata"])
        ctx.store.update("transfer_reversals", reversal)
    return public(reversal)


def _load(ctx: Context, ids: str) -> Doc:
    transfer_id, _, reversal_id = ids.partition("/")
    reversal = ctx.find("transfer_reversals", reversal_id)
    if reversal is None or reversal["transfer"] != transfer_id:
        raise not_found("transfer reversal", reversal_id, "id")
    return reversal


def _amount(transfer: Doc, asked: int | None) -> int:
    left = int(transfer["amount"] - transfer["amount_reversed"])
    if left == 0:
        raise ApiError(400, f"Transfer {transfer['id']} is already fully reversed.", executed=True)
    if asked is None or asked <= left:
        return left if asked is None else asked
    code = transfer["currency"]
    message = f"Reversal amount ({written(asked, code)}) is greater than unreversed amount ({written(left, code)})"
    raise ApiError(400, message, param="amount", executed=True)


def _log(ctx: Context, transfer: Doc, reversal: Doc) -> None:
    entry = {
        "transfer_reversal": reversal["id"],
        "transfer": transfer["id"],
        "account": ctx.account.connected,
        "destination": transfer["destination"],
        "amount": reversal["amount"],
        "currency": reversal["currency"],
        # The transfer's metadata below the reversal's own, so that a filter by the transfer finds its reversals.
        "metadata": transfer["metadata"] | reversal["metadata"],
        "at": ctx.account.time,
        "idempotency_key": ctx.idempotency_key,
    }
    ctx.write_log("transfer_reversal", entry, None)
