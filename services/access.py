"""Reach: the objects that a caller may know of, and how much of each.

Every route and command gets its objects from a service, and every service asks here. A person at a terminal reaches
everything, an API key or token its tenant, and a merchant's the objects of its one seller: of a payment only the
seller's orders and amounts. What is out of reach is as what is not there. Where a part of something would make no
sense, as of the trial balance, it is refused.
"""

from collections.abc import Sequence

from db import share
from db.core.database import Database
from db.dispute.record import Dispute
from db.history import Entry
from db.payment.record import Payment, Transition
from db.refund.record import Refund
from domain.errors import Forbidden
from domain.ledger import Bucket, wallet
from services.command import Caller


def whole_tenant(caller: Caller) -> str:
    """The tenant of a caller that reaches all of it. Raises Forbidden `role_not_allowed`."""
    assert caller.tenant_id is not None, "a person at a terminal says whose"
    if caller.seller_account is not None:
        raise refused("this is about all sellers")
    return caller.tenant_id


def refused(why: str) -> Forbidden:
    """The refusal of what a merchant may not ask for."""
    return Forbidden(f"A merchant reaches its own objects alone, and {why}.", code="role_not_allowed")


def reaches_seller(caller: Caller, seller_account: str) -> bool:
    """Whether it reaches what is this seller's: the seller itself, its wallet and its payouts."""
    return caller.seller_account in (None, seller_account)


def accounts(caller: Caller) -> frozenset[str] | None:
    """The accounts of the books whose lines it sees; None: all of its tenant."""
    seller = caller.seller_account
    return None if seller is None else frozenset(wallet(seller, bucket) for bucket in Bucket)


def sees_inside(caller: Caller) -> bool:
    """Whether it sees how a payment is made: attempts at the PSP, the risk check, the questions to people."""
    return caller.seller_account is None


def payment(caller: Caller, row: Payment) -> Payment | None:
    """As much of a payment as it sees; None: nothing. For a merchant it has the seller's orders and their sum, and
    neither the buyer nor what the shop keeps with the payment."""
    if caller.seller_account is None:
        return row
    orders = tuple(order for order in row.orders if order.seller_account == caller.seller_account)
    if not orders:
        return None
    part = {"orders": orders, "amount": sum(order.amount for order in orders)}
    of_the_shop: dict[str, object] = {
        "buyer_id": "",
        "buyer_country": None,
        "metadata": {},
        "return_url": None,
        "next_action": None,
    }
    return row.model_copy(update={**part, **of_the_shop})


def transitions(caller: Caller, row: Payment, steps: Sequence[Transition]) -> list[Transition]:
    """The steps of the orders that are seen, for a merchant without the names of the shop's people and keys."""
    if caller.seller_account is None:
        return list(steps)
    seen = {order.id for order in row.orders}
    return [step.model_copy(update={"actor": "shop"}) for step in steps if step.order_id in seen]


async def refunds(database: Database, caller: Caller, rows: Sequence[Refund]) -> list[Refund]:
    """Those of the refunds that it sees, for a merchant with the seller's share for an amount."""
    seller = caller.seller_account
    if seller is None or not rows:
        return list(rows)
    shares = await database.read(lambda c: share.refunds(c, seller, [row.id for row in rows]))
    return [row.model_copy(update={"amount": shares[row.id].amount}) for row in rows if row.id in shares]


async def disputes(database: Database, caller: Caller, rows: Sequence[Dispute]) -> list[Dispute]:
    """Those of the disputes that it sees, likewise, with what the seller bears of the PSP's fee."""
    seller = caller.seller_account
    if seller is None or not rows:
        return list(rows)
    shares = await database.read(lambda c: share.disputes(c, seller, [row.id for row in rows]))
    return [
        row.model_copy(update={"amount": shares[row.id].amount, "fee": shares[row.id].psp_fee})
        for row in rows
        if row.id in shares
    ]


def entry(caller: Caller, row: Entry) -> Entry:
    """An entry of a history, for a merchant without the buyer."""
    return row if caller.seller_account is None else row.model_copy(update={"buyer_id": None})
