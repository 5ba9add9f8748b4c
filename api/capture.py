"""`/v1/payments/{id}/capture`: take what was authorised, or a part of it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response

from api import examples
from api.context import IdempotencyKey, PaymentsWriter, RuntimeOf, Wait, keyed
from api.payment import HEADERS, WAITING, amount_of, answer, find_payment, keyed_work, load, outcome, tell
from api.problems import WRITE_PROBLEMS
from api.schemas.payment import CaptureIn, PaymentOut
from api.strict import StrictRoute
from db.payment import capture
from db.payment.record import Payment
from domain.errors import Unprocessable
from domain.messages import Nudge
from domain.status import TERMINAL, Status
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1/payments", tags=["payments"], route_class=StrictRoute)


@router.post(
    "/{payment_id}/capture",
    response_model=PaymentOut,
    responses={**WRITE_PROBLEMS, 200: {"headers": HEADERS}, 202: WAITING},
    summary="Take what was authorised, in full or in part",
)
async def capture_payment(
    request: Request,
    payment_id: Annotated[
        str, Path(description="our id, `pay_…` or `po_…`, or your own", examples=[examples.AUTHORIZED_ORDER])
    ],
    body: Annotated[CaptureIn, Body(openapi_examples=examples.CAPTURES)],
    who: PaymentsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """An authorisation is captured once: what is not taken is released, and the platform's fee shrinks with it. A
    cancel that comes before the settlement wins: then what was captured is refunded."""
    row, _ = await find_payment(runtime, who, payment_id)
    amounts = _amounts(runtime, row, body)
    now = datetime.now(UTC)
    with runtime.notifier.watch(row.id) as changed:
        found, replayed = await keyed_work(
            runtime,
            who,
            keyed(request, key, body),
            row,
            lambda c: capture.request(c, row.id, amounts, who.key_id, now),
            again=False,
        )
        if found.open:
            await tell(runtime, await load(runtime, row.id), Nudge(reason="capture"))
            row = await outcome(runtime, row.id, changed, wait_s, until=_captured)
    return answer(row, replayed=replayed, created=False)


def _captured(row: Payment) -> bool:
    return row.status in TERMINAL or row.status is Status.NEEDS_ATTENTION


def _amounts(runtime: Runtime, row: Payment, body: CaptureIn) -> dict[str, int] | None:
    """Our order id → minor units; None for everything. Raises Unprocessable."""
    if body.amount is None and body.payment_orders is None:
        return None
    if body.amount is not None:
        if len(row.orders) > 1:
            detail = "The payment has several orders: say payment_orders instead of amount."
            raise Unprocessable(detail, code="payment_order_required")
        wanted = {row.orders[0].id: body.amount}
    else:
        named = [(_order_id(row, one.payment_order_id), one.amount) for one in body.payment_orders or ()]
        wanted = dict(named)
        if len(wanted) < len(named):
            raise Unprocessable("An order occurs twice.", code="payment_order_repeated")
    amounts = {order_id: _amount(runtime, row, order_id, text) for order_id, text in wanted.items()}
    if not sum(amounts.values()):
        raise Unprocessable("Nothing would be captured: cancel the payment instead.", code="amount_not_positive")
    return amounts


def _order_id(row: Payment, name: str) -> str:
    for order in row.orders:
        if name in (order.id, order.payment_order_id):
            return order.id
    raise Unprocessable(f"The payment has no order {name}.", code="payment_order_unknown")


def _amount(runtime: Runtime, row: Payment, order_id: str, text: str) -> int:
    order = row.order(order_id)
    amount = amount_of(runtime, row, text)
    if amount > order.amount:
        raise Unprocessable(f"{text} is more than {order.payment_order_id} asked for.", code="capture_too_large")
    return amount
