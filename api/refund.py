"""`/v1/payments/{id}/refunds` and `/v1/refunds`: give money back, and see what became of it."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response

from api import examples
from api.context import IdempotencyKey, PaymentsReader, RefundsWriter, RuntimeOf, Wait, keyed
from api.payment import PaymentId, amount_of, find_payment, load
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.schemas.refund import RefundIn, RefundList, RefundOut
from api.strict import StrictRoute
from api.views.refund import refund_out
from db.core import idempotency
from db.core.database import LockTimeout
from db.core.idempotency import Claim
from db.payment.record import Payment
from db.refund import refund
from db.refund.record import Refund
from db.refund.refund import NewRefund
from domain.errors import NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, new_id
from domain.status import RefundStatus
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1", tags=["refunds"], route_class=StrictRoute)

HEADERS: dict[str, Any] = {
    "Location": {"description": "where to ask again", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if the key was seen before: this is the refund of then, in its present state",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
WAITING: dict[str, Any] = {
    "model": RefundOut,
    "description": "Stored, its funds set aside, and waiting: for the PSP, a person or more time",
    "headers": HEADERS,
}


@router.post(
    "/payments/{payment_id}/refunds",
    response_model=RefundOut,
    status_code=201,
    responses={
        **WRITE_PROBLEMS,
        201: {"description": "Ended: SUCCEEDED, or FAILED and the funds released", "headers": HEADERS},
        202: WAITING,
    },
    summary="Give money back to the buyer",
)
async def create_refund(
    request: Request,
    payment_id: PaymentId,
    body: Annotated[RefundIn, Body(openapi_examples=examples.REFUNDS)],
    who: RefundsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """In full or in part, as often as something is left: never more than captured, less refunded, less disputed. The
    seller's funds are set aside first: of this order's pending balance, then of the available one, then on credit if
    the merchant's terms allow it; else 422 `wallet_insufficient`."""
    row, order_id = await find_payment(runtime, who, payment_id)
    new = _new_refund(runtime, row, order_id, body, who.key_id)
    hash_ = keyed(request, key, body).hash
    now = datetime.now(UTC)

    async def once(connection: Any) -> Claim:
        claim = await idempotency.claim(connection, who.tenant_id, key, hash_, new.id)
        if not claim.replayed:
            await refund.request(connection, new, now)
        return claim

    try:
        claim = await runtime.database.run(once)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    with runtime.notifier.watch(claim.object_id) as changed:
        await _start(runtime, row, claim)
        made = await _outcome(runtime, claim.object_id, changed, wait_s)
    return _answer(made, row, replayed=claim.replayed)


def _new_refund(runtime: Runtime, row: Payment, order_id: str | None, body: RefundIn, actor: str) -> NewRefund:
    """What needs no lock. Raises Unprocessable."""
    if body.payment_order_id is not None:
        named = next((o.id for o in row.orders if body.payment_order_id in (o.id, o.payment_order_id)), None)
        if named is None or order_id not in (None, named):
            raise Unprocessable(f"The payment has no order {body.payment_order_id}.", code="payment_order_unknown")
        order_id = named
    return NewRefund(
        id=new_id("re"),
        payment_id=row.id,
        order_id=order_id,
        amount=_amount(runtime, row, body.amount),
        reason=body.reason,
        actor=actor,
        send_for_s=runtime.send_for_s,
    )


def _amount(runtime: Runtime, row: Payment, text: str | None) -> int | None:
    if text is None:
        return None
    amount = amount_of(runtime, row, text)
    if amount <= 0:
        raise Unprocessable("An amount is above zero.", code="amount_not_positive")
    return amount


async def _start(runtime: Runtime, row: Payment, claim: Claim) -> None:
    """The first request may have died between storing and starting; starting what runs already changes nothing."""
    made = await runtime.database.read(lambda c: refund.get(c, claim.object_id))
    if made.status is not RefundStatus.REQUESTED:
        return
    try:
        await runtime.workflow_client.start_refund(row, claim.object_id, fresh=True)
    except Unavailable:
        return  # it is stored: the sweeper starts it, and the client is told 202


_LOOK_S = 0.5


async def _outcome(runtime: Runtime, refund_id: str, changed: asyncio.Event, wait_s: float) -> Refund:
    """The refund once the PSP has said something, or as it is when the wait is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        made = await runtime.database.read(lambda c: refund.get(c, refund_id))
        left = deadline - loop.time()
        if made.status is not RefundStatus.REQUESTED or left <= 0:
            return made
        try:
            async with asyncio.timeout(min(_LOOK_S, left)):
                await changed.wait()
        except TimeoutError:
            continue
        changed.clear()


def _answer(made: Refund, row: Payment, *, replayed: bool) -> Response:
    headers = {"Location": f"/v1/refunds/{made.id}"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    status = 201 if made.ended else 202
    return Response(refund_out(made, _names(row)).model_dump_json(), status, headers, "application/json")


def _names(row: Payment) -> dict[str, str]:
    return {order.id: order.payment_order_id for order in row.orders}


@router.get("/refunds/{refund_id}", response_model=RefundOut, responses=READ_PROBLEMS, summary="Show a refund")
async def show_refund(
    refund_id: Annotated[str, Path(description="`re_…`", examples=["re_01kafm6e8q9v7s2c4n0b8k6h3j"])],
    who: PaymentsReader,
    runtime: RuntimeOf,
) -> Response:
    """Whether the money is with the buyer. A refund may fail days after it had succeeded: then it is FAILED, and the
    funds are the seller's again."""
    known = CLIENT_ID.fullmatch(refund_id) is not None
    found = await runtime.database.read(lambda c: refund.find(c, who.tenant_id, refund_id)) if known else None
    if found is None:
        raise NotFound("There is no such refund.", code="refund_not_found")
    row = await load(runtime, found.payment_id)
    return Response(refund_out(found, _names(row)).model_dump_json(), media_type="application/json")


@router.get(
    "/payments/{payment_id}/refunds",
    response_model=RefundList,
    responses=READ_PROBLEMS,
    summary="List the refunds of a payment",
)
async def list_refunds(payment_id: PaymentId, who: PaymentsReader, runtime: RuntimeOf) -> Response:
    """All of them, the oldest first: asked for, made at the PSP, and those that undid a charge."""
    row, _ = await find_payment(runtime, who, payment_id)
    found = await runtime.database.read(lambda c: refund.of_payment(c, row.id))
    shown = RefundList(data=[refund_out(one, _names(row)) for one in found])
    return Response(shown.model_dump_json(), media_type="application/json")
