"""Sellers' wallets: a projection that equals the sum of its postings at every commit, never the only truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.merchant import wallet
from domain.ledger import Bucket, Transaction, wallet_changes


async def apply(connection: AsyncConnection, tenant_id: str, booked: Sequence[Transaction]) -> None:
    """Carry newly booked transactions over to the wallets, in the same database transaction.

    Idempotent through the ledger: what `ledger.post` found already booked does not come here again.
    """
    changes: dict[tuple[str, str], dict[Bucket, int]] = {}
    for (seller, currency, bucket), change in wallet_changes([p for t in booked for p in t.postings]).items():
        changes.setdefault((seller, currency), {})[bucket] = change
    for (seller, currency), buckets in sorted(changes.items()):
        await _add(connection, tenant_id, seller, currency, buckets)


async def _add(
    connection: AsyncConnection, tenant_id: str, seller: str, currency: str, buckets: Mapping[Bucket, int]
) -> None:
    insert = upsert(wallet).values(
        tenant_id=tenant_id,
        seller_account=seller,
        currency=currency,
        **{bucket.value: buckets.get(bucket, 0) for bucket in Bucket},
    )
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=["tenant_id", "seller_account", "currency"],
            set_={
                **{bucket.value: wallet.c[bucket.value] + insert.excluded[bucket.value] for bucket in Bucket},
                "updated_at": func.now(),
            },
        )
    )


async def lock(connection: AsyncConnection, tenant_id: str, seller_account: str, currency: str) -> dict[Bucket, int]:
    """The balances under the wallet's row lock, so that what is decided by them is true when it is written."""
    row = (
        await connection.execute(
            select(*(wallet.c[bucket.value] for bucket in Bucket))
            .where(
                wallet.c.tenant_id == tenant_id,
                wallet.c.seller_account == seller_account,
                wallet.c.currency == currency,
            )
            .with_for_update()
        )
    ).one_or_none()
    return {bucket: int(getattr(row, bucket.value)) if row else 0 for bucket in Bucket}


@dataclass(frozen=True)
class WalletBalance:
    """A seller's wallet in one currency, in minor units; `receivable` is what the seller owes us."""

    currency: str
    pending: int
    available: int
    reserved: int
    receivable: int


async def of_seller(connection: AsyncConnection, tenant_id: str, seller_account: str) -> list[WalletBalance]:
    """A seller's balances, by currency."""
    rows = await connection.execute(
        select(*(wallet.c[name] for name in WalletBalance.__dataclass_fields__))
        .where(wallet.c.tenant_id == tenant_id, wallet.c.seller_account == seller_account)
        .order_by(wallet.c.currency)
    )
    return [WalletBalance(**row) for row in rows.mappings()]


async def first_open_posting(connection: AsyncConnection, tenant_id: str, seller_account: str, currency: str) -> int:
    """The number of a posting below which none to the available balance is left to be paid out."""
    found: int | None = await connection.scalar(
        select(wallet.c.payable_from).where(
            wallet.c.tenant_id == tenant_id, wallet.c.seller_account == seller_account, wallet.c.currency == currency
        )
    )
    return found or 0


async def reopen_from(
    connection: AsyncConnection, tenant_id: str, seller_account: str, currency: str, posting_seq: int
) -> None:
    """Postings from this one on may be open again: a payout has returned."""
    await connection.execute(
        update(wallet)
        .where(
            wallet.c.tenant_id == tenant_id, wallet.c.seller_account == seller_account, wallet.c.currency == currency
        )
        .values(payable_from=func.least(wallet.c.payable_from, posting_seq))
    )
