"""Letting a payment wait in one statement: for its capture, its buyer or the PSP, and for the first time."""

from datetime import timedelta
from typing import NamedTuple

from db.core.database import Database
from db.core.statement import load
from db.hot.store import compact
from db.hot.transition import Move, values_of
from db.payment.charge import kept
from db.payment.lifecycle import NOTED_AT_REST
from db.payment.record import Payment
from domain.payment import WaitState, WaitStep
from domain.psp import ChargeOutcome
from domain.status import Status, can_become

_REST = load(__package__, "rest.sql")

_WAITS_AS = {
    ChargeOutcome.AUTHORIZED: Status.AUTHORIZED,
    ChargeOutcome.REQUIRES_ACTION: Status.REQUIRES_ACTION,
    ChargeOutcome.PENDING: Status.PENDING,
}


class Rested(NamedTuple):
    """The payment as it waits, and what came for it before."""

    payment: Payment
    state: WaitState


async def rest(database: Database, row: Payment, step: WaitStep) -> Rested | None:
    """Let a payment, as it was read, begin to wait. None: nothing was written, and the general path decides
    (`db.payment.lifecycle`). Raises Unavailable."""
    result = step.result
    if result is None or not _as_usual(row, step):
        return None
    deadline = None if step.deadline_s is None else step.at + timedelta(seconds=step.deadline_s)
    next_check = step.at + timedelta(seconds=step.next_check_s)
    keeps_action = step.status is Status.REQUIRES_ACTION
    answer = kept(result)
    written = await database.one(
        _REST,
        **values_of(row, [Move(order, step.status, None, step.reason) for order in row.orders]),
        at=step.at,
        status=step.status.value,
        outcome=result.outcome.value,
        reference=result.reference,
        answer=compact(answer),
        note=NOTED_AT_REST,
        deadline_at=deadline,
        next_check_at=next_check,
        keeps_action=keeps_action,
    )
    if written is None:
        return None
    charge = {
        "outcome": result.outcome.value,
        "reference": result.reference or row.charge.reference,
        "last_answer": answer,
        "last_answer_at": written["answered_at"],
    }
    no_action = {} if keeps_action else {"next_action": None, "sealed_action": None}
    rested = row.model_copy(
        update={
            "status": step.status,
            "is_payment_done": False,
            "version": row.version + 1,
            "updated_at": written["updated_at"],
            "deadline_at": deadline,
            "next_check_at": next_check,
            "orders": tuple(
                order.model_copy(update={"status": step.status, "failure": None, "version": order.version + 1})
                for order in row.orders
            ),
            "charge": row.charge.model_copy(update=charge),
            **no_action,
        }
    )
    state = WaitState(
        status=step.status,
        deadline_at=deadline,
        nudged=written["nudged"],
        capture_requested=row.capture_requested_at is not None,
    )
    return Rested(rested, state)


def _as_usual(row: Payment, step: WaitStep) -> bool:
    """Whether the PSP has answered clearly, nobody is asked anything, and all that is new is the wait itself."""
    result = step.result
    return (
        result is not None
        and _WAITS_AS.get(result.outcome) is step.status
        and result.next_action is None
        and step.task is None
        and step.stage is None
        and row.cancel_requested_at is None
        and row.status is not Status.NEEDS_ATTENTION
        and not row.charge.booked
        and not row.charge.unknown_count
        and all(
            order.open and order.status is not step.status and can_become(order.status, step.status)
            for order in row.orders
        )
    )
