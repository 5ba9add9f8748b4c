"""Storing a checkout in one statement."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from asyncpg import IntegrityConstraintViolationError

from db.audit_log import client_address
from db.core import deadline
from db.core.database import Database, LockTimeout
from db.core.idempotency import Claim, Request, in_progress
from db.core.keyring import Keyring
from db.core.statement import load
from db.hot.terms import Terms, TermsCache
from db.payment.checkout import said
from db.payment.event import event_data, payment_data
from db.payment.payment import NewPayment, Secrets
from db.payment.record import Charge, Order, Payment
from db.people import person
from domain.events import SCHEMA_VERSION
from domain.ids import charge_key, new_id
from domain.status import Status

_STORE = load(__package__, "store.sql")
_BUYER = load(__package__, "buyer.sql")

compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Stored:
    """A payment as it was stored just now, with what its charge needs."""

    payment: Payment
    secrets: Secrets


@dataclass(frozen=True)
class _Buyer:
    """`key` is wrapped, as it is stored; `address` encrypted under it, where it is not stored yet under `digest`."""

    id: str
    key: bytes
    is_new: bool
    digest: bytes | None
    address: bytes | None


async def store(
    database: Database, cache: TermsCache, keyring: Keyring, new: NewPayment, request: Request
) -> Stored | Claim | None:
    """Store a checkout under its key, or find what the same request stored before. None: nothing was written, and the
    general path decides (`db.payment.checkout`). Raises Conflict `idempotency_in_progress`; Unavailable."""
    sellers = list(dict.fromkeys(order.seller_account for order in new.orders))
    terms = await cache.of(database, new.tenant_id, sellers)
    if terms is None:
        return None
    known = new.email is not None or new.phone is not None
    buyer = await _buyer(database, keyring, new) if known else None
    if known and buyer is None:
        return None
    priced = [replace(o, platform_fee=terms[o.seller_account].fee.of(o.amount, new.currency)) for o in new.orders]
    complete = replace(
        new,
        orders=priced,
        buyer_email=_sealed(keyring, new, buyer, "email", new.email),
        buyer_phone=_sealed(keyring, new, buyer, "phone", new.phone),
    )
    charge_id = new_id("ch")
    await deadline.begin()
    try:
        row = await database.one(_STORE, **_values(complete, request, charge_id, terms, buyer))
    except IntegrityConstraintViolationError:
        return None
    except LockTimeout as error:
        raise in_progress(error) from error
    if row is not None and row["first_id"] is not None:
        return Claim(row["first_id"], replayed=True) if row["first_hash"] == request.hash else None
    if row is None:
        cache.forget(new.tenant_id, sellers)
        return None
    stored = _as_stored(complete, charge_id, row["created_at"], row["send_until"])
    return Stored(stored, Secrets(complete.token, complete.buyer_email, buyer.key if buyer else None))


# --- the buyer ---


async def _buyer(database: Database, keyring: Keyring, new: NewPayment) -> _Buyer | None:
    """None: the buyer was forgotten, and gets a key again."""
    digests = [] if new.email is None else person.digests(keyring, new.tenant_id, new.email)
    row = await database.one(_BUYER, tenant_id=new.tenant_id, buyer_id=new.buyer_id, digests=digests)
    if row is not None and row["key"] is None:
        return None
    if row is None:
        person_id = new_id(person.PREFIX)
        key = keyring.new_person_key(person_id)
    else:
        person_id, key = row["id"], row["key"]
    if new.email is None or (row is not None and row["is_found"]):
        return _Buyer(person_id, key, is_new=row is None, digest=None, address=None)
    address = person.sealed_address(keyring, person.PersonKey(person_id, key), new.email)
    return _Buyer(person_id, key, is_new=row is None, digest=digests[0], address=address)


def _sealed(keyring: Keyring, new: NewPayment, buyer: _Buyer | None, name: str, plain: str | None) -> bytes | None:
    if plain is None or buyer is None:
        return None
    return person.PersonKey(buyer.id, buyer.key).seal(keyring, plain, bound_to=f"{new.id}:{name}")


# --- the values of the statement ---


def _values(
    new: NewPayment, request: Request, charge_id: str, terms: Mapping[str, Terms], buyer: _Buyer | None
) -> dict[str, Any]:
    status = Status.EXECUTING if new.confirmed else Status.NOT_STARTED
    return {
        "payment_id": new.id,
        "tenant_id": new.tenant_id,
        "checkout_id": new.checkout_id,
        "buyer_id": new.buyer_id,
        "buyer_email": new.buyer_email,
        "buyer_phone": new.buyer_phone,
        "amount": sum(order.amount for order in new.orders),
        "currency": new.currency,
        "status": status.value,
        "psp": new.psp,
        "method": new.method,
        "token": new.token,
        "on_partial_failure": new.on_partial_failure,
        "metadata": compact(new.metadata),
        "authorize_only": new.authorize_only,
        "capture_by_request": new.capture_by_request,
        "capture_on_expiry": new.capture_on_expiry,
        "buyer_country": new.buyer_country,
        "return_url": new.return_url,
        "return_origin": new.return_origin,
        "statement_descriptor": new.statement_descriptor,
        "key": request.key,
        "request_hash": request.hash,
        "charge_id": charge_id,
        "charge_key": charge_key(new.id, 1),
        "send_for": timedelta(seconds=new.send_for_s),
        "actor": new.actor,
        "detail": compact(said(new)),
        "client_address": client_address.get(),
        "schema_version": SCHEMA_VERSION,
        **_of_terms(terms),
        **_of_buyer(buyer),
        **_of_orders(new, status),
    }


def _of_terms(terms: Mapping[str, Terms]) -> dict[str, Any]:
    return {
        "terms_seller": list(terms),
        "terms_percent": [one.fee_percent for one in terms.values()],
        "terms_fixed": [one.fee_fixed for one in terms.values()],
    }


def _of_buyer(buyer: _Buyer | None) -> dict[str, Any]:
    return {
        "person_id": buyer.id if buyer else None,
        "person_key": buyer.key if buyer else None,
        "person_is_new": buyer is not None and buyer.is_new,
        "address_digest": buyer.digest if buyer else None,
        "address": buyer.address if buyer else None,
    }


def _of_orders(new: NewPayment, status: Status) -> dict[str, Any]:
    orders = new.orders
    return {
        "order_id": [order.id for order in orders],
        "order_name": [order.payment_order_id for order in orders],
        "order_seller": [order.seller_account for order in orders],
        "order_amount": [order.amount for order in orders],
        "order_fee": [order.platform_fee for order in orders],
        "event_id": [new_id("evt") for _ in (*orders, new)],
        "event_type": [*("payment_order.created" for _ in orders), "payment.created"],
        "event_object": [*(order.id for order in orders), new.id],
        "event_payload": [
            *(compact(event_data(order, new.id, new.currency, status, None)) for order in orders),
            compact(payment_data(new, {order.id: status for order in orders}, status, status, None)),
        ],
    }


# --- what it wrote ---

_NOT_YET_OF_ORDER: dict[str, Any] = {
    "capture_amount": None,
    "captured_amount": 0,
    "captured_fee": 0,
    "pending_amount": 0,
    "refund_amount": 0,
    "psp_refund_amount": 0,
    "dispute_amount": 0,
    "wallet_updated": False,
    "ledger_updated": False,
    "compensating": False,
    "failure": None,
    "refund_status": None,
    "dispute_status": None,
    "available_at": None,
    "released_at": None,
    "version": 0,
}
_NOT_YET_OF_CHARGE: dict[str, Any] = {
    "outcome": None,
    "reference": None,
    "received_amount": None,
    "received_currency": None,
    "refund_amount": 0,
    "fee": None,
    "booked": False,
    "unknown_count": 0,
    "last_answer": None,
    "last_answer_at": None,
    "dead_since": None,
}
_NOT_YET: dict[str, Any] = {
    "is_payment_done": False,
    "cancel_requested_at": None,
    "cancel_requested_by": None,
    "capture_requested_at": None,
    "capture_requested_by": None,
    "accepted_at": None,
    "accepted_by": None,
    "risk_version": None,
    "next_action": None,
    "sealed_action": None,
    "deadline_at": None,
    "next_check_at": None,
    "version": 0,
}


def _as_stored(new: NewPayment, charge_id: str, at: datetime, send_until: datetime) -> Payment:
    """The payment as it would be read."""
    status = Status.EXECUTING if new.confirmed else Status.NOT_STARTED
    common = {"tenant_id": new.tenant_id, "currency": new.currency, "created_at": at}
    orders = tuple(
        Order(
            id=order.id,
            payment_id=new.id,
            position=position,
            payment_order_id=order.payment_order_id,
            seller_account=order.seller_account,
            amount=order.amount,
            platform_fee=order.platform_fee,
            status=status,
            **common,
            **_NOT_YET_OF_ORDER,
        )
        for position, order in enumerate(new.orders)
    )
    amount = sum(order.amount for order in new.orders)
    charge = Charge(
        id=charge_id,
        payment_id=new.id,
        attempt=1,
        psp=new.psp,
        key=charge_key(new.id, 1),
        amount=amount,
        send_until=send_until,
        **common,
        **_NOT_YET_OF_CHARGE,
    )
    return Payment(
        id=new.id,
        checkout_id=new.checkout_id,
        buyer_id=new.buyer_id,
        amount=amount,
        status=status,
        psp=new.psp,
        method=new.method,
        on_partial_failure=new.on_partial_failure,
        metadata=new.metadata,
        return_url=new.return_url,
        statement_descriptor=new.statement_descriptor,
        authorize_only=new.authorize_only,
        capture_by_request=new.capture_by_request,
        capture_on_expiry=new.capture_on_expiry,
        buyer_country=new.buyer_country,
        updated_at=at,
        orders=orders,
        charge=charge,
        **common,
        **_NOT_YET,
    )
