"""Disputes at Stripe: their state, and the evidence that answers them."""

from functools import partial

from domain.psp import DisputeOutcome, DisputeResult, EvidenceRequest
from gateways.call import Refusal, Unanswered
from gateways.stripe.failures import failure_of, failure_with
from gateways.stripe.objects import Object
from gateways.stripe.results import dispute_result, unknown_dispute
from gateways.stripe.wire import StripeCalls, path_of

DISPUTES = "/v1/disputes"


def _evidence_params(request: EvidenceRequest) -> Object:
    """Our names are Stripe's, but Stripe takes customer_communication as an uploaded file only: it joins the text."""
    evidence = dict(request.fields)
    communication = evidence.pop("customer_communication", None)
    if communication:
        texts = (evidence.get("uncategorized_text"), f"Communication with the customer:\n{communication}")
        evidence["uncategorized_text"] = "\n\n".join(text for text in texts if text)
    return {"evidence": evidence, "submit": True}


class StripeDisputes(StripeCalls):
    """The part of the adapter that answers disputes."""

    async def retrieve_dispute(self, reference: str, *, timeout_s: float) -> DisputeResult:
        steps = partial(self._retrieve_dispute, reference)
        return await self._run("retrieve_dispute", timeout_s, unknown_dispute, steps)

    async def _retrieve_dispute(self, reference: str, deadline: float) -> DisputeResult:
        try:
            # Nothing to expand: a Dispute holds its balance transactions whole.
            return dispute_result(await self._send(deadline, "get", path_of(DISPUTES, reference)))
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return DisputeResult(outcome=DisputeOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None

    async def submit_evidence(self, request: EvidenceRequest, *, timeout_s: float) -> DisputeResult:
        return await self._run("submit_evidence", timeout_s, unknown_dispute, partial(self._submit, request))

    async def _submit(self, request: EvidenceRequest, deadline: float) -> DisputeResult:
        """Submit, then ask: what Stripe says under a key it knows may be days old, and the dispute decided since."""
        failure = None
        try:
            path = path_of(DISPUTES, request.reference)
            await self._send(deadline, "post", path, _evidence_params(request), key=request.key)
        except Refusal as refusal:
            failure = failure_with("evidence_refused", failure_of(refusal.error).psp_code)
        state = await self._retrieve_dispute(request.reference, deadline)
        is_there = state.outcome is not DisputeOutcome.NOT_FOUND
        return state.model_copy(update={"failure": failure}) if is_there else state
