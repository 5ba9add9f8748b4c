"""`/v1/payments/{id}/explain`: why a payment is where it is, from the rows alone."""

from fastapi import Response

from api.access import PaymentsReader, caller
from api.context import RuntimeOf, json_answer
from api.explain.shapes import ExplainOut, explanation
from api.payment.routes import PaymentId
from api.problems import READ_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from services import payment as payments

router = Router(prefix="/v1/payments", tags=["payments"], route_class=StrictRoute)


@router.get(
    "/{payment_id}/explain", response_model=ExplainOut, responses=READ_PROBLEMS, summary="Why is it where it is?"
)
async def explain_payment(payment_id: PaymentId, who: PaymentsReader, runtime: RuntimeOf) -> Response:
    """The step it is at, every attempt and the PSP's last answer, the next timer, the deadline, what was undone."""
    by = caller(who)
    row, _ = await payments.find(runtime.database, by, payment_id)
    explained = await explanation(runtime.settings, runtime.database, by, row)
    return json_answer(explained)
