"""The rows that `bench.partitions` looks through, written as a payment writes them: of each, in the large tables, two
ledger transactions with five postings, two steps, two events and a row of the audit log."""

# ruff: noqa: S608 - the statements are put together from constants of this file

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg

from db import api_key, merchant
from db.core.database import Database
from db.core.idempotency import Request
from db.core.keyring import Keyring
from db.hot import end, store
from db.hot import webhook as hot_webhook
from db.hot.store import Stored
from db.hot.terms import TermsCache
from db.payment.payment import NewOrder, NewPayment
from domain.ids import new_id
from domain.payment import SettleStep
from domain.psp import CardFacts, ChargeOutcome, ChargeResult, PspEvent, PspEventKind, PspFee

ROWS = 10
"""Of a payment, in the partitioned tables."""

TABLES = ("ledger_posting", "payment_order_transition", "outbox", "audit_log")
SELLERS = 1_000

OF_A_SHOP = ("payment", "payment_order", "charge", "webhook_inbox", "idempotency_key", "wallet", "ledger_account")
"""Other tables that a payment writes to, which only the payments of `Shop` are in."""

_N = "generate_series($1::bigint, $2::bigint) AS n"
_SELLER = f"'wallet:seller-' || n % {SELLERS} || ':pending'"


def _id(prefix: str) -> str:
    return f"'{prefix}_' || lpad(to_hex(n), 26, '0')"


_FILL = (
    f"""
    INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, payment_id, order_id, at, xact)
    SELECT x.id, 'bench', x.kind, x.source, {_id("pay")}, x.of, now(), 0 FROM {_N}
    CROSS JOIN LATERAL (VALUES ({_id("lt")}, 'capture', {_id("po")}, {_id("po")}),
        ('lt_f' || lpad(to_hex(n), 25, '0'), 'psp_fee', 'stripe:txn_' || lpad(to_hex(n), 26, '0'), NULL)
    ) AS x (id, kind, source, of)
    """,
    f"""
    INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)
    SELECT 'bench', p.id, p.account, 'INR', p.amount FROM {_N}
    CROSS JOIN LATERAL (VALUES ({_id("lt")}, 'psp_clearing:stripe', 50000), ({_id("lt")}, {_SELLER}, -48500),
        ({_id("lt")}, 'platform_fees', -1500), ('lt_f' || lpad(to_hex(n), 25, '0'), 'psp_fees', 1250),
        ('lt_f' || lpad(to_hex(n), 25, '0'), 'psp_clearing:stripe', -1250)) AS p (id, account, amount)
    """,
    f"""
    INSERT INTO payment_order_transition (tenant_id, payment_id, order_id, from_status, to_status, reason, actor, at)
    SELECT 'bench', {_id("pay")}, {_id("po")}, x.old, x.new, x.reason, x.actor, now() FROM {_N}
    CROSS JOIN (VALUES (NULL, 'EXECUTING', 'created', 'key_01kabcdefghjkmnpqrstvwxyz0'),
                       ('EXECUTING', 'SUCCESS', 'settled', 'workflow')) AS x (old, new, reason, actor)
    """,
    f"""
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT 'evt_' || x.step || lpad(to_hex(n), 25, '0'), 'bench', x.type, 1, {_id("po")}, jsonb_build_object(
        'payment_id', {_id("pay")}, 'payment_order_id', 'order-' || n, 'seller_account', 'seller-' || n % {SELLERS},
        'amount', 50000, 'currency', 'INR', 'status', x.status), now() FROM {_N}
    CROSS JOIN (VALUES (0, 'payment_order.created', 'EXECUTING'), (1, 'payment_order.success', 'SUCCESS')
    ) AS x (step, type, status)
    """,
    f"""
    INSERT INTO audit_log (tenant_id, actor, action, object_id, detail, address)
    SELECT 'bench', 'key_01kabcdefghjkmnpqrstvwxyz0', 'payment.create', {_id("pay")},
           jsonb_build_object('amount', 50000, 'currency', 'INR', 'key', 'shop'), '192.0.2.1' FROM {_N}
    """,
)
WAITING = "INSERT INTO outbox_todo (sink, seq) SELECT 1, seq FROM outbox ORDER BY seq DESC LIMIT 500"
"""The newest events wait for the relay."""
_BATCH = 50_000

# (name, the query while each table is one, the query now, its value)
QUERIES: Mapping[str, tuple[str, str, str]] = {
    "postings of a transaction": (
        "SELECT * FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id WHERE t.id = $1",
        "SELECT * FROM ledger_transaction t JOIN ledger_posting p ON {of_transaction} WHERE t.id = $1",
        "lt",
    ),
    "postings of a seller since a number": (
        "SELECT * FROM ledger_posting WHERE tenant_id = 'bench' AND account = 'wallet:seller-7:pending'"
        " AND currency = 'INR' AND seq >= $1",
        "",
        "recent",
    ),
    "a statement's first page": (
        "SELECT * FROM ledger_posting WHERE tenant_id = 'bench' AND account = 'wallet:seller-7:pending'"
        " AND currency = 'INR' AND seq > $1 ORDER BY seq LIMIT 1000",
        "",
        "zero",
    ),
    "steps of a payment": ("SELECT * FROM payment_order_transition WHERE payment_id = $1 ORDER BY seq", "", "pay"),
    "the relay's next events": (
        "SELECT * FROM outbox WHERE published_at IS NULL AND seq > $1 ORDER BY seq LIMIT 100",
        "SELECT * FROM (SELECT seq FROM outbox_todo WHERE sink = 1 AND seq > $1 ORDER BY seq LIMIT 100) AS t"
        " JOIN outbox o ON o.seq = t.seq ORDER BY t.seq",
        "zero",
    ),
    "audit log, newest page": (
        "SELECT * FROM audit_log WHERE tenant_id = 'bench' AND seq < $1 ORDER BY seq DESC LIMIT 50",
        "",
        "end",
    ),
    "audit log of an object": ("SELECT * FROM audit_log WHERE object_id = $1 ORDER BY seq DESC LIMIT 50", "", "pay"),
}


async def prepare(owner: asyncpg.Connection) -> None:
    """Insert the tenant of the rows, and switch the triggers off: these are the books after a year, not the year."""
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("INSERT INTO tenant (id, name) VALUES ('bench', 'bench') ON CONFLICT DO NOTHING")


async def fill(owner: asyncpg.Connection, first: int, last: int) -> None:
    """The rows of payments `first` to `last`."""
    for start in range(first, last + 1, _BATCH):
        for statement in _FILL:
            await owner.execute(statement, start, min(start + _BATCH - 1, last))


# --- payments as they are made ---

_KEYRING = Keyring({"bench": bytes(32)})


@dataclass
class Shop:
    """A tenant that pays by the hot path's statements, without Temporal and PSP between them."""

    database: Database
    key: str
    terms: TermsCache = field(default_factory=TermsCache)

    @classmethod
    async def opened(cls, url: str) -> "Shop":
        database = Database(url, pool_size=2)
        key = await database.run(
            lambda c: api_key.create(c, "shop", "shop", f"sk_test_{base64.b16encode(bytes(16))!r}")
        )
        for number in range(50):
            terms: Any = {"seller_account": f"seller-{number}", "fee_percent": Decimal(3), "fee_fixed": Decimal(0)}
            await database.run(lambda c, t=terms: merchant.create(c, "shop", t))  # type: ignore[misc]
        return cls(database, key)

    async def pay(self, n: int) -> None:
        """Store, settle, and hear of it by a webhook."""
        order = NewOrder(new_id("po"), f"order-{n}", f"seller-{random.randrange(50)}", 50_000, 0)  # noqa: S311
        new = _checkout(n, self.key, order)
        stored = await store.store(self.database, self.terms, _KEYRING, new, Request(new.id, bytes(32)))
        assert isinstance(stored, Stored)
        row = stored.payment
        reference = f"pi_{row.id[4:]}"
        fee = PspFee(reference=f"txn_{row.id[4:]}", amount=1_250, currency="INR")
        result = ChargeResult(
            outcome=ChargeOutcome.SUCCEEDED,
            reference=reference,
            amount=row.amount,
            currency="INR",
            fee=fee,
            card=CardFacts(fingerprint=f"card{n % 1000}", brand="visa", country="IN"),
        )
        step = SettleStep(
            payment_id=row.id, order_id=order.id, result=result, completes=(order.id,), at=datetime.now(UTC)
        )
        assert await end.settle(self.database, self.terms, row, step) is not None
        event = PspEvent(
            event_id=f"evt_{row.id[4:]}",
            type="payment_intent.succeeded",
            kind=PspEventKind.CHARGE,
            reference=reference,
            charge_id=row.charge.id,
            paid=True,
            payload={
                "id": f"evt_{row.id[4:]}",
                "type": "payment_intent.succeeded",
                "data": {"object": {"id": reference}},
            },
        )
        assert await hot_webhook.keep(self.database, "stripe", event) is not None


def _checkout(n: int, key: str, order: NewOrder) -> NewPayment:
    return NewPayment(
        id=new_id("pay"),
        tenant_id="shop",
        checkout_id=f"checkout-{n}",
        buyer_id=f"buyer-{n % 1000}",
        currency="INR",
        psp="stripe",
        method="card",
        token=b"bench:" + bytes(60),
        on_partial_failure="compensate_all",
        metadata={"cart": str(n)},
        confirmed=True,
        send_for_s=3600,
        actor=key,
        email=None,
        may_authorize=True,
        authorize_only=False,
        capture_by_request=False,
        buyer_country="IN",
        return_url="",
        statement_descriptor="",
        orders=[order],
    )
