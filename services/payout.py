"""Payouts: paying a seller out, cancelling, deciding about one that needs attention, schedules, releases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from db import audit_log
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.core.snapshot import in_snapshot
from db.ledger import wallet
from db.merchant import Merchant, schedule_terms
from db.payout import decision, lifecycle, payout, release, trace
from db.payout import request as payout_request
from db.payout.record import Call, Payout, PayoutTransition
from db.payout.request import NewPayout
from db.schema.base import PLATFORM_TENANT
from domain.errors import NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, new_id
from domain.limits import AmountText, CurrencyCode, Note, PspReference
from domain.money import MoneyError, parse_major, to_major
from domain.payout import (
    PayoutResolution,
    PayoutResolutionStep,
    PayoutSchedule,
    ReleaseFundsStep,
    next_due,
    next_run_day,
)
from domain.status import PayoutStatus
from services import access
from services import merchant as merchants
from services.command import Caller, check, once
from services.payout_reference import check_decision
from services.waiting import wait_until

if TYPE_CHECKING:
    from runtime.wiring import Runtime


@dataclass(frozen=True)
class Answer:
    """`found`: the payout as the command found or made it; `payout`: after its workflow was told and had its time.

    `replayed`: the key had been used before. `told`: False where Temporal does not answer: the command is stored, and
    the sweeper sees to it.
    """

    found: Payout
    payout: Payout
    replayed: bool
    told: bool


def ended(row: Payout) -> bool:
    """Nothing more will happen to it by itself, but that a bank may return it."""
    return row.ended


def sent(row: Payout) -> bool:
    """The PSP has told the seller's bank, or it came to nothing before."""
    return row.status not in (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED)


async def find(database: Database, caller: Caller, name: str) -> Payout:
    """The payout of this id, ours or the PSP's of its transfer (`tr_…`) or payout (`po_…`). Raises NotFound
    `payout_not_found`, also for what is no id at all."""
    known = CLIENT_ID.fullmatch(name) is not None
    found = await database.read(lambda c: payout.find(c, caller.tenant_id, name)) if known else None
    if found is None or not access.reaches_seller(caller, found.seller_account):
        said = f"There is no payout {name}."
        raise NotFound(said if caller.tenant_id is None else "There is no such payout.", code="payout_not_found")
    return found


@dataclass(frozen=True)
class Shown:
    """A payout as it is shown by itself. `unanswered`: the call whose last answer cannot be trusted."""

    row: Payout
    transitions: list[PayoutTransition]
    trace_id: str | None
    unanswered: Call | None


async def shown(database: Database, payout_id: str) -> Shown:
    """The payout and what belongs to it, of one moment."""

    async def read(connection: Connection) -> Shown:
        row = await payout.get(connection, payout_id)
        steps = await payout.transitions(connection, row.id)
        trace_id = await trace.latest(connection, row.psp, row.reference)
        return Shown(row, steps, trace_id, await payout.unanswered(connection, row))

    return await in_snapshot(database, read)


async def page(
    database: Database,
    caller: Caller,
    *,
    seller_account: str | None,
    status: str | None,
    business_date: date | None,
    before: int | None,
    limit: int,
) -> list[Payout]:
    """The caller's payouts, newest first; `before` is the sequence number that a page ended with."""
    if seller_account is not None and not access.reaches_seller(caller, seller_account):
        return []
    return await database.read(
        lambda c: payout.page(
            c,
            caller.tenant_id,
            seller_account=seller_account or caller.seller_account,
            status=status,
            business_date=business_date,
            before=before,
            limit=limit,
        )
    )


# --- paying out ---


@dataclass(frozen=True)
class PayoutRequest:
    """`amount` in major units, None: all that is available. `currency` may be None where the wallet has one. A person
    may have to say whose seller it is, with `tenant_id`."""

    seller: str
    amount: str | None = None
    currency: str | None = None
    tenant_id: str | None = None


async def create(
    runtime: Runtime,
    caller: Caller,
    wanted: PayoutRequest,
    *,
    request: Request | None = None,
    wait_s: float = 0.0,
    until: Callable[[Payout], bool] = ended,
) -> Answer:
    """Pay a seller out. What is due is made available first, and what the seller owes is kept back. The amount leaves
    the wallet at once; the payout is waited for until `until` holds, at most `wait_s`.

    Raises what `db.payout.request.request` does, NotFound `merchant_not_found`, Unprocessable `currency_required`,
    `currency_unknown` or an amount's code, and what `once` does.
    """
    seller = await merchants.find(runtime.database, caller, wanted.seller, wanted.tenant_id)
    if wanted.currency is not None:
        check(CurrencyCode, wanted.currency, "currency")
    if wanted.amount is not None:
        check(AmountText, wanted.amount, "amount")
    payout_id = new_id("pt")

    async def take(connection: Connection) -> Payout:
        new = await _new_payout(connection, runtime, payout_id, seller, wanted, caller.actor)
        made = await payout_request.request(connection, new, datetime.now(UTC))
        amount = to_major(made.amount, made.currency)
        detail = {"seller_account": made.seller_account, "amount": amount, "currency": made.currency}
        await audit_log.record(connection, made.tenant_id, caller.actor, "payout.create", made.id, detail)
        return made

    with contextlib.suppress(Unavailable):  # what is not made available now is so on its schedule
        await _release_due(runtime, seller)
    done = await once(runtime.database, seller.tenant_id, request, payout_id, take, patient=True)
    made = done.result or await _load(runtime, done.object_id)
    # The first request may have died between storing and starting; starting what runs already changes nothing.
    is_new = made.status is PayoutStatus.REQUESTED
    row, told = await _carry_on(runtime, made, wait_s, until=until, fresh=True, tell=is_new)
    return Answer(made, row, done.replayed, told)


async def _new_payout(
    connection: Connection, runtime: Runtime, payout_id: str, seller: Merchant, wanted: PayoutRequest, actor: str
) -> NewPayout:
    currency = wanted.currency or await _only_currency(connection, seller)
    return NewPayout(
        id=payout_id,
        tenant_id=seller.tenant_id,
        seller_account=seller.seller_account,
        currency=currency,
        amount=_amount(runtime, wanted.amount, currency),
        psp=runtime.psp.name,
        actor=actor,
        send_for_s=runtime.send_for_s,
        payable=runtime.payable,
    )


async def _only_currency(connection: Connection, seller: Merchant) -> str:
    found = [row.currency for row in await wallet.of_seller(connection, seller.tenant_id, seller.seller_account)]
    if not found:
        raise Unprocessable("Nothing was ever credited to this seller.", code="nothing_to_pay_out")
    if len(found) > 1:
        detail = f"The wallet has several currencies, say which: {', '.join(found)}."
        raise Unprocessable(detail, code="currency_required")
    return found[0]


def _amount(runtime: Runtime, text: str | None, currency: str) -> int | None:
    """In minor units, as the PSP can move it; None: everything. Raises Unprocessable."""
    if text is None:
        return None
    try:
        amount = parse_major(text, currency)
    except MoneyError as error:
        raise Unprocessable(str(error), code=error.code) from error
    if amount <= 0:
        raise Unprocessable("An amount is above zero.", code="amount_not_positive")
    refusal = runtime.psp.check_payout(amount, currency)
    if refusal is not None:
        raise Unprocessable(refusal.message, code=refusal.code)
    return amount


# --- moving one on ---


async def cancel(
    runtime: Runtime, caller: Caller, payout_id: str, *, request: Request | None = None, wait_s: float = 0.0
) -> Answer:
    """Cancel a payout that the bank has not got: the PSP is asked to stop it. It ends CANCELLED and the money is in the
    wallet again, or it goes on and has a `cancel_failure`. Cancelling twice is no error.

    Raises NotFound `payout_not_found`; Conflict `payout_not_cancellable`; and what `once` does.
    """
    found = await find(runtime.database, caller, payout_id)

    async def mark(connection: Connection) -> Payout:
        marked = await decision.request_cancel(connection, found.id, caller.actor, datetime.now(UTC))
        if not marked.ended:
            detail = {"status": marked.status.value}
            await audit_log.record(connection, found.tenant_id, caller.actor, "payout.cancel", found.id, detail)
        return marked

    done = await once(runtime.database, found.tenant_id, request, found.id, mark)
    marked = done.result or await _load(runtime, found.id)
    if marked.ended:
        return Answer(found, marked, done.replayed, told=True)
    fresh = not lifecycle.listens(marked)
    row, told = await _carry_on(runtime, marked, wait_s, until=_cancel_is_decided, fresh=fresh)
    return Answer(found, row, done.replayed, told)


def _cancel_is_decided(row: Payout) -> bool:
    return row.ended or row.cancel_failure is not None


async def resolve(runtime: Runtime, caller: Caller, payout_id: str, resolution: PayoutResolution) -> Answer:
    """Carry out a person's decision about a payout that NEEDS_ATTENTION; the PSP is looked at first.

    Raises NotFound `payout_not_found`; what `check_decision` does; Conflict `reference_taken`; Unprocessable
    `field_invalid`, `text_invalid`, `card_data_forbidden`.
    """
    row = await find(runtime.database, caller, payout_id)
    check(Note, resolution.note, "note")
    if resolution.reference is not None:
        check(PspReference, resolution.reference, "reference")
    await check_decision(runtime.psps[row.psp], row, resolution, timeout_s=runtime.settings.stripe_timeout_s)
    step = PayoutResolutionStep(payout_id=row.id, resolution=resolution, at=datetime.now(UTC))
    from runtime.wiring import bank_wait_policy  # here, as the pages that read payouts start without Temporal's client

    bank = bank_wait_policy(runtime.settings)
    await runtime.database.run(lambda c: decision.resolve(c, step, runtime.send_for_s, bank))
    decided = await _load(runtime, row.id)
    told = await _tell(runtime, decided, fresh=False, timeout_s=_DECISION_TELL_S)
    return Answer(row, decided, replayed=False, told=told)


_TELL_S = 0.5
_DECISION_TELL_S = 5.0


async def _carry_on(
    runtime: Runtime,
    row: Payout,
    wait_s: float,
    *,
    until: Callable[[Payout], bool],
    fresh: bool,
    tell: bool = True,
) -> tuple[Payout, bool]:
    """The payout after its workflow was told and has had `wait_s` to act on it; False: it could not be told."""
    with runtime.notifier.watch(row.id) as changed:
        told = not tell or await _tell(runtime, row, fresh=fresh, timeout_s=max(_TELL_S, wait_s))
        if not told or wait_s <= 0 or until(row):
            return row, told
        now = await wait_until(lambda: _load(runtime, row.id), until, changed=changed, wait_s=wait_s)
        return now, told


async def _tell(runtime: Runtime, row: Payout, *, fresh: bool, timeout_s: float) -> bool:
    """Start its workflow, or nudge it. What it is to do is in the row: where Temporal is slow or away (False), the
    sweeper acts on that."""
    with contextlib.suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(timeout_s):
            await runtime.workflow_client.start_payout(row, fresh=fresh)
            return True
    return False


async def _load(runtime: Runtime, payout_id: str) -> Payout:
    return await runtime.database.read(lambda c: payout.get(c, payout_id))


# --- schedules ---


async def set_schedule(
    database: Database, caller: Caller, seller: str, schedule: PayoutSchedule, *, tenant_id: str | None = None
) -> Merchant:
    """Replace a seller's payout schedule. Raises NotFound `merchant_not_found`; Conflict `merchant_ambiguous`."""
    terms = schedule_terms(schedule)
    changed = await merchants.change(database, caller, seller, terms, tenant_id=tenant_id, action="payout.schedule")
    return changed.after


def next_payout_on(seller: Merchant, *, zone: str, run_at: str) -> date | None:
    """The business date on which the seller is paid next without asking, or None. `run_at`: when a day's run begins,
    `HH:MM` in `zone`."""
    if not seller.can_be_paid:
        return None
    return next_due(seller.schedule, next_run_day(datetime.now(UTC), zone, run_at))


# --- releases ---

_RELEASE_PAGE = 100
_RELEASE_S = 0.3
_RELEASE_LOOK_S = 0.05


async def _release_due(runtime: Runtime, seller: Merchant) -> None:
    """Make available what is due of a seller, as far as that is quick: the remainder is released on its schedule.

    What another transaction is working on (a webhook is being stored) is looked at again.
    """
    now = datetime.now(UTC)
    step = ReleaseFundsStep(due_at=now, at=now, limit=_RELEASE_PAGE)
    of = (seller.tenant_id, seller.seller_account)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RELEASE_S
    while loop.time() < deadline:
        released = await runtime.database.run(lambda c: release.release(c, step, of=of))
        if not released.more and not released.skipped:
            return
        await asyncio.sleep(0 if released.more else _RELEASE_LOOK_S)


@dataclass(frozen=True)
class Released:
    """`due`: how many orders were due; `orders`: how many of them are available now. The others are held by other
    transactions, and released on the schedule."""

    due: int
    orders: int


async def release_all(database: Database, caller: Caller, progress: Callable[[int, int], None]) -> Released:
    """Make available every order that is due now. `progress` is told (released, due)."""
    now = datetime.now(UTC)
    due = await database.read(lambda c: release.waiting(c, now))
    if not due:
        return Released(0, 0)
    step = ReleaseFundsStep(due_at=now, at=now)
    orders, more = 0, True
    while more:
        released = await database.run(lambda c: release.release(c, step))
        orders, more = orders + released.orders, released.more
        progress(orders, due)
    await database.run(
        lambda c: audit_log.record(
            c, PLATFORM_TENANT, caller.actor, "payout.release", "payment_order", {"orders": orders}
        )
    )
    return Released(due, orders)
