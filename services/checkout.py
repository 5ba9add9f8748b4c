"""Checkouts: one charge for the sum of a checkout's orders, stored under the client's key and started."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from db.core.idempotency import Claim, Request
from db.hot import store
from db.payment import checkout
from db.payment.payment import NewOrder, NewPayment
from db.payment.record import Payment
from domain.errors import Unavailable, Unprocessable
from domain.ids import new_id
from domain.limits import ReturnUrl
from domain.money import parse_major
from domain.payment import PaymentInput
from domain.return_url import origin_of, with_ids
from domain.status import RESTING
from runtime.wiring import Runtime
from services.command import Caller, check
from services.payment import Answer, ended, latest, load, settled
from services.waiting import wait_until


@dataclass(frozen=True)
class CheckoutOrder:
    """One seller's share: `amount` in major units, as the client wrote it."""

    payment_order_id: str | None
    seller_account: str
    amount: str


@dataclass(frozen=True)
class Checkout:
    """A client's checkout; the orders share a currency. `token`, `buyer_email` and `buyer_phone` are stored
    encrypted. `return_url`: where the buyer is sent back to; None: where the PSP account says."""

    checkout_id: str | None
    buyer_id: str
    buyer_email: str | None
    buyer_country: str | None
    method: str
    token: str
    currency: str
    orders: Sequence[CheckoutOrder]
    capture: Literal["automatic", "manual"]
    on_authorization_expiry: Literal["void", "capture"]
    on_partial_failure: Literal["compensate_all", "keep_successful"]
    confirm: bool
    metadata: Mapping[str, str]
    return_url: str | None = None
    buyer_phone: str | None = None


async def create(runtime: Runtime, caller: Caller, wanted: Checkout, *, request: Request, wait_s: float) -> Answer:
    """Store the checkout and start its workflow; the answer comes when it has ended or rests, or when `wait_s` is over.
    Under a key that was used before it is the payment of then, started again if the first request died too soon.

    Raises Unprocessable `amount_…`, `capture_manual_unavailable`, `merchant_unknown`, `merchant_not_active`,
    `return_url_invalid`, `return_url_not_allowed`, `idempotency_key_reused`; Conflict `checkout_in_use`,
    `payment_order_in_use`, `idempotency_in_progress`; Unavailable.
    """
    new = _checked(runtime, caller, wanted)
    began_s = time.monotonic()
    claim, inp, stored = await _store(runtime, new, request)
    with runtime.notifier.watch(claim.object_id) as changed:
        if claim.replayed:
            told = await _start_again(runtime, await load(runtime.database, claim.object_id))
            changed.set()
        else:
            runtime.under_way.begin(claim.object_id)
            if stored is not None:
                _hand_over(runtime, stored)
            told = await _start(runtime, inp, new.checkout_id)
            runtime.under_way.started()
            if told:
                runtime.pace.started(time.monotonic() - began_s)
            else:
                runtime.under_way.end(claim.object_id)
        row = await wait_until(lambda: _known(runtime, claim), settled, changed=changed, wait_s=wait_s)
        if (settled(row) or changed.is_set()) and not claim.replayed:  # the latter since it was read
            runtime.under_way.end(claim.object_id)
    return Answer(row, row, claim.replayed, told)


def _checked(runtime: Runtime, caller: Caller, wanted: Checkout) -> NewPayment:
    """Check what needs no database, and encrypt the token. Raises Unprocessable."""
    assert caller.tenant_id is not None, "a checkout is a tenant's own"
    orders = [
        NewOrder(
            id=(order_id := new_id("po")),
            payment_order_id=order.payment_order_id or f"auto-{order_id[3:]}",
            seller_account=order.seller_account,
            amount=parse_major(order.amount, wanted.currency),
            platform_fee=0,
        )
        for order in wanted.orders
    ]
    refusal = runtime.psp.check_amount(sum(order.amount for order in orders), wanted.currency)
    for order in orders:
        refusal = refusal or runtime.psp.check_part(order.amount, wanted.currency)
    if refusal is not None:
        raise Unprocessable(refusal.message, code=refusal.code)
    by_request = wanted.capture == "manual"
    may_authorize = runtime.psp.can_authorize(wanted.method)
    if by_request and not may_authorize:
        detail = f"{wanted.method} cannot be authorised first and captured later."
        raise Unprocessable(detail, code="capture_manual_unavailable")
    payment_id = new_id("pay")
    back = wanted.return_url or runtime.psp.return_url
    return NewPayment(
        id=payment_id,
        tenant_id=caller.tenant_id,
        checkout_id=wanted.checkout_id,
        buyer_id=wanted.buyer_id,
        email=wanted.buyer_email or None,
        phone=wanted.buyer_phone or None,
        currency=wanted.currency,
        psp=runtime.psp.name,
        method=wanted.method,
        token=runtime.keyring.encrypt(wanted.token, bound_to=f"{payment_id}:token"),
        on_partial_failure=wanted.on_partial_failure,
        metadata=dict(wanted.metadata),
        confirmed=wanted.confirm,
        send_for_s=runtime.send_for_s,
        actor=caller.actor,
        may_authorize=may_authorize,
        authorize_only=by_request,
        capture_by_request=by_request,
        capture_on_expiry=wanted.on_authorization_expiry == "capture",
        buyer_country=wanted.buyer_country,
        return_url=with_ids(back, payment_id=payment_id, checkout_id=wanted.checkout_id) if back else "",
        return_origin=_site(runtime, wanted),
        statement_descriptor=runtime.psp.statement_descriptor or "",
        orders=orders,
    )


def _site(runtime: Runtime, wanted: Checkout) -> str | None:
    """The site that the tenant has to have among its own; None: the buyer goes where the PSP account says."""
    if wanted.return_url is None or wanted.return_url == runtime.psp.return_url:
        return None
    return origin_of(check(ReturnUrl, wanted.return_url, "return_url"))


async def _store(
    runtime: Runtime, new: NewPayment, request: Request
) -> tuple[Claim, PaymentInput, store.Stored | None]:
    """Store it, or find what the key stored before; the input of its workflow; and where that begins with the charge,
    what was stored for it. Raises as `db.payment.checkout`."""
    stored = await store.store(runtime.database, runtime.terms, runtime.keyring, new, request)
    if isinstance(stored, Claim):
        return stored, runtime.workflow_client.input_of_new(new), None
    if stored is None:
        claim, complete = await checkout.store(runtime.database, runtime.keyring, new, request)
        return claim, runtime.workflow_client.input_of_new(complete), None
    inp = runtime.workflow_client.input_of(stored.payment)
    return Claim(new.id, replayed=False), inp, stored if new.confirmed else None


def _hand_over(runtime: Runtime, stored: store.Stored) -> None:
    """To the workflow's first step, which comes to this process as a rule: then the charge is sent meanwhile. Not where
    Temporal has not answered lately: the buyer would be charged, and nobody hear of it until it does."""
    runtime.recent.keep(stored)
    if runtime.workflow_client.starts_here:
        runtime.charge_sender.send_ahead(stored)


async def _known(runtime: Runtime, claim: Claim) -> Payment:
    """As it came to rest in this process since it was stored, or as it has ended here; or else as it is read."""
    known = runtime.recent.known(claim.object_id) if not claim.replayed else None
    return known if known is not None and settled(known) else await latest(runtime, claim.object_id)


async def _start(runtime: Runtime, inp: PaymentInput, checkout_id: str | None) -> bool:
    """False: Temporal does not answer; it is stored, and the sweeper starts it."""
    with contextlib.suppress(Unavailable):
        await runtime.workflow_client.start_payment(inp, checkout_id)
        return True
    return False


async def _start_again(runtime: Runtime, row: Payment) -> bool:
    """The first request may have died between storing and starting; starting what runs already changes nothing."""
    if ended(row) or row.status in RESTING:
        return True
    with contextlib.suppress(Unavailable):
        await runtime.workflow_client.start_payment(runtime.workflow_client.input_of(row), row.checkout_id)
        return True
    return False
