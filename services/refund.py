"""Refunds: finding one, and giving money back to the buyer of a settled payment."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from db import audit_log
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.hot import read
from db.hot import refund as hot
from db.hot.refund import OpenRefund
from db.payment.record import Payment
from db.refund import creation
from db.refund import find as refunds
from db.refund.creation import NewRefund
from db.refund.record import Refund
from domain.errors import NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, new_id
from domain.limits import RefundReason
from domain.status import RefundStatus
from services import access
from services import payment as payments
from services.command import Caller, Done, check, once
from services.waiting import wait_until

if TYPE_CHECKING:
    from runtime.wiring import Runtime


@dataclass(frozen=True)
class RefundRequest:
    """All that is left of an order and that the PSP can give back, or `amount` of it (in major units, as it was typed).
    `order`: by our id or the client's own; needed where the payment has several."""

    order: str | None = None
    amount: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class RefundAnswer:
    """A refund, its payment, and whether the key had been used before; `told` as in `services.payment.Answer`."""

    refund: Refund
    payment: Payment
    replayed: bool
    told: bool


async def find(database: Database, caller: Caller, refund_id: str) -> Refund:
    """The refund of this id. Raises NotFound `refund_not_found`, also for what is no id at all."""
    tenant_id, found = caller.tenant_id, None
    if CLIENT_ID.fullmatch(refund_id):
        found = await database.read(
            lambda c: (
                refunds.anywhere(c, refund_id) if tenant_id is None else refunds.in_tenant(c, tenant_id, refund_id)
            )
        )
    seen = await access.refunds(database, caller, [found]) if found is not None else []
    if not seen:
        detail = f"There is no refund {refund_id}." if tenant_id is None else "There is no such refund."
        raise NotFound(detail, code="refund_not_found")
    return seen[0]


async def of_payment(database: Database, caller: Caller, row: Payment) -> list[Refund]:
    """The refunds of a payment that was found, the oldest first."""
    return await access.refunds(database, caller, await database.read(lambda c: refunds.of_payment(c, row.id)))


async def create(
    runtime: Runtime,
    caller: Caller,
    name: str,
    wanted: RefundRequest,
    *,
    request: Request | None = None,
    wait_s: float = 0.0,
) -> RefundAnswer:
    """Give money back, of the order that `name` or the request names; the seller's funds are set aside first. The
    answer comes when the PSP has said something, or when `wait_s` is over.

    Raises NotFound; Unprocessable `payment_order_unknown`, `payment_order_required`, `amount_not_positive`,
    `refund_too_large`, `wallet_insufficient` and what an amount can be refused for; Conflict `payment_not_settled`,
    `nothing_to_refund`, `idempotency_in_progress`.
    """
    row, order_id = await payments.find(runtime.database, caller, name)
    new = _checked(runtime, caller, row, order_id, wanted)
    done = await _store(runtime, caller, row, new, request)
    refund_id = done.object_id
    with runtime.notifier.watch(refund_id) as changed:
        made = done.result if done.result is not None else await _load(runtime, refund_id)
        told = made.status is not RefundStatus.REQUESTED or await _start(runtime, row, refund_id)
        if done.replayed:
            changed.set()
        waits = wait_s if told else 0.0  # nobody works on what nobody was told of
        look = _load if done.replayed else _known
        made = await wait_until(lambda: look(runtime, refund_id), _answered, changed=changed, wait_s=waits)
    return RefundAnswer(made, row, done.replayed, told)


def _checked(runtime: Runtime, caller: Caller, row: Payment, order_id: str | None, wanted: RefundRequest) -> NewRefund:
    """Check what needs no lock. `order_id`: of the order that the payment was named by. Raises Unprocessable."""
    if wanted.order is not None:
        named = payments.require_order(row, wanted.order)
        if order_id not in (None, named):
            raise Unprocessable(f"The payment has no order {wanted.order}.", code="payment_order_unknown")
        order_id = named
    amount = None if wanted.amount is None else payments.amount_of(runtime, row, wanted.amount)
    if amount is not None and amount <= 0:
        raise Unprocessable("An amount is above zero.", code="amount_not_positive")
    if wanted.reason is not None:
        check(RefundReason, wanted.reason, "reason")
    return NewRefund(
        id=new_id("re"),
        payment_id=row.id,
        order_id=order_id,
        amount=amount,
        reason=wanted.reason,
        actor=caller.actor,
        send_for_s=runtime.send_for_s,
        unit=runtime.psps[row.psp].unit(row.currency),
    )


async def _store(
    runtime: Runtime, caller: Caller, row: Payment, new: NewRefund, request: Request | None
) -> Done[Refund]:
    """Store it, or find what the key stored before. Raises as `db.refund.creation.request`."""
    now = datetime.now(UTC)
    if request is not None and caller.seller_account is None:  # whose sees all of the payment
        stored = await hot.store(runtime.database, runtime.terms, row, new, request, now)
        if isinstance(stored, OpenRefund):
            runtime.recent_refunds.keep(stored)
            return Done(new.id, replayed=False, result=stored.refund)
        if stored is not None:
            return Done(stored.object_id, replayed=True, result=None)

    async def work(connection: Connection) -> Refund:
        made = await creation.request(connection, new, now)
        await audit_log.record(connection, made.tenant_id, caller.actor, "refund.create", made.id, creation.said(made))
        return made

    return await once(runtime.database, row.tenant_id, request, new.id, work)


async def _load(runtime: Runtime, refund_id: str) -> Refund:
    made, _ = await read.refund(runtime.database, refund_id)
    return made


async def _known(runtime: Runtime, refund_id: str) -> Refund:
    """As it ended in this process just now, or else as it is read. It may come back one day: a replayed request reads
    it."""
    known = runtime.recent_refunds.known(refund_id)
    return known.refund if known is not None and known.refund.ended else await _load(runtime, refund_id)


def _answered(made: Refund) -> bool:
    return made.status is not RefundStatus.REQUESTED


async def _start(runtime: Runtime, row: Payment, refund_id: str) -> bool:
    """Starting what runs already changes nothing. False: Temporal does not answer; the sweeper starts it."""
    with contextlib.suppress(Unavailable):
        await runtime.workflow_client.start_refund(row, refund_id, fresh=True)
        return True
    return False
