"""The operations of `/v1/transfers`: money from the platform to a connected account."""

from sandbox import balance, connected, currencies, destination_payments, events
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import new_id
from sandbox.wire import Table, clearable, currency, merged, metadata, one_of, positive, public, text

REVERSALS_SHOWN_MAX = 10

CREATE: Table = {
    "amount": positive,
    "currency": currency,
    "destination": text,
    "description": text,
    "metadata": metadata,
    "source_transaction": text,
    "source_type": one_of("bank_account", "card", "fpx"),
    "transfer_group": text,
}
UPDATE: Table = {"description": clearable, "metadata": metadata}


def create(ctx: Context, params: Doc) -> Doc:
    """`POST /v1/transfers`: out of the available balance, or out of a charge named by `source_transaction`."""
    amount, code, destination = params["amount"], params["currency"], params["destination"]
    currencies.known(code)
    if connected.find(ctx.store, ctx.account.platform, destination) is None:
        text = f"No such destination: '{destination}'"
        raise ApiError(400, text, code="resource_missing", param="destination")
    charge = _charge_behind(ctx, params)
    if connected.behaviour_of(destination) == "transferRefused":
        text = "Your destination account needs to have at least one of the following capabilities enabled: transfers"
        raise ApiError(400, text, code="transfers_not_allowed", executed=True)
    if charge is None:
        balance.require(ctx, amount, code)
    available_on = _available_on(ctx, charge)
    transfer: Doc = {
        "id": new_id("tr"),
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "balance_transaction": None,
        "created": ctx.account.now,
        "currency": code,
        "description": params.get("description"),
        "destination": destination,
        "destination_payment": None,
        "livemode": False,
        "metadata": merged({}, params.get("metadata")),
        "reversed": False,
        "source_transaction": charge["id"] if charge else None,
        "source_type": params.get("source_type", "card"),
        "transfer_group": params.get("transfer_group") or (f"group_{charge['payment_intent']}" if charge else None),
    }
    booked = balance.book(
        ctx, "transfer", -amount, code, transfer["id"], available_on=available_on, description=transfer["description"]
    )
    transfer["balance_transaction"] = booked["id"]
    transfer["destination_payment"] = destination_payments.receive(ctx, transfer, available_on)["id"]
    ctx.insert("transfers", transfer)
    _log(ctx, transfer)
    events.emit(ctx, "transfer.created", view(ctx, transfer))
    return view(ctx, transfer)


def update(ctx: Context, transfer_id: str, params: Doc) -> Doc:
    """`POST /v1/transfers/{id}`: metadata and description only."""
    transfer = ctx.load("transfers", transfer_id)
    before = {name: transfer[name] for name in UPDATE if name in params}
    if before:
        transfer |= {name: params[name] for name in before}
        if "metadata" in before:
            transfer["metadata"] = merged(before["metadata"], params["metadata"])
        ctx.store.update("transfers", transfer)
        changed = {name: value for name, value in before.items() if value != transfer[name]}
        events.emit(ctx, "transfer.updated", view(ctx, transfer), changed)
    return view(ctx, transfer)


def view(ctx: Context, transfer: Doc) -> Doc:
    """The transfer as Stripe shows it: with its newest reversals."""
    page: list[Doc] = []
    more = False
    if transfer["amount_reversed"]:
        page, more = ctx.store.page(
            "transfer_reversals", ctx.account.id, limit=REVERSALS_SHOWN_MAX, equal={"transfer": transfer["id"]}
        )
    reversals = {
        "object": "list",
        "data": [public(reversal) for reversal in page],
        "has_more": more,
        "url": f"/v1/transfers/{transfer['id']}/reversals",
    }
    return public(transfer) | {"reversals": reversals}


def _charge_behind(ctx: Context, params: Doc) -> Doc | None:
    """The charge whose money the transfer takes, also before it is available. Raises ApiError if it cannot."""
    if "source_transaction" not in params:
        return None
    charge = ctx.load("charges", params["source_transaction"], "source_transaction")
    if not charge["balance_transaction"] or charge["currency"] != params["currency"]:
        message = f"Charge {charge['id']} has not been paid in {params['currency']}."
        raise ApiError(400, message, param="source_transaction", executed=True)
    if params["amount"] > charge["amount_captured"]:
        message = "Cannot use a source_transaction with a transfer amount greater than the source amount."
        raise ApiError(400, message, param="amount", executed=True)
    return charge


def _available_on(ctx: Context, charge: Doc | None) -> int:
    """At once, or together with the charge that the transfer is made of."""
    now = ctx.account.now
    if charge is None:
        return now
    booked = ctx.load("balance_transactions", charge["balance_transaction"])
    return max(now, int(booked["available_on"]))


def _log(ctx: Context, transfer: Doc) -> None:
    entry = {
        "transfer": transfer["id"],
        "account": ctx.account.connected,
        "destination": transfer["destination"],
        "amount": transfer["amount"],
        "amount_reversed": 0,
        "currency": transfer["currency"],
        "transfer_group": transfer["transfer_group"],
        "metadata": transfer["metadata"],
        "at": ctx.account.time,
        "idempotency_key": ctx.idempotency_key,
    }
    ctx.write_log("transfer", entry, None)
