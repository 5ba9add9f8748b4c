"""Payments: finding one, and what moves one on: confirm, cancel, capture, nudge, a person's decision."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from db import audit_log
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.hot import capture as hot
from db.hot import read
from db.payment import capture as captures
from db.payment import find as names
from db.payment import lifecycle
from db.payment.record import Payment
from domain.errors import Conflict, NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, payment_workflow_id
from domain.limits import AmountText, OrderName
from domain.messages import CAPTURE, CancelRequest, Nudge
from domain.money import MoneyError, parse_major, to_major
from domain.payment import CancelStep
from domain.status import RESTING, TERMINAL, Status
from services import access
from services.command import Caller, Done, check, once
from services.waiting import wait_until
from services.workflow import refuse_failing

if TYPE_CHECKING:
    from runtime.wiring import Runtime


@dataclass(frozen=True)
class Answer:
    """`found`: the payment as the command found it; `payment`: after its workflow was told and had its time.

    `replayed`: the key had been used before. `told`: False where Temporal does not answer: the command is stored, and
    the workflow's next step or the sweeper acts on it.
    """

    found: Payment
    payment: Payment
    replayed: bool
    told: bool


# --- finding one ---


async def find(database: Database, caller: Caller, name: str) -> tuple[Payment, str | None]:
    """The payment called `name` (`pay_…`, `po_…`, the client's payment_order_id or checkout_id, or the PSP's
    `pi_…`), as much of it as the caller sees, and the id of the order if one was named.

    Raises NotFound `payment_not_found`, also for what is no id at all; Conflict `payment_ambiguous` where several
    tenants have one of this name.
    """
    found, order_id = await _found(database, caller, name) if CLIENT_ID.fullmatch(name) else (None, None)
    row = access.payment(caller, found) if found is not None else None
    if row is None or (order_id is not None and order_called(row, order_id) is None):
        raise NotFound(
            f"There is no payment {name}." if caller.tenant_id is None else "There is no such payment.",
            code="payment_not_found",
        )
    return row, order_id


async def _found(database: Database, caller: Caller, name: str) -> tuple[Payment | None, str | None]:
    if caller.tenant_id is not None and name.startswith("pay_"):  # nothing else of a tenant's is called so
        row = await read.payment(database, name) if caller.payment_id in (None, name) else None
        return (row if row is not None and row.tenant_id == caller.tenant_id else None), None
    named = await _named(database, caller, name)
    return (None, None) if named is None else (await load(database, named[0]), named[1])


async def _named(database: Database, caller: Caller, name: str) -> tuple[str, str | None] | None:
    tenant_id = caller.tenant_id
    if caller.payment_id not in (None, name):
        return None
    if tenant_id is not None:
        return await database.read(lambda c: names.in_tenant(c, tenant_id, name))
    found = await database.read(lambda c: names.anywhere(c, name))
    if len({tenant for _, tenant in found}) > 1:
        ids = ", ".join(f"{payment_id} ({tenant})" for payment_id, tenant in found)
        detail = f"{name} is the name of several tenants' payments: {ids}. Use the payment's own id."
        raise Conflict(detail, code="payment_ambiguous")
    if not found:
        return None
    row = await load(database, found[0][0])
    return row.id, order_called(row, name)


async def load(database: Database, payment_id: str) -> Payment:
    """The payment of a stored id."""
    row = await read.payment(database, payment_id)
    assert row is not None, "it was committed before it is loaded"
    return row


async def latest(runtime: Runtime, payment_id: str) -> Payment:
    """As it ended in this process just now, or else as it is read."""
    known = runtime.recent.known(payment_id)
    return known if known is not None and ended(known) else await load(runtime.database, payment_id)


def order_called(row: Payment, name: str) -> str | None:
    """Our id of the payment's order that is called `name`, by our id or the client's own."""
    return next((order.id for order in row.orders if name in (order.id, order.payment_order_id)), None)


def require_order(row: Payment, name: str, field: str = "payment_order_id") -> str:
    """The same. Raises Unprocessable `payment_order_unknown`."""
    order_id = order_called(row, check(OrderName, name, field))
    if order_id is None:
        raise Unprocessable(f"The payment has no order {name}.", code="payment_order_unknown")
    return order_id


def amount_of(runtime: Runtime, row: Payment, text: str, field: str = "amount") -> int:
    """A part of a payment in minor units, as its PSP can take it or give it back. Raises Unprocessable
    `amount_invalid`, `amount_precision` and what the PSP's limits are called."""
    try:
        amount = parse_major(check(AmountText, text, field), row.currency)
    except MoneyError as error:
        raise Unprocessable(str(error), code=error.code) from error
    refusal = runtime.psps[row.psp].check_part(amount, row.currency)
    if refusal is not None:
        raise Unprocessable(refusal.message, code=refusal.code)
    return amount


# --- the frame of a command about one payment ---


async def tell(runtime: Runtime, row: Payment, message: Nudge | CancelRequest) -> bool:
    """Signal the workflow, but only while it listens: a signal would make its first task run twice. Whoever calls this
    has marked the row, so where Temporal is away (False) the workflow's next step, or the sweeper, acts on the mark."""
    if lifecycle.listens(row):
        with contextlib.suppress(Unavailable):
            await runtime.workflow_client.tell(row, message)
            return True
        return False
    return True


async def carry_on(
    runtime: Runtime,
    row: Payment,
    mark: Callable[[Connection], Awaitable[Payment]],
    message: Nudge | CancelRequest,
    *,
    until: Callable[[Payment, Payment], bool],
    request: Request | None,
    wait_s: float,
    repeat: bool = False,
    at_once: Callable[[], Awaitable[Payment | None]] | None = None,
) -> Answer:
    """Mark the row, tell the workflow, and wait `until(found, now)` holds or `wait_s` is over.

    `mark` returns the payment as it was found; `at_once` does the same in one statement, or returns None and has done
    nothing. What is announced between the mark and the wait is not missed.
    """
    database = runtime.database
    with runtime.notifier.watch(row.id) as changed:
        marked = await at_once() if at_once is not None else None
        if marked is not None:
            runtime.recent.note(marked)
            done = Done(row.id, False, marked)
        else:
            done = await once(database, row.tenant_id, request, row.id, mark, repeat=repeat)
        found = done.result if done.result is not None else row
        if not found.open:
            return Answer(found, found, done.replayed, told=True)
        told = await tell(runtime, found, message)
        waits = wait_s if told else 0.0  # nobody works on what nobody was told of
        now = await wait_until(
            lambda: latest(runtime, row.id), lambda now: until(found, now), changed=changed, wait_s=waits
        )
    return Answer(found, now, done.replayed, told)


def ended(row: Payment) -> bool:
    return row.status in TERMINAL


def settled(row: Payment) -> bool:
    """It ended, rests, or waits to be confirmed: there is something to answer."""
    return ended(row) or row.status in RESTING or row.status is Status.NOT_STARTED


# --- confirm and cancel ---


async def confirm(
    runtime: Runtime, caller: Caller, name: str, *, request: Request | None = None, wait_s: float = 0.0
) -> Answer:
    """Charge a payment that was created unconfirmed; of one that waits for its buyer or the PSP, ask the PSP now.
    Raises NotFound; Conflict `payment_closed`, `idempotency_in_progress`; Unprocessable `merchant_not_active`."""
    row, _ = await find(runtime.database, caller, name)
    now = datetime.now(UTC)

    async def mark(connection: Connection) -> Payment:
        found = await lifecycle.confirm(connection, row.id, runtime.send_for_s, now, caller.actor)
        if found.status is Status.NOT_STARTED:
            await audit_log.record(connection, row.tenant_id, caller.actor, "payment.confirm", row.id, {})
        return found

    def moved_on(found: Payment, now: Payment) -> bool:
        before = found.status if found.status is not Status.NOT_STARTED else Status.EXECUTING
        return now.status is not before and settled(now)

    message = Nudge(reason="confirm")
    return await carry_on(runtime, row, mark, message, until=moved_on, request=request, wait_s=wait_s, repeat=True)


async def cancel(
    runtime: Runtime, caller: Caller, name: str, *, request: Request | None = None, wait_s: float = 0.0
) -> Answer:
    """Cancel a payment that has not settled: what was charged is refunded, and it ends CANCELLED. Cancelling twice is
    no error. Raises NotFound; Conflict `payment_settled`, `payment_failed`, `idempotency_in_progress`."""
    row, _ = await find(runtime.database, caller, name)
    step = CancelStep(payment_id=row.id, by=caller.actor, at=datetime.now(UTC))

    async def mark(connection: Connection) -> Payment:
        found = await lifecycle.request_cancel(connection, step)
        if found.open and found.cancel_requested_at is None:
            detail = {"status": found.status.value}
            await audit_log.record(connection, row.tenant_id, caller.actor, "payment.cancel", row.id, detail)
        return found

    return await carry_on(
        runtime,
        row,
        mark,
        CancelRequest(by=caller.actor),
        until=lambda _, now: ended(now),
        request=request,
        wait_s=wait_s,
        repeat=True,
    )


# --- capture ---


@dataclass(frozen=True)
class CaptureRequest:
    """The part to take of an authorised payment: all of it (nothing is given), `amount` of its only order, or `parts`:
    (order, amount) each; an order that is left out is released. Amounts in major units, as they were typed."""

    amount: str | None = None
    parts: Sequence[tuple[str, str]] | None = None


async def capture(
    runtime: Runtime,
    caller: Caller,
    name: str,
    wanted: CaptureRequest,
    *,
    request: Request | None = None,
    wait_s: float = 0.0,
) -> Answer:
    """Take what was authorised, once: what is not taken is released. The payment found says what is to be captured.

    Raises NotFound; Conflict `payment_settled`, `payment_not_authorized`, `payment_cancelling`, `capture_requested`,
    `idempotency_in_progress`; Unprocessable `capture_ambiguous`, `payment_order_required`, `payment_order_unknown`,
    `payment_order_repeated`, `capture_too_large`, `amount_not_positive`, `merchant_not_active` and what an amount can
    be refused for.
    """
    row, _ = await find(runtime.database, caller, name)
    amounts = _amounts(runtime, row, wanted)

    now = datetime.now(UTC)

    async def mark(connection: Connection) -> Payment:
        return await captures.request(connection, row.id, amounts, caller.actor, now)

    async def at_once() -> Payment | None:
        if request is None:
            return None
        return await hot.request(runtime.database, row, amounts, caller.actor, now, request)

    def captured(_: Payment, now: Payment) -> bool:
        return ended(now) or now.status is Status.NEEDS_ATTENTION

    message = Nudge(reason=CAPTURE)
    return await carry_on(runtime, row, mark, message, until=captured, request=request, wait_s=wait_s, at_once=at_once)


def _amounts(runtime: Runtime, row: Payment, wanted: CaptureRequest) -> dict[str, int] | None:
    """Our order id → minor units; None for everything."""
    if wanted.amount is None and wanted.parts is None:
        return None
    if wanted.amount is not None and wanted.parts is not None:
        raise Unprocessable("Either amount or payment_orders.", code="capture_ambiguous")
    amounts: dict[str, int] = {}
    if wanted.amount is not None:
        if len(row.orders) > 1:
            raise Unprocessable("The payment has several orders: name those to take.", code="payment_order_required")
        amounts[row.orders[0].id] = _amount(runtime, row, row.orders[0].id, wanted.amount, "amount")
    for number, (name, text) in enumerate(wanted.parts or ()):
        place = f"payment_orders.{number}"
        order_id = require_order(row, name, f"{place}.payment_order_id")
        if order_id in amounts:
            raise Unprocessable("A payment_order_id occurs twice.", code="payment_order_repeated")
        amounts[order_id] = _amount(runtime, row, order_id, text, f"{place}.amount")
    if not sum(amounts.values()):
        raise Unprocessable("Nothing would be captured: cancel the payment instead.", code="amount_not_positive")
    return amounts


def _amount(runtime: Runtime, row: Payment, order_id: str, text: str, field: str) -> int:
    order = row.order(order_id)
    amount = amount_of(runtime, row, text, field)
    if amount > order.amount:
        most = to_major(order.amount, order.currency)
        detail = f"{text} is more than the {most} of {order.payment_order_id}."
        raise Unprocessable(detail, code="capture_too_large")
    return amount


# --- nudge ---


class Nudged(Enum):
    """The outcome of a nudge."""

    ON_ITS_WAY = auto()
    """Its workflow does not wait for anything: it needs none."""
    ASKED = auto()
    """The workflow asks the PSP now."""
    STARTED_AGAIN = auto()
    """It had no workflow, and goes on from its rows."""


async def nudge(runtime: Runtime, caller: Caller, name: str) -> tuple[Payment, Nudged]:
    """Have the PSP asked now instead of at the next look; a workflow that was lost is started again from the rows.
    Raises NotFound; Conflict `payment_ended`, `workflow_failing`; Unavailable."""
    row, _ = await find(runtime.database, caller, name)
    if not row.open:
        raise Conflict(f"The payment is {row.status}: there is nothing to look at any more.", code="payment_ended")
    await refuse_failing(runtime.workflow_client, payment_workflow_id(row.id))
    running = await runtime.workflow_client.is_running(payment_workflow_id(row.id))
    # In its first task a signal would make the workflow run twice.
    if running and not lifecycle.listens(row):
        return row, Nudged.ON_ITS_WAY
    await runtime.workflow_client.tell(row, Nudge(reason="operator"))
    return row, Nudged.ASKED if running else Nudged.STARTED_AGAIN
