"""The demo's stories of what follows an authorisation or a charge: captures, refunds, disputes, reviews."""

from typing import Any

from demo.shop import CURRENCY, Unexpected
from demo.stories.story import PAID, UNDONE, WHOLE, Stage, Story
from domain.money import parse_major, to_major

RULES = {
    "rules": [
        {"name": "large", "type": "amount", "currency": "INR", "above": "700.00", "then": "review"},
        {"name": "too large", "type": "amount", "currency": "INR", "above": "5000.00", "then": "block"},
        {"name": "risky", "type": "psp_risk_score", "at_least": 60, "then": "review"},
    ]
}
"""Of the cautious shop: two rules judge before the charge, one judges what the PSP says of the authorisation."""

# --- reserve first ---


async def _capture_all(stage: Stage) -> str:
    payment_id = await stage.authorised()
    await stage.shop.capture(payment_id)
    return payment_id


async def _capture_part(stage: Stage) -> str:
    payment_id = await stage.authorised()
    await stage.shop.capture(payment_id, "320.00")
    return payment_id


async def _cancel_authorised(stage: Stage) -> str:
    payment_id = await stage.authorised()
    await stage.shop.cancel(payment_id)
    return payment_id


async def _expires(stage: Stage) -> str:
    return await stage.authorised(held_for_s=2)


async def _captured_before_it_expires(stage: Stage) -> str:
    return await stage.authorised(held_for_s=2, on_authorization_expiry="capture")


async def _frozen_before_capture(stage: Stage) -> str:
    """Nothing of it is lost: once the seller is active again, the capture goes through."""
    await stage.shop.open_merchant("seller_gita")
    payment_id = await stage.authorised("pm_card_visa", ("seller_gita", "500.00"))
    await stage.shop.freeze("seller_gita")
    new = stage.body("pm_card_visa", ("seller_gita", "500.00"))
    new["checkout_id"] = new["payment_orders"][0]["payment_order_id"] = f"{stage.checkout}-new"
    await stage.shop.expect(422, "/v1/payments", new, "merchant_not_active")
    await stage.shop.expect(422, f"/v1/payments/{payment_id}/capture", {}, "merchant_not_active")
    await stage.shop.set_merchant("seller_gita", status="ACTIVE")
    await stage.shop.capture(payment_id)
    return payment_id


# --- refunds ---


async def _thirds(stage: Stage) -> str:
    payment_id = await stage.pay("pm_card_visa", ("seller_anna", "100.00"))
    for amount in ("33.33", "33.33", None):
        await stage.shop.refund(payment_id, amount)
    await stage.shop.expect(409, f"/v1/payments/{payment_id}/refunds", {}, "nothing_to_refund")
    return payment_id


async def _dashboard(stage: Stage) -> str:
    payment_id = await stage.pay()
    await stage.psp.refund_by_hand(await stage.shop.reference(payment_id), 20_000)
    return payment_id


async def _pending_refund(stage: Stage) -> str:
    payment_id = await stage.pay("pm_card_pendingRefund")
    await stage.shop.refund(payment_id, status="PENDING")
    return payment_id


async def _refund_comes_back(stage: Stage) -> str:
    payment_id = await stage.pay("pm_card_refundFail")
    refund = await stage.shop.refund(payment_id)
    await stage.shop.refund_until(refund["id"], "FAILED")
    await stage.shop.task(payment_id, "refund_came_back")
    return payment_id


async def _no_funds(stage: Stage) -> str:
    await stage.shop.open_merchant("seller_hugo", psp_fee_payer="seller", allow_negative_balance=False)
    payment_id = await stage.pay("pm_card_visa", ("seller_hugo", "500.00"))
    await stage.shop.expect(422, f"/v1/payments/{payment_id}/refunds", {}, "wallet_insufficient")
    return payment_id


async def _on_credit(stage: Stage) -> str:
    await stage.shop.open_merchant("seller_iris", psp_fee_payer="seller", allow_negative_balance=True)
    before = parse_major(await stage.shop.owed("seller_iris"), CURRENCY)
    payment_id = await stage.pay("pm_card_visa", ("seller_iris", "500.00"))
    await stage.shop.refund(payment_id)
    owed = parse_major(await stage.shop.owed("seller_iris"), CURRENCY) - before
    if owed != 1480:
        raise Unexpected(f"the wallet should say that 14.80 are owed, and says {to_major(owed, CURRENCY)}")
    return payment_id


# --- disputes ---


async def _disputed(stage: Stage, seller: str = "seller_anna", *, refund: bool = False) -> tuple[str, dict[str, Any]]:
    """A payment that the buyer's bank claims back; (its id, the dispute, which waits for evidence)."""
    payment_id = await stage.pay("pm_card_visa", (seller, "500.00"))
    if refund:
        await stage.shop.refund(payment_id)
    await stage.psp.dispute(await stage.shop.reference(payment_id))
    return payment_id, await stage.shop.dispute_until(payment_id, "NEEDS_RESPONSE")


async def _dispute_won(stage: Stage) -> str:
    payment_id, dispute = await _disputed(stage)
    await stage.shop.expect(422, f"/v1/payments/{payment_id}/refunds", {"amount": "1.00"}, "refund_too_large")
    await stage.shop.answer(dispute, "winning_evidence")
    return payment_id


async def _dispute_lost(stage: Stage) -> str:
    await stage.shop.open_merchant("seller_jan")
    payment_id, dispute = await _disputed(stage, "seller_jan")
    await stage.shop.answer(dispute, "losing_evidence")
    return payment_id


async def _dispute_on_refunded(stage: Stage) -> str:
    payment_id, dispute = await _disputed(stage, refund=True)
    await stage.shop.task(payment_id, "dispute_exceeds")
    await stage.shop.answer(dispute, "winning_evidence")
    return payment_id


async def _inquiry(stage: Stage) -> str:
    payment_id = await stage.pay()
    await stage.psp.dispute(await stage.shop.reference(payment_id), inquiry=True)
    await stage.shop.answer(await stage.shop.dispute_until(payment_id, "INQUIRY"), "winning_evidence")
    return payment_id


# --- risk ---


async def _large(stage: Stage, decision: str) -> str:
    async with stage.psp.holding(None):
        payment_id = await stage.pay("pm_card_visa", ("seller_anna", "800.00"))
        await stage.shop.review(payment_id, decision)
    return payment_id


async def _review_approved(stage: Stage) -> str:
    return await _large(stage, "approve")


async def _review_rejected(stage: Stage) -> str:
    return await _large(stage, "reject")


async def _risky_card(stage: Stage) -> str:
    async with stage.psp.holding(None):
        payment_id = await stage.pay("pm_card_riskLevelElevated")
    await stage.shop.review(payment_id, "reject")
    return payment_id


async def _blocked(stage: Stage) -> str:
    return await stage.pay("pm_card_visa", ("seller_anna", "6000.00"))


AFTERMATH: tuple[tuple[str, tuple[Story, ...]], ...] = (
    (
        "Reserve first, take it later",
        (
            Story(
                "Captured in full",
                "AUTHORIZED until the shop has shipped",
                _capture_all,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "Captured in part",
                "180.00 are released, our fee shrinks too",
                _capture_part,
                "SUCCESS",
                charged=("320.00",),
                ledger={"at PSP": "310.42", "anna": "310.40", "our fee": "9.60", "PSP fee": "-9.58"},
            ),
            Story(
                "Cancelled instead",
                "voided at the PSP: no money ever moved",
                _cancel_authorised,
                "CANCELLED",
                let_go=WHOLE,
            ),
            Story(
                "Nobody captures it in time",
                "voided by us before the PSP lets it go",
                _expires,
                "CANCELLED",
                "authorization_expired",
                let_go=WHOLE,
            ),
            Story(
                "The same, on_expiry: capture",
                "its own policy: taken before it expires",
                _captured_before_it_expires,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "The seller is frozen, and unfrozen",
                "orders and captures: 422; later it goes on",
                _frozen_before_capture,
                "SUCCESS",
                charged=WHOLE,
                ledger={"at PSP": "485.20", "gita": "485.00", "our fee": "15.00", "PSP fee": "-14.80"},
            ),
        ),
    ),
    (
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
    ),
    (
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
    ),
    (
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
    ),
)
