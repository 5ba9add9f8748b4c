"""`/v1/payments/{id}/refunds` and `/v1/refunds`: give money back, and see what became of it."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Body, Path, Query, Request, Response

from api import examples
from api.access import PaymentsReader, RefundsWriter, caller
from api.context import HEADERS, IdempotencyKey, RuntimeOf, Wait, headers, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.payment.routes import PaymentId
from api.payment.search import SearchOf
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.refund.shapes import RefundIn, RefundList, RefundOut, RefundPage, refund_out
from api.routing import Router
from api.strict import StrictRoute
from db.payment import find
from db.payment.record import Payment
from domain.status import RefundStatus
from services import payment as payments
from services import refund as service
from services import search
from services.refund import RefundRequest

router = Router(prefix="/v1", tags=["refunds"], route_class=StrictRoute)

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
    wanted = RefundRequest(body.payment_order_id, body.amount, body.reason)
    under = keyed(request, key, body)
    done = await service.create(runtime, caller(who), payment_id, wanted, request=under, wait_s=wait_s)
    made = done.refund
    sent = headers(f"/v1/refunds/{made.id}", replayed=done.replayed)
    return json_answer(refund_out(made, _names(done.payment)), 201 if made.ended else 202, sent)


@router.get("/refunds", response_model=RefundPage, responses=READ_PROBLEMS, summary="List refunds")
async def search_refunds(
    who: PaymentsReader,
    runtime: RuntimeOf,
    wanted: SearchOf,
    status: Annotated[RefundStatus | None, Query(examples=["SUCCEEDED"])] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Newest first, of all payments; every filter that is given has to match."""
    filters = replace(wanted, status=status.value if status else None)
    before = decode("refund", cursor)
    rows = await search.refunds(runtime.database, caller(who), filters, before=before, limit=limit + 1)
    following = encode("refund", rows[limit - 1].id) if len(rows) > limit else None
    page = rows[:limit]
    orders = {row.order_id for row in page if row.order_id}
    names = await runtime.database.read(lambda c: find.order_names(c, orders))
    shown = RefundPage(data=[refund_out(row, names) for row in page], next_cursor=following)
    return json_answer(shown)


@router.get("/refunds/{refund_id}", response_model=RefundOut, responses=READ_PROBLEMS, summary="Show a refund")
async def show_refund(
    refund_id: Annotated[str, Path(description="our id, `re_…`", examples=["re_01kafm6e8q9v7s2c4n0b8k6h3j"])],
    who: PaymentsReader,
    runtime: RuntimeOf,
) -> Response:
    """Whether the money is with the buyer. A refund may fail days after it had succeeded: then it is FAILED, and the
    funds are the seller's again."""
    found = await service.find(runtime.database, caller(who), refund_id)
    row = await payments.load(runtime.database, found.payment_id)
    return json_answer(refund_out(found, _names(row)))


@router.get(
    "/payments/{payment_id}/refunds",
    response_model=RefundList,
    responses=READ_PROBLEMS,
    summary="List the refunds of a payment",
)
async def list_refunds(payment_id: PaymentId, who: PaymentsReader, runtime: RuntimeOf) -> Response:
    """All of them, the oldest first: asked for, made at the PSP, and those that undid a charge."""
    row, _ = await payments.find(runtime.database, caller(who), payment_id)
    found = await service.of_payment(runtime.database, caller(who), row)
    shown = RefundList(data=[refund_out(one, _names(row)) for one in found])
    return json_answer(shown)


def _names(row: Payment) -> dict[str, str]:
    return {order.id: order.payment_order_id for order in row.orders}
