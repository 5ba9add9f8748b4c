"""The other end of a transfer: the payment (`py_…`) a connected account receives, and its refund (`pyr_…`)."""

from sandbox import balance
from sandbox.context import Context
from sandbox.errors import Doc
from sandbox.store import new_id


def receive(ctx: Context, transfer: Doc, available_on: int) -> Doc:
    """A payment of the transfer's amount, without a fee; `ctx` is the platform's."""
    there = ctx.within(transfer["destination"])
    payment: Doc = {
        "id": new_id("py"),
        "object": "charge",
        "amount": transfer["amount"],
        "amount_captured": transfer["amount"],
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "captured": True,
        "created": there.account.now,
        "currency": transfer["currency"],
        "customer": None,
        "description": None,
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": None,
        "payment_method_details": {"stripe_account": {}, "type": "stripe_account"},
        "refunded": False,
        "source_transfer": transfer["id"],
        "status": "succeeded",
        "transfer_group": transfer["transfer_group"],
    }
    booked = balance.book(
        there, "payment", transfer["amount"], transfer["currency"], payment["id"], available_on=available_on
    )
    payment["balance_transaction"] = booked["id"]
    there.insert("charges", payment)
    return payment


def give_back(ctx: Context, transfer: Doc, amount: int) -> Doc:
    """Refund a part of the payment to the platform. Raises `balance_insufficient` if the account has it no more."""
    there = ctx.within(transfer["destination"])
    balance.require(there, amount, transfer["currency"])
    payment = there.load("charges", transfer["destination_payment"])
    refund: Doc = {
        "id": new_id("pyr"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": payment["id"],
        "created": there.account.now,
        "currency": transfer["currency"],
        "metadata": {},
        "payment_intent": None,
        "reason": None,
        "status": "succeeded",
    }
    booked = balance.book(
        there, "payment_refund", -amount, transfer["currency"], refund["id"], available_on=there.account.now
    )
    refund["balance_transaction"] = booked["id"]
    there.insert("refunds", refund)
    payment["amount_refunded"] += amount
    payment["refunded"] = payment["amount_refunded"] == payment["amount"]
    there.store.update("charges", payment)
    return refund
