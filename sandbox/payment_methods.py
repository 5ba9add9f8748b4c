"""Payment methods and tokens: from a test name to an object that behaves like it."""

import hashlib
from typing import Any

from sandbox.context import Context
from sandbox.errors import ApiError, Doc, missing, not_found
from sandbox.store import new_id
from sandbox.tokens import BEHAVIOURS, METHODS, TOKENS, Behaviour, look_up
from sandbox.wire import public, text

RAW_CARD = (
    "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test tokens that "
    "map to the test card you are using, see https://stripe.com/docs/testing."
)
USED_BEFORE = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a "
    "connected account without Customer attachment, or was detached from a Customer. It may not be used again. To use "
    "a PaymentMethod multiple times, you must attach it to a Customer first."
)
EMPTY_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def behaviour_of(method: Doc) -> Behaviour:
    """The behaviour of this payment method when it is charged."""
    return BEHAVIOURS[method["_behaviour"]]


def create_token(ctx: Context, params: Doc) -> Doc:
    """`POST /v1/tokens` with `card[test]=visa` (any name of the token table): a token that works once."""
    card = params.get("card")
    if not isinstance(card, dict):
        raise missing("card")
    _refuse_card_number(card)
    name = card.get("test") or card.get("token")
    if not name:
        raise missing("card[test]")
    found = look_up(str(name), TOKENS) or look_up(f"tok_{name}", TOKENS)
    if not found:
        raise not_found("token", str(name), "card[test]", 400)
    token = _build_token(ctx, found[0])
    ctx.insert("tokens", token)
    return token


def create(ctx: Context, params: Doc, prefix: str = "") -> Doc:
    """A payment method from `type` and `card[token]`; `prefix` names the surrounding parameter in errors."""

    def named(param: str) -> str:
        outer, _, inner = param.partition("[")
        whole = f"{prefix}[{outer}]" if prefix else outer
        return whole + (f"[{inner}" if inner else "")

    if "type" not in params:
        raise missing(named("type"))
    kind = text(named("type"), params["type"])
    if kind != "card":
        base = {"us_bank_account": "usBankAccount"}.get(kind, f"{kind}_success")
        if base not in BEHAVIOURS:
            raise ApiError(400, f"Invalid {named('type')}: {kind}", param=named("type"))
        return _store(ctx, base, params)
    card = params.get("card")
    if not isinstance(card, dict):
        raise missing(named("card"))
    _refuse_card_number(card)
    if not card.get("token"):
        raise missing(named("card[token]"))
    return _store(ctx, _take_token(ctx, str(card["token"]), named("card[token]")), params)


def resolve(ctx: Context, name: str) -> Doc:
    """The payment method behind an id or a test name; a name makes a new object each time, as at Stripe."""
    found = look_up(name, METHODS)
    if found is None:
        return ctx.load("payment_methods", name, "payment_method")
    base, single_use = found
    if not single_use or not ctx.account.settings.enforce_single_use:
        return _store(ctx, base, {}, reusable=True)
    used_by = _user_of(ctx, name)
    if used_by:
        return ctx.load("payment_methods", used_by, "payment_method")
    method = _store(ctx, base, {})
    _mark_used(ctx, name, method["id"])
    return method


def retrieve(ctx: Context, name: str, _params: Doc) -> Doc:
    """`GET /v1/payment_methods/{id}`; a test name is described as it is, and not used up by that."""
    found = look_up(name, METHODS)
    return public(_build(ctx, found[0], {}) | {"id": name} if found else ctx.load("payment_methods", name))


def retrieve_token(ctx: Context, name: str, _params: Doc) -> Doc:
    """`GET /v1/tokens/{id}`; a test name is described as it is, and not used up by that."""
    found = look_up(name, TOKENS)
    if found is None:
        return public(ctx.load("tokens", name))
    used = _user_of(ctx, name) is not None
    return public(_build_token(ctx, found[0]) | {"id": name, "used": used})


def consume(ctx: Context, method: Doc, intent_id: str) -> None:
    """Bind a single-use payment method to the intent that confirms with it; refuse it to any other."""
    if method["_reusable"] or not ctx.account.settings.enforce_single_use:
        return
    if method["_used_by"] not in (None, intent_id):
        raise ApiError(400, USED_BEFORE, code="token_already_used", param="payment_method", executed=True)
    method["_used_by"] = intent_id
    ctx.store.update("payment_methods", method)


def _take_token(ctx: Context, name: str, param: str) -> str:
    minted = ctx.find("tokens", name)
    found = (minted["_behaviour"], True) if minted else look_up(name, TOKENS)
    if not found:
        raise not_found("token", name, param, 400)
    base, single_use = found
    if single_use and ctx.account.settings.enforce_single_use:
        if _user_of(ctx, name) is not None:
            message = f"You cannot use a Stripe token more than once: {name}."
            raise ApiError(400, message, code="token_already_used", param=param, executed=True)
        _mark_used(ctx, name, "")
    if minted:
        ctx.store.update("tokens", minted | {"used": True})
    return base


def _user_of(ctx: Context, name: str) -> str | None:
    """The use of a single-use name: a payment method's id, "" for a token, None for nothing yet."""
    query = "SELECT used_by FROM used_names WHERE account = ? AND name = ?"
    row = ctx.store.db.execute(query, (ctx.account.id, name)).fetchone()
    return row[0] if row else None


def _mark_used(ctx: Context, name: str, used_by: str) -> None:
    ctx.store.db.execute("INSERT INTO used_names VALUES (?, ?, ?)", (ctx.account.id, name, used_by))


def _refuse_card_number(card: Doc) -> None:
    if card.keys() & {"number", "cvc", "exp_month", "exp_year"}:
        raise ApiError(402, RAW_CARD)


def _card(ctx: Context, base: str) -> Doc:
    behaviour = BEHAVIOURS[base]
    # The same card number has the same fingerprint within an account and another one elsewhere.
    seed = f"{ctx.account.id}/{behaviour.brand}/{behaviour.country}/{behaviour.last4}".encode()
    return {
        "brand": behaviour.brand,
        "country": behaviour.country,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": hashlib.sha256(seed).hexdigest()[:16],
        "funding": behaviour.funding,
        "last4": behaviour.last4,
    }


def _checks(behaviour: Behaviour, address: Doc) -> Doc:
    def passed(part: str) -> str | None:
        return "pass" if address.get(part) else None

    return {
        "address_line1_check": behaviour.address_line1_check or passed("line1"),
        "address_postal_code_check": behaviour.address_postal_code_check or passed("postal_code"),
        "cvc_check": behaviour.cvc_check,
    }


def _details(ctx: Context, base: str, billing: Doc) -> Doc:
    behaviour = BEHAVIOURS[base]
    if behaviour.type == "card":
        extra = {
            "checks": _checks(behaviour, billing["address"]),
            "display_brand": behaviour.brand,
            "three_d_secure_usage": {"supported": True},
        }
        return _card(ctx, base) | extra | {"networks": {"available": [behaviour.brand], "preferred": None}}
    if behaviour.type == "us_bank_account":
        return {"bank_name": "STRIPE TEST BANK", "last4": behaviour.last4, "account_type": "checking"}
    if behaviour.type == "upi":
        return {"vpa": "test@upi"}
    if behaviour.type == "fpx":
        return {"account_holder_type": "individual", "bank": "maybank2u"}
    if behaviour.type == "cashapp":
        return {"buyer_id": None, "cashtag": None}
    return {}


def _build_token(ctx: Context, base: str) -> Doc:
    return {
        "id": new_id("tok"),
        "object": "token",
        "card": _card(ctx, base) | {"id": new_id("card"), "object": "card"},
        "client_ip": None,
        "created": ctx.account.now,
        "livemode": False,
        "type": "card",
        "used": False,
        "_behaviour": base,
    }


def _billing(given: Any) -> Doc:
    billing: Doc = {"address": {}, "email": None, "name": None, "phone": None, "tax_id": None}
    if isinstance(given, dict):
        billing |= given
    address = billing["address"]
    return billing | {"address": EMPTY_ADDRESS | (address if isinstance(address, dict) else {})}


def _store(ctx: Context, base: str, params: Doc, *, reusable: bool = False) -> Doc:
    method = _build(ctx, base, params, reusable=reusable)
    ctx.insert("payment_methods", method)
    return method


def _build(ctx: Context, base: str, params: Doc, *, reusable: bool = False) -> Doc:
    kind, billing = BEHAVIOURS[base].type, _billing(params.get("billing_details"))
    return {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing,
        kind: _details(ctx, base, billing),
        "created": ctx.account.now,
        "customer": None,
        "livemode": False,
        "metadata": params.get("metadata") or {},
        "type": kind,
        "_behaviour": base,
        "_reusable": reusable,
        "_used_by": None,
    }
