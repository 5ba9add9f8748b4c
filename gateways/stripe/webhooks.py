"""Webhooks of Stripe: the signature is verified, the event read. No I/O."""

import json
import re
from typing import Any

import stripe

from domain.card_data import has_card_data
from domain.psp import PspEvent, PspEventKind, WebhookRejected
from gateways.stripe.amounts import from_stripe
from gateways.stripe.objects import UNREADABLE, Object, text_or_none, trace_of

WEBHOOK_TOLERANCE_S = 300


class StripeWebhooks:
    """The part of the adapter that takes events in.

    `_webhook_secrets` are all accepted, for rotation; `_account_id` is the Connect account whose events are taken; of
    every other one only those of payouts. `_live`: the key is of live mode, whose events are never mixed with test
    ones. A genuine event that is not for us is read as one to be ignored: refused, Stripe would send it for three days.
    """

    _webhook_secrets: tuple[str, ...]
    _account_id: str | None
    _live: bool

    def read_webhook(self, body: bytes, headers: dict[str, str]) -> PspEvent:
        signature = next((value for name, value in headers.items() if name.lower() == "stripe-signature"), None)
        if not signature:
            raise WebhookRejected("webhook_signature_missing", "The Stripe-Signature header is missing.")
        self._verify(body, signature)
        event = parse_event(body)
        try:
            read = read_event(event)
        except UNREADABLE:
            return ignored_event(event, "its object cannot be read")
        why = self._not_for_us(event)
        return read if why is None else ignored_event(event, why)

    def _not_for_us(self, event: Object) -> str | None:
        """Why an event is not taken. A Connect endpoint of live mode gets the test events as well."""
        if event.get("livemode") is not self._live:
            return f"it is not of {'live' if self._live else 'test'} mode"
        account = event.get("context" if is_thin(event) else "account")
        if account not in (None, self._account_id) and not is_of_seller(event):
            return "it is of another account"
        return None

    def _verify(self, body: bytes, signature: str) -> None:
        """Only a genuine event can be stale."""
        if any(
            _is_signed(body, signature, secret, tolerance_s=WEBHOOK_TOLERANCE_S) for secret in self._webhook_secrets
        ):
            return
        if any(_is_signed(body, signature, secret, tolerance_s=None) for secret in self._webhook_secrets):
            raise WebhookRejected("webhook_stale", f"The event was signed over {WEBHOOK_TOLERANCE_S} s ago.")
        raise WebhookRejected("webhook_signature_invalid", "The signature matches none of the secrets.")


def _is_signed(body: bytes, signature: str, secret: str, *, tolerance_s: int | None) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, tolerance_s)
    except (stripe.SignatureVerificationError, TypeError, ValueError):
        return False  # TypeError, ValueError: characters outside ASCII, a body that is no UTF-8
    return True


# --- The event ---


def parse_event(body: bytes) -> Object:
    """The event: an object of Stripe's with an id and a type. Raises WebhookRejected `webhook_malformed`."""
    try:
        event = json.loads(body, parse_int=_whole)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not all(text_or_none(event.get(name)) for name in ("object", "id", "type")):
        raise WebhookRejected("webhook_malformed", "The body is not an event.")
    return event


def _whole(digits: str) -> int | float:
    """A whole number of JSON. One that no column holds is no amount; Python refuses to read the longest of them."""
    return int(digits) if len(digits) <= _DIGITS_MAX else float(digits)


_DIGITS_MAX = 300

THIN = "v2.core.event"
"""The `object` of an event that names its object and does not hold it."""


def is_thin(event: Object) -> bool:
    return event.get("object") == THIN


def ignored_event(event: Object, why: str) -> PspEvent:
    """An event that is kept and moves nothing."""
    return PspEvent(
        event_id=event["id"], type=event["type"], kind=PspEventKind.OTHER, ignored=why, payload=_kept(event)
    )


_KEPT = frozenset(
    {
        *("id", "object", "type", "created", "livemode", "api_version", "account", "context", "related_object", "data"),
        *("status", "amount", "amount_received", "amount_refunded", "amount_captured", "amount_capturable", "currency"),
        *("payment_intent", "charge", "latest_charge", "refund", "balance_transaction", "destination", "metadata"),
        *(
            "captured",
            "paid",
            "refunded",
            "disputed",
            "reason",
            "failure_code",
            "failure_reason",
            "decline_code",
            "code",
        ),
        *("last_payment_error", "arrival_date", "automatic", "method", "trace_id", "value"),
        *("paysaga_payment", "paysaga_charge", "paysaga_refund", "paysaga_payout", "paysaga_key"),
    }
)
"""Of an event, what somebody may have to look up later: which object, in which state, and how much. Secrets of a
PaymentIntent, people's names and addresses, evidence and the shop's own metadata are not."""
_KEPT_LENGTH_MAX = 255
_KEPT_DEPTH_MAX = 16
_WRITTEN = re.compile(r"[\s@]|_secret_")
"""In what people write, in addresses, and in the secrets of PaymentIntents and SetupIntents; in no code and no id."""


def _kept(value: Any, depth: int = 0) -> Any:
    """The event as the inbox keeps it: members that are known to be harmless, of texts only codes and ids, and nothing
    that is deeper than any event of Stripe's."""
    if isinstance(value, dict):
        if depth == _KEPT_DEPTH_MAX:
            return None
        kept = {}
        for name, member in value.items():
            if name in _KEPT and (of_member := _kept(member, depth + 1)) is not None:
                kept[name] = of_member
        return kept
    if isinstance(value, str):
        harmless = len(value) <= _KEPT_LENGTH_MAX and not _WRITTEN.search(value) and not has_card_data(value)
        return value if harmless else None
    return value if isinstance(value, bool | int | float) else None


_EVENT_KINDS = {
    "payment_intent": PspEventKind.CHARGE,
    "charge": PspEventKind.CHARGE,
    "refund": PspEventKind.REFUND,
    "dispute": PspEventKind.DISPUTE,
}

_PAYOUT_TYPES = {"payout.paid": False, "payout.failed": True, "payout.canceled": True, "transfer.reversed": True}
"""What tells something new of a payout, and whether that is that it did not reach, or left, the seller's bank. That it
was created or is on its way is the answer to our own call, which a message in the midst of it would disturb."""

_AUTHORIZED_TYPE = "payment_intent.amount_capturable_updated"
_PAID_TYPES = frozenset({"payment_intent.succeeded", "charge.succeeded", "charge.captured"})


def is_of_seller(event: Object) -> bool:
    """True if a connected account's event is one that we take: about a payout from there to the seller's bank."""
    return _type_of(event).startswith("payout.") and _object_of(event).get("object") == "payout"


def _type_of(event: Object) -> str:
    """The type as an event with its object has it: a thin one about the same fact is called `v1.…`."""
    kind: str = event["type"]
    return kind.removeprefix("v1.") if is_thin(event) else kind


def _object_of(event: Object) -> Object:
    """The object that an event is about; of a thin one its name and id alone. Raises one of UNREADABLE."""
    if not is_thin(event):
        if event["object"] != "event":
            raise ValueError("not an Event")
        thing: Object = event["data"]["object"]
        return dict(thing.items())
    related = event.get("related_object") or {}
    return {"object": related.get("type"), "id": related.get("id")}


def read_event(event: Object) -> PspEvent:
    """Our event of a Stripe event. Raises one of UNREADABLE for what cannot be read."""
    thing = _object_of(event)
    type_ = _type_of(event)
    is_charge = thing.get("object") == "charge"
    metadata = thing.get("metadata") or {}
    kind = _EVENT_KINDS.get(thing.get("object") or "", PspEventKind.OTHER)
    is_payout = thing.get("object") == "payout" or (
        thing.get("object") == "transfer" and metadata.get("paysaga_payout")
    )
    if is_payout and type_ in _PAYOUT_TYPES:
        kind = PspEventKind.PAYOUT
    of_charge = kind in (PspEventKind.REFUND, PspEventKind.DISPUTE)
    amount, currency = _amount_of(thing) if of_charge else (None, None)
    if kind is PspEventKind.DISPUTE and (not thing.get("id") or (amount is None and not is_thin(event))):
        raise ValueError("not a Dispute")
    return PspEvent(
        event_id=event["id"],
        type=event["type"],
        kind=kind,
        # Our charges are PaymentIntents: an event on the charge inside one names the PaymentIntent.
        reference=(thing.get("payment_intent") if is_charge else None) or thing.get("id"),
        charge_reference=(text_or_none(thing.get("payment_intent")) or text_or_none(thing.get("charge")))
        if of_charge
        else None,
        amount=amount,
        currency=currency,
        charge_id=metadata.get("paysaga_charge"),
        refund_id=metadata.get("paysaga_refund"),
        payout_id=metadata.get("paysaga_payout"),
        trace_id=trace_of(thing) if thing.get("object") == "payout" else None,
        # charge.succeeded also tells of a mere authorisation, which took nothing yet.
        paid=type_ in _PAID_TYPES and thing.get("captured", True) is True,
        authorized=type_ == _AUTHORIZED_TYPE and thing.get("status") == "requires_capture",
        payout_failed=kind is PspEventKind.PAYOUT and _PAYOUT_TYPES[type_],
        refund_failed=thing.get("object") == "refund"
        and (thing.get("status") in ("failed", "canceled") or type_ == "refund.failed"),
        payload=_kept(event),
    )


def _amount_of(thing: Object) -> tuple[int, str] | tuple[None, None]:
    """Both or neither: an amount without its currency is none."""
    try:
        currency = thing["currency"].upper()
        return from_stripe(thing["amount"], currency), currency
    except UNREADABLE:
        return None, None
