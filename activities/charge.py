"""The charge: the one step that can take a buyer's money."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.queues import Queue, on
from activities.retry import SHORT, retry_delay, try_again
from db.core.database import Database
from db.core.keyring import Keyring
from db.hot import read
from db.payment import action as next_action
from db.payment import charge, payment
from db.payment.record import Payment
from domain.ids import capture_key, void_key
from domain.payment import ChargeStep
from domain.psp import CaptureRequest, ChargeLookup, ChargeOutcome, ChargeResult
from domain.unknown import DEAD_KEYS, counts_as_not_made, not_made
from gateways.protocol import Psp
from runtime.charge_sender import ChargeSender
from runtime.recent import RecentPayments
from runtime.under_way import UnderWay

_CLOCK_SLACK = timedelta(minutes=10)
"""Tolerance: so far may the PSP's clock be from the database's when a charge is looked up by its time of creation."""


class ChargeActivities:
    """`fast_timeout_s` bounds the attempt inside the first workflow task, `timeout_s` every later call."""

    def __init__(
        self,
        database: Database,
        psps: Mapping[str, Psp],
        keyring: Keyring,
        sender: ChargeSender,
        recent: RecentPayments,
        under_way: UnderWay,
        *,
        fast_timeout_s: float,
        timeout_s: float,
    ) -> None:
        self._database = database
        self._psps = psps
        self._keyring = keyring
        self._sender = sender
        self._recent = recent
        self._under_way = under_way
        self._fast_timeout_s = fast_timeout_s
        self._timeout_s = timeout_s

    @activity.defn
    @on(Queue.OWN)
    async def charge_once(self, step: ChargeStep) -> ChargeResult:
        """The first attempt, as a local activity: one call, bounded below its own timeout, which RETURNS unknown."""
        stored = self._recent.to_send(step.payment_id) if step.reference is None else None
        if stored is not None:
            row = stored.payment
            result = dated(await self._without_action(row, await self._sender.first(stored)))
        else:
            row = await self._payment(step)
            result = dated(await self._send_or_look(row, step, self._fast_timeout_s))
        if result.outcome is ChargeOutcome.UNKNOWN:
            self._under_way.end(row.id)  # it may take hours now, and holds up nobody else's meanwhile
        return result

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def charge_until_known(self, step: ChargeStep) -> ChargeResult:
        """Ask until the PSP's word is known. Past the key's `send_until` nothing is sent: the charge is looked up, and
        NOT_FOUND or UNKNOWN is returned for a person to decide, since not finding it proves nothing. Under a dead key
        it proves something in the end (`domain/unknown.py`): NOT_FOUND with a failure says that nothing was charged.

        Long gaps are the workflow's: then UNKNOWN is returned with `again_s`."""
        row = await self._payment(step)
        result = await self._send_or_look(row, step, self._timeout_s)
        may_send = await self._may_send(row)
        dead = result.reason if result.outcome is ChargeOutcome.UNKNOWN and result.reason in DEAD_KEYS else None
        if dead is not None:
            result = await self._look(row, self._timeout_s)
        is_dead = dead is not None or (row.charge.dead_since is not None and row.charge.reference is None)
        if result.outcome is ChargeOutcome.NOT_FOUND and is_dead:
            return await self._not_there(row, step, dead or "")
        result = dated(result)
        if result.outcome is ChargeOutcome.UNKNOWN:
            if may_send:
                return await self._again(row, step, result)
            await self._database.run(lambda c: charge.record(c, row.charge.id, result))
        return result

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def check_charge(self, step: ChargeStep) -> ChargeResult:
        """Poll: the PSP's object as it is now. One call; UNKNOWN means look again later."""
        row = await self._payment(step)
        reference = step.reference or row.charge.reference
        if reference is not None:
            return dated(await self._retrieve(row, reference, self._timeout_s))
        return dated(await self._look(row, self._timeout_s))

    @activity.defn
    @on(Queue.OWN, Queue.PSP)
    @heartbeating
    async def void_charge(self, step: ChargeStep) -> ChargeResult:
        """Make sure the PSP's object cannot be paid any more. Returns VOIDED, or what it has become instead."""
        row = await self._payment(step)
        reference = step.reference or row.charge.reference
        if reference is None:
            return ChargeResult(outcome=ChargeOutcome.VOIDED)  # declined without an object: there is nothing to pay
        timeout_s = self._fast_timeout_s if activity.info().is_local else self._timeout_s
        charge_id = row.charge.id
        answer = await self._psp(row).void_charge(
            reference, charge_id=charge_id, key=void_key(charge_id), timeout_s=timeout_s
        )
        result = await self._without_action(row, answer)
        if result.outcome is ChargeOutcome.UNKNOWN:
            if activity.info().is_local:
                raise try_again(result.reason or "")
            return await self._again(row, step, dated(result))
        return result

    @activity.defn
    @on(Queue.OWN, Queue.PSP)
    @heartbeating
    async def capture_charge(self, step: ChargeStep) -> ChargeResult:
        """Take what was marked to be captured. A PSP captures an authorisation once, so asking again is safe; the
        result says what was really taken. In a workflow task it RETURNS unknown, else it asks until it knows."""
        row = await self._payment(step)
        request = capture_request(row, step.reference or row.charge.reference)
        is_local = activity.info().is_local
        timeout_s = self._fast_timeout_s if is_local else self._timeout_s
        result = dated(await self._psp(row).capture_charge(request, timeout_s=timeout_s))
        if result.outcome is ChargeOutcome.UNKNOWN and not is_local:
            return await self._again(row, step, result)
        return result

    # --- the parts ---

    async def _again(
        self, row: Payment, step: ChargeStep, result: ChargeResult, *, left: timedelta | None = None
    ) -> ChargeResult:
        """Keep an unknown answer, and when the next is asked for: `left` from now at the latest. A short gap is the
        retry policy's (`try_again` is raised); a long one is the workflow's, and so is one in which a cancel is or may
        be acted on: the answer is returned with `again_s`."""
        tries = (step.tries or 0) + activity.info().attempt
        gap = retry_delay(tries, result.reason or "")
        gap = gap if left is None else min(gap, left)
        again_s = gap.total_seconds()
        await self._database.run(lambda c: charge.unanswered(c, row.id, row.charge.id, result, again_s))
        is_the_workflows = gap >= SHORT or left is not None or row.cancel_requested_at is not None
        if step.tries is None or not is_the_workflows:
            raise try_again(result.reason or "", gap)
        return result.model_copy(update={"again_s": again_s, "tries": tries})

    async def _not_there(self, row: Payment, step: ChargeStep, reason: str) -> ChargeResult:
        """Of a charge under a dead key that the PSP's list does not have: it counts as not made (NOT_FOUND, with the
        failure), or is looked for again. No `reason`: the key has expired meanwhile, and a person decides."""
        waited = await self._database.run(lambda c: charge.dead_for(c, row.charge.id))
        patience = timedelta(seconds=step.patience_s)
        if counts_as_not_made(reason, waited, patience, cancelled=row.cancel_requested_at is not None):
            # A workflow of an earlier release knows no end of it but a person's.
            failure = not_made("charge") if step.tries is not None else None
            return dated(ChargeResult(outcome=ChargeOutcome.NOT_FOUND, failure=failure))
        if not reason:
            return dated(ChargeResult(outcome=ChargeOutcome.NOT_FOUND))
        result = ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason)
        return await self._again(row, step, dated(result), left=patience - waited)

    async def _payment(self, step: ChargeStep) -> Payment:
        found = await read.payment(self._database, step.payment_id)
        assert found is not None, "a workflow starts after its payment's row is committed"
        return found

    def _psp(self, row: Payment) -> Psp:
        return self._psps[row.psp]

    async def _may_send(self, row: Payment) -> bool:
        return await self._database.read(lambda c: charge.may_send(c, row.charge.send_until))

    async def _send_or_look(self, row: Payment, step: ChargeStep, timeout_s: float) -> ChargeResult:
        """Known by name: retrieve it. Key still good, and the payment still wanted: send. Else: look it up."""
        reference = step.reference or row.charge.reference
        if reference is not None:
            return await self._retrieve(row, reference, timeout_s)
        if not row.open or not await self._may_send(row):
            return await self._look(row, timeout_s)
        secrets = await self._database.read(lambda c: payment.secrets_of(c, row.id))
        return await self._without_action(row, await self._sender.send(row, secrets, timeout_s=timeout_s))

    async def _retrieve(self, row: Payment, reference: str, timeout_s: float) -> ChargeResult:
        psp = self._psp(row)
        result = await psp.retrieve_charge(reference, charge_id=row.charge.id, timeout_s=timeout_s)
        return await self._without_action(row, result)

    async def _without_action(self, row: Payment, result: ChargeResult) -> ChargeResult:
        """An answer for the workflow. The buyer's next step goes on the payment's row instead: its address may hold the
        PSP's client secret, no decision depends on it, and a history would keep it at every look."""
        action = result.next_action
        if action is None:
            return result
        if next_action.opened(self._keyring, row) != action:
            stored = next_action.sealed(self._keyring, row.id, action)
            await self._database.run(lambda c: next_action.keep(c, row.id, stored))
        return result.model_copy(update={"next_action": None})

    async def _look(self, row: Payment, timeout_s: float) -> ChargeResult:
        lookup = ChargeLookup(
            charge_id=row.charge.id,
            key=row.charge.key,
            created_from=row.charge.created_at - _CLOCK_SLACK,
            created_to=row.charge.send_until + _CLOCK_SLACK,
        )
        return await self._without_action(row, await self._psp(row).find_charge(lookup, timeout_s=timeout_s))


def capture_request(row: Payment, reference: str | None) -> CaptureRequest:
    """The request to the PSP for what was marked to be captured."""
    assert reference is not None, "what is authorised is known by name"
    assert row.capture_requested_at is not None, "a capture is marked before it is sent"
    return CaptureRequest(
        key=capture_key(row.charge.id),
        charge_id=row.charge.id,
        reference=reference,
        amount=row.to_capture,
        currency=row.currency,
    )


def dated(result: ChargeResult) -> ChargeResult:
    """With its time, by which an unclear answer is counted once, however often it is recorded."""
    return result.model_copy(update={"answered_at": datetime.now(UTC)}) if result.unclear else result
