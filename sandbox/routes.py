"""The operations of the API by method and path: their parameters, and what each of them runs."""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox import (
    balance,
    connected,
    disputes,
    payment_intents,
    payment_methods,
    payouts,
    refunds,
    reversals,
    transfers,
    webhook_endpoints,
)
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.views import view
from sandbox.wire import Table, anything, boolean, currency, integer, metadata, public, text, time_range, words

LIMIT_MAX = 100

# Takes the id in the path ("" where there is none, "outer/inner" where there are two) and the validated parameters.
Handler = Callable[[Context, str, Doc], Doc]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `kind` is the table of the object that the path names."""

    operation: str
    handler: Handler
    table: Table
    required: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The collection this operation belongs to."""
        return self.operation.partition(".")[0]


def _create(function: Callable[[Context, Doc], Doc]) -> Handler:
    return lambda ctx, _id, params: public(function(ctx, params))


def _retrieve(kind: str) -> Handler:
    return lambda ctx, object_id, _params: view(ctx, kind, ctx.load(kind, object_id))


def _list(kind: str, equal: tuple[str, ...] = ()) -> Handler:
    def handler(ctx: Context, _id: str, params: Doc) -> Doc:
        limit = params.get("limit", 10)
        if not 1 <= limit <= LIMIT_MAX:
            message = "This value must be between 1 and 100 (inclusive)."
            raise ApiError(400, message, code="parameter_invalid_integer", param="limit")
        after, before = params.get("starting_after"), params.get("ending_before")
        for cursor, param in ((after, "starting_after"), (before, "ending_before")):
            if cursor:
                ctx.load(kind, cursor, param)
        if after and before:
            raise ApiError(400, "You may only specify one of these parameters: ending_before, starting_after.")
        page, has_more = ctx.store.page(
            kind,
            ctx.account.id,
            limit=limit,
            after=after,
            before=before,
            ranges={name: params[name] for name in RANGES if name in params},
            equal={name: params[name] for name in equal if name in params},
            among={"type": params["types"]} if "types" in params else None,
        )
        data = [view(ctx, kind, document) for document in page]
        return {"object": "list", "data": data, "has_more": has_more, "url": f"/v1/{kind}"}

    return handler


def _list_reversals(ctx: Context, transfer_id: str, params: Doc) -> Doc:
    ctx.load("transfers", transfer_id)
    page = _list("transfer_reversals", ("transfer",))(ctx, "", params | {"transfer": transfer_id})
    return page | {"url": f"/v1/transfers/{transfer_id}/reversals"}


RANGES = ("created", "arrival_date")
PAGE: Table = {
    "limit": integer,
    "starting_after": text,
    "ending_before": text,
    "created": time_range,
}
BY_INTENT: Table = PAGE | {"payment_intent": text}
TOKEN: Table = {"card": anything, "customer": text}
METHOD: Table = {
    "type": text, "card": anything, "billing_details": anything, "metadata": metadata, "allow_redisplay": text,
    "upi": anything, "fpx": anything, "us_bank_account": anything, "cashapp": anything,
}  # fmt: skip
EVENTS: Table = PAGE | {"type": text, "types": words, "delivery_success": boolean}
TRANSACTIONS: Table = PAGE | {"type": text, "source": text, "currency": currency, "payout": text}

TRANSFERS: Table = PAGE | {"destination": text, "transfer_group": text}
PAYOUTS: Table = PAGE | {"status": text, "destination": text, "arrival_date": time_range}

ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "payment_intents"): Route(
        "payment_intents.create", _create(payment_intents.create), payment_intents.CREATE, ("amount", "currency")
    ),
    ("GET", "payment_intents"): Route("payment_intents.list", _list("payment_intents"), PAGE | {"customer": text}),
    ("GET", "payment_intents/*"): Route(
        "payment_intents.retrieve", _retrieve("payment_intents"), payment_intents.RETRIEVE
    ),
    ("POST", "payment_intents/*"): Route("payment_intents.update", payment_intents.update, payment_intents.UPDATE),
    ("POST", "payment_intents/*/confirm"): Route(
        "payment_intents.confirm", payment_intents.confirm, payment_intents.CONFIRM
    ),
    ("POST", "payment_intents/*/capture"): Route(
        "payment_intents.capture", payment_intents.capture, payment_intents.CAPTURE
    ),
    ("POST", "payment_intents/*/cancel"): Route(
        "payment_intents.cancel", payment_intents.cancel, payment_intents.CANCEL
    ),
    ("POST", "payment_methods"): Route("payment_methods.create", _create(payment_methods.create), METHOD),
    ("GET", "payment_methods/*"): Route("payment_methods.retrieve", payment_methods.retrieve, {}),
    ("POST", "tokens"): Route("tokens.create", _create(payment_methods.create_token), TOKEN),
    ("GET", "tokens/*"): Route("tokens.retrieve", payment_methods.retrieve_token, {}),
    ("GET", "charges"): Route("charges.list", _list("charges", ("payment_intent",)), BY_INTENT | {"customer": text}),
    ("GET", "charges/*"): Route("charges.retrieve", _retrieve("charges"), {}),
    ("POST", "refunds"): Route("refunds.create", _create(refunds.create), refunds.CREATE),
    ("GET", "refunds"): Route(
        "refunds.list", _list("refunds", ("payment_intent", "charge")), BY_INTENT | {"charge": text}
    ),
    ("GET", "refunds/*"): Route("refunds.retrieve", _retrieve("refunds"), {}),
    ("POST", "refunds/*"): Route("refunds.update", refunds.update, refunds.UPDATE),
    ("GET", "disputes"): Route(
        "disputes.list", _list("disputes", ("payment_intent", "charge")), BY_INTENT | {"charge": text}
    ),
    ("GET", "disputes/*"): Route("disputes.retrieve", _retrieve("disputes"), {}),
    ("POST", "disputes/*"): Route("disputes.update", disputes.update, disputes.UPDATE),
    ("POST", "disputes/*/close"): Route("disputes.close", disputes.close, {}),
    ("POST", "accounts"): Route("accounts.create", _create(connected.create), connected.CREATE),
    ("GET", "accounts/*"): Route("accounts.retrieve", connected.retrieve, {}),
    ("POST", "transfers"): Route(
        "transfers.create", _create(transfers.create), transfers.CREATE, ("amount", "currency", "destination")
    ),
    ("GET", "transfers"): Route("transfers.list", _list("transfers", ("destination", "transfer_group")), TRANSFERS),
    ("GET", "transfers/*"): Route("transfers.retrieve", _retrieve("transfers"), {}),
    ("POST", "transfers/*"): Route("transfers.update", transfers.update, transfers.UPDATE),
    ("POST", "transfers/*/reversals"): Route("transfer_reversals.create", reversals.create, reversals.CREATE),
    ("GET", "transfers/*/reversals"): Route("transfer_reversals.list", _list_reversals, PAGE),
    ("GET", "transfers/*/reversals/*"): Route("transfer_reversals.retrieve", reversals.retrieve, {}),
    ("POST", "transfers/*/reversals/*"): Route("transfer_reversals.update", reversals.update, reversals.UPDATE),
    ("POST", "payouts"): Route("payouts.create", _create(payouts.create), payouts.CREATE, ("amount", "currency")),
    ("GET", "payouts"): Route("payouts.list", _list("payouts", ("status", "destination")), PAYOUTS),
    ("GET", "payouts/*"): Route("payouts.retrieve", _retrieve("payouts"), {}),
    ("POST", "payouts/*"): Route("payouts.update", payouts.update, payouts.UPDATE),
    ("POST", "payouts/*/cancel"): Route("payouts.cancel", payouts.cancel_by_owner, {}),
    ("GET", "balance_transactions"): Route(
        "balance_transactions.list",
        _list("balance_transactions", ("type", "source", "currency", "payout")),
        TRANSACTIONS,
    ),
    ("GET", "balance_transactions/*"): Route("balance_transactions.retrieve", _retrieve("balance_transactions"), {}),
    ("GET", "balance"): Route("balance.retrieve", lambda ctx, _id, _params: balance.balance(ctx), {}),
    ("POST", "webhook_endpoints"): Route(
        "webhook_endpoints.create", webhook_endpoints.create, webhook_endpoints.CREATE, ("url", "enabled_events")
    ),
    ("GET", "webhook_endpoints"): Route("webhook_endpoints.list", webhook_endpoints.list_all, PAGE),
    ("GET", "webhook_endpoints/*"): Route("webhook_endpoints.retrieve", webhook_endpoints.retrieve, {}),
    ("POST", "webhook_endpoints/*"): Route(
        "webhook_endpoints.update", webhook_endpoints.update, webhook_endpoints.UPDATE
    ),
    ("GET", "events"): Route("events.list", _list("events", ("type",)), EVENTS),
    ("GET", "events/*"): Route("events.retrieve", _retrieve("events"), {}),
}
OPERATIONS = frozenset(route.operation for route in ROUTES.values())


def find(method: str, path: str) -> tuple[Route, str]:
    """The route of a request and the id in its path. Raises the 404 for an unknown URL."""
    parts = path.removeprefix("/v1/").strip("/").split("/")
    object_id = "/".join(parts[1::2])
    pattern = "/".join("*" if place % 2 and part else part for place, part in enumerate(parts))
    route = ROUTES.get((method, pattern))
    if route is None:
        text = f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
        raise ApiError(404, text)
    return route, object_id
