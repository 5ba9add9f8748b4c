"""Balance transactions: what each charge, refund and dispute did to the account's money, and what they add up to."""

from decimal import ROUND_HALF_UP, Decimal

from sandbox.accounts import Fee
from sandbox.context import Context
from sandbox.errors import Doc
from sandbox.store import new_id

DESCRIPTIONS = {
    "refund": "REFUND FOR CHARGE",
    "dispute": "Chargeback withdrawal",
    "dispute_reversal": "Chargeback reversal",
}


def fee_of(amount: int, fee: Fee) -> int:
    """The provider's fee in minor units, rounded half up."""
    share = (Decimal(amount) * fee.percent / 100).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return int(share) + fee.fixed


def book(
    ctx: Context, kind: str, amount: int, currency: str, source: str, *, fee: int = 0, category: str | None = None
) -> Doc:
    """Add a balance transaction; `amount` and `fee` are signed. `category` says more than its type where that is vague.

    Types: `charge`, `refund`, `refund_failure`, and `adjustment` for what a dispute takes and gives back.
    """
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Dispute fee" if kind == "adjustment" else "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    now = ctx.account.now
    transaction: Doc = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now + ctx.account.settings.available_delay_s,
        "balance_type": "payments",
        "created": now,
        "currency": currency,
        "description": DESCRIPTIONS.get(category or kind),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": details if fee else [],
        "net": amount - fee,
        "reporting_category": category or kind,
        "source": source,
        "status": "pending",
        "type": kind,
    }
    ctx.insert("balance_transactions", transaction)
    return transaction


def current(ctx: Context, transaction: Doc) -> Doc:
    """The transaction with its status by the account's clock."""
    available = transaction["available_on"] <= ctx.account.now
    return transaction | {"status": "available" if available else "pending"}


def balance(ctx: Context) -> Doc:
    """The account's balance by currency, split into what is available and what is not yet."""
    query = """
        SELECT json_extract(doc, '$.currency'), json_extract(doc, '$.available_on') <= ?,
               sum(json_extract(doc, '$.net'))
        FROM balance_transactions WHERE account = ? GROUP BY 1, 2 ORDER BY 1"""
    sums: dict[str, list[int]] = {}
    for currency, available, net in ctx.store.db.execute(query, (ctx.account.now, ctx.account.id)):
        sums.setdefault(currency, [0, 0])[available] = net

    def part(index: int) -> list[Doc]:
        return [
            {"amount": pair[index], "currency": currency, "source_types": {"card": pair[index]}}
            for currency, pair in sums.items()
        ]

    return {
        "object": "balance",
        "available": part(1) or [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}],
        "livemode": False,
        "pending": part(0) or [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}],
    }
