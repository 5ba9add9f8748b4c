"""The operations of `/v1/refunds` and the courses a refund can take afterwards."""

from sandbox import balance, events
from sandbox.context import Context
from sandbox.currencies import written
from sandbox.errors import ApiError, Doc
from sandbox.store import new_id
from sandbox.wire import Table, anything, boolean, merged, metadata, one_of, positive, public, text

CREATE: Table = {
    "amount": positive,
    "charge": text,
    "payment_intent": text,
    "metadata": metadata,
    "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    "refund_application_fee": boolean,
    "reverse_transfer": boolean,
    "instructions_email": text,
    "currency": text,
    "origin": anything,
}
UPDATE: Table = {"metadata": metadata}


def create(ctx: Context, params: Doc) -> Doc:
    """`POST /v1/refunds` for a `charge` or a `payment_intent`, full or partial."""
    charge = _charge_to_refund(ctx, params)
    amount = _amount_to_refund(charge, params.get("amount"))
    course = charge["_refund_course"]
    status = "pending" if course.startswith("pending") else "succeeded"
    refund: Doc = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": ctx.account.now,
        "currency": charge["currency"],
        "destination_details": {
            "card": {"reference_status": "pending", "type": "refund"},
            "type": "card",
        },
        "metadata": merged({}, params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    if status == "pending":
        refund["pending_reason"] = "processing"
    # The money leaves the balance when the refund starts, also for a pending one.
    transaction = balance.book(ctx, "refund", -amount, charge["currency"], refund["id"])
    refund["balance_transaction"] = transaction["id"]
    ctx.insert("refunds", refund)
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    ctx.store.update("charges", charge)
    _log(ctx, refund)
    events.emit(ctx, "refund.created", refund)
    events.emit(ctx, "charge.refunded", charge)
    delay_s = _delay_s(ctx, course)
    if "_" in course and delay_s is not None:
        ctx.set_timer(delay_s, f"refund.{course.partition('_')[2]}", refund["id"])
    return public(refund)


def update(ctx: Context, refund_id: str, params: Doc) -> Doc:
    """`POST /v1/refunds/{id}`: metadata only."""
    refund = ctx.load("refunds", refund_id)
    if "metadata" in params:
        refund["metadata"] = merged(refund["metadata"], params["metadata"])
        ctx.store.update("refunds", refund)
        _emit_updated(ctx, refund)
    return public(refund)


def succeed(ctx: Context, refund: Doc) -> None:
    """A pending refund reaches the buyer. Raises ApiError if it is not pending."""
    if refund["status"] != "pending":
        raise ApiError(409, f"{refund['id']} cannot succeed: its status is {refund['status']}, not pending.")
    refund["status"] = "succeeded"
    refund.pop("pending_reason", None)
    ctx.store.update("refunds", refund)
    _emit_updated(ctx, refund, {"status": "pending"})


def fail(ctx: Context, refund: Doc) -> None:
    """A refund comes back, also after it had succeeded: the money returns to the balance."""
    if refund["status"] not in ("pending", "succeeded"):
        raise ApiError(409, f"{refund['id']} cannot fail: its status is {refund['status']}.")
    before = refund["status"]
    transaction = balance.book(ctx, "refund_failure", refund["amount"], refund["currency"], refund["id"])
    refund.pop("pending_reason", None)
    refund |= {
        "status": "failed",
        "failure_reason": "expired_or_canceled_card",
        "failure_balance_transaction": transaction["id"],
    }
    ctx.store.update("refunds", refund)
    charge = ctx.load("charges", refund["charge"])
    charge |= {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False}
    ctx.store.update("charges", charge)
    _emit_updated(ctx, refund, {"status": before})
    events.emit(ctx, "refund.failed", refund)


def _charge_to_refund(ctx: Context, params: Doc) -> Doc:
    if "charge" in params:
        charge = ctx.load("charges", params["charge"], "charge")
    elif "payment_intent" in params:
        intent = ctx.load("payment_intents", params["payment_intent"], "payment_intent")
        found = ctx.find("charges", intent["latest_charge"]) if intent["latest_charge"] else None
        if found is None or not found["captured"]:
            message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
            raise ApiError(400, message, code="payment_intent_unexpected_state", param="payment_intent", executed=True)
        charge = found
    else:
        message = "One of the following params should be provided for this request: payment_intent or charge."
        raise ApiError(400, message, code="parameter_missing")
    if charge["source_transfer"]:
        message = f"Charge {charge['id']} is the payment of a transfer: reverse {charge['source_transfer']} instead."
        raise ApiError(400, message, param="charge", executed=True)
    if not charge["captured"]:
        message = f"Charge {charge['id']} cannot be refunded: no money was taken."
        raise ApiError(400, message, code="charge_not_refundable", executed=True)
    if charge["disputed"]:
        _refuse_charged_back(ctx, charge)
    return charge


def _refuse_charged_back(ctx: Context, charge: Doc) -> None:
    """The buyer's bank has the money already, or may get it: a refund would pay the buyer twice."""
    disputes = ctx.store.find_by_intent("disputes", charge["payment_intent"])
    if any(dispute["charge"] == charge["id"] and not dispute["is_charge_refundable"] for dispute in disputes):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise ApiError(400, message, code="charge_disputed", executed=True)


def _amount_to_refund(charge: Doc, asked: int | None) -> int:
    left = int(charge["amount"] - charge["amount_refunded"])
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise ApiError(400, message, code="charge_already_refunded", executed=True)
    if asked is None or asked <= left:
        return left if asked is None else asked
    noun = "unrefunded amount on charge" if charge["amount_refunded"] else "charge amount"
    message = f"Refund amount ({written(asked, charge['currency'])}) is greater than {noun} "
    raise ApiError(400, f"{message}({written(left, charge['currency'])})", param="amount", executed=True)


def _delay_s(ctx: Context, course: str) -> float | None:
    """The seconds until the refund takes its course; None means until a control call."""
    settings = ctx.account.settings
    if course == "succeeded_failed" and settings.refund_failure_delay_s is not None:
        return settings.refund_failure_delay_s
    return settings.processing_delay_s


def _emit_updated(ctx: Context, refund: Doc, previous: Doc | None = None) -> None:
    """Stripe says it twice: once by the older name, which is about the refund too."""
    events.emit(ctx, "charge.refund.updated", refund, previous)
    events.emit(ctx, "refund.updated", refund, previous)


def _log(ctx: Context, refund: Doc) -> None:
    intent = ctx.find("payment_intents", refund["payment_intent"]) or {"metadata": {}}
    entry = {
        "refund": refund["id"],
        "charge": refund["charge"],
        "payment_intent": refund["payment_intent"],
        "amount": refund["amount"],
        "currency": refund["currency"],
        "status": refund["status"],
        "reason": refund["reason"],
        # The intent's metadata below the refund's own, so that a filter by the payment finds its refunds.
        "metadata": intent["metadata"] | refund["metadata"],
        "at": ctx.account.time,
        "idempotency_key": ctx.idempotency_key,
    }
    ctx.write_log("refund", entry, refund["payment_intent"])
