"""The kinds of checkout of the demo's day: what buyers, shops and banks do to each."""

from demo.day.plan import Checkout, Kind, nothing, three_fifths, two_fifths, whole
from demo.stories.story import Context

_DECLINES = tuple(
    f"pm_card_chargeDeclined{why}" for why in ("", "InsufficientFunds", "LostCard", "ExpiredCard", "IncorrectCvc")
)


async def _pay(context: Context, checkout: Checkout) -> str:
    methods = checkout.kind.methods
    return await context.pay(methods[int(checkout.name) % len(methods)], *checkout.orders)


async def _approve(context: Context, checkout: Checkout) -> str:
    payment_id = await _ask_buyer(context, checkout)
    await context.psp.steer(await context.shop.reference(payment_id), "authenticate")
    return payment_id


async def _abandon(context: Context, checkout: Checkout) -> str:
    payment_id = await _ask_buyer(context, checkout)
    await context.shop.cancel(payment_id)
    return payment_id


async def _ask_buyer(context: Context, checkout: Checkout) -> str:
    payment_id = await _pay(context, checkout)
    await context.shop.until(payment_id, "REQUIRES_ACTION")
    return payment_id


async def _authorise(context: Context, checkout: Checkout) -> str:
    return await context.authorised("pm_card_visa", *checkout.orders)


async def _capture(context: Context, checkout: Checkout) -> str:
    payment_id = await _authorise(context, checkout)
    await context.shop.capture(payment_id)
    return payment_id


async def _capture_part(context: Context, checkout: Checkout) -> str:
    payment_id = await _authorise(context, checkout)
    await context.shop.capture(payment_id, checkout.part(three_fifths))
    return payment_id


async def _let_go(context: Context, checkout: Checkout) -> str:
    payment_id = await _authorise(context, checkout)
    await context.shop.cancel(payment_id)
    return payment_id


async def _refund(context: Context, checkout: Checkout) -> str:
    payment_id = await _pay(context, checkout)
    await context.shop.refund(payment_id)
    return payment_id


async def _refund_part(context: Context, checkout: Checkout) -> str:
    payment_id = await _pay(context, checkout)
    await context.shop.refund(payment_id, checkout.part(two_fifths))
    return payment_id


async def _refund_by_hand(context: Context, checkout: Checkout) -> str:
    payment_id = await _pay(context, checkout)
    await context.psp.refund_by_hand(await context.shop.reference(payment_id), two_fifths(checkout.amount))
    return payment_id


async def _dispute(context: Context, checkout: Checkout) -> str:
    payment_id = await _pay(context, checkout)
    await context.psp.dispute(await context.shop.reference(payment_id))
    dispute = await context.shop.dispute_until(payment_id, "NEEDS_RESPONSE")
    won = checkout.kind.dispute_status == "WON"
    await context.shop.answer(dispute, "winning_evidence" if won else "losing_evidence")
    return payment_id


def _abroad(currency: str, share: int) -> Kind:
    return Kind(f"Card, in {currency}", share, _pay, currency=currency, methods=("pm_card_visa", "pm_card_mastercard"))


KINDS: tuple[Kind, ...] = (
    Kind("Card", 68, _pay, methods=("pm_card_visa", "pm_card_mastercard", "pm_card_amex"), faults=4),
    _abroad("USD", 6),
    _abroad("EUR", 6),
    _abroad("GBP", 4),
    _abroad("JPY", 4),
    _abroad("KWD", 2),
    Kind("Several sellers", 16, _pay, several=True, faults=2),
    Kind("Card declined", 14, _pay, "FAILED", nothing, methods=_DECLINES),
    Kind("3-D Secure, approved", 12, _approve, methods=("pm_card_threeDSecure2Required",), faults=4, webhooks=True),
    Kind("3-D Secure, abandoned", 4, _abandon, "CANCELLED", nothing, methods=("pm_card_threeDSecure2Required",)),
    Kind("UPI, paid", 8, _pay, methods=("pm_upi_success",), faults=6, webhooks=True),
    Kind("UPI, refused", 4, _pay, "FAILED", nothing, methods=("pm_upi_failure",)),
    Kind("Netbanking, paid", 8, _pay, methods=("pm_netbanking_success",), faults=4, webhooks=True),
    Kind("Netbanking, refused", 4, _pay, "FAILED", nothing, methods=("pm_netbanking_failure",)),
    Kind("Reserved, then captured", 8, _capture),
    Kind("Reserved, a part captured", 4, _capture_part, charged=three_fifths),
    Kind("Reserved, then let go", 4, _let_go, "CANCELLED", nothing),
    Kind("Refunded", 8, _refund, refunded=whole, refund_status="REFUNDED"),
    Kind("A part refunded", 8, _refund_part, refunded=two_fifths, refund_status="PARTIALLY_REFUNDED"),
    Kind("Refunded in the dashboard", 2, _refund_by_hand, refunded=two_fifths, refund_status="PARTIALLY_REFUNDED"),
    Kind("Disputed, and won", 3, _dispute, dispute_status="WON"),
    Kind("Disputed, and lost", 3, _dispute, dispute_status="LOST"),
)
