"""Stripe behind the Psp protocol: charges, refunds, disputes and events.

Start at `StripePsp`. Money out is in `stripe_payouts`, reconciliation in `stripe_lines`. How a request travels, and
what its errors mean, is in `stripe_wire`; what Stripe's objects mean in our words, in `stripe_objects`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import stripe

from domain.model import Failure
from domain.money import MoneyError
from domain.psp import (
    CaptureRequest,
    CardFacts,
    ChargeLookup,
    ChargeOutcome,
    ChargeRequest,
    ChargeResult,
    DisputeOutcome,
    DisputeResult,
    EvidenceRequest,
    PspEvent,
    RefundOutcome,
    RefundRequest,
    RefundResult,
    WebhookRejected,
)
from gateways.guard import Guard
from gateways.stripe.lines import StripeLines
from gateways.stripe.objects import (
    LARGEST,
    LARGEST_ELSE,
    SMALLEST,
    UNREADABLE,
    Object,
    card_facts,
    carried,
    charge_result,
    dispute_result,
    failure_of,
    failure_with,
    is_of_seller,
    parse_event,
    read_event,
    refund_result,
    result_for,
    to_stripe,
    to_stripe_payout,
    unknown_charge,
    unknown_dispute,
    unknown_refund,
)
from gateways.stripe.payouts import StripePayouts
from gateways.stripe.wire import LookOutcome, Refusal, Unanswered, fresh, path_of

WEBHOOK_TOLERANCE_S = 300
NEAR = timedelta(minutes=20)
"""Stripe lists the newest first: in a long window of a busy account the pages end before the charge, which was most
likely made near the window's beginning."""


@dataclass(frozen=True)
class CardLook:
    """What a look at a card behind a token brought; `reason` of an UNKNOWN as in ChargeResult."""

    outcome: LookOutcome
    card: CardFacts | None = None
    reason: str | None = None


# --- The requests -----------------------------------------------------------------------------------------------------

_METHOD_TYPES = {
    # A wallet (Apple Pay, Google Pay) hands over a card token: for Stripe it is a card.
    "card": "card",
    "wallet": "card",
    "upi": "upi",
    "netbanking": "netbanking",
}

_REFUND_REASONS = {
    # Stripe knows three words. `fraudulent` also puts the buyer on its block list, so nothing else maps to it.
    "duplicate": "duplicate",
    "fraudulent": "fraudulent",
    "requested_by_customer": "requested_by_customer",
}

INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"
DISPUTES = "/v1/disputes"
CARDS = {"tok_": "/v1/tokens", "pm_": "/v1/payment_methods"}
"""Where the card behind a token is described, by how the token begins."""

_EXPAND_FEE: Object = {"expand": ["latest_charge.balance_transaction"]}


def _charge_params(request: ChargeRequest, return_url: str | None) -> Object:
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
            **request.metadata,
            "paysaga_payment": request.payment_id,
            "paysaga_charge": request.charge_id,
            "paysaga_key": request.key,
        },
        **_EXPAND_FEE,
        **source,
    }
    if request.receipt_email:
        params["receipt_email"] = request.receipt_email
    if return_url:
        params["return_url"] = return_url
    return params


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


def _evidence_params(request: EvidenceRequest) -> Object:
    """Our names are Stripe's, but Stripe takes customer_communication as an uploaded file only: it joins the text."""
    evidence = dict(request.fields)
    communication = evidence.pop("customer_communication", None)
    if communication:
        texts = (evidence.get("uncategorized_text"), f"Communication with the customer:\n{communication}")
        evidence["uncategorized_text"] = "\n\n".join(text for text in texts if text)
    return {"evidence": evidence, "submit": True}


class StripePsp(StripePayouts, StripeLines):
    """The adapter. One instance belongs to one event loop; `close` ends its connections.

    `base_url` points it at another server than Stripe's; `webhook_secrets` are all accepted, for rotation;
    `currencies` are those the account settles in; `return_url` is where 3DS sends the buyer back to (without it
    Stripe may offer a step for its own JavaScript only); `account_id` is the Connect account whose events are
    taken; of every other one only those of payouts.
    """

    def __init__(
        self,
        *,
        api_key: str,
        guard: Guard,
        currencies: Collection[str],
        webhook_secrets: Sequence[str] = (),
        base_url: str | None = None,
        key_life_s: float = 86_400,
        return_url: str | None = None,
        account_id: str | None = None,
        name: str = "stripe",
    ) -> None:
        super().__init__(api_key=api_key, guard=guard, base_url=base_url, name=name)
        self.key_life_s = key_life_s
        self._currencies = frozenset(currencies)
        self._webhook_secrets = tuple(webhook_secrets)
        self._return_url = return_url
        self._account_id = account_id
        self._live = "_live_" in api_key

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
            return Failure(code=error.code, message=str(error))
        return None

    def check_payout(self, amount: int, currency: str) -> Failure | None:
        try:
            to_stripe_payout(amount, currency)
        except MoneyError as error:
            return Failure(code=error.code, message=str(error))
        return None

    # --- Before a charge ---

    def can_authorize(self, method: str) -> bool:
        return _METHOD_TYPES.get(method) == "card"

    async def describe_card(self, token: str, *, timeout_s: float) -> CardFacts | None:
        collection = next((path for prefix, path in CARDS.items() if token.startswith(prefix)), None)
        if collection is None:
            return None
        look = await self._run("describe_card", timeout_s, _unknown_card, partial(self._describe, collection, token))
        return look.card

    async def _describe(self, collection: str, token: str, deadline: float) -> CardLook:
        try:
            thing = await self._send(deadline, "get", path_of(collection, token))
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return CardLook(LookOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None
        # No look at its id: Stripe's test names (pm_card_visa) are answered with an object that has another one.
        if thing.get("object") not in ("token", "payment_method"):
            raise Unanswered("malformed")
        card = card_facts(thing.get("card"))
        return CardLook(LookOutcome.FOUND if card else LookOutcome.NOT_FOUND, card)

    # --- Charges ---

    async def charge(self, request: ChargeRequest, *, timeout_s: float) -> ChargeResult:
        return await self._run("charge", timeout_s, unknown_charge, partial(self._charge, request))

    async def _charge(self, request: ChargeRequest, deadline: float) -> ChargeResult:
        try:
            params = _charge_params(request, self._return_url)
        except MoneyError as error:
            # `check_amount` refuses these. No decline: an earlier attempt under this key may have been sent.
            raise Unanswered(error.code) from None
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
            raise Unanswered(error.code) from None
        # A fresh key each time: under the same one Stripe would repeat a stored refusal or 500 for as long as the key
        # lives, or an answer that is no longer true, while the authorisation runs out. It cannot take the money twice:
        # one capture ends a PaymentIntent (it releases the rest, and only requires_capture can be captured), unless
        # multicapture was requested when it was made and `final_capture` is false. We send neither.
        # https://docs.stripe.com/payments/multicapture, …/api/payment_intents/capture
        path = path_of(INTENTS, request.reference, "capture")
        try:
            intent = await self._send(deadline, "post", path, params, key=fresh(request.key))
        except Refusal as refusal:
            state = await self._retrieve(request.reference, request.charge_id, deadline)
            if state.outcome is ChargeOutcome.AUTHORIZED:
                return state.model_copy(update={"failure": failure_of(refusal.error)})
        else:
            state = result_for(intent, request.reference, request.charge_id)
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

    # --- Refunds ---

    async def refund(self, request: RefundRequest, *, timeout_s: float) -> RefundResult:
        return await self._run("refund", timeout_s, unknown_refund, partial(self._refund, request))

    async def _refund(self, request: RefundRequest, deadline: float) -> RefundResult:
        try:
            params = _refund_params(request)
        except MoneyError as error:
            raise Unanswered(error.code) from None
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

    # --- Disputes ---

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

    # --- Webhooks ---

    def read_webhook(self, body: bytes, headers: dict[str, str]) -> PspEvent:
        signature = next((value for name, value in headers.items() if name.lower() == "stripe-signature"), None)
        if not signature:
            raise WebhookRejected("webhook_signature_missing", "The Stripe-Signature header is missing.")
        self._verify(body, signature)
        event = parse_event(body)
        if event["livemode"] is not self._live:
            raise WebhookRejected("webhook_wrong_mode", "Live and test events are not mixed.")
        if event.get("account") not in (None, self._account_id) and not is_of_seller(event):
            raise WebhookRejected("webhook_wrong_account", "The event is another account's.")
        try:
            return read_event(event)
        except UNREADABLE:
            raise WebhookRejected("webhook_malformed", "The event's object cannot be read.") from None

    def _verify(self, body: bytes, signature: str) -> None:
        """The signature first, then the age: only a genuine event can be stale."""
        secret = next((s for s in self._webhook_secrets if _is_signed(body, signature, s, tolerance_s=None)), None)
        if secret is None:
            raise WebhookRejected("webhook_signature_invalid", "The signature matches none of the secrets.")
        if not _is_signed(body, signature, secret, tolerance_s=WEBHOOK_TOLERANCE_S):
            raise WebhookRejected("webhook_stale", f"The event was signed over {WEBHOOK_TOLERANCE_S} s ago.")


def _declined(refusal: Refusal) -> ChargeResult:
    """A refused charge. The PaymentIntent inside the error is believed over the error: it may be paid after all."""
    intent = refusal.error.get("payment_intent")
    if intent is None:
        return ChargeResult(outcome=ChargeOutcome.DECLINED, failure=failure_of(refusal.error))
    result = charge_result(intent)
    if result.outcome is not ChargeOutcome.DECLINED:
        return result
    return result.model_copy(update={"failure": failure_of(refusal.error)})


def _unknown_card(reason: str) -> CardLook:
    return CardLook(LookOutcome.UNKNOWN, reason=reason)


def _is_captured_or_over(state: ChargeResult) -> bool:
    return state.outcome in (ChargeOutcome.SUCCEEDED, ChargeOutcome.VOIDED, ChargeOutcome.UNKNOWN)


def _can_still_be_paid(state: ChargeResult) -> bool:
    return state.outcome in (ChargeOutcome.DECLINED, ChargeOutcome.REQUIRES_ACTION, ChargeOutcome.AUTHORIZED)


def _as_asked(result: RefundResult, request: RefundRequest) -> RefundResult:
    """A refund of another amount than was asked for is UNKNOWN: what it did has to be looked at by a person."""
    asked = (request.amount, request.currency)
    if result.outcome is RefundOutcome.UNKNOWN or (result.amount, result.currency) == asked:
        return result
    mismatch = {"outcome": RefundOutcome.UNKNOWN, "failure": None, "reason": "amount_mismatch"}
    return result.model_copy(update=mismatch)


def _is_signed(body: bytes, signature: str, secret: str, *, tolerance_s: int | None) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, tolerance_s)
    except (stripe.SignatureVerificationError, TypeError, ValueError):
        return False  # TypeError, ValueError: characters outside ASCII, a body that is no UTF-8
    return True
