"""`/v1/payments`: take a checkout, show it, confirm it, cancel it."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response

from api import examples
from api.context import AdmissionOf, IdempotencyKey, PaymentsReader, PaymentsWriter, RuntimeOf, Wait, caller, keyed
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.schemas.payment import PaymentIn, PaymentOrderOut, PaymentOut
from api.strict import StrictRoute
from api.views.payment import order_out, payment_out
from db.api_key import Principal
from db.core import idempotency
from db.core.database import LockTimeout
from db.core.idempotency import Request as KeyedRequest
from db.payment import checkout, lifecycle, payment
from db.payment.payment import NewOrder, NewPayment
from db.payment.record import Payment
from domain.errors import NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, new_id
from domain.messages import CancelRequest, Nudge
from domain.money import MoneyError, parse_major
from domain.status import RESTING, TERMINAL, Status
from runtime.wiring import Runtime
from services import payment as payments

router = APIRouter(prefix="/v1/payments", tags=["payments"], route_class=StrictRoute)

PaymentId = Annotated[
    str, Path(description="our id, `pay_…` or `po_…`, or your own payment_order_id", examples=[examples.ORDER])
]
UnconfirmedId = Annotated[
    str,
    Path(description="our id, `pay_…` or `po_…`, or your own payment_order_id", examples=[examples.UNCONFIRMED_ORDER]),
]


HEADERS: dict[str, Any] = {
    "Location": {"description": "where to ask again", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if the key was seen before: this is the payment of then, in its present state",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
WAITING: dict[str, Any] = {
    "model": PaymentOut,
    "description": "Stored, and waiting: for the buyer, the PSP, a person or more time",
    "headers": HEADERS,
}


@router.post(
    "",
    response_model=PaymentOut,
    status_code=201,
    responses={
        **WRITE_PROBLEMS,
        201: {
            "description": "Ended (SUCCESS, FAILED, CANCELLED: a declined payment is a created payment) or NOT_STARTED",
            "headers": HEADERS,
        },
        202: WAITING,
    },
    summary="Pay for a checkout",
)
async def create_payment(
    request: Request,
    body: Annotated[PaymentIn, Body(openapi_examples=examples.PAYMENTS)],
    who: PaymentsWriter,
    runtime: RuntimeOf,
    places: AdmissionOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """Charges the buyer once for the sum of the orders, then credits each seller and posts the ledger.

    The answer comes when the payment has ended (201), when it rests (202), or when `Prefer: wait` is over (202); the
    payment goes on either way. Sending the request again under the same Idempotency-Key is always safe.
    """
    new = _new_payment(body, who, runtime)
    with places.place():
        claim, stored = await checkout.store(runtime.database, new, keyed(request, key, body))
        with runtime.notifier.watch(claim.object_id) as changed:
            if claim.replayed:
                await _start_again(runtime, await load(runtime, claim.object_id))
                changed.set()
            else:
                await _start(runtime, stored)
            row = await outcome(runtime, claim.object_id, changed, wait_s, until=settled)
    return answer(row, replayed=claim.replayed)


def _new_payment(body: PaymentIn, who: Principal, runtime: Runtime) -> NewPayment:
    """Check what needs no database, and encrypt what must not be stored in clear. Raises Unprocessable."""
    currency = body.payment_orders[0].currency
    orders = [
        NewOrder(
            id=(order_id := new_id("po")),
            payment_order_id=order.payment_order_id or f"auto-{order_id[3:]}",
            seller_account=order.seller_account,
            amount=parse_major(order.amount, currency),
            platform_fee=0,
        )
        for order in body.payment_orders
    ]
    refusal = runtime.psp.check_amount(sum(order.amount for order in orders), currency)
    for order in orders:
        refusal = refusal or runtime.psp.check_part(order.amount, currency)
    if refusal is not None:
        raise Unprocessable(refusal.message, code=refusal.code)
    by_request = body.capture == "manual"
    may_authorize = runtime.psp.can_authorize(body.payment_method.type)
    if by_request and not may_authorize:
        detail = f"{body.payment_method.type} cannot be authorised first and captured later."
        raise Unprocessable(detail, code="capture_manual_unavailable")
    payment_id, encrypt = new_id("pay"), runtime.keyring.encrypt
    email = body.buyer.email
    return NewPayment(
        id=payment_id,
        tenant_id=who.tenant_id,
        checkout_id=body.checkout_id,
        buyer_id=body.buyer.id,
        buyer_email=encrypt(email, bound_to=f"{payment_id}:email") if email else None,
        currency=currency,
        psp=runtime.psp.name,
        method=body.payment_method.type,
        token=encrypt(body.payment_method.token, bound_to=f"{payment_id}:token"),
        on_partial_failure=body.on_partial_failure,
        metadata=body.metadata,
        confirmed=body.confirm,
        send_for_s=runtime.send_for_s,
        actor=who.key_id,
        may_authorize=may_authorize,
        authorize_only=by_request,
        capture_by_request=by_request,
        capture_on_expiry=body.on_authorization_expiry == "capture",
        buyer_country=body.buyer.country,
        orders=orders,
    )


async def _start(runtime: Runtime, new: NewPayment) -> None:
    try:
        await runtime.workflow_client.start_payment(runtime.workflow_client.input_of_new(new), new.checkout_id)
    except Unavailable:
        return  # it is stored: the sweeper starts it, and the client is told 202


async def _start_again(runtime: Runtime, row: Payment) -> None:
    """The first request may have died between storing and starting; starting what runs already changes nothing."""
    if row.status in TERMINAL or row.status in RESTING:
        return
    try:
        await runtime.workflow_client.start_payment(runtime.workflow_client.input_of(row), row.checkout_id)
    except Unavailable:
        return


# --- waiting ---


def settled(row: Payment) -> bool:
    """There is something to answer: it ended, rests, or waits to be confirmed."""
    return row.status in TERMINAL or row.status in RESTING or row.status is Status.NOT_STARTED


def ended(row: Payment) -> bool:
    return row.status in TERMINAL


_LOOK_FIRST_S = 0.25
_LOOK_MAX_S = 2.0


async def outcome(runtime: Runtime, payment_id: str, changed: asyncio.Event, wait_s: float, *, until: Any) -> Payment:
    """The payment once `until` holds, or as it is when the wait is over.

    The worker of this process announces what it commits; another process's work is found by looking now and then.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    gap = _LOOK_FIRST_S
    while True:
        left = deadline - loop.time()
        if left > 0 and not changed.is_set():
            try:
                async with asyncio.timeout(min(gap, left)):
                    await changed.wait()
            except TimeoutError:
                gap = min(gap * 2, _LOOK_MAX_S)
        changed.clear()
        row = await load(runtime, payment_id)
        if until(row) or loop.time() >= deadline:
            return row


async def load(runtime: Runtime, payment_id: str) -> Payment:
    row = await runtime.database.read(lambda c: payment.get(c, payment_id))
    assert row is not None, "it was committed before it is loaded"
    return row


def answer(row: Payment, *, replayed: bool, created: bool = True) -> Response:
    waiting = row.status not in TERMINAL and row.status is not Status.NOT_STARTED
    headers = {"Location": f"/v1/payments/{row.id}"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    status = 202 if waiting else 201 if created else 200
    return Response(payment_out(row).model_dump_json(), status, headers, "application/json")


# --- reading ---


async def find_payment(runtime: Runtime, who: Principal, name: str) -> tuple[Payment, str | None]:
    """The payment, and the id of the order if one was named. Raises NotFound, also for what is no id at all."""
    known = CLIENT_ID.fullmatch(name) is not None
    found = await runtime.database.read(lambda c: payment.find(c, who.tenant_id, name)) if known else None
    if found is None:
        raise NotFound("There is no such payment.", code="payment_not_found")
    return await load(runtime, found[0]), found[1]


@router.get(
    "/{payment_id}",
    response_model=PaymentOut | PaymentOrderOut,
    responses=READ_PROBLEMS,
    summary="Show a payment or one of its orders",
)
async def show_payment(payment_id: PaymentId, who: PaymentsReader, runtime: RuntimeOf) -> Response:
    """By our payment id, our order id, or your own payment_order_id (the latest payment of it)."""
    row, order_id = await find_payment(runtime, who, payment_id)
    shown = payment_out(row) if order_id is None else order_out(row, row.order(order_id))
    return Response(shown.model_dump_json(), media_type="application/json")


# --- moving it on ---


def amount_of(runtime: Runtime, row: Payment, text: str) -> int:
    """A part of a payment in minor units, as its PSP can take or give it back. Raises Unprocessable."""
    try:
        amount = parse_major(text, row.currency)
    except MoneyError as error:
        raise Unprocessable(str(error), code=error.code) from error
    refusal = runtime.psps[row.psp].check_part(amount, row.currency)
    if refusal is not None:
        raise Unprocessable(refusal.message, code=refusal.code)
    return amount


async def keyed_work(
    runtime: Runtime, who: Principal, request: KeyedRequest, row: Payment, work: Any, *, again: bool = True
) -> tuple[Payment, bool]:
    """Do `work` under the key, in the transaction that stores the key. (the payment as found, replayed?)

    `again`: a repetition runs it once more, as what may be done twice; else it leaves things as they are.
    """

    async def once(connection: Any) -> tuple[Payment, bool]:
        claim = await idempotency.claim(connection, who.tenant_id, request.key, request.hash, row.id)
        return row if claim.replayed and not again else await work(connection), claim.replayed

    try:
        found, replayed = await runtime.database.run(once)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    return found, replayed


@router.post(
    "/{payment_id}/confirm",
    response_model=PaymentOut,
    responses={**WRITE_PROBLEMS, 200: {"headers": HEADERS}, 202: WAITING},
    summary="Charge a payment created with confirm:false, or look at the PSP now",
)
async def confirm_payment(
    request: Request,
    payment_id: UnconfirmedId,
    who: PaymentsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """NOT_STARTED: it is charged now. REQUIRES_ACTION or PENDING: the PSP is asked at once, not at the next poll."""
    row, _ = await find_payment(runtime, who, payment_id)
    now = datetime.now(UTC)
    with runtime.notifier.watch(row.id) as changed:
        found, replayed = await keyed_work(
            runtime,
            who,
            keyed(request, key, None),
            row,
            lambda c: lifecycle.confirm(c, row.id, runtime.send_for_s, now, who.key_id),
        )
        if found.open:
            await tell(runtime, found, Nudge(reason="confirm"))
            before = found.status if found.status is not Status.NOT_STARTED else Status.EXECUTING
            row = await outcome(runtime, row.id, changed, wait_s, until=lambda r: r.status is not before and settled(r))
    return answer(row if found.open else found, replayed=replayed, created=False)


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
    done = await payments.cancel(runtime, caller(who), payment_id, request=keyed(request, key, None), wait_s=wait_s)
    return answer(done.payment, replayed=done.replayed, created=False)


async def tell(runtime: Runtime, found: Payment, message: Nudge | CancelRequest) -> None:
    """Signal the workflow only while it listens. A signal would make its first task run twice; the row says it then."""
    if not lifecycle.listens(found):
        return
    try:
        await runtime.workflow_client.tell(found, message)
    except Unavailable:
        return  # the mark is on the row: the workflow's next step, or the sweeper, acts on it
