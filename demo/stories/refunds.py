"""Stories of refunds: in parts, pending, made at the PSP, coming back, without the funds for it."""

from demo.shop import CURRENCY, Unexpected
from demo.stories.story import PAID, UNDONE, WHOLE, Chapter, Context, Story
from domain.money import parse_major, to_major


async def _thirds(context: Context) -> str:
    payment_id = await context.pay("pm_card_visa", ("seller_anna", "100.00"))
    for amount in ("33.33", "33.33", None):
        await context.shop.refund(payment_id, amount)
    await context.shop.expect(409, f"/v1/payments/{payment_id}/refunds", {}, "nothing_to_refund")
    return payment_id


async def _dashboard(context: Context) -> str:
    payment_id = await context.pay()
    await context.psp.refund_by_hand(await context.shop.reference(payment_id), 20_000)
    return payment_id


async def _pending_refund(context: Context) -> str:
    payment_id = await context.pay("pm_card_pendingRefund")
    await context.shop.refund(payment_id, status="PENDING")
    return payment_id


async def _refund_comes_back(context: Context) -> str:
    payment_id = await context.pay("pm_card_refundFail")
    refund = await context.shop.refund(payment_id)
    await context.shop.refund_until(refund["id"], "FAILED")
    await context.shop.task(payment_id, "refund_came_back")
    return payment_id


async def _no_funds(context: Context) -> str:
    await context.shop.open_merchant("seller_hugo", psp_fee_payer="seller", allow_negative_balance=False)
    payment_id = await context.pay("pm_card_visa", ("seller_hugo", "500.00"))
    await context.shop.expect(422, f"/v1/payments/{payment_id}/refunds", {}, "wallet_insufficient")
    return payment_id


async def _on_credit(context: Context) -> str:
    await context.shop.open_merchant("seller_iris", psp_fee_payer="seller", allow_negative_balance=True)
    before = parse_major(await context.shop.owed("seller_iris"), CURRENCY)
    payment_id = await context.pay("pm_card_visa", ("seller_iris", "500.00"))
    await context.shop.refund(payment_id)
    owed = parse_major(await context.shop.owed("seller_iris"), CURRENCY) - before
    if owed != 1480:
        raise Unexpected(f"the wallet should say that 14.80 are owed, and says {to_major(owed, CURRENCY)}")
    return payment_id


REFUNDS: Chapter = (
    "Refunds",
    (
        Story(
            "Three thirds of 100.00",
            "33.33 + 33.33 + 33.34, to the last cent",
            _thirds,
            "SUCCESS",
            charged=("100.00",),
            refunded=("33.33", "33.33", "33.34"),
            refund_status="REFUNDED",
            ledger={"at PSP": "-3.20", "PSP fee": "-3.20"},
        ),
        Story(
            "Made in the PSP's dashboard",
            "its webhook makes it our record, booked",
            _dashboard,
            "SUCCESS",
            charged=WHOLE,
            refunded=("200.00",),
            refund_status="PARTIALLY_REFUNDED",
            ledger={"at PSP": "285.20", "anna": "291.00", "our fee": "9.00", "PSP fee": "-14.80"},
        ),
        Story(
            "The refund is pending",
            "its funds are set aside until it is made",
            _pending_refund,
            "SUCCESS",
            charged=WHOLE,
            refunded=WHOLE,
            refund_status="REFUNDED",
            ledger=UNDONE,
        ),
        Story(
            "It succeeds, and comes back later",
            "booked back to the seller; a task opens",
            _refund_comes_back,
            "SUCCESS",
            charged=WHOLE,
            ledger=PAID,
        ),
        Story(
            "The seller has not enough",
            "422 wallet_insufficient: nothing is sent",
            _no_funds,
            "SUCCESS",
            charged=WHOLE,
            ledger={"at PSP": "485.20", "hugo": "470.20", "our fee": "15.00"},
        ),
        Story(
            "The seller may owe it",
            "on credit: 14.80 in the wallet's `owed`",
            _on_credit,
            "SUCCESS",
            charged=WHOLE,
            refunded=WHOLE,
            refund_status="REFUNDED",
            ledger={"at PSP": "-14.80", "iris owes": "-14.80"},
        ),
    ),
)
