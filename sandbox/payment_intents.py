"""The operations of `/v1/payment_intents`."""

from sandbox import currencies, payment_flow, payment_methods
from sandbox.context import Context
from sandbox.errors import ApiError, Doc, missing, unexpected_state
from sandbox.wire import (
    Table,
    anything,
    boolean,
    clearable,
    currency,
    flag_or_word,
    hashed,
    merged,
    metadata,
    one_of,
    positive,
    public,
    text,
    words,
)

RETURN_URL_NEEDED = (
    "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these "
    "payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't want "
    "to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and "
    "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
)
METHOD_MISSING = (
    "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
    "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method "
    "or ConfirmationToken."
)

ATTEMPT: Table = {
    "payment_method": text,
    "payment_method_data": hashed,
    "payment_method_options": anything,
    "capture_method": one_of("automatic", "automatic_async", "manual"),
    "return_url": text,
    "off_session": flag_or_word,
    "error_on_requires_action": boolean,
    "receipt_email": clearable,
    "setup_future_usage": clearable,
    "shipping": anything,
    "mandate": text,
    "mandate_data": anything,
    "radar_options": anything,
    "use_stripe_sdk": boolean,
    "allowed_payment_method_types": words,
    "payment_method_types": words,
    "amount_details": anything,
    "payment_details": anything,
}
CREATE: Table = ATTEMPT | {
    "amount": positive,
    "currency": currency,
    "confirm": boolean,
    "automatic_payment_methods": hashed,
    "confirmation_method": one_of("automatic", "manual"),
    "customer": text,
    "description": text,
    "metadata": metadata,
    "on_behalf_of": text,
    "payment_method_configuration": text,
    "statement_descriptor": text,
    "statement_descriptor_suffix": text,
    "transfer_data": anything,
    "transfer_group": text,
}
UPDATE: Table = {
    "amount": positive,
    "currency": currency,
    "capture_method": ATTEMPT["capture_method"],
    "customer": text,
    "description": clearable,
    "metadata": metadata,
    "payment_method": text,
    "payment_method_data": hashed,
    "payment_method_options": anything,
    "receipt_email": clearable,
    "setup_future_usage": clearable,
    "shipping": anything,
    "statement_descriptor": clearable,
    "statement_descriptor_suffix": clearable,
    "transfer_group": clearable,
}
CONFIRM: Table = ATTEMPT
CAPTURE: Table = {
    "amount_to_capture": positive,
    "final_capture": boolean,
    "metadata": metadata,
    "statement_descriptor": text,
    "statement_descriptor_suffix": text,
}
CANCEL: Table = {
    "cancellation_reason": one_of("duplicate", "fraudulent", "requested_by_customer", "abandoned"),
}
RETRIEVE: Table = {"client_secret": text}


def create(ctx: Context, params: Doc) -> Doc:
    """`POST /v1/payment_intents`, with or without `confirm=true`."""
    currencies.check(params["amount"], params["currency"])
    automatic = params.get("automatic_payment_methods")
    if automatic is not None:
        params["automatic_payment_methods"] = _automatic(automatic)
    if not params.get("confirm"):
        for name in ("off_session", "return_url", "error_on_requires_action"):
            if name in params:
                message = f"You may only specify `{name}` when `confirm` is set to true."
                raise ApiError(400, message, param=name)
    intent = payment_flow.build(ctx, params)
    method = _chosen_method(ctx, intent, params)
    if params.get("confirm"):
        if method is None:
            raise missing("payment_method")
        _check_attempt(ctx, intent, method)
    elif method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    payment_flow.start(ctx, intent)
    return _attempt(ctx, intent, method, params) if params.get("confirm") and method else public(intent)


def confirm(ctx: Context, intent_id: str, params: Doc) -> Doc:
    """`POST /v1/payment_intents/{id}/confirm`."""
    intent = ctx.load("payment_intents", intent_id)
    status = intent["status"]
    if status == "succeeded":
        text = (
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
        )
        raise unexpected_state(text, public(intent))
    if status not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        text = (
            f"You cannot confirm this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one "
            "of the following statuses may be confirmed: requires_confirmation, requires_action."
        )
        raise unexpected_state(text, public(intent))
    method = _chosen_method(ctx, intent, params)
    if method is None and intent["payment_method"]:
        method = ctx.load("payment_methods", intent["payment_method"])
    intent |= {name: params[name] for name in ("capture_method", "receipt_email", "shipping") if name in params}
    if "return_url" in params:
        intent["_return_url"] = params["return_url"]
    if method is None:
        raise unexpected_state(METHOD_MISSING, public(intent))
    _check_attempt(ctx, intent, method)
    return _attempt(ctx, intent, method, params)


def update(ctx: Context, intent_id: str, params: Doc) -> Doc:
    """`POST /v1/payment_intents/{id}`: metadata at any time, money only before an attempt."""
    intent = ctx.load("payment_intents", intent_id)
    money = params.keys() & {"amount", "currency", "capture_method", "payment_method", "payment_method_data"}
    if money and intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        text = (
            f"This PaymentIntent's {min(money)} could not be updated because it has a status of {intent['status']}. "
            "You may only update it while no payment is under way."
        )
        raise unexpected_state(text, public(intent))
    if "amount" in params or "currency" in params:
        wanted = intent | params
        currencies.check(wanted["amount"], wanted["currency"])
    method = _chosen_method(ctx, intent, params)
    if "metadata" in params:
        intent["metadata"] = merged(intent["metadata"], params["metadata"])
    plain = params.keys() - {"metadata", "payment_method", "payment_method_data", "expand"}
    intent |= {name: params[name] for name in plain}
    if method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    ctx.store.update("payment_intents", intent)
    return public(intent)


def capture(ctx: Context, intent_id: str, params: Doc) -> Doc:
    """`POST /v1/payment_intents/{id}/capture`."""
    intent = ctx.load("payment_intents", intent_id)
    if "metadata" in params:
        intent["metadata"] = merged(intent["metadata"], params["metadata"])
    payment_flow.capture(ctx, intent, params.get("amount_to_capture"))
    return public(intent)


def cancel(ctx: Context, intent_id: str, params: Doc) -> Doc:
    """`POST /v1/payment_intents/{id}/cancel`."""
    intent = ctx.load("payment_intents", intent_id)
    payment_flow.cancel(ctx, intent, params.get("cancellation_reason"))
    return public(intent)


def _automatic(given: Doc) -> Doc:
    if "enabled" not in given:
        raise missing("automatic_payment_methods[enabled]")
    enabled = boolean("automatic_payment_methods[enabled]", given["enabled"])
    redirects = one_of("always", "never")(
        "automatic_payment_methods[allow_redirects]", given.get("allow_redirects", "always")
    )
    return {"allow_redirects": redirects, "enabled": enabled}


def _chosen_method(ctx: Context, intent: Doc, params: Doc) -> Doc | None:
    """The payment method that the request brings along, or None."""
    if "payment_method" in params and "payment_method_data" in params:
        text = "You may only specify one of these parameters: payment_method, payment_method_data."
        raise ApiError(400, text, param="payment_method")
    if "payment_method_data" in params:
        method = payment_methods.create(ctx, params["payment_method_data"], "payment_method_data")
    elif "payment_method" in params:
        method = payment_methods.resolve(ctx, params["payment_method"])
    else:
        return None
    allowed = intent["payment_method_types"]
    if method["type"] not in allowed:
        text = (
            f"The PaymentMethod provided ({method['type']}) is not allowed for this PaymentIntent. Please attach a "
            f"payment method of one of these types: {', '.join(allowed)}."
        )
        raise ApiError(400, text, param="payment_method")
    return method


def _check_attempt(ctx: Context, intent: Doc, method: Doc) -> None:
    """Everything that can refuse an attempt before it starts."""
    automatic = intent["automatic_payment_methods"]
    redirects = automatic and automatic["enabled"] and automatic.get("allow_redirects", "always") == "always"
    if redirects and not intent["_return_url"]:
        raise ApiError(400, RETURN_URL_NEEDED, param="return_url")
    payment_methods.consume(ctx, method, intent["id"])


def _attempt(ctx: Context, intent: Doc, method: Doc, params: Doc) -> Doc:
    payment_flow.attempt(
        ctx,
        intent,
        method,
        off_session=bool(params.get("off_session")),
        no_action=bool(params.get("error_on_requires_action")),
    )
    # A decline is an answer with an error in it, not an exception: its charge and its events must be committed.
    return payment_flow.declined_answer(intent) or public(intent)
