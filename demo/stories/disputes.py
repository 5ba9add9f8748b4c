"""Stories of disputes: won, lost, about what was refunded already; and of an inquiry."""

from typing import Any

from demo.stories.story import PAID, WHOLE, Chapter, Context, Story


async def _disputed(
    context: Context, seller: str = "seller_anna", *, refund: bool = False
) -> tuple[str, dict[str, Any]]:
    """A payment that the buyer's bank claims back; (its id, the dispute, which waits for evidence)."""
    payment_id = await context.pay("pm_card_visa", (seller, "500.00"))
    if refund:
        await context.shop.refund(payment_id)
    await context.psp.dispute(await context.shop.reference(payment_id))
    return payment_id, await context.shop.dispute_until(payment_id, "NEEDS_RESPONSE")


async def _dispute_won(context: Context) -> str:
    payment_id, dispute = await _disputed(context)
    await context.shop.expect(422, f"/v1/payments/{payment_id}/refunds", {"amount": "1.00"}, "refund_too_large")
    await context.shop.answer(dispute, "winning_evidence")
    return payment_id


async def _dispute_lost(context: Context) -> str:
    await context.shop.open_merchant("seller_jan")
    payment_id, dispute = await _disputed(context, "seller_jan")
    await context.shop.answer(dispute, "losing_evidence")
    return payment_id


async def _dispute_on_refunded(context: Context) -> str:
    payment_id, dispute = await _disputed(context, refund=True)
    await context.shop.task(payment_id, "dispute_exceeds")
    await context.shop.answer(dispute, "winning_evidence")
    return payment_id


async def _inquiry(context: Context) -> str:
    payment_id = await context.pay()
    await context.psp.dispute(await context.shop.reference(payment_id), inquiry=True)
    await context.shop.answer(await context.shop.dispute_until(payment_id, "INQUIRY"), "winning_evidence")
    return payment_id


DISPUTES: Chapter = (
    "The buyer's bank claims it back",
    (
        Story(
            "Disputed, and won",
            "held, answered, released; the fee is kept",
            _dispute_won,
            "SUCCESS",
            charged=WHOLE,
            dispute_status="WON",
            ledger={"at PSP": "470.20", "anna": "485.00", "our fee": "15.00", "PSP fee": "-29.80"},
        ),
        Story(
            "Disputed, and lost",
            "the seller bears it, and owes the rest",
            _dispute_lost,
            "SUCCESS",
            charged=WHOLE,
            lost=WHOLE,
            dispute_status="LOST",
            ledger={"at PSP": "-29.80", "jan owes": "-15.00", "our fee": "15.00", "PSP fee": "-29.80"},
        ),
        Story(
            "Disputed although refunded",
            "a task tells; the bank hears, and agrees",
            _dispute_on_refunded,
            "SUCCESS",
            charged=WHOLE,
            refunded=WHOLE,
            refund_status="REFUNDED",
            dispute_status="WON",
            ledger={"at PSP": "-29.80", "PSP fee": "-29.80"},
        ),
        Story(
            "An inquiry",
            "answered; no money has moved",
            _inquiry,
            "SUCCESS",
            charged=WHOLE,
            dispute_status="CLOSED",
            ledger=PAID,
        ),
    ),
)
