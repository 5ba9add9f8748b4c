"""Stories of a shop with risk rules: reviewed by a person, or blocked."""

from demo.stories.story import WHOLE, Chapter, Context, Story

RULES = {
    "rules": [
        {"name": "large", "type": "amount", "currency": "INR", "above": "700.00", "then": "review"},
        {"name": "too large", "type": "amount", "currency": "INR", "above": "5000.00", "then": "block"},
        {"name": "risky", "type": "psp_risk_score", "at_least": 60, "then": "review"},
    ]
}
"""Of the cautious shop: two rules judge before the charge, one judges what the PSP says of the authorisation."""


async def _large(context: Context, decision: str) -> str:
    async with context.psp.holding(None):
        payment_id = await context.pay("pm_card_visa", ("seller_anna", "800.00"))
        await context.shop.review(payment_id, decision)
    return payment_id


async def _review_approved(context: Context) -> str:
    return await _large(context, "approve")


async def _review_rejected(context: Context) -> str:
    return await _large(context, "reject")


async def _risky_card(context: Context) -> str:
    async with context.psp.holding(None):
        payment_id = await context.pay("pm_card_riskLevelElevated")
    await context.shop.review(payment_id, "reject")
    return payment_id


async def _blocked(context: Context) -> str:
    return await context.pay("pm_card_visa", ("seller_anna", "6000.00"))


REVIEWS: Chapter = (
    "A shop with risk rules",
    (
        Story(
            "A large sum: a person approves",
            "IN_REVIEW before the charge, then charged",
            _review_approved,
            "SUCCESS",
            charged=("800.00",),
            ledger={"at PSP": "776.50", "anna": "776.00", "our fee": "24.00", "PSP fee": "-23.50"},
            cautious=True,
        ),
        Story(
            "A large sum: a person rejects",
            "the PSP never hears of it",
            _review_rejected,
            "FAILED",
            "risk_rejected",
            asked=False,
            cautious=True,
        ),
        Story(
            "A risky card: rejected",
            "reserved for the PSP's score, then let go",
            _risky_card,
            "FAILED",
            "risk_rejected",
            let_go=WHOLE,
            cautious=True,
        ),
        Story(
            "Too large: blocked by a rule",
            "the PSP never hears of it",
            _blocked,
            "FAILED",
            "risk_blocked",
            asked=False,
            cautious=True,
        ),
    ),
)
