"""Money out at Stripe: transfers to a seller's connected account, and payouts from there to the seller's bank.

A transfer, and taking it back, is made by our own account; a payout by the seller's (`Stripe-Account`).
"""

import time
from datetime import datetime, timedelta
from functools import partial

from domain.model import Failure
from domain.money import MoneyError
from domain.psp import (
    PayoutOutcome,
    PayoutRequest,
    PayoutResult,
    ReversalRequest,
    TransferOutcome,
    TransferRequest,
    TransferResult,
)
from gateways.call import Refusal, Unanswered
from gateways.stripe.amounts import to_stripe, to_stripe_payout
from gateways.stripe.failures import inexpressible
from gateways.stripe.objects import Object, carried
from gateways.stripe.payout_objects import (
    failure_with,
    moved_as_asked,
    paid_as_asked,
    payout_result,
    refusal_of,
    refused_payout,
    refused_transfer,
    taken_back,
    transfer_result,
    unknown_payout,
    unknown_transfer,
)
from gateways.stripe.wire import StripeCalls, fresh, path_of

TRANSFERS = "/v1/transfers"
PAYOUTS = "/v1/payouts"

ECHO = timedelta(days=7)
"""How far back the payout behind a refusal is looked for: past the life of every key."""


def _transfer_params(request: TransferRequest) -> Object:
    return {
        "amount": to_stripe(request.amount, request.currency),
        "currency": request.currency.lower(),
        "destination": request.destination,
        "transfer_group": request.payout_id,
        "metadata": {**request.metadata, "paysaga_payout": request.payout_id, "paysaga_key": request.key},
    }


def _reversal_params(request: ReversalRequest) -> Object:
    return {
        "amount": to_stripe(request.amount, request.currency),
        "metadata": {"paysaga_payout": request.payout_id, "paysaga_key": request.key},
    }


def _payout_params(request: PayoutRequest) -> Object:
    return {
        "amount": to_stripe_payout(request.amount, request.currency),
        "currency": request.currency.lower(),
        "metadata": {**request.metadata, "paysaga_payout": request.payout_id, "paysaga_key": request.key},
    }


class StripePayouts(StripeCalls):
    """The part of the adapter that pays sellers."""

    # --- Transfers ---

    async def transfer(self, request: TransferRequest, *, timeout_s: float) -> TransferResult:
        return await self._run("transfer", timeout_s, unknown_transfer, partial(self._transfer, request))

    async def _transfer(self, request: TransferRequest, deadline: float) -> TransferResult:
        try:
            params = _transfer_params(request)
        except MoneyError as error:
            return refused_transfer(inexpressible(error))
        try:
            transfer = await self._send(deadline, "post", TRANSFERS, params, key=request.key)
        except Refusal as refusal:
            # A balance that is too low may be the echo of this very transfer: Stripe forgets keys.
            standing = await self._transfers_of(request.payout_id, deadline)
            if not standing:
                return refused_transfer(refusal_of(refusal.error, "transfer_refused"))
            return _transfer_as_asked(standing[0], request)
        return _transfer_as_asked(transfer, request)

    async def find_transfer(self, payout_id: str, *, timeout_s: float) -> TransferResult:
        return await self._run("find_transfer", timeout_s, unknown_transfer, partial(self._find_transfer, payout_id))

    async def _find_transfer(self, payout_id: str, deadline: float) -> TransferResult:
        found = await self._transfers_of(payout_id, deadline)
        return transfer_result(found[0]) if found else TransferResult(outcome=TransferOutcome.NOT_FOUND)

    async def _transfers_of(self, payout_id: str, deadline: float) -> list[Object]:
        def is_ours(transfer: Object) -> bool:
            # Of one that was reversed nothing is left on the seller's account: it is as if it had not been made.
            return carried(transfer, "paysaga_payout") == payout_id and transfer.get("reversed") is not True

        return await self._find(deadline, TRANSFERS, {"transfer_group": payout_id}, is_ours)

    async def retrieve_transfer(
        self, reference: str, *, payout_id: str, destination: str, timeout_s: float
    ) -> TransferResult:
        steps = partial(self._retrieve_transfer, reference, payout_id, destination)
        return await self._run("retrieve_transfer", timeout_s, unknown_transfer, steps)

    async def _retrieve_transfer(
        self, reference: str, payout_id: str, destination: str, deadline: float
    ) -> TransferResult:
        transfer = await self._transfer_named(reference, deadline)
        if transfer is None:
            return TransferResult(outcome=TransferOutcome.NOT_FOUND)
        is_of_it = carried(transfer, "paysaga_payout") in (None, payout_id)
        if is_of_it and transfer.get("destination") == destination and not transfer.get("amount_reversed"):
            return transfer_result(transfer)
        return TransferResult(outcome=TransferOutcome.NOT_FOUND, failure=failure_with("another_transfer"))

    async def _transfer_named(self, reference: str, deadline: float) -> Object | None:
        try:
            transfer = await self._send(deadline, "get", path_of(TRANSFERS, reference))
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return None
            raise Unanswered("unrecognised") from None
        if transfer.get("object") != "transfer" or transfer.get("id") != reference:
            raise Unanswered("malformed")
        return transfer

    async def reverse_transfer(self, request: ReversalRequest, *, timeout_s: float) -> TransferResult:
        return await self._run("reverse_transfer", timeout_s, unknown_transfer, partial(self._reverse, request))

    async def _reverse(self, request: ReversalRequest, deadline: float) -> TransferResult:
        """Reverse; where Stripe will not, or said 500 for good under this key, the transfer's state says why."""
        try:
            params = _reversal_params(request)
        except MoneyError as error:
            return refused_transfer(inexpressible(error))
        path = path_of(TRANSFERS, request.transfer_reference, "reversals")
        try:
            reversal = await self._send(deadline, "post", path, params, key=request.key)
        except Refusal as refusal:
            # "Already fully reversed" has no code of its own: https://github.com/stripe/stripe-ruby/issues/1058
            return await self._taken_back(request, refusal_of(refusal.error, "reversal_refused"), deadline)
        except Unanswered as unanswered:
            if unanswered.reason != "server_error_replayed":
                raise
            return await self._taken_back(request, failure_with("psp_error"), deadline)
        back = transfer_result(reversal, "transfer_reversal")
        if back.outcome is TransferOutcome.DONE and reversal.get("transfer") != request.transfer_reference:
            return unknown_transfer("key_reused")
        return moved_as_asked(back, request.amount, request.currency)

    async def _taken_back(self, request: ReversalRequest, failure: Failure, deadline: float) -> TransferResult:
        """DONE if the transfer is reversed in full, by whomever; else REFUSED with `failure`: nothing of it moved."""
        back = await self._find_reversal(request, deadline)
        return refused_transfer(failure) if back.outcome is TransferOutcome.NOT_FOUND else back

    async def find_reversal(self, request: ReversalRequest, *, timeout_s: float) -> TransferResult:
        return await self._run("find_reversal", timeout_s, unknown_transfer, partial(self._find_reversal, request))

    async def _find_reversal(self, request: ReversalRequest, deadline: float) -> TransferResult:
        transfer = await self._transfer_named(request.transfer_reference, deadline)
        back = taken_back(transfer, request.key) if transfer else None
        if back is None:
            return TransferResult(outcome=TransferOutcome.NOT_FOUND)
        return moved_as_asked(back, request.amount, request.currency)

    # --- Payouts ---

    async def pay_out(self, request: PayoutRequest, *, timeout_s: float) -> PayoutResult:
        return await self._run("pay_out", timeout_s, unknown_payout, partial(self._pay_out, request))

    async def _pay_out(self, request: PayoutRequest, deadline: float) -> PayoutResult:
        if not request.destination:
            return refused_payout(failure_with("payout_account_invalid"))
        try:
            params = _payout_params(request)
        except MoneyError as error:
            return refused_payout(inexpressible(error))
        try:
            payout = await self._send(deadline, "post", PAYOUTS, params, key=request.key, account=request.destination)
        except Refusal as refusal:
            # A balance that is too low may be the echo of this very payout: Stripe forgets keys.
            since_s = int(time.time() - ECHO.total_seconds())
            ours = await self._payouts_of(request.payout_id, request.destination, since_s, deadline)
            echo = [one for one in ours if carried(one, "paysaga_key") == request.key or not _is_over(one)]
            if not echo:
                return refused_payout(refusal_of(refusal.error, "payout_refused"))
            return paid_as_asked(payout_result(min(echo, key=_is_over)), request.amount, request.currency)
        if carried(payout, "paysaga_payout") not in (None, request.payout_id):
            return unknown_payout("key_reused")
        return paid_as_asked(payout_result(payout), request.amount, request.currency)

    async def retrieve_payout(
        self, reference: str, *, payout_id: str, destination: str, timeout_s: float
    ) -> PayoutResult:
        steps = partial(self._retrieve_payout, reference, payout_id, destination)
        return await self._run("retrieve_payout", timeout_s, unknown_payout, steps)

    async def _retrieve_payout(self, reference: str, payout_id: str, destination: str, deadline: float) -> PayoutResult:
        try:
            payout = await self._send(deadline, "get", path_of(PAYOUTS, reference), account=destination)
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return PayoutResult(outcome=PayoutOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None
        if payout.get("id") != reference:
            return unknown_payout("malformed")
        if carried(payout, "paysaga_payout") not in (None, payout_id) or payout.get("original_payout"):
            return PayoutResult(outcome=PayoutOutcome.NOT_FOUND, failure=failure_with("another_payout"))
        return payout_result(payout)

    async def find_payout(
        self, payout_id: str, *, destination: str, created_from: datetime, timeout_s: float
    ) -> PayoutResult:
        steps = partial(self._find_payout, payout_id, destination, int(created_from.timestamp()))
        return await self._run("find_payout", timeout_s, unknown_payout, steps)

    async def _find_payout(self, payout_id: str, destination: str, since_s: int, deadline: float) -> PayoutResult:
        """Of several (one for each attempt) the one that still holds the money counts."""
        found = await self._payouts_of(payout_id, destination, since_s, deadline)
        return payout_result(min(found, key=_is_over)) if found else PayoutResult(outcome=PayoutOutcome.NOT_FOUND)

    async def _payouts_of(self, payout_id: str, destination: str, since_s: int, deadline: float) -> list[Object]:
        def is_ours(payout: Object) -> bool:
            # A payout that takes another one back is an object of its own, and is not what pays the seller.
            return carried(payout, "paysaga_payout") == payout_id and not payout.get("original_payout")

        return await self._find(deadline, PAYOUTS, {"created": {"gte": since_s}}, is_ours, account=destination)

    async def cancel_payout(
        self, reference: str, *, payout_id: str, destination: str, key: str, timeout_s: float
    ) -> PayoutResult:
        steps = partial(self._cancel_payout, reference, payout_id, destination, key)
        return await self._run("cancel_payout", timeout_s, unknown_payout, steps)

    async def _cancel_payout(
        self, reference: str, payout_id: str, destination: str, key: str, deadline: float
    ) -> PayoutResult:
        """Cancel; where Stripe will not, the payout's state says why."""
        # A fresh key each time: Stripe would repeat a stored refusal or 500 for as long as the key lives. No key is
        # needed for safety: no money can move twice by cancelling twice.
        try:
            path = path_of(PAYOUTS, reference, "cancel")
            payout = await self._send(deadline, "post", path, key=fresh(key), account=destination)
        except Refusal as refusal:
            state = await self._retrieve_payout(reference, payout_id, destination, deadline)
            if state.outcome not in (PayoutOutcome.PENDING, PayoutOutcome.PAID):
                return state
            code = refusal.code if isinstance(refusal.code, str) else None
            return state.model_copy(update={"failure": failure_with("payout_not_cancellable", code)})
        state = payout_result(payout) if payout.get("id") == reference else unknown_payout("malformed")
        is_over = state.outcome in (PayoutOutcome.CANCELLED, PayoutOutcome.UNKNOWN)
        return state if is_over else unknown_payout("unrecognised", reference)


def _is_over(payout: Object) -> bool:
    """It holds no money any more."""
    return payout.get("status") in ("failed", "canceled")


def _transfer_as_asked(transfer: Object, request: TransferRequest) -> TransferResult:
    """A transfer of another payout, to another account or of another amount than was asked for is UNKNOWN."""
    if carried(transfer, "paysaga_payout") not in (None, request.payout_id):
        return unknown_transfer("key_reused")
    result = transfer_result(transfer)
    if result.outcome is TransferOutcome.DONE and transfer.get("destination") != request.destination:
        return unknown_transfer("another_account", result.reference)
    return moved_as_asked(result, request.amount, request.currency)
