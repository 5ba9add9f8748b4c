"""`/v1/payments`: take a checkout, show it, confirm, capture or cancel it."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Body, Depends, Path, Query, Request, Response

from api import examples
from api.access import PaymentConfirmer, PaymentReader, PaymentsReader, PaymentsWriter, Reviewer, caller
from api.context import (
    HEADERS,
    IdempotencyKey,
    KeyAlias,
    KeyHeader,
    RuntimeOf,
    Wait,
    headers,
    idempotency_key,
    json_answer,
    keyed,
)
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.fields import Out
from api.payment.page import PagePaymentOut, page_payment_out
from api.payment.search import SearchOf
from api.payment.shapes import (
    CaptureIn,
    CreatedPaymentOut,
    PaymentIn,
    PaymentList,
    PaymentOrderOut,
    PaymentOut,
    ResolutionIn,
    created_out,
    order_out,
    payment_out,
)
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from db.audit_log import client_address
from domain.messages import Decision, Resolution
from domain.status import TERMINAL, Status
from runtime.wiring import Runtime
from services import checkout, decision, search
from services import payment as payments
from services.checkout import Checkout, CheckoutOrder
from services.client_token import ClientToken
from services.payment import Answer, CaptureRequest

router = Router(prefix="/v1/payments", tags=["payments"], route_class=StrictRoute)

_ANY_NAME = "our id, `pay_…` or `po_…`, your own payment_order_id or checkout_id, or the PSP's `pi_…`"
PaymentId = Annotated[str, Path(description=_ANY_NAME, examples=[examples.ORDER])]
UnconfirmedId = Annotated[str, Path(description=_ANY_NAME, examples=[examples.UNCONFIRMED_ORDER])]
AuthorizedId = Annotated[str, Path(description=_ANY_NAME, examples=[examples.AUTHORIZED_ORDER])]

WAITING: dict[str, Any] = {
    "model": PaymentOut,
    "description": "Stored, and waiting: for the buyer, the PSP, a person or more time",
    "headers": HEADERS,
}


@router.post(
    "",
    response_model=CreatedPaymentOut,
    status_code=201,
    responses={
        **WRITE_PROBLEMS,
        201: {
            "description": "Ended (SUCCESS, FAILED, CANCELLED: a declined payment is a created payment) or NOT_STARTED",
            "headers": HEADERS,
        },
        202: WAITING | {"model": CreatedPaymentOut},
    },
    summary="Pay for a checkout",
)
async def create_payment(
    request: Request,
    body: Annotated[PaymentIn, Body(openapi_examples=examples.PAYMENTS)],
    who: PaymentsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """Charges the buyer once for the sum of the orders, then credits each seller and posts the ledger.

    The answer comes when the payment has ended (201), when it rests (202), or when `Prefer: wait` is over (202); the
    payment goes on either way. Sending the request again under the same Idempotency-Key is always safe.

    `client_token` is for the checkout page, which reads and confirms this payment with it; the API key stays where it
    is.
    """
    done = await checkout.create(
        runtime, caller(who), _checkout(body), request=keyed(request, key, body), wait_s=wait_s
    )
    token = ClientToken.of(done.payment, runtime.checkout_life)
    text = token.text(runtime.keyring) if token.left_s > 0 else None
    return answer(runtime, done, created_out(done.payment, text, runtime.keyring), created=True)


def _checkout(body: PaymentIn) -> Checkout:
    return Checkout(
        checkout_id=body.checkout_id,
        buyer_id=body.buyer.id,
        buyer_email=body.buyer.email,
        buyer_phone=body.buyer.phone,
        buyer_country=body.buyer.country,
        method=body.payment_method.type,
        token=body.payment_method.token,
        currency=body.payment_orders[0].currency,
        orders=[CheckoutOrder(o.payment_order_id, o.seller_account, o.amount) for o in body.payment_orders],
        capture=body.capture,
        on_authorization_expiry=body.on_authorization_expiry,
        on_partial_failure=body.on_partial_failure,
        confirm=body.confirm,
        metadata=body.metadata,
        return_url=body.return_url,
    )


def answer(runtime: Runtime, done: Answer, shown: Out | None = None, *, created: bool = False) -> Response:
    """202 while it goes on or waits; else 200, or 201 for a payment that this request created. `shown`: where that is
    not the payment alone."""
    row = done.payment
    shown = shown or payment_out(row, runtime.keyring)
    waiting = row.status not in TERMINAL and row.status is not Status.NOT_STARTED
    status = 202 if waiting else 201 if created else 200
    sent = headers(f"/v1/payments/{row.id}", replayed=done.replayed)
    return json_answer(shown, status, sent)


@router.get("", response_model=PaymentList, responses=READ_PROBLEMS, summary="List payments")
async def list_payments(
    who: PaymentsReader,
    runtime: RuntimeOf,
    wanted: SearchOf,
    status: Annotated[Status | None, Query(examples=["SUCCESS"])] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Newest first, with their orders; every filter that is given has to match."""
    rows = await search.payments(
        runtime.database,
        caller(who),
        replace(wanted, status=status.value if status else None),
        before=decode("payment", cursor),
        limit=limit + 1,
    )
    following = encode("payment", rows[limit - 1].id) if len(rows) > limit else None
    shown = PaymentList(data=[payment_out(row, runtime.keyring) for row in rows[:limit]], next_cursor=following)
    return json_answer(shown)


@router.get(
    "/{payment_id}",
    response_model=PaymentOut | PaymentOrderOut | PagePaymentOut,
    responses=READ_PROBLEMS,
    summary="Show a payment or one of its orders",
)
async def show_payment(payment_id: PaymentId, who: PaymentReader, runtime: RuntimeOf) -> Response:
    """By our payment id, our order id, your own payment_order_id or checkout_id (the latest payment of it), or the
    PSP's id of the charge. A client token shows its own payment, by our id, as far as a checkout page needs it."""
    row, order_id = await payments.find(runtime.database, caller(who), payment_id)
    ring = runtime.keyring
    if who.payment_id is not None:
        shown: Out = page_payment_out(row, ring)
    else:
        shown = payment_out(row, ring) if order_id is None else order_out(row, row.order(order_id), ring)
    return json_answer(shown)


async def key_of_confirm(who: PaymentConfirmer, key: KeyHeader = None, alias: KeyAlias = None) -> str | None:
    """None for a checkout page: a payment is confirmed once, whoever asks how often, and a page that could take keys
    could take those that the shop is about to use."""
    return await idempotency_key(key, alias) if who.payment_id is None else None


@router.post(
    "/{payment_id}/confirm",
    response_model=PaymentOut | PagePaymentOut,
    responses={
        **WRITE_PROBLEMS,
        200: {"headers": HEADERS},
        202: WAITING | {"model": PaymentOut | PagePaymentOut},
    },
    summary="Charge a payment created with confirm:false, or look at the PSP now",
)
async def confirm_payment(
    request: Request,
    payment_id: UnconfirmedId,
    who: PaymentConfirmer,
    runtime: RuntimeOf,
    key: Annotated[str | None, Depends(key_of_confirm)],
    wait_s: Wait,
) -> Response:
    """NOT_STARTED: it is charged now. REQUIRES_ACTION or PENDING: the PSP is asked at once, not at the next poll.

    A client token confirms its own payment, by our id, and is shown what a checkout page needs; it needs no
    Idempotency-Key, and none is kept."""
    under = keyed(request, key, None) if key is not None else None
    done = await payments.confirm(runtime, caller(who), payment_id, request=under, wait_s=wait_s)
    page = page_payment_out(done.payment, runtime.keyring) if who.payment_id is not None else None
    return answer(runtime, done, page)


@router.post(
    "/{payment_id}/capture",
    response_model=PaymentOut,
    responses={**WRITE_PROBLEMS, 200: {"headers": HEADERS}, 202: WAITING},
    summary="Take what was authorised, in full or in part",
)
async def capture_payment(
    request: Request,
    payment_id: AuthorizedId,
    body: Annotated[CaptureIn, Body(openapi_examples=examples.CAPTURES)],
    who: PaymentsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """An authorisation is captured once: what is not taken is released, and the platform's fee shrinks with it. A
    cancel that comes before the settlement wins: then what was captured is refunded."""
    parts = [(part.payment_order_id, part.amount) for part in body.payment_orders] if body.payment_orders else None
    wanted, under = CaptureRequest(body.amount, parts), keyed(request, key, body)
    return answer(
        runtime, await payments.capture(runtime, caller(who), payment_id, wanted, request=under, wait_s=wait_s)
    )


@router.post(
    "/{payment_id}/cancel",
    response_model=PaymentOut,
    responses={**WRITE_PROBLEMS, 200: {"headers": HEADERS}, 202: WAITING},
    summary="Cancel a payment that has not settled",
)
async def cancel_payment(
    request: Request,
    payment_id: UnconfirmedId,
    who: PaymentsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """Cancel wins until the settlement commits: what was charged is refunded and the payment ends CANCELLED.
    Afterwards it is 409 `payment_settled`, and a refund is the way. Cancelling twice is no error."""
    under = keyed(request, key, None)
    return answer(runtime, await payments.cancel(runtime, caller(who), payment_id, request=under, wait_s=wait_s))


@router.post(
    "/{payment_id}/resolve",
    response_model=PaymentOut,
    responses={**WRITE_PROBLEMS, 200: {"headers": HEADERS}, 202: WAITING},
    summary="Decide about a payment that needs attention",
)
async def resolve_payment(
    request: Request,
    payment_id: UnconfirmedId,
    body: Annotated[ResolutionIn, Body(openapi_examples=examples.PAYMENT_RESOLUTIONS)],
    who: Reviewer,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """Takes a decision that the payment's task offers: `accept` credits the sellers with what the PSP took though
    another amount was asked for, `cancel` refunds whatever was taken, `retry` has the PSP asked again. Any other is 409
    `decision_refused` and names those that work. What only the PSP's dashboard can tell is decided at the terminal."""
    decided, by = Decision(body.decision), caller(who).actor
    resolution = Resolution(decision=decided, by=by, note=body.note, address=client_address.get())
    under = keyed(request, key, body)
    return answer(
        runtime, await decision.resolve(runtime, caller(who), payment_id, resolution, request=under, wait_s=wait_s)
    )
