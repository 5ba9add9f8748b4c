"""Balance transactions: what each movement did to the account's money, and what they add up to."""

from decimal import ROUND_HALF_UP, Decimal

from sandbox.accounts import Fee
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import new_id

DESCRIPTIONS = {
    "refund": "REFUND FOR CHARGE",
    "dispute": "Chargeback withdrawal",
    "dispute_reversal": "Chargeback reversal",
    "payout": "STRIPE PAYOUT",
    "payout_failure": "STRIPE PAYOUT FAILURE",
    "payout_cancel": "STRIPE PAYOUT CANCELED",
}
# The reporting category of a type where it is not the type itself (https://docs.stripe.com/reports/reporting-categories).
CATEGORIES = {
    "payment": "charge",
    "payment_refund": "refund",
    "payout_cancel": "payout_reversal",
    "payout_failure": "payout_reversal",
    "transfer_refund": "transfer_reversal",
}
SHORT_OF_FUNDS = (
    "You have insufficient available funds in your Stripe account. Try adding funds directly to your available balance "
    "by creating Charges using the 4000000000000077 test card. See: https://stripe.com/docs/testing#available-balance"
)


def fee_of(amount: int, fee: Fee) -> int:
    """The provider's fee in minor units, rounded half up."""
    share = (Decimal(amount) * fee.percent / 100).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return int(share) + fee.fixed


def book(
    ctx: Context,
    kind: str,
    amount: int,
    currency: str,
    source: str | None,
    *,
    fee: int = 0,
    category: str | None = None,
    available_on: int | None = None,
    description: str | None = None,
) -> Doc:
    """Add a balance transaction; `amount` and `fee` are signed. `category` says more than its type where that is vague.

    Types: `charge`, `refund`, `refund_failure`, `adjustment` for what a dispute takes and gives back; `transfer`,
    `transfer_refund`, and `payment`, `payment_refund` at its other end; `payout`, `payout_failure`, `payout_cancel`.
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
        "available_on": now + ctx.account.settings.available_delay_s if available_on is None else available_on,
        "balance_type": "payments",
        "created": now,
        "currency": currency,
        "description": description or DESCRIPTIONS.get(category or kind),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": details if fee else [],
        "net": amount - fee,
        "reporting_category": category or CATEGORIES.get(kind, kind),
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


def available(ctx: Context, currency: str) -> int:
    """The amount that the account can move right now."""
    query = """
        SELECT coalesce(sum(true_net), 0) FROM balance_transactions
        WHERE account = ? AND true_currency = ? AND available_on <= ?"""
    (amount,) = ctx.store.db.execute(query, (ctx.account.id, currency, ctx.account.now)).fetchone()
    return int(amount)


def require(ctx: Context, amount: int, currency: str) -> None:
    """Raise `balance_insufficient` when that much is not available. A platform's setting can waive its own check."""
    waived = not ctx.account.connected and not ctx.account.settings.check_available_balance
    if not waived and amount > available(ctx, currency):
        raise ApiError(400, SHORT_OF_FUNDS, code="balance_insufficient", executed=True)


def balance(ctx: Context) -> Doc:
    """The account's balance by currency, split into what is available and what is not yet."""
    query = """
        SELECT true_currency, available_on <= ?, sum(true_net)
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
