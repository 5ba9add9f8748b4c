"""The sellers that `bench.payouts` pays: each is due every day, has an account at the PSP, and money to be paid out."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
from sqlalchemy import RowMapping, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from config.settings import SANDBOX_STRIPE_KEY
from db import api_key
from db.core.database import Database
from db.ledger import posting as ledger
from db.ledger import wallet
from db.merchant import schedule_terms
from db.schema.merchant import merchant
from domain import ledger as books
from domain.ids import new_id
from domain.ledger import Bucket, Kind, Posting, Transaction
from domain.payout import Interval, PayoutSchedule

TENANT = "bench_payouts"
AMOUNT = 12_345
CURRENCY = "INR"
_CHUNK = 500


def sellers(count: int) -> list[str]:
    """The names of so many sellers."""
    return [f"seller-{number:06}" for number in range(count)]


async def create_sellers(database: Database, count: int) -> None:
    """Create a tenant and its sellers, each due every day."""
    await database.run(lambda c: api_key.create(c, TENANT, "bench", "sk_test_bench_payouts"))
    daily = schedule_terms(PayoutSchedule(interval=Interval.DAILY))
    rows = [
        {
            "id": new_id("mer"),
            "tenant_id": TENANT,
            "seller_account": seller,
            "name": seller,
            "fee_percent": 0,
            "fee_fixed": 0,
            "payout_account": f"acct_paysOut_{seller.replace('-', '')}",
            **daily,
        }
        for seller in sellers(count)
    ]
    for start in range(0, count, _CHUNK):
        await database.run(lambda c, s=start: c.execute(insert(merchant), rows[s : s + _CHUNK]))  # type: ignore[misc]


async def fund(database: Database, count: int, name: str) -> None:
    """AMOUNT for each seller, at once available: booked as an adjustment called `name`."""
    names = sellers(count)
    for start in range(0, count, _CHUNK):
        await database.run(lambda c, s=start: _fund(c, names[s : s + _CHUNK], name))  # type: ignore[misc]


async def _fund(connection: AsyncConnection, names: list[str], name: str) -> None:
    adjustments = [
        Transaction(
            kind=Kind.ADJUSTMENT,
            source_id=f"{name}:{seller}",
            postings=(
                Posting(account=books.ADJUSTMENTS, amount=AMOUNT, currency=CURRENCY),
                Posting(account=books.wallet(seller, Bucket.AVAILABLE), amount=-AMOUNT, currency=CURRENCY),
            ),
        )
        for seller in names
    ]
    booked = await ledger.post(connection, TENANT, adjustments, datetime.now(UTC))
    await wallet.apply(connection, TENANT, booked)


async def rows(connection: AsyncConnection, query: str) -> Sequence[RowMapping]:
    return (await connection.execute(text(query))).mappings().all()


class Psp:
    """The sandbox's steering wheel."""

    def __init__(self, url: str) -> None:
        headers = {"Authorization": f"Bearer {SANDBOX_STRIPE_KEY}"}
        # Loopback, never a proxy.
        self._http = httpx2.AsyncClient(base_url=f"{url}/_control", headers=headers, timeout=300, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def has_money_enough(self) -> None:
        (await self._http.patch("/account", json={"check_available_balance": False})).raise_for_status()

    async def log(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = (await self._http.get("/log")).raise_for_status().json()
        return found
