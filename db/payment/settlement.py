"""The settlement of one order, and its reversal.

Wallet credit and ledger posting are two named operations, each with its reversal. Both are idempotent: the ledger
knows each fact by (kind, source), and the wallet follows only what the ledger newly booked. They run in one
transaction, under the payment's lock, so that nothing between them can be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import risk
from db.ledger import posting as ledger
from db.ledger import wallet
from db.payment import charge, payment
from db.payment.record import Order, Payment
from db.schema.merchant import merchant
from db.schema.payment import payment_order
from domain import ledger as books
from domain.ledger import Kind, Transaction, wallet_changes
from domain.model import Failure
from domain.money import allocate
from domain.payment import Settlement, SettleOutcome, SettleStep
from domain.payout import AVAILABLE_UNKNOWN_DAYS
from domain.psp import ChargeResult
from domain.status import TERMINAL, Status

NOT_CAPTURED = Failure(code="not_captured", message="Nothing of it was captured.")


@dataclass(frozen=True)
class SellerTerms:
    """The terms of a settlement: the bearer of the PSP's fee, and the days before which the seller has no money."""

    psp_fee_payer: str
    payout_delay_days: int


@dataclass(frozen=True)
class _Seller(SellerTerms):
    status: str


async def settle(connection: AsyncConnection, step: SettleStep) -> Settlement:
    """Credit the seller's wallet and post the ledger for one order, or say why not, having written nothing."""
    locked = await payment.lock(connection, step.payment_id)
    order = locked.order(step.order_id)
    refusal = _refusal(locked, order) or await _held(connection, locked)
    if refusal is not None:
        return Settlement(outcome=refusal, status=locked.status, failure=order.failure)
    refused = await risk.refusal(connection, locked) if locked.risk_version is not None else None
    if refused is not None:  # captured at the PSP by hand, though the rules or a person had said no
        return Settlement(outcome=SettleOutcome.REFUSED, status=locked.status, failure=refused)
    paid = (step.result.amount, step.result.currency)
    if paid != (locked.to_capture, locked.currency):  # captured at the PSP while another amount was asked for here
        return Settlement(outcome=SettleOutcome.HELD, status=locked.status)
    posted: dict[str, Any] = {}
    if order.to_capture and not order.ledger_updated:
        seller = await _seller(connection, order)
        if seller.status != "ACTIVE":
            failure = Failure(code="wallet_refused", message=f"{order.seller_account} is {seller.status.lower()}.")
            return Settlement(outcome=SettleOutcome.REFUSED, status=locked.status, failure=failure)
        booked = await post_capture(connection, locked, order, seller, step.result, step.at)
        await credit_wallet(connection, order, booked)
        posted = posted_fields(order, booked) | {"available_at": available_at(step.result, step.at, seller)}
    if posted and not locked.charge.booked:
        await charge.record(connection, locked.charge.id, step.result, booked=True)
    return await _complete(connection, locked, order, step, posted)


def posted_fields(order: Order, booked: Sequence[Transaction]) -> dict[str, Any]:
    """The fields of the order's row once it is posted."""
    credited = sum(wallet_changes([p for t in booked for p in t.postings]).values())
    return {
        "wallet_updated": True,
        "ledger_updated": True,
        "captured_amount": order.to_capture,
        "captured_fee": captured_fee(order),
        "pending_amount": credited,
    }


async def credit_held(
    connection: AsyncConnection, locked: Payment, order: Order, result: ChargeResult, at: datetime
) -> None:
    """Credit an order with `to_capture` of the money that is held in suspense, as a settlement would have."""
    seller = await _seller(connection, order)
    booked = await post_capture(connection, locked, order, seller, result, at, from_suspense=True)
    await credit_wallet(connection, order, booked)
    await _mark(connection, order, posted_fields(order, booked) | {"available_at": available_at(result, at, seller)})


def available_at(result: ChargeResult, at: datetime, seller: SellerTerms) -> datetime:
    """When the seller may have it: as the merchant's terms say, and not before the PSP lets us have it."""
    at_psp = result.fee.available_on if result.fee is not None else None
    if at_psp is None:
        at_psp = at + timedelta(days=AVAILABLE_UNKNOWN_DAYS)
    return max(at_psp, at + timedelta(days=seller.payout_delay_days))


async def _complete(
    connection: AsyncConnection, locked: Payment, order: Order, step: SettleStep, posted: dict[str, Any]
) -> Settlement:
    """End the orders that this settlement completes: SUCCESS, or CANCELLED where nothing of them was captured."""
    completed = [o for o in locked.orders if o.id in step.completes and o.open]
    released = [o for o in completed if not o.to_capture]
    captured = [o for o in completed if o.to_capture]
    alone = captured == [order]  # the common case: one statement for its status and its posting
    if posted and not alone:
        await _mark(connection, order, posted)
    status = locked.status
    if released:
        status = await payment.move(
            connection, locked, released, Status.CANCELLED, reason="not_captured", at=step.at, failure=NOT_CAPTURED
        )
        locked = await payment.lock(connection, locked.id)
        captured = [locked.order(o.id) for o in captured]
    if captured:
        status = await payment.move(
            connection,
            locked,
            captured,
            Status.SUCCESS,
            reason="settled",
            at=step.at,
            fields=known_card(step.result),
            order_fields=posted if alone else None,
        )
    return Settlement(outcome=SettleOutcome.SETTLED, status=status)


def known_card(result: ChargeResult) -> dict[str, Any] | None:
    """The fields of the payment's row that its card is known by, for risk rules."""
    card = result.card
    return {"card_fingerprint": card.fingerprint} if card and card.fingerprint else None


def _refusal(locked: Payment, order: Order) -> SettleOutcome | None:
    """Why there is nothing to settle, from the order's own row; the seller is asked afterwards."""
    if order.status is Status.SUCCESS:
        return SettleOutcome.SETTLED
    if order.status in TERMINAL:
        return SettleOutcome.CLOSED
    if order.compensating:
        return SettleOutcome.COMPENSATING
    return SettleOutcome.CANCELLED if locked.cancel_requested_at is not None else None


async def _held(connection: AsyncConnection, locked: Payment) -> SettleOutcome | None:
    """Another sum than was asked for is booked already: a later, better answer does not make it this order's."""
    if not locked.charge.booked:
        return None
    held = await ledger.transaction_id(connection, Kind.SUSPENSE, locked.charge.id)
    return SettleOutcome.HELD if held else None


async def _seller(connection: AsyncConnection, order: Order) -> _Seller:
    row = (
        await connection.execute(
            select(merchant.c.status, merchant.c.psp_fee_payer, merchant.c.payout_delay_days).where(
                merchant.c.tenant_id == order.tenant_id, merchant.c.seller_account == order.seller_account
            )
        )
    ).one()
    return _Seller(**row._mapping)


def captured_fee(order: Order) -> int:
    """The platform's fee of what is captured: its part of the fee that was fixed with the order."""
    return allocate(order.platform_fee, [order.to_capture, order.amount - order.to_capture])[0]


# --- the two operations ---


async def post_capture(
    connection: AsyncConnection,
    locked: Payment,
    order: Order,
    seller: SellerTerms,
    result: ChargeResult,
    at: datetime,
    *,
    from_suspense: bool = False,
) -> list[Transaction]:
    """Post what `of_capture` says."""
    transactions = of_capture(locked, order, seller, result, from_suspense=from_suspense)
    return await ledger.post(connection, locked.tenant_id, transactions, at)


def of_capture(
    locked: Payment, order: Order, seller: SellerTerms, result: ChargeResult, *, from_suspense: bool = False
) -> list[Transaction]:
    """The order's share of the charge, the PSP's fee once per charge, and the seller's part of that fee."""
    platform_fee = captured_fee(order)
    terms = (order.seller_account, order.to_capture, platform_fee, order.currency)
    capture = Transaction(
        kind=Kind.CAPTURE,
        source_id=order.id,
        payment_id=locked.id,
        payment_order_id=order.id,
        postings=books.capture_from_suspense(*terms) if from_suspense else books.capture(locked.psp, *terms),
    )
    transactions = [capture, *psp_fee(locked, result)]
    fee = result.fee
    if fee is not None and seller.psp_fee_payer == "seller" and fee.currency == order.currency:
        share = allocate(fee.amount, [o.to_capture for o in locked.orders])[order.position]
        transactions.append(
            Transaction(
                kind=Kind.PSP_FEE_SELLER,
                source_id=order.id,
                payment_id=locked.id,
                payment_order_id=order.id,
                # Never more than the order left the seller: what is above is the platform's.
                postings=books.psp_fee_to_seller(
                    order.seller_account, min(share, order.to_capture - platform_fee), order.currency
                ),
            )
        )
    return transactions


async def credit_wallet(connection: AsyncConnection, order: Order, booked: Sequence[Transaction]) -> None:
    """Carry what was newly posted over to the seller's balance."""
    await wallet.apply(connection, order.tenant_id, booked)


async def reverse_capture(
    connection: AsyncConnection, locked: Payment, order: Order, at: datetime
) -> list[Transaction]:
    """Take a posted order back: its share goes to suspense for the refund, the seller's part of the PSP fee returns."""
    transactions = [
        Transaction(
            kind=Kind.CAPTURE_REVERSAL,
            source_id=order.id,
            payment_id=locked.id,
            payment_order_id=order.id,
            corrects=await ledger.transaction_id(connection, Kind.CAPTURE, order.id),
            postings=books.capture_to_suspense(
                order.seller_account, order.captured_amount, order.captured_fee, order.currency
            ),
        )
    ]
    seller_fee = await ledger.postings_of(connection, Kind.PSP_FEE_SELLER, order.id)
    if seller_fee:
        transactions.append(
            Transaction(
                kind=Kind.PSP_FEE_SELLER_REVERSAL,
                source_id=order.id,
                payment_id=locked.id,
                payment_order_id=order.id,
                corrects=await ledger.transaction_id(connection, Kind.PSP_FEE_SELLER, order.id),
                postings=books.reversed_lines(seller_fee),
            )
        )
    return await ledger.post(connection, locked.tenant_id, transactions, at)


async def debit_wallet(connection: AsyncConnection, order: Order, booked: Sequence[Transaction]) -> None:
    """The reversal of `credit_wallet`."""
    await wallet.apply(connection, order.tenant_id, booked)
    nothing = {"captured_amount": 0, "captured_fee": 0, "pending_amount": 0, "available_at": None}
    await _mark(connection, order, {"wallet_updated": False, "ledger_updated": False} | nothing)


def psp_fee(locked: Payment, result: ChargeResult) -> list[Transaction]:
    """The PSP's own fee: booked once per balance transaction, and kept also when the charge is undone."""
    fee = result.fee
    if fee is None or fee.amount == 0:
        return []
    return [
        Transaction(
            kind=Kind.PSP_FEE,
            source_id=f"{locked.psp}:{fee.reference}",
            payment_id=locked.id,
            postings=books.psp_fee(locked.psp, fee.amount, fee.currency),
        )
    ]


async def _mark(connection: AsyncConnection, order: Order, values: dict[str, Any]) -> None:
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id == order.id)
        .values(**values, version=payment_order.c.version + 1)
    )
