"""Storing a checkout: the key, the payment, its orders, charge attempt 1, the event and the row of the audit log, in
ONE transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, merchant, risk, tenant
from db.core import deadline, idempotency
from db.core.database import Database, LockTimeout, constraint
from db.core.idempotency import Claim, Request
from db.core.keyring import Keyring
from db.merchant import Merchant
from db.payment import find, payment
from db.payment.payment import NewPayment
from db.people import person
from domain.errors import Conflict, Unprocessable
from domain.money import FeeRule, to_major
from domain.risk import Stage
from domain.status import MerchantStatus


async def store(database: Database, keyring: Keyring, new: NewPayment, request: Request) -> tuple[Claim, NewPayment]:
    """Store it, or find what the key stored before. A refusal writes nothing, so it does not burn the key. Returns the
    payment as it was stored: with its fees, and how it is judged.

    Raises Unprocessable `merchant_unknown`, `merchant_not_active`, `return_url_not_allowed`, `idempotency_key_reused`;
    Conflict `checkout_in_use` and `payment_order_in_use` (both name the payment that is there),
    `idempotency_in_progress`; Unavailable.
    """

    async def work(connection: AsyncConnection) -> tuple[Claim, NewPayment]:
        await deadline.begin()
        claim = await idempotency.claim(connection, new.tenant_id, request.key, request.hash, new.id)
        if claim.replayed:
            return claim, new
        await _require_own_site(connection, new)
        complete = await _with_addresses(connection, keyring, await _with_terms(connection, new))
        await payment.create(connection, complete)
        await audit_log.record(connection, new.tenant_id, new.actor, "payment.create", new.id, said(complete))
        return claim, complete

    try:
        return await database.run(work)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    except IntegrityError as error:
        raise await _conflict(database, new, error) from error


async def _with_addresses(connection: AsyncConnection, keyring: Keyring, new: NewPayment) -> NewPayment:
    """With the addresses encrypted under the buyer's key."""
    whose = (connection, keyring, new.tenant_id, new.buyer_id)
    email = phone = None
    if new.email is not None:
        email = await person.seal_email(*whose, new.email, bound_to=f"{new.id}:email")
    if new.phone is not None:
        phone = (await person.key_of(*whose)).seal(keyring, new.phone, bound_to=f"{new.id}:phone")
    return replace(new, buyer_email=email, buyer_phone=phone)


def said(new: NewPayment) -> dict[str, str]:
    """The payment as the audit log keeps it."""
    amount = to_major(sum(order.amount for order in new.orders), new.currency)
    sellers = ", ".join(dict.fromkeys(order.seller_account for order in new.orders))
    return {"amount": amount, "currency": new.currency, "sellers": sellers}


async def _require_own_site(connection: AsyncConnection, new: NewPayment) -> None:
    """The buyer is sent to the shop alone, whoever has its key. Raises Unprocessable."""
    site = new.return_origin
    if site is not None and site not in (await tenant.origins(connection, new.tenant_id, "return_origins") or ()):
        detail = (
            f"return_url: {site} is not among the sites of this shop. "
            f"`paysaga tenants allow-return-url {new.tenant_id} {site}` adds it."
        )
        raise Unprocessable(detail, code="return_url_not_allowed")


async def _with_terms(connection: AsyncConnection, new: NewPayment) -> NewPayment:
    """The platform's fee and the risk rules are fixed when the order is taken: a later change does not reach it."""
    sellers = await merchant.of_accounts(connection, new.tenant_id, [o.seller_account for o in new.orders])
    for order in new.orders:
        _require_active(order.seller_account, sellers.merchants)
    orders = [
        replace(order, platform_fee=_fee(sellers.merchants[order.seller_account]).of(order.amount, new.currency))
        for order in new.orders
    ]
    version = sellers.risk_version
    rules = await risk.rules(connection, new.tenant_id, version) if version else None
    if rules is None or not rules.rules.rules:
        return replace(new, orders=orders)
    # What is decided on the PSP's answer is reserved first, and captured afterwards.
    judged_after = bool(rules.rules.of(Stage.AFTER)) and new.may_authorize
    return replace(new, orders=orders, risk_version=version, authorize_only=new.authorize_only or judged_after)


def _require_active(seller_account: str, sellers: Mapping[str, Merchant]) -> None:
    seller = sellers.get(seller_account)
    if seller is None:
        raise Unprocessable(f"There is no merchant {seller_account}.", code="merchant_unknown")
    if seller.status is not MerchantStatus.ACTIVE:
        raise Unprocessable(f"{seller_account} is {seller.status.lower()}.", code="merchant_not_active")


def _fee(seller: Merchant) -> FeeRule:
    return FeeRule(percent=seller.fee_percent, fixed=seller.fee_fixed)


async def _conflict(database: Database, new: NewPayment, error: IntegrityError) -> Exception:
    """Which of the client's own names is taken, and by which payment."""
    name = constraint(error)
    if name == "uq_payment_live_checkout" and new.checkout_id is not None:
        checkout_id = new.checkout_id
        first = await database.read(lambda c: find.live_checkout(c, new.tenant_id, checkout_id))
        return Conflict(f"Checkout {checkout_id} has a payment already.", code="checkout_in_use", payment_id=first)
    if name == "uq_payment_order_live":
        return await _order_conflict(database, new)
    return error


async def _order_conflict(database: Database, new: NewPayment) -> Conflict:
    names: Sequence[str] = [order.payment_order_id for order in new.orders]
    for name in names:
        found = await database.read(lambda c, n=name: find.in_tenant(c, new.tenant_id, n))  # type: ignore[misc]
        if found is not None:
            return Conflict(
                f"Payment order {name} has a payment already.", code="payment_order_in_use", payment_id=found[0]
            )
    return Conflict("A payment order of this checkout has a payment already.", code="payment_order_in_use")
