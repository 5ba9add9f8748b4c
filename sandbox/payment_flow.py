"""The steps of a payment intent: attempts, authentication, processing, success and failure.

Every step changes the intent in place, stores it and emits Stripe's events, inside the caller's transaction.
"""

from typing import Any

from sandbox import charges, events
from sandbox.context import Context
from sandbox.errors import DOCS_URL, ApiError, Doc, unexpected_state
from sandbox.payment_methods import behaviour_of, resolve
from sandbox.store import new_id
from sandbox.tokens import AUTHENTICATION_REQUIRED, FRAUDULENT, Behaviour, Decline
from sandbox.wire import merged, public

AUTHENTICATION_FAILED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)
CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action")


def attempt(ctx: Context, intent: Doc, method: Doc, *, off_session: bool = False, no_action: bool = False) -> None:
    """Confirm the intent with this payment method and take it as far as it goes by itself."""
    behaviour = behaviour_of(method)
    intent |= {"payment_method": method["id"], "last_payment_error": None, "next_action": None}
    if behaviour.authenticate and (off_session or no_action):
        decline(ctx, intent, method, AUTHENTICATION_REQUIRED)
    elif behaviour.authenticate:
        require_action(ctx, intent)
    else:
        collect(ctx, intent, method)


def collect(ctx: Context, intent: Doc, method: Doc) -> None:
    """Ask for the money: declined, processing, authorized or taken."""
    behaviour = behaviour_of(method)
    refusal = behaviour.decline or _blocked_by_radar(ctx, behaviour)
    if refusal:
        decline(ctx, intent, method, refusal)
    elif behaviour.asynchronous:
        start_processing(ctx, intent, method)
    elif intent["capture_method"] == "manual":
        authorize(ctx, intent, method)
    else:
        succeed(ctx, intent, charges.create(ctx, intent, method, "succeeded", captured=True))


def _blocked_by_radar(ctx: Context, behaviour: Behaviour) -> Decline | None:
    blocked = behaviour.risk_level == "highest" and ctx.account.settings.block_highest_risk
    return FRAUDULENT if blocked else None


def require_action(ctx: Context, intent: Doc) -> None:
    """Rest until the buyer has authenticated on the sandbox's own 3-D Secure page."""
    url = f"{ctx.base_url}/3ds/{intent['id']}?client_secret={intent['client_secret']}"
    action = {"redirect_to_url": {"return_url": intent["_return_url"], "url": url}, "type": "redirect_to_url"}
    intent |= {"status": "requires_action", "next_action": action}
    _keep(ctx, intent, "payment_intent.requires_action")


def start_processing(ctx: Context, intent: Doc, method: Doc) -> None:
    """Rest in `processing`; the account's delay or a control call finishes it."""
    charge = charges.create(ctx, intent, method, "pending", captured=False)
    intent |= {"status": "processing", "latest_charge": charge["id"], "processing": None, "next_action": None}
    events.emit(ctx, "charge.pending", charge)
    _keep(ctx, intent, "payment_intent.processing")
    behaviour, delay_s = behaviour_of(method), ctx.account.settings.processing_delay_s
    if behaviour.settles and delay_s is not None:
        ctx.set_timer(delay_s, f"payment_intent.{behaviour.settles}", intent["id"])


def authorize(ctx: Context, intent: Doc, method: Doc) -> None:
    """Hold the money for a later capture."""
    charge = charges.create(ctx, intent, method, "succeeded", captured=False)
    _await_capture(ctx, intent, charge)


def succeed(ctx: Context, intent: Doc, charge: Doc, amount: int | None = None, event: str = "charge.succeeded") -> None:
    """The money is taken: all of it, or `amount` of an authorization."""
    taken = intent["amount"] if amount is None else amount
    charges.settle(ctx, charge, taken)
    intent |= {
        "status": "succeeded",
        "amount_received": taken,
        "amount_capturable": 0,
        "latest_charge": charge["id"],
        "last_payment_error": None,
        "next_action": None,
        "canceled_at": None,
        "cancellation_reason": None,
    }
    events.emit(ctx, event, charge)
    _keep(ctx, intent, "payment_intent.succeeded")
    delay_s = ctx.account.settings.processing_delay_s
    if charge.get("_dispute_course") and delay_s is not None:
        ctx.set_timer(delay_s, "charge.dispute", charge["id"])


def decline(ctx: Context, intent: Doc, method: Doc, reason: Decline) -> None:
    """The attempt is refused: a failed charge, and the intent waits for another payment method."""
    charge = charges.create(ctx, intent, method, "failed", captured=False, decline=reason)
    events.emit(ctx, "charge.failed", charge)
    error: Doc = {"charge": charge["id"], "code": reason.code}
    if reason.decline_code:
        error["decline_code"] = reason.decline_code
    error |= {"message": reason.message, "type": "card_error"}
    intent["latest_charge"] = charge["id"]
    back_to_start(ctx, intent, method, error)


def back_to_start(ctx: Context, intent: Doc, method: Doc | None, error: Doc) -> None:
    """Store why the attempt failed and ask for another payment method."""
    error["doc_url"] = DOCS_URL + error["code"].replace("_", "-")
    error["payment_method"] = public(method) if method else None
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_payment_error": error,
    }
    _keep(ctx, intent, "payment_intent.payment_failed")


def authenticate(ctx: Context, intent: Doc) -> None:
    """The buyer approved on the 3-D Secure page. Raises ApiError if nothing waits for that."""
    _must_be(intent, "requires_action", "authenticated")
    collect(ctx, intent, ctx.load("payment_methods", intent["payment_method"]))


def fail_authentication(ctx: Context, intent: Doc) -> None:
    """The buyer failed or refused on the 3-D Secure page. Raises ApiError if nothing waits for that."""
    _must_be(intent, "requires_action", "authenticated")
    method = ctx.load("payment_methods", intent["payment_method"])
    code = "payment_intent_authentication_failure"
    error = {"code": code, "message": AUTHENTICATION_FAILED, "type": "invalid_request_error"}
    back_to_start(ctx, intent, method, error)


def complete_processing(ctx: Context, intent: Doc) -> None:
    """A processing payment goes through. Raises ApiError if it is not processing."""
    _must_be(intent, "processing", "completed")
    charge = ctx.load("charges", intent["latest_charge"])
    if intent["capture_method"] != "manual":
        succeed(ctx, intent, charge)
        return
    charge |= {"status": "succeeded", "paid": True}
    ctx.store.update("charges", charge)
    _await_capture(ctx, intent, charge)


def fail_processing(ctx: Context, intent: Doc) -> None:
    """A processing payment does not go through. Raises ApiError if it is not processing."""
    _must_be(intent, "processing", "failed")
    method = ctx.load("payment_methods", intent["payment_method"])
    charge = ctx.load("charges", intent["latest_charge"])
    code, message = behaviour_of(method).failure_code, "The payment failed."
    charges.fail(ctx, charge, code, message)
    events.emit(ctx, "charge.failed", charge)
    error = {"charge": charge["id"], "code": code, "message": message, "type": "invalid_request_error"}
    back_to_start(ctx, intent, method, error)


def force_success(ctx: Context, intent: Doc) -> None:
    """The lie: the payment succeeds whatever its state, as a late 3-D Secure approval would have it."""
    if intent["status"] == "succeeded":
        raise ApiError(409, f"{intent['id']} has already succeeded.")
    if intent["status"] == "processing":
        complete_processing(ctx, intent)
        return
    method_id = intent["payment_method"]
    method = ctx.load("payment_methods", method_id) if method_id else resolve(ctx, "pm_card_visa")
    intent["payment_method"] = method["id"]
    succeed(ctx, intent, charges.create(ctx, intent, method, "succeeded", captured=True))


def cancel(ctx: Context, intent: Doc, reason: str | None) -> None:
    """End the intent; a held amount is released. Raises ApiError when money moved or may still move."""
    if intent["status"] not in CANCELABLE:
        text = (
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a PaymentIntent "
            f"with one of the following statuses may be canceled: {', '.join(CANCELABLE)}."
        )
        raise unexpected_state(text, public(intent))
    if intent["status"] == "requires_capture":
        charges.release(ctx, ctx.load("charges", intent["latest_charge"]), "voided")
    _end(ctx, intent, reason)


def expire(ctx: Context, intent: Doc) -> None:
    """Nobody captured in time: the held amount goes back. Raises ApiError if nothing is held."""
    _must_be(intent, "requires_capture", "expired")
    charges.release(ctx, ctx.load("charges", intent["latest_charge"]), "expired")
    _end(ctx, intent, "automatic")


def capture(ctx: Context, intent: Doc, amount: int | None) -> None:
    """Take an authorized amount, or a part of it and release the rest."""
    if intent["status"] != "requires_capture":
        text = (
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. Only a "
            "PaymentIntent with one of the following statuses may be captured: requires_capture."
        )
        raise unexpected_state(text, public(intent))
    if amount is not None and amount > intent["amount_capturable"]:
        text = "You can only capture an amount less than or equal to the amount that is capturable."
        raise ApiError(400, text, code="amount_too_large", param="amount_to_capture", executed=True)
    succeed(ctx, intent, ctx.load("charges", intent["latest_charge"]), amount, "charge.captured")


def build(ctx: Context, params: Doc) -> Doc:
    """An intent from validated parameters, not stored yet."""
    intent_id = new_id("pi")
    types = params.get("payment_method_types") or params.get("allowed_payment_method_types")
    automatic = params.get("automatic_payment_methods") or (None if types else {"enabled": True})
    copied: dict[str, Any] = {
        name: params.get(name)
        for name in (
            "amount", "currency", "customer", "description", "on_behalf_of", "receipt_email", "setup_future_usage",
            "shipping", "statement_descriptor", "statement_descriptor_suffix", "transfer_data", "transfer_group",
        )
    }  # fmt: skip
    return {
        "id": intent_id,
        "object": "payment_intent",
        **copied,
        "allowed_payment_method_types": types,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": new_id(f"{intent_id}_secret"),
        "confirmation_method": params.get("confirmation_method", "automatic"),
        "created": ctx.account.now,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": merged({}, params.get("metadata")),
        "next_action": None,
        "payment_method": None,
        "payment_method_options": {},
        "payment_method_types": types or ["card", "upi", "fpx", "us_bank_account", "cashapp"],
        "processing": None,
        "review": None,
        "source": None,
        "status": "requires_payment_method",
        "_return_url": params.get("return_url"),
    }


def start(ctx: Context, intent: Doc) -> None:
    """Store a new intent and say so."""
    ctx.insert("payment_intents", intent)
    events.emit(ctx, "payment_intent.created", intent)


def declined_answer(intent: Doc) -> Doc | None:
    """The body of the 402 for an intent whose attempt was just refused; None when it was not."""
    error = intent["last_payment_error"]
    if intent["status"] != "requires_payment_method" or not error:
        return None
    return {"error": error | {"payment_intent": public(intent)}}


def _await_capture(ctx: Context, intent: Doc, charge: Doc) -> None:
    """The amount is held; it goes back by itself when nobody captures within the account's `authorization_life_s`."""
    charges.log(ctx, "authorization", charge, charge["amount"], "authorized")
    intent |= {
        "status": "requires_capture",
        "amount_capturable": intent["amount"],
        "latest_charge": charge["id"],
        "next_action": None,
    }
    events.emit(ctx, "charge.succeeded", charge)
    _keep(ctx, intent, "payment_intent.amount_capturable_updated")
    ctx.set_timer(ctx.account.settings.authorization_life_s, "payment_intent.expire", intent["id"])


def _end(ctx: Context, intent: Doc, reason: str | None) -> None:
    intent |= {
        "status": "canceled",
        "amount_capturable": 0,
        "canceled_at": ctx.account.now,
        "cancellation_reason": reason,
        "next_action": None,
    }
    _keep(ctx, intent, "payment_intent.canceled")


def _must_be(intent: Doc, status: str, verb: str) -> None:
    if intent["status"] != status:
        raise ApiError(409, f"{intent['id']} cannot be {verb}: its status is {intent['status']}, not {status}.")


def _keep(ctx: Context, intent: Doc, event: str) -> None:
    ctx.store.update("payment_intents", intent)
    events.emit(ctx, event, intent)
