"""Merchants: the sellers that orders are credited to, their terms, and when they are paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Required, TypedDict

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.schema.merchant import merchant
from db.schema.payment import risk_rule_set
from domain.errors import Conflict, NotFound
from domain.event_data import MerchantData
from domain.events import Event
from domain.ids import new_id
from domain.payout import Interval, PayoutSchedule
from domain.status import MerchantStatus


@dataclass(frozen=True)
class Merchant:
    """A seller of one tenant. Fees: `fee_percent` of an order's amount plus `fee_fixed` in major units of its own
    currency. `payout_account`: the PSP's name of the seller's account there."""

    id: str
    tenant_id: str
    seller_account: str
    name: str | None
    status: MerchantStatus
    fee_percent: Decimal
    fee_fixed: Decimal
    psp_fee_payer: str
    dispute_fee_payer: str
    platform_fee_on_refund: str
    allow_negative_balance: bool
    country: str | None
    payout_account: str | None
    payout_interval: Interval
    payout_weekdays: list[int]
    payout_monthdays: list[int]
    payout_minimum: dict[str, int]
    payout_delay_days: int
    created_at: datetime
    updated_at: datetime

    @property
    def schedule(self) -> PayoutSchedule:
        return PayoutSchedule(
            interval=self.payout_interval,
            weekdays=tuple(self.payout_weekdays),
            monthdays=tuple(self.payout_monthdays),
            minimum=self.payout_minimum,
            delay_days=self.payout_delay_days,
        )

    @property
    def can_be_paid(self) -> bool:
        """True if a payout run looks at this merchant at all."""
        return self.status is MerchantStatus.ACTIVE and self.payout_account is not None


class MerchantTerms(TypedDict, total=False):
    """Terms of a merchant, by column; what is left out stays as it is, or is the column's default."""

    name: str | None
    status: MerchantStatus
    fee_percent: Decimal
    fee_fixed: Decimal
    psp_fee_payer: str
    dispute_fee_payer: str
    platform_fee_on_refund: str
    allow_negative_balance: bool
    country: str | None
    payout_account: str | None
    payout_interval: str
    payout_weekdays: list[int]
    payout_monthdays: list[int]
    payout_minimum: dict[str, int]
    payout_delay_days: int


class NewMerchant(MerchantTerms, total=False):
    """A merchant to be: its name in the tenant's own books, and its terms."""

    seller_account: Required[str]


def schedule_terms(schedule: PayoutSchedule) -> MerchantTerms:
    """A whole payout schedule, by column."""
    return {
        "payout_interval": schedule.interval.value,
        "payout_weekdays": list(schedule.weekdays),
        "payout_monthdays": list(schedule.monthdays),
        "payout_minimum": dict(schedule.minimum),
        "payout_delay_days": schedule.delay_days,
    }


async def create(connection: AsyncConnection, tenant_id: str, new: NewMerchant) -> Merchant:
    """Raises Conflict `merchant_exists`."""
    inserted = await connection.execute(
        upsert(merchant)
        .values(id=new_id("mer"), tenant_id=tenant_id, **new)
        .on_conflict_do_nothing(index_elements=["tenant_id", "seller_account"])
        .returning(merchant)
    )
    row = inserted.mappings().one_or_none()
    if row is None:
        raise Conflict(f"{new['seller_account']} exists already.", code="merchant_exists")
    made = _merchant(row)
    await _tell(connection, made, "created", made.created_at)
    return made


async def change(connection: AsyncConnection, tenant_id: str, seller_account: str, terms: MerchantTerms) -> Merchant:
    """Raises NotFound `merchant_not_found`; Conflict `merchant_closed`, since a closed merchant is not opened again."""
    current = await lock(connection, tenant_id, seller_account)
    closed = MerchantStatus.CLOSED
    if current.status is closed and terms.get("status", closed) != closed:
        raise Conflict("A closed merchant stays closed.", code="merchant_closed")
    changed = await connection.execute(
        update(merchant).where(merchant.c.id == current.id).values(updated_at=func.now(), **terms).returning(merchant)
    )
    row = _merchant(changed.mappings().one())
    verb = "changed" if row.status is current.status else row.status.value.lower()
    await _tell(connection, row, verb, row.updated_at)
    return row


async def _tell(connection: AsyncConnection, row: Merchant, verb: str, at: datetime) -> None:
    """The event of a merchant's step. Neither its name nor its terms are anybody else's business."""
    data = MerchantData(id=row.id, seller_account=row.seller_account, status=row.status)
    event = Event(
        id=new_id("evt"),
        type=f"merchant.{verb}",
        tenant_id=row.tenant_id,
        object_id=row.id,
        at=at,
        data=data.model_dump(mode="json"),
    )
    await outbox.add(connection, [event])


async def lock(connection: AsyncConnection, tenant_id: str, seller_account: str) -> Merchant:
    """The merchant under its row lock. Raises NotFound `merchant_not_found`."""
    found = await connection.execute(
        select(merchant)
        .where(merchant.c.tenant_id == tenant_id, merchant.c.seller_account == seller_account)
        .with_for_update()
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such merchant.", code="merchant_not_found")
    return _merchant(row)


async def find(connection: AsyncConnection, name: str, tenant_id: str | None) -> list[Merchant]:
    """By our id or the tenant's own; without a tenant, several may have a seller of the same name: by tenant."""
    query = select(merchant).where((merchant.c.id == name) | (merchant.c.seller_account == name))
    if tenant_id is not None:
        query = query.where(merchant.c.tenant_id == tenant_id)
    return [_merchant(row) for row in (await connection.execute(query.order_by(merchant.c.tenant_id))).mappings()]


@dataclass(frozen=True)
class Sellers:
    """Merchants by their seller_account, and the version of their tenant's risk rules; None where it has none."""

    merchants: dict[str, Merchant]
    risk_version: int | None


async def of_accounts(connection: AsyncConnection, tenant_id: str, accounts: Sequence[str]) -> Sellers:
    """The merchants of these accounts with the version of the tenant's risk rules: a payment is stored after one
    question about both."""
    latest = select(func.max(risk_rule_set.c.version)).where(risk_rule_set.c.tenant_id == tenant_id).scalar_subquery()
    found = await connection.execute(
        select(merchant, latest.label("risk_version")).where(
            merchant.c.tenant_id == tenant_id, merchant.c.seller_account.in_(accounts)
        )
    )
    rows = found.mappings().all()
    merchants = {row["seller_account"]: _merchant(row) for row in rows}
    return Sellers(merchants, rows[0]["risk_version"] if rows else None)


async def page(connection: AsyncConnection, tenant_id: str, *, after: str | None, limit: int) -> list[Merchant]:
    """In the order in which they were added; `after`: the id of the merchant that a page ended with. Ids alone are
    ordered by the millisecond only."""
    position = (merchant.c.created_at, merchant.c.id)
    query = select(merchant).where(merchant.c.tenant_id == tenant_id).order_by(*position).limit(limit)
    if after is not None:
        added_at = select(merchant.c.created_at).where(merchant.c.tenant_id == tenant_id, merchant.c.id == after)
        query = query.where(tuple_(*position) > tuple_(added_at.scalar_subquery(), after))
    return [_merchant(row) for row in (await connection.execute(query)).mappings()]


async def of_all_tenants(
    connection: AsyncConnection, *, tenant_id: str | None, status: MerchantStatus | None, limit: int
) -> list[Merchant]:
    """By tenant and name: all, those of one tenant, those with one status."""
    query = select(merchant).order_by(merchant.c.tenant_id, merchant.c.seller_account).limit(limit)
    if tenant_id is not None:
        query = query.where(merchant.c.tenant_id == tenant_id)
    if status is not None:
        query = query.where(merchant.c.status == status.value)
    return [_merchant(row) for row in (await connection.execute(query)).mappings()]


def _merchant(row: Any) -> Merchant:
    values = {name: row[name] for name in Merchant.__dataclass_fields__}
    typed = {"status": MerchantStatus(row["status"]), "payout_interval": Interval(row["payout_interval"])}
    return Merchant(**values | typed)
