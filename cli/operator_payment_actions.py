"""What operators decide about a payment after its authorisation: capture, review, refund, dispute; and about sellers,
risk rules and tasks. Each is written to the audit log with the name of whoever did it.
"""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cli.operator_payment import find_payment
from cli.refusals import refusals
from db import audit_log, risk
from db.payment import capture, lifecycle
from db.payment.record import Payment
from domain.card_data import require_text
from domain.errors import Unavailable
from domain.messages import Nudge
from domain.money import parse_major, to_major
from domain.payment import Review, ReviewStep
from domain.risk import ReviewDecision
from embedded.errors import StackError
from runtime.wiring import Runtime

_LOOK_S = 0.2


async def _tell(runtime: Runtime, row: Payment, reason: str) -> None:
    """The mark is on the row: should Temporal be away, the workflow's next step or the sweeper acts on it."""
    if lifecycle.listens(row):
        with contextlib.suppress(Unavailable):
            await runtime.workflow_client.tell(row, Nudge(reason=reason))


def _order_named(row: Payment, name: str) -> str | None:
    """Our id of the payment's order that is called so."""
    return next((order.id for order in row.orders if name in (order.id, order.payment_order_id)), None)


def _amount(runtime: Runtime, row: Payment, text: str) -> int:
    """In minor units, and such that the PSP can move it by itself. Raises StackError."""
    with refusals(row.id):
        amount = parse_major(text, row.currency)
    refusal = runtime.psps[row.psp].check_part(amount, row.currency)
    if refusal is not None:
        raise StackError(f"{row.id}: {refusal.message}")
    return amount


# --- capture and review ---


async def capture_payment(runtime: Runtime, name: str, amount: str | None, parts: Sequence[str], by: str) -> str:
    """Take what was authorised, in full, or `amount` of its only order, or `parts` (`ORDER=AMOUNT`) of several."""
    row = await find_payment(runtime.database, name)
    amounts = _capture_amounts(runtime, row, amount, parts)

    async def mark(connection: Any) -> Payment:
        found = await capture.request(connection, row.id, amounts, by, datetime.now(UTC))
        detail = {"amounts": amounts or "in full"}
        await audit_log.record(connection, row.tenant_id, by, "payment.capture", row.id, detail)
        return found

    with refusals(row.id):
        found = await runtime.database.run(mark)
    await _tell(runtime, found, "capture")
    taken = row.amount if amounts is None else sum(amounts.values())
    rest = f", and {to_major(row.amount - taken, row.currency)} are released" if taken < row.amount else ""
    return f"{row.id} was {found.status}: {to_major(taken, row.currency)} {row.currency} are being captured{rest}."


def _capture_amounts(runtime: Runtime, row: Payment, amount: str | None, parts: Sequence[str]) -> dict[str, int] | None:
    """Our order id → minor units; None for everything. Raises StackError."""
    if amount is None and not parts:
        return None
    if amount is not None and (parts or len(row.orders) > 1):
        raise StackError(f"{row.id} has {len(row.orders)} orders: say --part ORDER=AMOUNT for each, not --amount.")
    texts = {row.orders[0].id: amount} if amount is not None else {}
    for part in parts:
        name, _, text = part.partition("=")
        order_id = _order_named(row, name)
        if order_id is None or order_id in texts:
            raise StackError(f"{row.id}: {'no order' if order_id is None else 'twice the order'} {name or part!r}.")
        texts[order_id] = text
    amounts = {order_id: _amount(runtime, row, text) for order_id, text in texts.items()}
    for order_id, wanted in amounts.items():
        order = row.order(order_id)
        if wanted > order.amount:
            most = to_major(order.amount, order.currency)
            raise StackError(f"{row.id}: {texts[order_id]} is more than the {most} of {order.payment_order_id}.")
    if not sum(amounts.values()):
        raise StackError(f"{row.id}: nothing would be captured; `paysaga payments cancel` lets all of it go.")
    return amounts


async def review_payment(runtime: Runtime, name: str, decision: ReviewDecision, by: str, note: str) -> str:
    """The first decision counts; the workflow acts on it."""
    row = await find_payment(runtime.database, name)
    step = ReviewStep(payment_id=row.id, review=Review(decision=decision, by=by, note=note), at=datetime.now(UTC))
    with refusals(row.id):
        require_text(note)
        found = await runtime.database.run(lambda c: risk.review(c, step))
    await _tell(runtime, found, "review")
    if decision is ReviewDecision.APPROVE:
        return f"{row.id} was IN_REVIEW: approved, it goes on."
    return f"{row.id} was IN_REVIEW: rejected, it ends as FAILED; what was reserved is let go."
