"""The history of a buyer or a seller: what was paid, earned and given back, newest first, in pages that stay.

Each type of entry is a query of its own; a page is the newest of all of them. `history_seq` numbers every row that can
be an entry, so a page is what has a lower number than the last entry of the page before, whatever is inserted since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Select,
    Table,
    Text,
    cast,
    func,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger, TypeEngine

from db.schema.dispute import dispute
from db.schema.payment import payment, payment_order
from db.schema.payout import payout
from db.schema.refund import refund, reserve
from domain.model import Failure, Frozen
from domain.status import DisputeStatus, PayoutStatus, RefundStatus, Status

Role = Literal["buyer", "seller"]


class EntryType(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    DISPUTE = "dispute"
    PAYOUT = "payout"


STATUSES: dict[EntryType, tuple[str, ...]] = {
    EntryType.PAYMENT: tuple(Status),
    EntryType.REFUND: tuple(RefundStatus),
    EntryType.DISPUTE: tuple(DisputeStatus),
    EntryType.PAYOUT: tuple(PayoutStatus),
}


@dataclass(frozen=True)
class Filters:
    """Which entries are wanted; without `types` or `statuses` all of them, `since` included and `until` not."""

    types: Sequence[EntryType] = ()
    statuses: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None

    def admit(self, kind: EntryType) -> bool:
        """Whether an entry of this type can be wanted at all."""
        if self.types and kind not in self.types:
            return False
        return not self.statuses or any(status in STATUSES[kind] for status in self.statuses)


class Entry(Frozen):
    """An entry; amounts are in minor units, and what its type does not have is None."""

    type: EntryType
    seq: int
    id: str
    payment_id: str | None
    payment_order_id: str | None
    amount: int
    currency: str
    status: str
    failure: Failure | None
    created_at: datetime
    checkout_id: str | None
    buyer_id: str | None
    seller_account: str | None
    wallet_updated: bool | None
    ledger_updated: bool | None
    captured_amount: int | None
    refundable_amount: int | None
    refund_status: str | None
    dispute_status: str | None
    origin: str | None
    reason: str | None
    category: str | None
    evidence_due_at: datetime | None
    business_date: date | None
    arrival_at: datetime | None


async def page(
    connection: AsyncConnection,
    tenant_id: str,
    user_id: str,
    *,
    role: Role,
    filters: Filters,
    before: int | None,
    limit: int,
) -> list[Entry]:
    """Entries of a buyer or seller, newest first; `before` is the sequence number that a page ended with."""
    parts = [
        _newest(query, filters, before, limit)
        for kind, query in _QUERIES[role](tenant_id, user_id).items()
        if filters.admit(kind)
    ]
    if not parts:
        return []
    together = union_all(*parts).subquery()
    newest = select(together).order_by(together.c.seq.desc()).limit(limit)
    return [Entry(**row) for row in (await connection.execute(newest)).mappings()]


def _newest(query: Select[Any], filters: Filters, before: int | None, limit: int) -> Select[Any]:
    """A page of one type, so that each part stops as soon as it has enough: its index has the order already."""
    column = query.selected_columns
    if filters.statuses:
        query = query.where(column.status.in_(sorted(set(filters.statuses))))
    if filters.since is not None:
        query = query.where(column.created_at >= filters.since)
    if filters.until is not None:
        query = query.where(column.created_at < filters.until)
    if before is not None:
        query = query.where(column.seq < before)
    return query.order_by(column.seq.desc()).limit(limit)


# --- the parts ---


def _of_buyer(tenant_id: str, user_id: str) -> dict[EntryType, Select[Any]]:
    """By their payments. Every refund of one, whoever started it: the money came back."""
    refunds = payment.join(refund, refund.c.payment_id == payment.c.id)
    disputes = payment.join(dispute, dispute.c.payment_id == payment.c.id)
    refunded = _order_name(
        payment_order.c.payment_id == refund.c.payment_id,
        payment_order.c.id == func.coalesce(refund.c.order_id, payment_order.c.id),
    )
    disputed = _order_name(payment_order.c.payment_id == dispute.c.payment_id)
    mine = (payment.c.tenant_id == tenant_id, payment.c.buyer_id == user_id)
    return {
        EntryType.PAYMENT: _order().where(*mine),
        EntryType.REFUND: _select(EntryType.REFUND, refunds, refund, payment_order_id=refunded).where(*mine),
        EntryType.DISPUTE: _select(EntryType.DISPUTE, disputes, dispute, payment_order_id=disputed).where(*mine),
    }


def _of_seller(tenant_id: str, user_id: str) -> dict[EntryType, Select[Any]]:
    """Their orders, and their shares of refunds and disputes from the moment at which funds of theirs were set aside
    for them; and what they were paid. A refund that undoes a charge never was theirs."""
    sold = (payment_order.c.tenant_id == tenant_id, payment_order.c.seller_account == user_id)
    set_aside = (reserve.c.tenant_id == tenant_id, reserve.c.seller_account == user_id)
    return {
        EntryType.PAYMENT: _order().where(*sold),
        EntryType.REFUND: _share(EntryType.REFUND, refund).where(*set_aside),
        EntryType.DISPUTE: _share(EntryType.DISPUTE, dispute).where(*set_aside),
        EntryType.PAYOUT: _select(EntryType.PAYOUT, payout, payout).where(
            payout.c.tenant_id == tenant_id, payout.c.seller_account == user_id
        ),
    }


def _order() -> Select[Any]:
    """`refundable_amount` is what `db.payment.record.Order.refundable` says."""
    order = payment_order.c
    refundable = order.captured_amount - order.refund_amount - order.psp_refund_amount - order.dispute_amount
    return _select(
        EntryType.PAYMENT,
        payment_order.join(payment, payment.c.id == order.payment_id),
        payment_order,
        payment,
        refundable_amount=func.greatest(0, refundable),
    )


def _share(kind: EntryType, table: Table) -> Select[Any]:
    """A seller's part of a refund or dispute."""
    return _select(
        kind,
        reserve.join(table, table.c.id == reserve.c.source_id),
        table,
        seq=reserve.c.seq,
        payment_order_id=_order_name(payment_order.c.id == reserve.c.order_id),
        amount=reserve.c.amount,
        currency=reserve.c.currency,
        created_at=reserve.c.created_at,
    )


_QUERIES = {"buyer": _of_buyer, "seller": _of_seller}

_SHAPE: dict[str, type[TypeEngine[Any]] | TypeEngine[Any]] = {
    "seq": BigInteger,
    "id": Text,
    "payment_id": Text,
    "payment_order_id": Text,
    "amount": BigInteger,
    "currency": Text,
    "status": Text,
    "failure": JSONB,
    "created_at": DateTime(timezone=True),
    # a payment's
    "checkout_id": Text,
    "buyer_id": Text,
    "seller_account": Text,
    "wallet_updated": Boolean,
    "ledger_updated": Boolean,
    "captured_amount": BigInteger,
    "refundable_amount": BigInteger,
    "refund_status": Text,
    "dispute_status": Text,
    # a refund's
    "origin": Text,
    "reason": Text,
    # a dispute's
    "category": Text,
    "evidence_due_at": DateTime(timezone=True),
    # a payout's
    "business_date": Date,
    "arrival_at": DateTime(timezone=True),
}


def _select(kind: EntryType, rows: FromClause, *sources: FromClause, **named: ColumnElement[Any]) -> Select[Any]:
    """The columns of `_SHAPE`: the one that is named, else that of the first source which has it, else null."""
    columns: list[ColumnElement[Any]] = [literal_column(f"'{kind}'", Text).label("type")]
    for name, sql_type in _SHAPE.items():
        found = named.get(name)
        if found is None:
            found = next((source.c[name] for source in sources if name in source.c), cast(null(), sql_type))
        columns.append(found.label(name))
    return select(*columns).select_from(rows)


def _order_name(*conditions: ColumnElement[bool]) -> ColumnElement[str | None]:
    """The client's name of the one order that meets the conditions; null if there are several."""
    return (
        select(func.min(payment_order.c.payment_order_id))
        .where(*conditions)
        .having(func.count() == 1)
        .scalar_subquery()
    )
