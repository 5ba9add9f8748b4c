"""Charges at Stripe: what can be charged, and PaymentIntents made, found, captured and voided."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from domain.model import Failure
from domain.money import MoneyError
from domain.psp import (
    CaptureRequest,
    CardFacts,
    ChargeLookup,
    ChargeOutcome,
    ChargeRequest,
    ChargeResult,
)
from gateways.call import LookupOutcome, Refusal, Unanswered
from gateways.stripe.amounts import LARGEST, LARGEST_ELSE, SMALLEST, to_stripe, to_stripe_payout, unit
from gateways.stripe.failures import failure_of, failure_with, inexpressible
from gateways.stripe.objects import Object, carried
from gateways.stripe.results import card_facts, charge_result, result_for, unknown_charge
from gateways.stripe.wire import StripeCalls, fresh, path_of

NEAR = timedelta(minutes=20)
"""Stripe lists the newest first: in a long window of a busy account the pages end before the charge, which was most
likely made near the window's beginning."""


@dataclass(frozen=True)
class CardLookup:
    """The result of looking up the card behind a token; `reason` of an UNKNOWN as in ChargeResult."""

    outcome: LookupOutcome
    card: CardFacts | None = None
    reason: str | None = None


_METHOD_TYPES = {
    # A wallet (Apple Pay, Google Pay) hands over a card token: for Stripe it is a card.
    "card": "card",
    "wallet": "card",
    "upi": "upi",
    # A payment by the buyer's online bank: Stripe has a type for each country's, of which this is one.
    "netbanking": "fpx",
}

INTENTS = "/v1/payment_intents"
CARDS = {"tok_": "/v1/tokens", "pm_": "/v1/payment_methods"}
"""Where the card behind a token is described, by how the token begins."""

_EXPAND_FEE: Object = {"expand": ["latest_charge.balance_transaction"]}


def _charge_params(request: ChargeRequest, return_url: str | None, statement_descriptor: str | None) -> Object:
    """`return_url` and `statement_descriptor` are the account's own, of a payment that keeps none."""
    token = request.token
    source: Object = {"payment_method": token}
    if token.startswith("tok_"):
        source = {"payment_method_data": {"type": "card", "card": {"token": token}}}
    params: Object = {
        "amount": to_stripe(request.amount, request.currency),
        "currency": request.currency.lower(),
        "confirm": True,
        # Stripe's default captures a moment after it answered, and then the answer has no fee yet.
        "capture_method": "manual" if request.authorize_only else "automatic",
        "payment_method_types": [_METHOD_TYPES[request.method]],
        "description": request.description,
        "metadata": {
            **_acceptable(request.metadata),
            "paysaga_payment": request.payment_id,
            "paysaga_charge": request.charge_id,
            "paysaga_key": request.key,
        },
        **_EXPAND_FEE,
        **source,
    }
    if request.receipt_email:
        params["receipt_email"] = request.receipt_email
    if back := request.return_url if request.return_url is not None else return_url:
        params["return_url"] = back
    if words := request.statement_descriptor if request.statement_descriptor is not None else statement_descriptor:
        # Of a card, Stripe refuses all but what comes after the account's own words.
        is_card = params["payment_method_types"] == ["card"]
        params["statement_descriptor_suffix" if is_card else "statement_descriptor"] = words
    return params


def _acceptable(metadata: Mapping[str, str]) -> dict[str, str]:
    """The shop's metadata without what Stripe refuses (brackets in a name, nothing as a value), for which no payment
    should fail, and without names that are ours."""
    return {
        name: value
        for name, value in metadata.items()
        if value and not name.startswith("paysaga_") and not set("[]") & set(name)
    }


class StripeCharges(StripeCalls):
    """The part of the adapter that charges buyers.

    `_currencies` are those that the account settles in; `return_url` is where the buyer is sent back to;
    `statement_descriptor` are the words on the buyer's statement: a new payment keeps both, and is charged with them.
    """

    _currencies: Collection[str]
    return_url: str | None
    statement_descriptor: str | None

    # --- Amounts ---

    def check_amount(self, amount: int, currency: str) -> Failure | None:
        if currency not in self._currencies:
            return Failure(code="currency_not_settled", message=f"Payments in {currency} are not accepted.")
        precision = self.check_part(amount, currency)
        if precision is not None:
            return precision
        sent = to_stripe(amount, currency)
        if sent < SMALLEST.get(currency, 1):
            return failure_with("amount_too_small")
        return failure_with("amount_too_large") if sent > LARGEST.get(currency, LARGEST_ELSE) else None

    def check_part(self, amount: int, currency: str) -> Failure | None:
        try:
            to_stripe(amount, currency)
        except MoneyError as error:
            return inexpressible(error)
        return None

    def check_payout(self, amount: int, currency: str) -> Failure | None:
        try:
            to_stripe_payout(amount, currency)
        except MoneyError as error:
            return inexpressible(error)
        return None

    def unit(self, currency: str) -> int:
        return unit(currency)

    # --- Before a charge ---

    def can_authorize(self, method: str) -> bool:
        return _METHOD_TYPES.get(method) == "card"

    async def describe_card(self, token: str, *, timeout_s: float) -> CardFacts | None:
        collection = next((path for prefix, path in CARDS.items() if token.startswith(prefix)), None)
        if collection is None:
            return None
        found = await self._run("describe_card", timeout_s, _unknown_card, partial(self._describe, collection, token))
        return found.card

    async def _describe(self, collection: str, token: str, deadline: float) -> CardLookup:
        try:
            thing = await self._send(deadline, "get", path_of(collection, token))
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return CardLookup(LookupOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None
        # Its id is not compared: Stripe's test names (pm_card_visa) are answered with an object that has another one.
        if thing.get("object") not in ("token", "payment_method"):
            raise Unanswered("malformed")
        card = card_facts(thing.get("card"))
        return CardLookup(LookupOutcome.FOUND if card else LookupOutcome.NOT_FOUND, card)

    # --- Charges ---

    async def charge(self, request: ChargeRequest, *, timeout_s: float) -> ChargeResult:
        return await self._run("charge", timeout_s, unknown_charge, partial(self._charge, request))

    async def _charge(self, request: ChargeRequest, deadline: float) -> ChargeResult:
        try:
            params = _charge_params(request, self.return_url, self.statement_descriptor)
        except MoneyError as error:
            # `check_amount` refuses these. What cannot be expressed was never sent, in no attempt under this key.
            return ChargeResult(outcome=ChargeOutcome.DECLINED, failure=inexpressible(error))
        try:
            intent = await self._send(deadline, "post", INTENTS, params, key=request.key)
        except Refusal as refusal:
            return _declined(refusal)
        if carried(intent, "paysaga_charge") not in (None, request.charge_id):
            return unknown_charge("key_reused")
        return charge_result(intent)

    async def retrieve_charge(self, reference: str, *, charge_id: str, timeout_s: float) -> ChargeResult:
        steps = partial(self._retrieve, reference, charge_id)
        return await self._run("retrieve_charge", timeout_s, unknown_charge, steps)

    async def _retrieve(self, reference: str, charge_id: str, deadline: float) -> ChargeResult:
        try:
            intent = await self._send(deadline, "get", path_of(INTENTS, reference), _EXPAND_FEE)
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return ChargeResult(outcome=ChargeOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None
        return result_for(intent, reference, charge_id)

    async def find_charge(self, lookup: ChargeLookup, *, timeout_s: float) -> ChargeResult:
        return await self._run("find_charge", timeout_s, unknown_charge, partial(self._find_charge, lookup))

    async def _find_charge(self, lookup: ChargeLookup, deadline: float) -> ChargeResult:
        """First where the charge most likely is, then in the whole window."""
        found: list[Object] = []
        if lookup.created_to - lookup.created_from > NEAR:
            near = lookup.model_copy(update={"created_to": lookup.created_from + NEAR})
            try:
                found = await self._find_intents(near, deadline)
            except Unanswered as unanswered:
                # Incomplete: a charge that was made late may still be among the newest of the whole window.
                if unanswered.reason != "incomplete":
                    raise
        found = found or await self._find_intents(lookup, deadline)
        if not found:
            return ChargeResult(outcome=ChargeOutcome.NOT_FOUND)
        # One key makes one PaymentIntent. Should there be two after all, the one that took money is the one to know.
        best = min(found, key=lambda intent: intent.get("status") != "succeeded")
        return await self._retrieve(str(best.get("id")), lookup.charge_id, deadline)  # its present state, with the fee

    async def _find_intents(self, lookup: ChargeLookup, deadline: float) -> list[Object]:
        # Stripe's times are whole seconds: the window is widened to them.
        created = {"gte": int(lookup.created_from.timestamp()), "lte": int(lookup.created_to.timestamp()) + 1}

        def is_ours(intent: Object) -> bool:
            return carried(intent, "paysaga_charge") == lookup.charge_id

        return await self._find(deadline, INTENTS, {"created": created}, is_ours, first_only=True)

    async def capture_charge(self, request: CaptureRequest, *, timeout_s: float) -> ChargeResult:
        return await self._run("capture_charge", timeout_s, unknown_charge, partial(self._capture, request))

    async def _capture(self, request: CaptureRequest, deadline: float) -> ChargeResult:
        """Capture; where Stripe will not, the charge's state says why."""
        try:
            params = {"amount_to_capture": to_stripe(request.amount, request.currency), **_EXPAND_FEE}
        except MoneyError as error:
            return await self._not_captured(request, inexpressible(error), deadline)
        # A fresh key each time: under the same one Stripe would repeat a stored refusal or 500 for as long as the key
        # lives, or an answer that is no longer true, while the authorisation runs out. It cannot take the money twice:
        # one capture ends a PaymentIntent (it releases the rest, and only requires_capture can be captured), unless
        # multicapture was requested when it was made and `final_capture` is false. We send neither.
        # https://docs.stripe.com/payments/multicapture, …/api/payment_intents/capture
        path = path_of(INTENTS, request.reference, "capture")
        try:
            intent = await self._send(deadline, "post", path, params, key=fresh(request.key))
        except Refusal as refusal:
            return await self._not_captured(request, failure_of(refusal.error), deadline)
        state = result_for(intent, request.reference, request.charge_id)
        return state if _is_captured_or_over(state) else unknown_charge("unrecognised", request.reference)

    async def _not_captured(self, request: CaptureRequest, failure: Failure, deadline: float) -> ChargeResult:
        """The charge as it stands; where it is still authorised, with the `failure` that kept it from being taken."""
        state = await self._retrieve(request.reference, request.charge_id, deadline)
        if state.outcome is ChargeOutcome.AUTHORIZED:
            return state.model_copy(update={"failure": failure})
        return state if _is_captured_or_over(state) else unknown_charge("unrecognised", request.reference)

    async def void_charge(self, reference: str, *, charge_id: str, key: str, timeout_s: float) -> ChargeResult:
        steps = partial(self._void, reference, charge_id, key)
        return await self._run("void_charge", timeout_s, unknown_charge, steps)

    async def _void(self, reference: str, charge_id: str, key: str, deadline: float) -> ChargeResult:
        """Cancel; where Stripe will not, the charge's state says why."""
        # A fresh key each time: Stripe would answer a stored refusal or 500 for as long as the key lives, though the
        # charge can be cancelled by now. No key is needed for safety: no money can move twice by cancelling twice.
        try:
            path = path_of(INTENTS, reference, "cancel")
            intent = await self._send(deadline, "post", path, _EXPAND_FEE, key=fresh(key))
        except Refusal:
            state = await self._retrieve(reference, charge_id, deadline)
        else:
            state = result_for(intent, reference, charge_id)
        return unknown_charge("unrecognised", reference) if _can_still_be_paid(state) else state


def _declined(refusal: Refusal) -> ChargeResult:
    """A refused charge. The PaymentIntent inside the error is believed over the error: it may be paid after all."""
    intent = refusal.error.get("payment_intent")
    if intent is None:
        return ChargeResult(outcome=ChargeOutcome.DECLINED, failure=failure_of(refusal.error))
    result = charge_result(intent)
    if result.outcome is not ChargeOutcome.DECLINED:
        return result
    return result.model_copy(update={"failure": failure_of(refusal.error)})


def _unknown_card(reason: str) -> CardLookup:
    return CardLookup(LookupOutcome.UNKNOWN, reason=reason)


def _is_captured_or_over(state: ChargeResult) -> bool:
    return state.outcome in (ChargeOutcome.SUCCEEDED, ChargeOutcome.VOIDED, ChargeOutcome.UNKNOWN)


def _can_still_be_paid(state: ChargeResult) -> bool:
    return state.outcome in (ChargeOutcome.DECLINED, ChargeOutcome.REQUIRES_ACTION, ChargeOutcome.AUTHORIZED)
