"""The first rows of the embedded stack: the development key and three sellers. Never run on a real database."""

from decimal import Decimal

from db import api_key, merchant
from db.core.database import Database
from db.merchant import NewMerchant
from domain.access import EVERY_SCOPE
from domain.errors import Conflict

DEVELOPMENT_TENANT = "dev"

MERCHANTS: tuple[NewMerchant, ...] = (
    {"seller_account": "seller_anna", "name": "Anna's Books", "fee_percent": Decimal("3.0"), "fee_fixed": Decimal(0)},
    {"seller_account": "seller_bo", "name": "Bo's Bikes", "fee_percent": Decimal("2.9"), "fee_fixed": Decimal("0.30")},
    {
        "seller_account": "seller_chen",
        "name": "Chen's Tea",
        "fee_percent": Decimal("5.0"),
        "fee_fixed": Decimal(0),
        "psp_fee_payer": "seller",
    },
)


async def seed(url: str, secret: str, *, tenant_id: str = DEVELOPMENT_TENANT) -> None:
    """`secret` is the development key. Idempotent: what is there stays, and the key may do
    everything."""
    database = Database(url, pool_size=0)
    try:
        key_id = await database.run(lambda c: api_key.create(c, tenant_id, "development", secret))
        await database.run(lambda c: api_key.grant(c, key_id, EVERY_SCOPE))  # those of a newer release as well
        for values in MERCHANTS:
            try:
                await database.run(lambda c, v=values: merchant.create(c, tenant_id, v))  # type: ignore[misc]
            except Conflict:
                continue
    finally:
        await database.close()
