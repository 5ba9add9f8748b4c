"""The checkouts that the demo tells: what is done to each, and how it has to end at the PSP and in the ledger."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2

from demo.shop import Unexpected, eventually, reason, taken
from demo.stories.captures import CAPTURES
from demo.stories.disputes import DISPUTES
from demo.stories.refunds import REFUNDS
from demo.stories.reviews import REVIEWS
from demo.stories.story import PAID, UNDONE, WHOLE, Chapter, Context, Story

# --- paying ---


async def _card(context: Context) -> str:
    return await context.pay()


async def _two_sellers(context: Context) -> str:
    return await context.pay("pm_card_mastercard", ("seller_anna", "300.00"), ("seller_bo", "200.00"))


async def _declined(context: Context) -> str:
    return await context.pay("pm_card_chargeDeclinedInsufficientFunds")


async def _secure_approved(context: Context) -> str:
    payment_id = await _secure(context)
    await context.psp.steer(await context.shop.reference(payment_id), "authenticate")
    return payment_id


async def _secure(context: Context) -> str:
    payment_id = await context.pay("pm_card_threeDSecure2Required")
    payment = await context.shop.until(payment_id, "REQUIRES_ACTION")
    if not payment["next_action"]:
        raise Unexpected("the buyer was not told where to authenticate")
    return payment_id


async def _secure_abandoned(context: Context) -> str:
    payment_id = await _secure(context)
    await context.shop.cancel(payment_id)
    return payment_id


async def _upi_paid(context: Context) -> str:
    payment_id = await _pending(context, "pm_upi_success")
    await context.shop.until(payment_id)
    return payment_id


async def _upi_fails(context: Context) -> str:
    return await _pending(context, "pm_upi_failure")


async def _pending(context: Context, method: str = "pm_upi_processing", *orders: tuple[str, str], **fields: Any) -> str:
    payment_id = await context.pay(method, *orders, **fields)
    await context.shop.until(payment_id, "PENDING")
    return payment_id


# --- asking twice ---


async def _double_click(context: Context) -> str:
    answers = await asyncio.gather(*(context.shop.post("/v1/payments", context.body()) for _ in range(2)))
    first, second = sorted(answers, key=lambda answer: answer.status_code)
    payment = taken(first)
    if second.status_code != 409 or second.json().get("payment_id") != payment["id"]:
        raise Unexpected(f"the second click got {reason(second)} instead of a 409 that names the first payment")
    return str(payment["id"])


async def _replay(context: Context) -> str:
    key = str(uuid4())
    payment = await context.shop.pay(context.body(), key=key)
    again = await context.shop.post("/v1/payments", context.body(), key=key)
    if taken(again)["id"] != payment["id"] or again.headers.get("Idempotent-Replayed") != "true":
        raise Unexpected("the same key did not give the same payment back")
    return str(payment["id"])


# --- a PSP on a bad day ---


async def _timeout_after(context: Context) -> str:
    fault = await context.psp.fault(context.checkout, "timeout_after")
    payment_id = await context.pay()
    await context.psp.struck(fault)
    return payment_id


async def _server_errors(context: Context) -> str:
    await context.psp.fault(context.checkout, "http_500_uncached", times=3)
    return await context.pay()


async def _error_for_ever(context: Context) -> str:
    await context.psp.fault(context.checkout, "http_500_after")
    return await context.pay()


async def _webhook_lost(context: Context) -> str:
    await context.psp.webhook_fault(context.checkout, "lost", times=None)
    return await _pending(context, "pm_upi_success")


async def _killed(context: Context) -> str:
    """The PSP has charged and holds its answer while our processes die; then the client simply asks again."""
    if context.kill is None:
        raise Unexpected("this story needs a stack of its own")
    key = str(uuid4())
    fault = await context.psp.fault(context.checkout, "hold_after")
    click = asyncio.create_task(context.shop.post("/v1/payments", context.body(), key=key))
    await context.psp.struck(fault)
    context.kill()
    try:
        await click
    except httpx2.TransportError:
        pass
    else:
        raise Unexpected("the request was answered although its process was killed")

    async def ask_again() -> dict[str, Any] | None:
        try:
            answer = await context.shop.post("/v1/payments", context.body(), key=key)
        except httpx2.TransportError:
            return None
        return taken(answer) if answer.status_code != 503 else None

    return str((await eventually(ask_again, "the API is back"))["id"])


# --- giving back ---


async def _seller_frozen(context: Context) -> str:
    await context.shop.open_merchant("seller_dora")
    payment_id = await _pending(context, "pm_upi_processing", ("seller_dora", "500.00"))
    await context.shop.freeze("seller_dora")
    await context.psp.steer(await context.shop.reference(payment_id), "complete_processing")
    return payment_id


async def _cancel_pending(context: Context) -> str:
    payment_id = await _pending(context)
    cancelling = asyncio.create_task(context.shop.cancel(payment_id))

    async def noted() -> bool:
        return bool((await context.shop.payment(payment_id))["cancel_requested"])

    await eventually(noted, "the cancel is noted")
    await context.psp.steer(await context.shop.reference(payment_id), "complete_processing")
    await cancelling
    return payment_id


async def _keep_successful(context: Context) -> str:
    await context.shop.open_merchant("seller_eli")
    orders = (("seller_anna", "300.00"), ("seller_eli", "200.00"))
    payment_id = await _pending(context, "pm_upi_processing", *orders, on_partial_failure="keep_successful")
    await context.shop.freeze("seller_eli")
    await context.psp.steer(await context.shop.reference(payment_id), "complete_processing")
    return payment_id


async def _late_success(context: Context) -> str:
    payment_id = await _secure(context)
    await context.shop.cancel(payment_id)
    await context.shop.until(payment_id, "CANCELLED")
    await context.psp.steer(await context.shop.reference(payment_id), "force_success")
    return payment_id


CHAPTERS: tuple[Chapter, ...] = (
    (
        "Paying",
        (
            Story(
                "A card is charged",
                "wallet and ledger follow in one commit",
                _card,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "Two sellers in one checkout",
                "one charge; our fees 3 %, and 2.9 % + 0.30",
                _two_sellers,
                "SUCCESS",
                charged=WHOLE,
                ledger={"at PSP": "485.20", "anna": "291.00", "bo": "193.90", "our fee": "15.10", "PSP fee": "-14.80"},
            ),
            Story(
                "The card is declined",
                "a payment that FAILED, not an error",
                _declined,
                "FAILED",
                "insufficient_funds",
            ),
            Story(
                "3-D Secure, approved",
                "waits for the buyer, who comes back",
                _secure_approved,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "3-D Secure, abandoned",
                "the shop cancels: voided at the PSP first",
                _secure_abandoned,
                "CANCELLED",
            ),
            Story(
                "UPI: pending, then paid",
                "a webhook moves it on",
                _upi_paid,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "UPI: pending, then refused",
                "the bank says no after a while",
                _upi_fails,
                "FAILED",
                "payment_method_declined",
            ),
        ),
    ),
    (
        "Asking twice",
        (
            Story(
                "A double click",
                "one checkout, two keys: the second is 409",
                _double_click,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "The same request again",
                "one key: the same payment comes back",
                _replay,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
        ),
    ),
    (
        "A bad day at the PSP",
        (
            Story(
                "It charges, and never answers",
                "not failed: asked again under the same key",
                _timeout_after,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "It answers 500 three times",
                "tried again until its word is known",
                _server_errors,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "It charges, and says 500 for ever",
                "the key is stuck: the charge is looked up",
                _error_for_ever,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
            Story(
                "Its webhook is lost",
                "the poll finds out by itself",
                _webhook_lost,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
            ),
        ),
    ),
    (
        "Giving it back",
        (
            Story(
                "The seller is frozen meanwhile",
                "the wallet refuses: the buyer is refunded",
                _seller_frozen,
                "FAILED",
                "wallet_refused",
                charged=WHOLE,
                refunded=WHOLE,
                ledger=UNDONE,
            ),
            Story(
                "Cancelled while pending",
                "then it is paid after all: refunded",
                _cancel_pending,
                "CANCELLED",
                charged=WHOLE,
                refunded=WHOLE,
                ledger=UNDONE,
            ),
            Story(
                "One of two sellers is frozen",
                "keep_successful: only that share goes back",
                _keep_successful,
                "SUCCESS",
                "wallet_refused",
                charged=WHOLE,
                refunded=("200.00",),
                ledger={"at PSP": "285.20", "anna": "291.00", "our fee": "9.00", "PSP fee": "-14.80"},
            ),
            Story(
                "Paid after it was cancelled",
                "stays CANCELLED, and the money goes back",
                _late_success,
                "CANCELLED",
                charged=WHOLE,
                refunded=WHOLE,
                ledger=UNDONE,
            ),
        ),
    ),
    CAPTURES,
    REFUNDS,
    DISPUTES,
    REVIEWS,
    (
        "kill -9",
        (
            Story(
                "API and worker die during the charge",
                "restarted; the shop asks again: one charge",
                _killed,
                "SUCCESS",
                charged=WHOLE,
                ledger=PAID,
                alone=True,
            ),
        ),
    ),
)
