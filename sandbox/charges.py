"""Charges: one per attempt, successful or not."""

import secrets
from typing import Any, Literal

from sandbox import balance, events
from sandbox.context import Context
from sandbox.errors import Doc
from sandbox.payment_methods import behaviour_of
from sandbox.store import new_id
from sandbox.tokens import Behaviour, Decline


def create(
    ctx: Context, intent: Doc, method: Doc, status: str, *, captured: bool, decline: Decline | None = None
) -> Doc:
    """A charge of the intent's full amount in `succeeded`, `pending` or `failed`."""
    behaviour = behaviour_of(method)
    charge: Doc = {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": False,
        "created": ctx.account.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": _outcome(behaviour, decline),
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details(ctx, intent, method, behaviour, captured=captured),
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": status,
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
        "_refund_course": behaviour.refund,
        "_dispute_course": behaviour.dispute,
        "_bypass_pending": behaviour.bypass_pending,
    }
    ctx.insert("charges", charge)
    return charge


def settle(ctx: Context, charge: Doc, amount: int) -> None:
    """Take the money: capture `amount`, release the rest, book it and write it to the ground truth."""
    fee = balance.fee_of(amount, ctx.account.settings.fee)
    at_once = ctx.account.now if charge.get("_bypass_pending") else None
    transaction = balance.book(ctx, "charge", amount, charge["currency"], charge["id"], fee=fee, available_on=at_once)
    charge |= {
        "status": "succeeded",
        "paid": True,
        "captured": True,
        "amount_captured": amount,
        "amount_refunded": charge["amount"] - amount,
        "balance_transaction": transaction["id"],
    }
    ctx.store.update("charges", charge)
    log(ctx, "charge", charge, amount, "succeeded")


def release(ctx: Context, charge: Doc, why: Literal["voided", "expired"]) -> None:
    """End an authorization: the whole amount goes back and nothing was booked."""
    charge |= {"amount_refunded": charge["amount"], "refunded": True}
    ctx.store.update("charges", charge)
    log(ctx, "authorization", charge, charge["amount"], why)
    events.emit(ctx, "charge.expired" if why == "expired" else "charge.refunded", charge)


def fail(ctx: Context, charge: Doc, code: str, message: str) -> None:
    """A pending charge did not go through."""
    charge |= {"status": "failed", "paid": False, "failure_code": code, "failure_message": message}
    ctx.store.update("charges", charge)


def log(ctx: Context, kind: str, charge: Doc, amount: int, status: str) -> None:
    """Write a charge (money taken) or an authorization to the ground truth."""
    entry = {
        "payment_intent": charge["payment_intent"],
        "charge": charge["id"],
        "amount": amount,
        "currency": charge["currency"],
        "status": status,
        "metadata": charge["metadata"],
        "at": ctx.account.time,
        "idempotency_key": ctx.idempotency_key,
    }
    ctx.write_log(kind, entry, charge["payment_intent"])


def _outcome(behaviour: Behaviour, decline: Decline | None) -> Doc:
    outcome: dict[str, Any] = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": behaviour.risk_level,
        "risk_score": behaviour.risk_score,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    if decline:
        blocked = decline.outcome == "blocked"
        outcome |= {
            "network_status": "not_sent_to_network" if blocked else "declined_by_network",
            "reason": "highest_risk_level" if blocked else decline.decline_code or decline.code,
            "seller_message": "Stripe blocked this payment as too risky."
            if blocked
            else "The bank did not return any further details with this decline.",
            "type": decline.outcome,
        }
    return outcome


def _details(ctx: Context, intent: Doc, method: Doc, behaviour: Behaviour, *, captured: bool) -> Doc:
    details = dict(method[behaviour.type])
    if behaviour.type == "card":
        details.pop("three_d_secure_usage")
        details.pop("networks")
        details.pop("display_brand")
        details |= {
            "amount_authorized": intent["amount"],
            "authorization_code": secrets.token_hex(3).upper(),
            "network": behaviour.brand,
            "network_transaction_id": secrets.token_hex(7),
            "three_d_secure": {"result": "authenticated", "version": "2.2.0"} if behaviour.authenticate else None,
            "wallet": None,
        }
        if not captured:
            details["capture_before"] = int(ctx.account.time + ctx.account.settings.authorization_life_s)
    return {behaviour.type: details, "type": behaviour.type}
