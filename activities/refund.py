"""Refunds at the PSP, and what is booked of them."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.queues import Queue, on
from activities.retry import SHORT, retry_delay, try_again
from db.core.database import Database
from db.hot import read
from db.hot import refund as hot
from db.hot.refund import OpenRefund
from db.payment import compensation
from db.payment.record import Payment
from db.refund import attempt, booking
from db.refund.record import Refund
from domain.ids import refund_key
from domain.late_charge import LateChargeStep
from domain.payment import Compensation
from domain.psp import RefundOutcome, RefundRequest, RefundResult
from domain.refund import BookRefundStep, RefundState, RefundStep
from domain.unknown import DEAD_KEYS, counts_as_not_made, not_made
from gateways.protocol import Psp
from runtime.notifier import CompletionNotifier
from runtime.recent import RecentRefunds


class RefundActivities:
    """`send_for_s`: how long a request may be sent under its key; `fast_timeout_s` bounds the attempt inside a task."""

    def __init__(
        self,
        database: Database,
        psps: Mapping[str, Psp],
        recent: RecentRefunds,
        notifier: CompletionNotifier,
        *,
        fast_timeout_s: float,
        timeout_s: float,
        send_for_s: float,
    ) -> None:
        self._database = database
        self._psps = psps
        self._recent = recent
        self._notifier = notifier
        self._fast_timeout_s = fast_timeout_s
        self._timeout_s = timeout_s
        self._send_for_s = send_for_s

    @activity.defn
    @on(Queue.OWN)
    async def begin_late_charge(self, step: LateChargeStep) -> Compensation:
        return await self._database.run(lambda c: compensation.begin_late_charge(c, step, self._send_for_s))

    @activity.defn
    @on(Queue.OWN)
    async def refund_once(self, step: RefundStep) -> RefundResult:
        """The first request, as a local activity: one call, bounded below its own timeout, which RETURNS unknown."""
        stored = self._recent.to_send(step.refund_id)
        if stored is not None:
            asked_at = stored.refund.created_at  # nothing has been said about it before that
            result = await self._send(stored.refund, stored.owner, self._fast_timeout_s)
        else:
            row, owner, asked_at = await self._read(step)
            result = await self._send_or_look(row, owner, asked_at, self._fast_timeout_s)
        return result.model_copy(update={"asked_at": asked_at})

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def refund_until_known(self, step: RefundStep) -> RefundResult:
        """Ask for the refund until the PSP's word is known, always under the same key; past its time, look it up. Under
        a dead key what is not found counts as not made in the end, which is FAILED: the reserve is released and another
        can be asked for; what has to be made whatever it takes waits for a person, who can have it tried again.

        Long gaps are the workflow's: then UNKNOWN is returned with `again_s`."""
        row, owner, asked_at = await self._read(step)
        result = await self._send_or_look(row, owner, asked_at, self._timeout_s)
        left: timedelta | None = None
        dead = result.reason if result.outcome is RefundOutcome.UNKNOWN and result.reason in DEAD_KEYS else None
        was_dead = result.outcome is RefundOutcome.NOT_FOUND and row.dead_since is not None and row.reference is None
        if dead is not None or was_dead:
            waited = await self._database.run(lambda c: attempt.dead_for(c, row.id))
            patience = timedelta(seconds=step.patience_s)
            left = patience - waited
            if counts_as_not_made(dead or "", waited, patience):
                result = RefundResult(outcome=RefundOutcome.FAILED, failure=not_made("refund"))
        if result.outcome is RefundOutcome.UNKNOWN:
            return await self._again(row, step, result, left)
        return result.model_copy(update={"asked_at": asked_at})

    async def _again(self, row: Refund, step: RefundStep, result: RefundResult, left: timedelta | None) -> RefundResult:
        """As of charges: a short gap is the retry policy's, a long one the workflow's, and so is `left`, after which
        the refund counts as not made."""
        tries = (step.tries or 0) + activity.info().attempt
        gap = retry_delay(tries, result.reason or "")
        gap = gap if left is None else min(gap, left)
        again_s = gap.total_seconds()
        await self._database.run(
            lambda c: attempt.unknown(c, row.id, result.reason or "", tries=tries, again_s=again_s)
        )
        if step.tries is None or (gap < SHORT and left is None):
            raise try_again(result.reason or "", gap)
        return result.model_copy(update={"again_s": again_s, "tries": tries})

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def check_refund(self, step: RefundStep) -> RefundResult:
        """Poll a refund; UNKNOWN means look again later."""
        row, owner, asked_at = await self._read(step)
        if row.reference is not None:
            result = await self._psps[owner.psp].retrieve_refund(row.reference, timeout_s=self._timeout_s)
        else:
            result = await self._find(row, owner, self._timeout_s)
        return result.model_copy(update={"asked_at": asked_at})

    @activity.defn
    @on(Queue.OWN)
    async def book_refund(self, step: BookRefundStep) -> RefundState:
        known = self._recent.known(step.refund_id)
        ended = await hot.settle(self._database, known, step) if known is not None else None
        if ended is not None:
            self._recent.ended(ended)
            payment_id, state = ended.owner.id, _state(ended)
        else:
            self._recent.forget(step.refund_id)
            payment_id, state = await self._book(step)
        self._notifier.announce(payment_id)
        self._notifier.announce(step.refund_id)
        return state

    async def _book(self, step: BookRefundStep) -> tuple[str, RefundState]:
        """By what is read, at once or else under the payment's lock. Returns the payment's id as well."""
        row, owner, _ = await self._read(step)
        ended = await hot.settle_as_read(self._database, row, owner, step)
        if ended is not None:
            return owner.id, _state(ended)
        unit = self._psps[owner.psp].unit(owner.currency)
        return owner.id, await self._database.run(lambda c: booking.book(c, owner.id, step, unit))

    @activity.defn
    @on(Queue.OWN)
    async def retry_refund(self, step: RefundStep) -> None:
        """A person wants a failed refund tried again: a new attempt with a key of its own."""
        await self._database.run(lambda c: attempt.next_attempt(c, step.refund_id, self._send_for_s))

    async def _read(self, step: RefundStep | BookRefundStep) -> tuple[Refund, Payment, datetime]:
        """The refund, its payment, and the time at which they were read, on the database's clock."""
        row, now = await read.refund(self._database, step.refund_id)
        owner = await read.payment(self._database, row.payment_id)
        assert owner is not None, "a refund has a payment"
        return row, owner, now

    async def _find(self, row: Refund, owner: Payment, timeout_s: float) -> RefundResult:
        key = refund_key(row.id, row.attempt)
        psp = self._psps[owner.psp]
        return await psp.find_refund(row.id, _charge_reference(owner), key=key, timeout_s=timeout_s)

    async def _send_or_look(self, row: Refund, owner: Payment, asked_at: datetime, timeout_s: float) -> RefundResult:
        psp = self._psps[owner.psp]
        if row.reference is not None:
            return await psp.retrieve_refund(row.reference, timeout_s=timeout_s)
        if asked_at >= row.send_until:
            return await self._find(row, owner, timeout_s)
        return await self._send(row, owner, timeout_s)

    async def _send(self, row: Refund, owner: Payment, timeout_s: float) -> RefundResult:
        psp = self._psps[owner.psp]
        request = RefundRequest(
            key=refund_key(row.id, row.attempt),
            refund_id=row.id,
            charge_reference=_charge_reference(owner),
            amount=row.amount,
            currency=row.currency,
            reason=row.reason or row.origin,
        )
        result = await psp.refund(request, timeout_s=timeout_s)
        if result.outcome is RefundOutcome.UNKNOWN and result.reference is not None:
            # It exists, but not as we asked for it: its present state is booked, or shown to a person.
            return await psp.retrieve_refund(result.reference, timeout_s=timeout_s)
        if result.outcome is RefundOutcome.UNKNOWN and result.reason in DEAD_KEYS:
            found = await self._find(row, owner, timeout_s)
            return result if found.outcome is RefundOutcome.NOT_FOUND else found
        return result


def _state(ended: OpenRefund) -> RefundState:
    return RefundState(status=ended.refund.status, payment_status=ended.owner.status, ended=True, offered=())


def _charge_reference(owner: Payment) -> str:
    assert owner.charge.reference is not None, "only a charge that is known at the PSP is refunded"
    return owner.charge.reference
