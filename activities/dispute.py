"""Disputes at the PSP, the evidence that is submitted, and what is booked of them."""

from collections.abc import Mapping

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.queues import Queue, on
from activities.retry import try_again
from db.core.database import Database, clock
from db.core.keyring import Keyring
from db.dispute import booking, evidence, find
from domain.dispute import (
    BookDisputeStep,
    BookEvidenceStep,
    DisputeState,
    DisputeStep,
    EvidenceStep,
    EvidenceWarningStep,
)
from domain.ids import evidence_key
from domain.model import Failure
from domain.psp import DisputeOutcome, DisputeResult, EvidenceRequest
from domain.unknown import CACHED_ERROR
from gateways.protocol import Psp

NOT_SUBMITTED = Failure(code="evidence_refused", message="The PSP shows no evidence for this dispute.")


class DisputeActivities:
    def __init__(self, database: Database, psps: Mapping[str, Psp], keyring: Keyring, *, timeout_s: float) -> None:
        self._database = database
        self._psps = psps
        self._keyring = keyring
        self._timeout_s = timeout_s

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def check_dispute(self, step: DisputeStep) -> DisputeResult:
        """The PSP's word on it now; UNKNOWN means look again later."""
        row = await self._database.read(lambda c: find.get(c, step.dispute_id))
        asked_at = await self._database.read(clock)
        result = await self._psps[row.psp].retrieve_dispute(row.reference, timeout_s=self._timeout_s)
        return result.model_copy(update={"asked_at": asked_at})

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def submit_evidence(self, step: EvidenceStep) -> DisputeResult:
        """Submit until the PSP's word is known, always under the same key. Its answer says how the dispute stands, and
        in `failure` why it would not take the evidence."""
        row = await self._database.read(lambda c: find.get(c, step.dispute_id))
        fields = await self._database.read(lambda c: evidence.fields_of(c, self._keyring, step.evidence_id))
        request = EvidenceRequest(
            key=evidence_key(step.evidence_id),
            reference=row.reference,
            fields=fields,
        )
        asked_at = await self._database.read(clock)
        result = await self._psps[row.psp].submit_evidence(request, timeout_s=self._timeout_s)
        if result.outcome is DisputeOutcome.UNKNOWN and result.reason == CACHED_ERROR:
            # This key answers the same error for ever: the dispute itself says whether anything was submitted.
            result = await self._psps[row.psp].retrieve_dispute(row.reference, timeout_s=self._timeout_s)
            if result.submissions == 0 and result.outcome is DisputeOutcome.NEEDS_RESPONSE:
                again = request.model_copy(update={"key": f"{request.key}:{activity.info().attempt}"})
                result = await self._psps[row.psp].submit_evidence(again, timeout_s=self._timeout_s)
        if result.outcome is DisputeOutcome.UNKNOWN:
            raise try_again(result.reason or "")
        nothing = result.submissions == 0 and result.outcome in (DisputeOutcome.NEEDS_RESPONSE, DisputeOutcome.INQUIRY)
        if result.failure is None and (nothing or result.outcome is DisputeOutcome.NOT_FOUND):
            result = result.model_copy(update={"failure": NOT_SUBMITTED})
        return result.model_copy(update={"asked_at": asked_at})

    @activity.defn
    @on(Queue.OWN)
    async def book_dispute(self, step: BookDisputeStep) -> DisputeState:
        row = await self._database.read(lambda c: find.get(c, step.dispute_id))
        unit = self._psps[row.psp].unit(row.currency)
        return await self._database.run(lambda c: booking.book(c, step, unit))

    @activity.defn
    @on(Queue.OWN)
    async def book_evidence(self, step: BookEvidenceStep) -> None:
        await self._database.run(lambda c: evidence.book(c, step))

    @activity.defn
    @on(Queue.OWN)
    async def warn_of_deadline(self, step: EvidenceWarningStep) -> None:
        await self._database.run(lambda c: evidence.warn(c, step))
