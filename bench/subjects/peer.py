"""The logic of a payment as the peers have it: the same steps and the same amount of data as Paysaga, each step one
statement, which compares before it sets. Who calls the steps, in how many transactions, is the peer's own matter."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from bench.plan import Opening
from bench.subjects.subject import AMOUNT_MINOR, CURRENCY, TOKEN, Subject
from bench.wire import require_loopback
from config.settings import Settings
from domain.ids import charge_key, new_id
from domain.psp import ChargeOutcome, ChargeRequest
from gateways.protocol import Psp
from gateways.registry import open_psp
from runtime.wiring import psp_accounts

_SCHEMA = Path(__file__).with_name("peer_schema.sql")
_CONNECTIONS = 10
_TIMEOUT_S = 30.0
_FEE = AMOUNT_MINOR * 3 // 100

_STORE = """
WITH claimed AS (INSERT INTO idempotency_key (key, hash, payment_id)
        VALUES ($1, sha256(convert_to($1::text, 'UTF8')), $2) ON CONFLICT (key) DO NOTHING RETURNING payment_id, hash),
    paid AS (INSERT INTO payment (id, checkout_id, buyer_id, currency, amount, status, psp, method, token)
        SELECT payment_id, $1, $3, $4, $5, 'EXECUTING', 'stripe', 'card', hash FROM claimed RETURNING id),
    ordered AS (INSERT INTO payment_order (id, payment_id, position, seller, amount, fee, status)
        SELECT $6, id, 1, $7, $5, $8, 'EXECUTING' FROM paid),
    charged AS (INSERT INTO charge (id, payment_id, attempt, key, status) SELECT $9, id, 1, $10, 'REQUESTED' FROM paid),
    noted AS (INSERT INTO history (payment_id, status, actor) SELECT id, 'EXECUTING', 'bench' FROM paid)
INSERT INTO event (id, payment_id, type, payload)
    SELECT $11, id, 'payment.created', jsonb_build_object('id', id, 'amount', $5) FROM paid
"""
_RECORD = """
WITH paid AS (UPDATE payment SET reference = $2, version = version + 1, updated_at = now()
        WHERE id = $1 AND status = 'EXECUTING' RETURNING id)
UPDATE charge SET status = $3, reference = $2, psp_fee = $4 FROM paid WHERE payment_id = paid.id
"""
_CREDIT = """
WITH settled AS (UPDATE payment_order SET status = 'SUCCESS' WHERE payment_id = $1 AND status = 'EXECUTING'
        RETURNING seller, amount - fee AS share)
UPDATE wallet SET pending = pending + share, version = version + 1 FROM settled WHERE wallet.seller = settled.seller
"""
_POST = """
WITH booked AS (INSERT INTO ledger_transaction (id, payment_id, kind) VALUES ($2, $1, 'charge')
        ON CONFLICT (payment_id) DO NOTHING RETURNING id)
INSERT INTO ledger_posting (transaction_id, account, amount)
    SELECT booked.id, line.account, line.amount FROM booked, payment_order,
        LATERAL (VALUES ('psp', -amount), (seller, amount - fee), ('fees', fee)) AS line (account, amount)
    WHERE payment_order.payment_id = $1
"""
_COMPLETE = """
WITH paid AS (UPDATE payment SET status = $2, version = version + 1, updated_at = now()
        WHERE id = $1 AND status = 'EXECUTING' RETURNING id),
    noted AS (INSERT INTO history (payment_id, status, actor) SELECT id, $2, 'bench' FROM paid)
INSERT INTO event (id, payment_id, type, payload)
    SELECT $3, id, 'payment.completed', jsonb_build_object('id', id, 'status', $2::text) FROM paid
"""

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Charged = tuple[str, str | None, int | None]
"""Of a charge: the outcome, the PSP's reference and its fee."""


@dataclass(frozen=True)
class PeerPayment:
    """A payment of one order, and every id that its steps use: they are made before, so each step can be repeated."""

    id: str
    key: str
    buyer: str
    seller: str
    order_id: str
    charge_id: str
    transaction_id: str
    events: tuple[str, str]

    @classmethod
    def new(cls, key: str, buyer: str, seller: str) -> "PeerPayment":
        events = (new_id("evt"), new_id("evt"))
        return cls(new_id("pay"), key, buyer, seller, new_id("po"), new_id("ch"), new_id("lt"), events)

    def plain(self) -> dict[str, Any]:
        """The payment as JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "PeerPayment":
        return cls(**{**plain, "events": tuple(plain["events"])})


class PeerLogic:
    """The steps. All but `charge` are a statement on a connection; none is repeated in effect."""

    def __init__(self, psp: Psp, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._psp, self.pool = psp, pool

    async def store(self, connection: Connection, payment: PeerPayment) -> None:
        ids = (payment.order_id, payment.seller, _FEE, payment.charge_id, charge_key(payment.id, 1), payment.events[0])
        await connection.execute(_STORE, payment.key, payment.id, payment.buyer, CURRENCY, AMOUNT_MINOR, *ids)

    async def charge(self, payment: PeerPayment) -> Charged:
        """Charge at the PSP."""
        request = ChargeRequest(
            key=charge_key(payment.id, 1),
            charge_id=payment.charge_id,
            payment_id=payment.id,
            amount=AMOUNT_MINOR,
            currency=CURRENCY,
            method="card",
            token=TOKEN,
            description=payment.key,
            metadata={"checkout_id": payment.key},
        )
        result = await self._psp.charge(request, timeout_s=_TIMEOUT_S)
        return result.outcome.value, result.reference, result.fee.amount if result.fee else None

    async def record(self, connection: Connection, payment: PeerPayment, charged: Charged) -> None:
        outcome, reference, fee = charged
        await connection.execute(_RECORD, payment.id, reference, outcome, fee)

    async def credit(self, connection: Connection, payment: PeerPayment) -> None:
        await connection.execute(_CREDIT, payment.id)

    async def post(self, connection: Connection, payment: PeerPayment) -> None:
        await connection.execute(_POST, payment.id, payment.transaction_id)

    async def complete(self, connection: Connection, payment: PeerPayment, status: str) -> None:
        await connection.execute(_COMPLETE, payment.id, status, payment.events[1])

    async def settle(self, payment: PeerPayment, charged: Charged) -> str:
        """Everything after the charge, in one transaction; the payment's status."""
        async with self.pool.acquire() as connection, connection.transaction():
            await self.record(connection, payment, charged)
            if not is_paid(charged[0]):
                await self.complete(connection, payment, "FAILED")
                return "FAILED"
            await self.credit(connection, payment)
            await self.post(connection, payment)
            await self.complete(connection, payment, "SUCCESS")
        return "SUCCESS"


def is_paid(outcome: str) -> bool:
    return outcome == ChargeOutcome.SUCCEEDED.value


async def open_logic(subject: Subject, opening: Opening) -> PeerLogic:
    """The steps of a peer, with the PSP and its tables, which are made where they are missing."""
    settings = Settings()
    require_loopback(settings.stripe_base_url or "")
    account = replace(psp_accounts(settings)["stripe"], api_key=opening.psp_key)
    psp = open_psp("stripe", account)
    subject._stack.push_async_callback(psp.close)
    schema = opening.subject
    connection = await asyncpg.connect(opening.database_url, server_settings={"search_path": schema})
    try:
        if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
            await connection.execute(_SCHEMA.read_text())
            await connection.executemany("INSERT INTO wallet (seller) VALUES ($1)", [(s,) for s in opening.sellers])
    finally:
        await connection.close()
    create = partial(asyncpg.create_pool, server_settings={"search_path": schema})
    pool = await create(opening.database_url, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    subject._stack.push_async_callback(pool.close)
    return PeerLogic(psp, pool)
