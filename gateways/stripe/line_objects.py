"""Stripe's balance transactions, and its rows of a report, as our lines. No I/O."""

import hashlib
import json
from datetime import datetime
from typing import Any

from domain.money import MoneyError, exponent
from domain.reconciliation.lines import PspLine, PspLineKind
from gateways.settlement_file import bounded_amount, bounded_name, bounded_time, free_text
from gateways.stripe.amounts import from_stripe
from gateways.stripe.objects import (
    UNREADABLE,
    Object,
    carried,
    inside,
    text_or_none,
    time_of,
    time_or_none,
    trace_of,
)

NO_CURRENCY = "XXX"
"""ISO 4217's code for a transaction without a currency: of a line whose currency cannot be read."""

_BY_CATEGORY: dict[str, PspLineKind] = {
    # Stripe's reporting category says more than its type. https://docs.stripe.com/reports/reporting-categories
    "charge": PspLineKind.CHARGE,
    # Where less is captured than was reserved, Stripe may book the whole and then take the rest back; likewise where a
    # payment that succeeded fails after all. Together with the charge's own line it is what the charge brought.
    "partial_capture_reversal": PspLineKind.CHARGE,
    "charge_failure": PspLineKind.CHARGE,
    "refund": PspLineKind.REFUND,
    "refund_failure": PspLineKind.REFUND_FAILURE,
    "dispute": PspLineKind.DISPUTE,
    "dispute_reversal": PspLineKind.DISPUTE_REVERSAL,
    "transfer": PspLineKind.TRANSFER,
    "transfer_reversal": PspLineKind.TRANSFER_REVERSAL,
    "payout": PspLineKind.PAYOUT,
    "payout_reversal": PspLineKind.PAYOUT_REVERSAL,
    "fee": PspLineKind.FEE,
    "network_cost": PspLineKind.FEE,
    "tax": PspLineKind.FEE,
}

_BY_TYPE: dict[str, PspLineKind] = {
    # https://docs.stripe.com/reports/balance-transaction-types; an `adjustment` may be anything.
    "charge": PspLineKind.CHARGE,
    "payment": PspLineKind.CHARGE,
    "payment_failure_refund": PspLineKind.CHARGE,
    "refund": PspLineKind.REFUND,
    "payment_refund": PspLineKind.REFUND,
    "refund_failure": PspLineKind.REFUND_FAILURE,
    "transfer": PspLineKind.TRANSFER,
    "transfer_cancel": PspLineKind.TRANSFER_REVERSAL,
    "transfer_failure": PspLineKind.TRANSFER_REVERSAL,
    "transfer_refund": PspLineKind.TRANSFER_REVERSAL,
    "payout": PspLineKind.PAYOUT,
    "payout_cancel": PspLineKind.PAYOUT_REVERSAL,
    "payout_failure": PspLineKind.PAYOUT_REVERSAL,
    "stripe_fee": PspLineKind.FEE,
    "stripe_fx_fee": PspLineKind.FEE,
    "tax_fee": PspLineKind.FEE,
}

OF_CHARGE = frozenset(
    {
        PspLineKind.CHARGE,
        PspLineKind.REFUND,
        PspLineKind.REFUND_FAILURE,
        PspLineKind.DISPUTE,
        PspLineKind.DISPUTE_REVERSAL,
    }
)

PAYOUT_KINDS = (PspLineKind.PAYOUT, PspLineKind.PAYOUT_REVERSAL)

OUR_NAMES: dict[PspLineKind, str] = {
    # Under which name the object behind a line carries our id.
    PspLineKind.CHARGE: "paysaga_charge",
    PspLineKind.REFUND: "paysaga_refund",
    PspLineKind.REFUND_FAILURE: "paysaga_refund",
    PspLineKind.TRANSFER: "paysaga_payout",
    PspLineKind.TRANSFER_REVERSAL: "paysaga_payout",
    PspLineKind.PAYOUT: "paysaga_payout",
    PspLineKind.PAYOUT_REVERSAL: "paysaga_payout",
}


def line_kind(category: object, kind: object = None) -> PspLineKind:
    """The kind of a line by Stripe's reporting category or, where there is none, by its type."""
    if isinstance(category, str) and category:
        return _BY_CATEGORY.get(category, PspLineKind.OTHER)
    return _BY_TYPE.get(kind, PspLineKind.OTHER) if isinstance(kind, str) else PspLineKind.OTHER


def line_of(entry: Any, otherwise_at: datetime) -> PspLine:
    """A balance transaction with its `source` (and a reversal's `transfer`) expanded.

    One that cannot be read is a line of the kind OTHER with what is known of it, never left out: amounts that are not
    known are 0, an unknown currency is `XXX`, an unknown time `otherwise_at`, and the description quotes what was
    there.
    """
    try:
        return _read(entry)
    except UNREADABLE:
        return _unreadable(entry, otherwise_at)


def _read(entry: Object) -> PspLine:
    if entry["object"] != "balance_transaction" or not entry["id"]:
        raise ValueError("not a balance transaction")
    currency = entry["currency"].upper()
    amount, fee = from_stripe(entry["amount"], currency), from_stripe(entry["fee"], currency)
    if from_stripe(entry["net"], currency) != amount - fee:
        raise ValueError("the parts are not the whole")
    kind = line_kind(entry.get("reporting_category"), entry.get("type"))
    source = entry.get("source")
    return PspLine(
        reference=bounded_name(entry["id"]),
        kind=kind,
        amount=bounded_amount(amount),
        fee=bounded_amount(fee),
        currency=currency,
        occurred_at=bounded_time(time_of(entry["created"])),
        available_on=_time(entry.get("available_on")),
        source_reference=bounded_name(_id_of(source)),
        charge_reference=bounded_name(_charge_of(source, kind) if kind in OF_CHARGE else None),
        our_reference=bounded_name(_ours(source, kind)),
        description=free_text(text_or_none(entry.get("description"))),
        trace_id=trace_of(source) if kind in PAYOUT_KINDS else None,
    )


def _id_of(thing: Any) -> str | None:
    """Of an object that is expanded or not."""
    return text_or_none(thing) or text_or_none(inside(thing, "id"))


def _charge_of(source: Any, kind: PspLineKind) -> str | None:
    """The PaymentIntent, or the charge where it was made without one."""
    named = _id_of(inside(source, "payment_intent")) or _id_of(inside(source, "charge"))
    return named or (_id_of(source) if kind is PspLineKind.CHARGE else None)


def _ours(source: Any, kind: PspLineKind) -> str | None:
    name = OUR_NAMES.get(kind)
    if name is None:
        return None
    # A reversal made in the dashboard carries nothing; its transfer does.
    return text_or_none(carried(source, name)) or text_or_none(carried(inside(source, "transfer"), name))


def _unreadable(entry: Any, otherwise_at: datetime) -> PspLine:
    currency = _currency_or_none(inside(entry, "currency"))
    # Not the whole entry, whose source may name the buyer.
    names = ("amount", "fee", "net", "currency", "created", "type", "reporting_category")
    facts = json.dumps({name: inside(entry, name) for name in names})
    digest = hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
    return PspLine(
        reference=_name(inside(entry, "id")) or f"unreadable:{digest[:32]}",
        kind=PspLineKind.OTHER,
        amount=_amount_or_zero(inside(entry, "amount"), currency),
        fee=_amount_or_zero(inside(entry, "fee"), currency),
        currency=currency or NO_CURRENCY,
        occurred_at=_time(inside(entry, "created")) or otherwise_at,
        available_on=_time(inside(entry, "available_on")),
        source_reference=_name(_id_of(inside(entry, "source"))),
        description=free_text(f"Unreadable: {facts}"[:500]),
    )


def _currency_or_none(value: object) -> str | None:
    try:
        currency = str(value).upper()
        exponent(currency)
    except MoneyError:
        return None
    return currency


def _amount_or_zero(value: object, currency: str | None) -> int:
    try:
        return bounded_amount(from_stripe(value, currency or NO_CURRENCY))
    except ValueError:
        return 0


def _time(seconds: Any) -> datetime | None:
    time = time_or_none(seconds)
    try:
        return bounded_time(time) if time is not None else None
    except ValueError:
        return None


def _name(value: Any) -> str | None:
    try:
        return bounded_name(text_or_none(value))
    except ValueError:
        return None
