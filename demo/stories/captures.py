"""Stories of an authorisation: captured, in part or not at all, cancelled, expired."""

from demo.stories.story import PAID, WHOLE, Chapter, Context, Story


async def _capture_all(context: Context) -> str:
    payment_id = await context.authorised()
    await context.shop.capture(payment_id)
    return payment_id


async def _capture_part(context: Context) -> str:
    payment_id = await context.authorised()
    await context.shop.capture(payment_id, "320.00")
    return payment_id


async def _cancel_authorised(context: Context) -> str:
    payment_id = await context.authorised()
    await context.shop.cancel(payment_id)
    return payment_id


async def _expires(context: Context) -> str:
    return await context.authorised(held_for_s=2)


async def _captured_before_it_expires(context: Context) -> str:
    return await context.authorised(held_for_s=2, on_authorization_expiry="capture")


async def _frozen_before_capture(context: Context) -> str:
    """Nothing of it is lost: once the seller is active again, the capture goes through."""
    await context.shop.open_merchant("seller_gita")
    payment_id = await context.authorised("pm_card_visa", ("seller_gita", "500.00"))
    await context.shop.freeze("seller_gita")
    new = context.body("pm_card_visa", ("seller_gita", "500.00"))
    new["checkout_id"] = new["payment_orders"][0]["payment_order_id"] = f"{context.checkout}-new"
    await context.shop.expect(422, "/v1/payments", new, "merchant_not_active")
    await context.shop.expect(422, f"/v1/payments/{payment_id}/capture", {}, "merchant_not_active")
    await context.shop.set_merchant("seller_gita", status="ACTIVE")
    await context.shop.capture(payment_id)
    return payment_id


CAPTURES: Chapter = (
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
)
