"""The examples of the API's reference. Each works against the sandbox, and the tests send every one of them."""

from typing import Any

IDEMPOTENCY_KEY = "8f14e45f-ceea-467f-a8b2-1f0c3b6d9e01"
ORDER = "order-1001-1"
UNCONFIRMED_ORDER = "order-1002-1"


def _checkout(kind: str, token: str, **fields: Any) -> dict[str, Any]:
    orders = fields.pop("orders", [{"seller_account": "seller_anna", "amount": "500.00", "currency": "INR"}])
    return {
        "buyer": {"id": "buyer_1", "email": "buyer@example.com"},
        "payment_method": {"type": kind, "token": token},
        "payment_orders": orders,
        **fields,
    }


PAYMENTS: dict[str, Any] = {
    "paid": {
        "summary": "A card that is accepted → 201 SUCCESS",
        "value": _checkout("card", "pm_card_visa"),
    },
    "your_own_ids": {
        "summary": "Two sellers in one checkout, under ids of your own → 201 SUCCESS",
        "description": (
            "The buyer is charged once. A second payment of this checkout, under a new Idempotency-Key, is 409 "
            "`checkout_in_use` and names the first: that is what a double click meets."
        ),
        "value": _checkout(
            "card",
            "pm_card_visa",
            checkout_id="checkout-1001",
            orders=[
                {"payment_order_id": ORDER, "seller_account": "seller_anna", "amount": "500.00", "currency": "INR"},
                {
                    "payment_order_id": "order-1001-2",
                    "seller_account": "seller_bo",
                    "amount": "1250.50",
                    "currency": "INR",
                },
            ],
            metadata={"campaign": "diwali"},
        ),
    },
    "declined": {
        "summary": "A card that is declined → 201 FAILED, failure.code card_declined",
        "value": _checkout("card", "pm_card_chargeDeclined"),
    },
    "three_d_secure": {
        "summary": "A card that asks for 3-D Secure → 202 REQUIRES_ACTION, next_action.url",
        "value": _checkout("card", "pm_card_threeDSecure2Required"),
    },
    "pending": {
        "summary": "A method that the PSP confirms later → 202 PENDING, soon SUCCESS",
        "value": _checkout("upi", "pm_upi_success"),
    },
    "unconfirmed": {
        "summary": "Stored, and charged when /confirm is called → 201 NOT_STARTED",
        "value": _checkout(
            "card",
            "pm_card_visa",
            confirm=False,
            orders=[
                {
                    "payment_order_id": UNCONFIRMED_ORDER,
                    "seller_account": "seller_anna",
                    "amount": "500.00",
                    "currency": "INR",
                }
            ],
        ),
    },
}
"""By name, as OpenAPI wants them: the summary promises the outcome."""

MERCHANT = {
    "dora": {
        "summary": "A seller with a fee of 2.9 % + 0.30",
        "value": {
            "seller_account": "seller_dora",
            "name": "Dora's Dolls",
            "fee": {"percent": "2.9", "fixed": "0.30"},
        },
    }
}

MERCHANT_CHANGE = {
    "freeze": {"summary": "Freeze: no new orders", "value": {"status": "FROZEN"}},
    "unfreeze": {"summary": "Unfreeze", "value": {"status": "ACTIVE"}},
    "fee": {"summary": "New terms for new orders", "value": {"fee": {"percent": "2.5", "fixed": "0"}}},
}

PAYMENT: dict[str, Any] = {
    "id": "pay_01kafm6e8q9v7s2c4n0b8k6h3j",
    "object": "payment",
    "status": "SUCCESS",
    "is_payment_done": True,
    "checkout_id": "checkout-1001",
    "buyer": {"id": "buyer_1"},
    "amount": "500.00",
    "currency": "INR",
    "next_action": None,
    "failure": None,
    "cancel_requested": False,
    "metadata": {},
    "payment_orders": [
        {
            "id": "po_01kafm6e8r4t1d1w9p7zq3x5yv",
            "object": "payment_order",
            "payment_id": "pay_01kafm6e8q9v7s2c4n0b8k6h3j",
            "payment_order_id": ORDER,
            "seller_account": "seller_anna",
            "amount": "500.00",
            "currency": "INR",
            "status": "SUCCESS",
            "wallet_updated": True,
            "ledger_updated": True,
            "next_action": None,
            "failure": None,
            "refund_status": None,
            "dispute_status": None,
            "created_at": "2026-11-20T10:00:00Z",
        }
    ],
    "created_at": "2026-11-20T10:00:00Z",
}
"""What a payment looks like in an answer."""
