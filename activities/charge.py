"""The charge: the one step that can take a buyer's money."""

import random
from collections.abc import Mapping
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.heartbeat import heartbeating
from db.core.database import Database
from db.core.keyring import Keyring
from db.payment import charge, payment
from db.payment.record import Payment
from domain.ids import capture_key, void_key
from domain.money import Money
from domain.payment import ChargeStep
from domain.psp import CaptureRequest, ChargeLookup, ChargeOutcome, ChargeRequest, ChargeResult
from gateways.protocol import Psp

CACHED_ERROR = "server_error_replayed"
"""Under this key the PSP answers the same 5xx for ever: only looking the charge up can tell what happened."""

DEAD_KEYS = (CACHED_ERROR, "key_reused")
"""Sending again under such a key tells nothing new."""

_CLOCK_SLACK = timedelta(minutes=10)
"""How far the PSP's clock may be from the database's when a charge is looked up by its time of creation."""


def retry_delay(attempt: int, *, first_s: float = 0.5, max_s: float = 60.0) -> timedelta:
    """Exponential backoff with jitter, half of it by chance: Temporal's own retries have none."""
    ceiling = min(max_s, first_s * 2 ** min(attempt, 16))
    return timedelta(seconds=ceiling * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret


def try_again(reason: str) -> ApplicationError:
    """An outcome that is not known yet. Benign: it is the retry policy's daily work, not an alarm."""
    return ApplicationError(
        f"the PSP's answer is unknown: {reason}",
        type="PspUnknown",
        next_retry_delay=retry_delay(activity.info().attempt),
        category=ApplicationErrorCategory.BENIGN,
    )


class ChargeActivities:
    """`fast_timeout_s` bounds the attempt inside the first workflow task, `timeout_s` every later call."""

    def __init__(
        self,
        database: Database,
        psps: Mapping[str, Psp],
        keyring: Keyring,
        *,
        fast_timeout_s: float,
        timeout_s: float,
    ) -> None:
        self._database = database
        self._psps = psps
        self._keyring = keyring
        self._fast_timeout_s = fast_timeout_s
        self._timeout_s = timeout_s

    @activity.defn
    async def charge_once(self, step: ChargeStep) -> ChargeResult:
        """The first attempt, as a local activity: one call, bounded below its own timeout, which RETURNS unknown."""
        locked = await self._payment(step)
        return await self._send_or_look(locked, step, self._fast_timeout_s)

    @activity.defn
    @heartbeating
    async def charge_until_known(self, step: ChargeStep) -> ChargeResult:
        """Ask until the PSP's word is known. Past the key's `send_until` nothing is sent: the charge is looked up, and
        NOT_FOUND or UNKNOWN is returned for a person to decide, since not finding it proves nothing."""
        locked = await self._payment(step)
        result = await self._send_or_look(locked, step, self._timeout_s)
        may_send = await self._may_send(locked)
        if result.outcome is ChargeOutcome.UNKNOWN and result.reason in DEAD_KEYS:
            why, result = result.reason, await self._look(locked, self._timeout_s)
            if result.outcome is ChargeOutcome.NOT_FOUND and may_send:
                result = ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=why)
        if result.outcome is ChargeOutcome.UNKNOWN:
            await self._database.run(lambda c: charge.record(c, locked.charge.id, result))
            if may_send:
                raise try_again(result.reason or "")
        return result

    @activity.defn
    @heartbeating
    async def check_charge(self, step: ChargeStep) -> ChargeResult:
        """Poll: the PSP's object as it is now. One call; UNKNOWN means look again later."""
        locked = await self._payment(step)
        reference = step.reference or locked.charge.reference
        if reference is not None:
            return await self._retrieve(locked, reference, self._timeout_s)
        return await self._look(locked, self._timeout_s)

    @activity.defn
    @heartbeating
    async def void_charge(self, step: ChargeStep) -> ChargeResult:
        """Make sure the PSP's object cannot be paid any more. Returns VOIDED, or what it has become instead."""
        locked = await self._payment(step)
        reference = step.reference or locked.charge.reference
        if reference is None:
            return ChargeResult(outcome=ChargeOutcome.VOIDED)  # declined without an object: there is nothing to pay
        timeout_s = self._fast_timeout_s if activity.info().is_local else self._timeout_s
        charge_id = locked.charge.id
        result = await self._psp(locked).void_charge(
            reference, charge_id=charge_id, key=void_key(charge_id), timeout_s=timeout_s
        )
        if result.outcome is ChargeOutcome.UNKNOWN:
            raise try_again(result.reason or "")
        return result

    @activity.defn
    @heartbeating
    async def capture_charge(self, step: ChargeStep) -> ChargeResult:
        """Take what was marked to be captured. A PSP captures an authorisation once, so asking again is safe; the
        result says what was really taken. In a workflow task it RETURNS unknown, else it asks until it knows."""
        locked = await self._payment(step)
        reference = step.reference or locked.charge.reference
        assert reference is not None, "what is authorised is known by name"
        assert locked.capture_requested_at is not None, "a capture is marked before it is sent"
        request = CaptureRequest(
            key=capture_key(locked.charge.id),
            charge_id=locked.charge.id,
            reference=reference,
            amount=locked.to_capture,
            currency=locked.currency,
        )
        is_local = activity.info().is_local
        result = await self._psp(locked).capture_charge(
            request, timeout_s=self._fast_timeout_s if is_local else self._timeout_s
        )
        if result.outcome is ChargeOutcome.UNKNOWN and not is_local:
            await self._database.run(lambda c: charge.record(c, locked.charge.id, result))
            raise try_again(result.reason or "")
        return result

    # --- the parts ---

    async def _payment(self, step: ChargeStep) -> Payment:
        found = await self._database.read(lambda c: payment.get(c, step.payment_id))
        assert found is not None, "a workflow starts after its payment's row is committed"
        return found

    def _psp(self, locked: Payment) -> Psp:
        return self._psps[locked.psp]

    async def _may_send(self, locked: Payment) -> bool:
        return await self._database.read(lambda c: charge.may_send(c, locked.charge.send_until))

    async def _send_or_look(self, locked: Payment, step: ChargeStep, timeout_s: float) -> ChargeResult:
        """Known by name: retrieve it. Key still good, and the payment still wanted: send. Else: look it up."""
        reference = step.reference or locked.charge.reference
        if reference is not None:
            return await self._retrieve(locked, reference, timeout_s)
        if not locked.open or not await self._may_send(locked):
            return await self._look(locked, timeout_s)
        token, email = await self._database.read(lambda c: payment.secrets_of(c, locked.id))
        return await self._psp(locked).charge(self._request(locked, token, email), timeout_s=timeout_s)

    async def _retrieve(self, locked: Payment, reference: str, timeout_s: float) -> ChargeResult:
        psp = self._psp(locked)
        return await psp.retrieve_charge(reference, charge_id=locked.charge.id, timeout_s=timeout_s)

    def _request(self, locked: Payment, token: bytes, email: bytes | None) -> ChargeRequest:
        """The same bytes at every attempt: the PSP compares the parameters under a key."""
        return ChargeRequest(
            key=locked.charge.key,
            charge_id=locked.charge.id,
            payment_id=locked.id,
            amount=locked.amount,
            currency=locked.currency,
            method=locked.method,
            token=self._keyring.decrypt(token, bound_to=f"{locked.id}:token"),
            description=f"{locked.checkout_id or locked.id} · {Money(amount=locked.amount, currency=locked.currency)}",
            metadata={"checkout_id": locked.checkout_id} if locked.checkout_id else {},
            receipt_email=self._keyring.decrypt(email, bound_to=f"{locked.id}:email") if email else None,
            authorize_only=locked.authorize_only,
        )

    async def _look(self, locked: Payment, timeout_s: float) -> ChargeResult:
        lookup = ChargeLookup(
            charge_id=locked.charge.id,
            key=locked.charge.key,
            created_from=locked.charge.created_at - _CLOCK_SLACK,
            created_to=locked.charge.send_until + _CLOCK_SLACK,
        )
        return await self._psp(locked).find_charge(lookup, timeout_s=timeout_s)
