"""`/v1/payments/{id}/explain`: why a payment is where it is, from the rows alone."""

from urllib.parse import quote

from fastapi import APIRouter, Response

from api.context import PaymentsReader, RuntimeOf
from api.payment import PaymentId, find_payment
from api.problems import READ_PROBLEMS
from api.schemas.explain import ExplainOut
from api.views.dispute import dispute_out
from api.views.payment import attempt_out, task_out, transition_out
from api.views.refund import refund_out
from api.views.risk import risk_out
from db import risk, task
from db.dispute import dispute
from db.payment import charge, payment
from db.refund import refund
from domain.ids import payment_workflow_id
from domain.status import Status
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1/payments", tags=["payments"])

_WHY = {
    Status.NOT_STARTED: "Waiting for POST /confirm; cancelled at the deadline otherwise.",
    Status.EXECUTING: "On its way: the charge or the settlement is being made.",
    Status.REQUIRES_ACTION: "Waiting for the buyer to authenticate (next_action); cancelled at the deadline otherwise.",
    Status.PENDING: "Waiting for the PSP: a webhook or the next look moves it on, whichever is first.",
    Status.IN_REVIEW: "Waiting for a person's decision (POST /review); see risk. At the deadline the default holds.",
    Status.AUTHORIZED: "Reserved on the card: POST /capture or /cancel. At the deadline its own policy holds.",
    Status.NEEDS_ATTENTION: "Waiting for a person: see tasks; decide through the workflow's `resolve`.",
    Status.SUCCESS: "Paid: the sellers' wallets are credited and the ledger is posted.",
    Status.FAILED: "Not paid; nothing of it is left on any account but fees that the PSP keeps.",
    Status.CANCELLED: "Cancelled; whatever had been taken was refunded.",
}


@router.get(
    "/{payment_id}/explain", response_model=ExplainOut, responses=READ_PROBLEMS, summary="Why is it where it is?"
)
async def explain_payment(payment_id: PaymentId, who: PaymentsReader, runtime: RuntimeOf) -> Response:
    """The step it is at, every attempt and the PSP's last answer, the next timer, the deadline, what was undone."""
    row, _ = await find_payment(runtime, who, payment_id)
    read = runtime.database.read
    names = {order.id: order.payment_order_id for order in row.orders}
    workflow_id = payment_workflow_id(row.id)
    refunds = await read(lambda c: refund.of_payment(c, row.id))
    explanation = ExplainOut(
        payment_id=row.id,
        status=row.status,
        summary=_WHY[row.status],
        next_check_at=row.next_check_at,
        deadline_at=row.deadline_at,
        cancel_requested_at=row.cancel_requested_at,
        capture_requested_at=row.capture_requested_at,
        workflow_id=workflow_id,
        workflow_url=_url(runtime, workflow_id),
        attempts=[attempt_out(a) for a in await read(lambda c: charge.attempts(c, row.id))],
        risk=[risk_out(d) for d in await read(lambda c: risk.decisions(c, row.id))],
        compensation=[refund_out(r, names) for r in refunds if r.undoes_charge],
        refunds=[refund_out(r, names) for r in refunds if not r.undoes_charge],
        disputes=[dispute_out(d) for d in await read(lambda c: dispute.of_payment(c, row.id))],
        tasks=[task_out(t) for t in await read(lambda c: task.open_tasks(c, payment_id=row.id))],
        transitions=[transition_out(t, names) for t in await read(lambda c: payment.transitions(c, row.id))],
    )
    return Response(explanation.model_dump_json(), media_type="application/json")


def _url(runtime: Runtime, workflow_id: str) -> str | None:
    ui, namespace = runtime.settings.temporal_ui_url, runtime.settings.temporal_namespace
    return f"{ui}/namespaces/{quote(namespace)}/workflows/{quote(workflow_id)}" if ui else None
