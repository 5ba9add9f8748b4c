"""The usual way of a payment in one step each: a charge, a capture or a void at the PSP, and one statement.

What is not as usual is left to the saga's single steps (`activities/charge.py`, `activities/payment.py`), which may do
again what was done here: a PSP captures an authorisation once and voids it once, and a settlement finds itself.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from temporalio import activity

from activities.charge import ChargeActivities, capture_request, dated
from activities.queues import Queue, on
from db.core.database import Database
from db.hot import end, read
from db.hot.terms import TermsCache
from db.payment.record import Payment
from domain.errors import Unavailable
from domain.ids import void_key
from domain.payment import (
    ChargeStep,
    CloseStep,
    Paid,
    PayStep,
    SettleStep,
    Taken,
    TakeStep,
    failure_of,
)
from domain.psp import ChargeOutcome, ChargeResult
from domain.status import Status
from gateways.protocol import Psp
from runtime.notifier import CompletionNotifier
from runtime.recent import RecentPayments
from runtime.under_way import UnderWay

_GONE = (ChargeOutcome.VOIDED, ChargeOutcome.NOT_FOUND)
_WITHIN_S = 2.8
"""Below a local activity's own three seconds: the PSP's answer is the workflow's by then, whatever follows it."""


class UsualActivities:
    """`fast_timeout_s` bounds a call to the PSP below a local activity's own time."""

    def __init__(
        self,
        charges: ChargeActivities,
        database: Database,
        psps: Mapping[str, Psp],
        terms: TermsCache,
        recent: RecentPayments,
        notifier: CompletionNotifier,
        under_way: UnderWay,
        *,
        fast_timeout_s: float,
    ) -> None:
        self._charges = charges
        self._database = database
        self._psps = psps
        self._terms = terms
        self._recent = recent
        self._notifier = notifier
        self._under_way = under_way
        self._fast_timeout_s = fast_timeout_s

    @activity.defn
    @on(Queue.OWN)
    async def charge_and_end(self, step: PayStep) -> Paid:
        """The first attempt of a charge, which RETURNS unknown, and what follows from a plain answer: the settlement of
        what was taken, or the end of what was declined."""
        ends_at = asyncio.get_running_loop().time() + _WITHIN_S
        result = await self._charges.charge_once(ChargeStep(payment_id=step.payment_id))
        status: Status | None = None
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout_at(ends_at):
                if result.outcome is ChargeOutcome.SUCCEEDED:
                    row = self._recent.known(step.payment_id) or await self._read(step.payment_id)
                    status = await self._settle(row, result, step.at)
                elif result.outcome is ChargeOutcome.DECLINED:
                    status = await self._decline(step.payment_id, result, step.at)
        return Paid(result=result, status=status)

    @activity.defn
    @on(Queue.OWN)
    async def capture_and_settle(self, step: TakeStep) -> Taken:
        """Take what a request has marked to be captured, and settle it. A cancel that comes after it was read here is
        obeyed by the settlement."""
        row = await self._marked(step.payment_id)
        if row is None:
            return Taken()
        request = capture_request(row, row.charge.reference)
        result = dated(await self._psps[row.psp].capture_charge(request, timeout_s=self._fast_timeout_s))
        taken = Taken(result=result, amount=request.amount)
        if result.outcome is not ChargeOutcome.SUCCEEDED:
            return taken
        return taken.model_copy(update={"status": await self._settle(row, result, step.at)})

    # --- the parts ---

    async def _marked(self, payment_id: str) -> Payment | None:
        """A payment whose capture was requested, whose sellers are active; None: something about it is not as usual.
        The request of a moment ago has seen to that where this process took it."""
        known = self._recent.known(payment_id)
        row = known if known is not None and _is_to_be_captured(known) else await self._read(payment_id)
        if not _is_to_be_captured(row):
            return None
        if row is not known:
            sellers = [order.seller_account for order in row.orders if order.to_capture]
            self._terms.forget(row.tenant_id, sellers)
            if await self._terms.of(self._database, row.tenant_id, sellers) is None:
                return None
        return row

    async def _settle(self, row: Payment, result: ChargeResult, at: datetime) -> Status | None:
        """The payment's status, settled; None: nothing was written."""
        ids = tuple(order.id for order in row.orders)
        step = SettleStep(payment_id=row.id, order_id=ids[-1], result=result, completes=ids, at=at)
        settled = await end.settle(self._database, self._terms, row, step)
        self._ended(row.id, settled)
        return settled.status if settled is not None else None

    async def _decline(self, payment_id: str, result: ChargeResult, at: datetime) -> Status | None:
        """The payment's status, once what was declined can no longer be paid; None: nothing was written."""
        row = self._recent.known(payment_id) or await self._read(payment_id)
        if not row.open:
            return row.status  # by this step, whose task was run again
        voided = await self._void(row, result.reference)
        # An address for the buyer is kept on the row, and in no history: the workflow's own step does that.
        if voided.outcome not in _GONE or voided.next_action is not None:
            return None
        close = CloseStep(payment_id=row.id, status=Status.FAILED, failure=failure_of(result), result=result, at=at)
        closed = await end.close(self._database, row, close)
        self._ended(row.id, closed)
        return closed.status if closed is not None else None

    async def _void(self, row: Payment, reference: str | None) -> ChargeResult:
        if reference is None:
            return ChargeResult(outcome=ChargeOutcome.VOIDED)  # declined without an object: there is nothing to pay
        charge_id = row.charge.id
        with self._under_way.at_psp(row.id):
            return await self._psps[row.psp].void_charge(
                reference, charge_id=charge_id, key=void_key(charge_id), timeout_s=self._fast_timeout_s
            )

    async def _read(self, payment_id: str) -> Payment:
        found = await read.payment(self._database, payment_id)
        assert found is not None, "a workflow starts after its payment's row is committed"
        return found

    def _ended(self, payment_id: str, row: Payment | None) -> None:
        """Tell whoever waits for it; None: it has changed since it was read."""
        if row is None:
            self._recent.forget(payment_id)
            return
        self._recent.moved(row)
        self._notifier.announce(payment_id)


def _is_to_be_captured(row: Payment) -> bool:
    return (
        row.status is Status.AUTHORIZED
        and row.capture_requested_at is not None
        and row.cancel_requested_at is None
        and row.risk_version is None
        and row.charge.reference is not None
        and not row.charge.booked
    )
