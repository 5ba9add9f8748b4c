"""Refunds at Stripe."""

from functools import partial

from domain.money import MoneyError
from domain.psp import RefundOutcome, RefundRequest, RefundResult
from gateways.call import Refusal, Unanswered
from gateways.stripe.amounts import to_stripe
from gateways.stripe.failures import failure_of, inexpressible
from gateways.stripe.objects import Object, carried
from gateways.stripe.results import refund_result, unknown_refund
from gateways.stripe.wire import StripeCalls, path_of

REFUNDS = "/v1/refunds"

_REFUND_REASONS = {
    # Stripe knows three words. `fraudulent` also puts the buyer on its block list, so nothing else maps to it.
    "duplicate": "duplicate",
    "fraudulent": "fraudulent",
    "requested_by_customer": "requested_by_customer",
}


def _refund_params(request: RefundRequest) -> Object:
    params: Object = {
        "payment_intent" if request.charge_reference.startswith("pi_") else "charge": request.charge_reference,
        "amount": to_stripe(request.amount, request.currency),
        "metadata": {
            **request.metadata,
            "paysaga_refund": request.refund_id,
            "paysaga_key": request.key,
            "paysaga_reason": request.reason[:500],
        },
    }
    if request.reason in _REFUND_REASONS:
        params["reason"] = _REFUND_REASONS[request.reason]
    return params


class StripeRefunds(StripeCalls):
    """The part of the adapter that refunds buyers."""

    async def refund(self, request: RefundRequest, *, timeout_s: float) -> RefundResult:
        return await self._run("refund", timeout_s, unknown_refund, partial(self._refund, request))

    async def _refund(self, request: RefundRequest, deadline: float) -> RefundResult:
        try:
            params = _refund_params(request)
        except MoneyError as error:
            # What cannot be expressed was never sent, in no attempt under this key.
            return RefundResult(outcome=RefundOutcome.FAILED, failure=inexpressible(error))
        try:
            refund = await self._send(deadline, "post", REFUNDS, params, key=request.key)
        except Refusal as refusal:
            # "Already refunded" and "more than what is left" may be the echo of this very refund: Stripe forgets keys.
            ours = await self._find_refund(request.refund_id, request.charge_reference, request.key, deadline)
            if ours.outcome is RefundOutcome.NOT_FOUND:
                return RefundResult(outcome=RefundOutcome.FAILED, failure=failure_of(refusal.error))
            return _as_asked(ours, request)
        return _as_asked(refund_result(refund), request)

    async def retrieve_refund(self, reference: str, *, timeout_s: float) -> RefundResult:
        return await self._run("retrieve_refund", timeout_s, unknown_refund, partial(self._retrieve_refund, reference))

    async def _retrieve_refund(self, reference: str, deadline: float) -> RefundResult:
        try:
            return refund_result(await self._send(deadline, "get", path_of(REFUNDS, reference)))
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return RefundResult(outcome=RefundOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None

    async def find_refund(self, refund_id: str, charge_reference: str, *, key: str, timeout_s: float) -> RefundResult:
        steps = partial(self._find_refund, refund_id, charge_reference, key)
        return await self._run("find_refund", timeout_s, unknown_refund, steps)

    async def _find_refund(self, refund_id: str, charge_reference: str, key: str, deadline: float) -> RefundResult:
        """Of several that carry our id and key the one that did not fail counts."""

        def is_ours(refund: Object) -> bool:
            # Older attempts of the same refund carry their own key, and are not the answer to this one.
            return carried(refund, "paysaga_refund") == refund_id and carried(refund, "paysaga_key") in (None, key)

        of_charge = {"payment_intent" if charge_reference.startswith("pi_") else "charge": charge_reference}
        found = await self._find(deadline, REFUNDS, of_charge, is_ours)
        results = [refund_result(refund) for refund in found]
        results.sort(key=lambda result: result.outcome is RefundOutcome.FAILED)
        return results[0] if results else RefundResult(outcome=RefundOutcome.NOT_FOUND)


def _as_asked(result: RefundResult, request: RefundRequest) -> RefundResult:
    """A refund of another amount than was asked for is UNKNOWN: what it did has to be looked at by a person."""
    asked = (request.amount, request.currency)
    if result.outcome is RefundOutcome.UNKNOWN or (result.amount, result.currency) == asked:
        return result
    mismatch = {"outcome": RefundOutcome.UNKNOWN, "failure": None, "reason": "amount_mismatch"}
    return result.model_copy(update=mismatch)
