"""The examples of the API's reference. Each works against the sandbox, and the tests send every one of them."""

from typing import Any

LOGIN = {"name": "olga", "password": "correct horse battery", "code": "123456"}
ENROLMENT = {"password": "correct horse battery", "code": "123456"}

IDEMPOTENCY_KEY = "8f14e45f-ceea-467f-a8b2-1f0c3b6d9e01"
ORDER = "order-1001-1"
UNCONFIRMED_ORDER = "order-1002-1"
AUTHORIZED_ORDER = "order-1003-1"


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
    "authorized": {
        "summary": "Reserved on the card, and taken when /capture is called → 202 AUTHORIZED",
        "value": _checkout(
            "card",
            "pm_card_visa",
            capture="manual",
            orders=[
                {
                    "payment_order_id": AUTHORIZED_ORDER,
                    "seller_account": "seller_anna",
                    "amount": "500.00",
                    "currency": "INR",
                }
            ],
        ),
    },
}
"""By name, as OpenAPI wants them: the summary promises the outcome."""

CAPTURES: dict[str, Any] = {
    "all": {"summary": "All of it → 200 SUCCESS", "value": {}},
    "part": {"summary": "A part of its only order; the rest is released → 200 SUCCESS", "value": {"amount": "300.00"}},
}

REFUNDS: dict[str, Any] = {
    "part": {
        "summary": "A part of the order → 201 SUCCEEDED",
        "value": {"payment_order_id": ORDER, "amount": "100.00", "reason": "requested_by_customer"},
    },
    "rest": {"summary": "All that is left of the order → 201 SUCCEEDED", "value": {"payment_order_id": ORDER}},
}

REVIEWS: dict[str, Any] = {
    "approve": {
        "summary": "Let it go on → 200",
        "value": {"decision": "approve", "note": "called the buyer"},
    },
    "reject": {"summary": "End it → 200 FAILED, failure.code risk_rejected", "value": {"decision": "reject"}},
}

PAYMENT_RESOLUTIONS: dict[str, Any] = {
    "accept": {
        "summary": "The sellers get what was captured at the PSP → 200 SUCCESS",
        "value": {"decision": "accept", "note": "captured in the dashboard"},
    },
}

EVIDENCE: dict[str, Any] = {
    "delivered": {
        "summary": "It was delivered → 202, and the dispute is UNDER_REVIEW soon",
        "value": {
            "fields": {
                "product_description": "A doll, hand made.",
                "shipping_carrier": "India Post",
                "shipping_tracking_number": "EE123456789IN",
            }
        },
    }
}

RISK_RULES: dict[str, Any] = {
    "usual": {
        "summary": "A person looks at large payments and odd cards; a card that is tried too often is blocked",
        "value": {
            "rules": [
                {"name": "large amount", "type": "amount", "currency": "INR", "above": "100000.00", "then": "review"},
                {
                    "name": "card testing",
                    "type": "velocity",
                    "of": "card",
                    "within_s": 3600,
                    "count_above": 10,
                    "then": "block",
                },
                {"name": "foreign card", "type": "country_mismatch", "between": ["buyer", "card"], "then": "review"},
                {"name": "wrong code", "type": "check", "of": "cvc", "results": ["fail"], "then": "block"},
                {"name": "risky", "type": "psp_risk_score", "at_least": 75, "then": "review"},
            ],
            "review_deadline_s": 86400,
            "on_deadline": "reject",
            "unavailable_allow_up_to": {"INR": "5000.00"},
        },
    },
    "none": {"summary": "No rules: every payment is allowed", "value": {"rules": []}},
}

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
    "payout": {
        "summary": "Where to pay the seller, and when: each Friday what is 100.00 INR or more",
        "value": {
            "payout": {
                "account": "acct_paysOut_anna",
                "interval": "weekly",
                "weekdays": ["friday"],
                "minimum": {"INR": "100.00"},
            }
        },
    },
}

PAYOUTS: dict[str, Any] = {
    "part": {
        "summary": "A part of what is available → 202",
        "value": {"seller_account": "seller_anna", "amount": "100.00", "currency": "INR"},
    },
    "all": {"summary": "All that is available → 202", "value": {"seller_account": "seller_anna"}},
}

PAYOUT_SCHEDULES: dict[str, Any] = {
    "daily": {"summary": "Each day", "value": {"seller_account": "seller_anna", "interval": "daily"}},
    "weekly": {
        "summary": "Mondays and Thursdays, 100.00 INR or more, of orders that are a week old",
        "value": {
            "seller_account": "seller_anna",
            "interval": "weekly",
            "weekdays": ["monday", "thursday"],
            "minimum": {"INR": "100.00"},
            "delay_days": 7,
        },
    },
    "monthly": {
        "summary": "In the middle of the month, and on its last day",
        "value": {"seller_account": "seller_anna", "interval": "monthly", "monthdays": [15, 31]},
    },
    "manual": {"summary": "Only when asked for", "value": {"seller_account": "seller_anna", "interval": "manual"}},
}

PAYOUT: dict[str, Any] = {
    "id": "pt_01kafm6e8x7f5h9k3n1p4r6t8w",
    "object": "payout",
    "seller_account": "seller_anna",
    "amount": "485.00",
    "currency": "INR",
    "status": "IN_TRANSIT",
    "account": "acct_paysOut_anna",
    "business_date": "2026-11-24",
    "transfer_reference": "tr_1SVxPaysOutAnna",
    "reference": "po_1SVxPaysOutAnna",
    "arrival_at": "2026-11-26T00:00:00Z",
    "failure": None,
    "cancel_requested": False,
    "created_at": "2026-11-24T02:00:03Z",
    "trace_id": None,
    "unanswered": None,
    "transitions": [
        {"from_status": None, "to_status": "REQUESTED", "reason": "requested", "at": "2026-11-24T02:00:03Z"},
        {
            "from_status": "REQUESTED",
            "to_status": "TRANSFERRED",
            "reason": "transferred",
            "at": "2026-11-24T02:00:04Z",
        },
        {
            "from_status": "TRANSFERRED",
            "to_status": "IN_TRANSIT",
            "reason": "on its way to the seller's bank",
            "at": "2026-11-24T02:00:05Z",
        },
    ],
}
"""What a payout looks like in an answer."""

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
    "return_url": None,
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
            "captured_amount": "500.00",
            "refundable_amount": "500.00",
            "refund_status": None,
            "dispute_status": None,
            "created_at": "2026-11-20T10:00:00Z",
        }
    ],
    "created_at": "2026-11-20T10:00:00Z",
}
"""What a payment looks like in an answer."""

CLIENT_TOKEN = "ct_WyJzaG9wIiwi…"  # noqa: S105 - of nothing

PAGE_PAYMENT: dict[str, Any] = {
    name: PAYMENT[name] for name in ("id", "object", "status", "is_payment_done", "amount", "currency")
} | {"next_action": None, "failure": None}
"""What a checkout page sees of it, by its client token."""

HISTORY: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "dp_01kafm6e8w6e4g8j2m0n3q5s7v",
            "object": "dispute",
            "type": "dispute",
            "payment_id": PAYMENT["id"],
            "payment_order_id": ORDER,
            "amount": "400.00",
            "currency": "INR",
            "status": "NEEDS_RESPONSE",
            "category": "fraudulent",
            "evidence_due_at": "2026-11-29T10:00:00Z",
            "created_at": "2026-11-22T10:00:00Z",
        },
        {
            "id": "re_01kafm6e8v5d3f7h1k9m2p4r6t",
            "object": "refund",
            "type": "refund",
            "payment_id": PAYMENT["id"],
            "payment_order_id": ORDER,
            "amount": "100.00",
            "currency": "INR",
            "status": "SUCCEEDED",
            "origin": "request",
            "reason": "requested_by_customer",
            "failure": None,
            "created_at": "2026-11-21T10:00:00Z",
        },
        PAYMENT["payment_orders"][0]
        | {
            "type": "payment",
            "refundable_amount": "0.00",
            "refund_status": "PARTIALLY_REFUNDED",
            "dispute_status": "NEEDS_RESPONSE",
            "checkout_id": "checkout-1001",
            "buyer_id": "buyer_1",
        },
    ],
    "next_cursor": None,
}
"""What a history looks like: newest first."""

# --- reconciliation ---

RECONCILIATIONS: dict[str, Any] = {
    "day": {
        "summary": "A day of the PSP's list, without changing anything → 202",
        "value": {"subject": "psp", "business_date": "2026-01-20"},
    },
    "window": {
        "summary": "A window of it; what is safe by rule is done → 202",
        "description": ('Of a file: `{"subject": "bank", "file_id": "sf_…"}`, after `POST /v1/reconciliations/files`.'),
        "value": {
            "subject": "psp",
            "from": "2026-01-19T00:00:00Z",
            "to": "2026-01-19T12:00:00Z",
            "apply": True,
        },
    },
}

SETTLEMENT_FILE = (
    "balance_transaction_id,created_utc,available_on_utc,currency,gross,fee,net,reporting_category,source_id\r\n"
    "txn_1SVxExample,2026-11-20 10:00:00,2026-11-22 00:00:00,inr,500.00,10.00,490.00,charge,ch_1SVxExample\r\n"
)

BANK_STATEMENT = (
    '<?xml version="1.0" encoding="UTF-8"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">'
    '<BkToCstmrStmt><Stmt><Id>2026-11-24</Id><Ntry><Amt Ccy="INR">490.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    "<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-11-24</Dt></BookgDt><AcctSvcrRef>E2E-1</AcctSvcrRef></Ntry></Stmt>"
    "</BkToCstmrStmt></Document>"
)

RESOLUTIONS: dict[str, Any] = {
    "accept": {
        "summary": "Nothing is booked; the note says why → 200",
        "value": {"decision": "accept", "note": "A test of ours in the dashboard, ticket 4711"},
    },
    "adjust": {
        "summary": "The difference is booked as a correction → 200",
        "value": {"decision": "adjust", "note": "The PSP confirmed it by mail"},
    },
}

PAYLOADS = {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "eyJyZWFzb24iOiJudWRnZSJ9"}]}
"""Of Temporal's protocol, in base64: `json/plain`, and a nudge."""
