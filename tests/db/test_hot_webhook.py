"""An event about a charge, stored in one statement or under the payment's lock: both leave the same rows."""

import asyncio
import json
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from db import api_key, merchant
from db.core.database import Database, LockTimeout
from db.hot import webhook as hot
from db.hot.webhook import Kept
from domain.psp import PspEvent, PspEventKind
from domain.status import TERMINAL, Status
from embedded.stack import EmbeddedStack
from services import webhook
from tests.db.test_hot import STATES
from tests.support.databases import copy_database, drop_database
from tests.support.eventually import eventually

TENANT = "shop"
TABLES = (
    *("payment", "payment_order", "payment_order_transition", "charge", "webhook_inbox", "operator_task", "outbox"),
    "audit_log",
)
RANDOM = {"webhook_inbox": {"id"}, "operator_task": {"id"}, "outbox": {"id"}}


class Books:
    """A database that no server works on: what is in it came in by what a test did."""

    def __init__(self, url: str, database: Database, owner: asyncpg.Connection) -> None:
        self.url, self.database, self.owner = url, database, owner

    async def payment(
        self,
        name: str,
        status: str,
        *,
        reference: str | None = None,
        booked: bool = False,
        psp: str = "stripe",
        outcome: str | None = None,
        marks: Sequence[str] = (),
    ) -> None:
        """A payment `pay_…` of one order, with the charge `ch_…`. `marks`: what is requested of it."""
        await self.owner.execute(
            "INSERT INTO payment (id, tenant_id, buyer_id, amount, currency, status, psp, method, token,"
            " on_partial_failure, metadata, capture_requested_at, cancel_requested_at)"
            " VALUES ('pay_' || $1, $2, 'buyer', 500, 'INR', $3, $4, 'card', '', 'compensate_all', '{}',"
            " CASE WHEN 'capture' = ANY($5) THEN now() END, CASE WHEN 'cancel' = ANY($5) THEN now() END)",
            *(name, TENANT, status, psp, list(marks)),
        )
        await self.owner.execute(
            "INSERT INTO payment_order (id, tenant_id, payment_id, position, payment_order_id, seller_account, amount,"
            " currency, platform_fee, status)"
            " VALUES ('po_' || $1, $2, 'pay_' || $1, 0, $1, 'anna', 500, 'INR', 15, $3)",
            *(name, TENANT, status),
        )
        await self.owner.execute(
            "INSERT INTO charge (id, tenant_id, payment_id, attempt, psp, key, amount, currency, send_until, reference,"
            " booked, outcome) VALUES ('ch_' || $1, $2, 'pay_' || $1, 1, $3, $1, 500, 'INR', now(), $4, $5, $6)",
            *(name, TENANT, psp, reference, booked, outcome),
        )

    async def kept(self, event: PspEvent) -> Kept | None:
        """In one statement, where it can be."""
        return await hot.keep(self.database, "stripe", event)

    async def store(self, event: PspEvent) -> webhook.Recipient | None:
        """Under the payment's lock."""
        return await self.database.run(lambda c: webhook.store(c, "stripe", event))

    async def rows(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """All rows in which the name is, without it, and of each time only whether there is one."""
        found = {}
        for table in TABLES:
            query = f"SELECT to_jsonb(t)::text AS row FROM {table} t WHERE to_jsonb(t)::text LIKE '%' || $1 || '%'"
            texts = [row["row"].replace(name, "…") for row in await self.owner.fetch(query, name)]
            found[table] = [
                {
                    key: _plain(key, value)
                    for key, value in json.loads(text).items()
                    if key not in {"seq", *RANDOM.get(table, ())}
                }
                for text in texts
            ]
        return found

    async def event(self, event_id: str) -> asyncpg.Record:
        (row,) = await self.owner.fetch("SELECT * FROM webhook_inbox WHERE event_id = $1", event_id)
        return row


def _plain(key: str, value: Any) -> Any:
    return value is not None if key.endswith(("_at", "_until")) or key == "at" else value


@pytest.fixture(scope="module")
async def books(shared_servers: EmbeddedStack) -> AsyncIterator[Books]:
    postgres, name = shared_servers.postgres, f"hot{secrets.token_hex(4)}"
    await copy_database(postgres, name)
    url = postgres.url(name, "paysaga")
    database, owner = Database(url, pool_size=4), await asyncpg.connect(postgres.url(name))
    try:
        await database.run(lambda c: api_key.create(c, TENANT, "test", "sk_test_hot"))
        seller: Any = {"seller_account": "anna", "name": "anna", "fee_percent": 3, "fee_fixed": 0}
        await database.run(lambda c: merchant.create(c, TENANT, seller))
        yield Books(url, database, owner)
    finally:
        await owner.close()
        await database.close()
        await drop_database(postgres, name)


# --- the same rows ---


@dataclass(frozen=True)
class State:
    """A payment with its charge, and an event that comes; `…` is the payment's name."""

    status: Status
    reference: str | None
    booked: bool
    psp: str
    outcome: str | None
    marks: tuple[str, ...]
    was_here: bool
    event: PspEvent

    def told(self, name: str) -> PspEvent:
        return PspEvent.model_validate_json(self.event.model_dump_json().replace("…", name))


def any_state(chance: random.Random) -> State:
    reference = chance.choice([None, "pi_…", "pi_…", "pi_other_…"])
    kind = chance.choice([*[PspEventKind.CHARGE] * 6, PspEventKind.REFUND, PspEventKind.DISPUTE, PspEventKind.OTHER])
    return State(
        status=chance.choice([*Status, *[Status.EXECUTING, Status.AUTHORIZED, Status.AUTHORIZED, *TERMINAL] * 3]),
        reference=reference,
        booked=reference is not None and chance.random() < 0.7,
        psp=chance.choice(["stripe"] * 9 + ["another"]),
        outcome=chance.choice([None, "AUTHORIZED", "AUTHORIZED", "DECLINED"]),
        marks=chance.choice([(), (), ("capture",), ("cancel",), ("capture", "cancel")]),
        was_here=chance.random() < 0.15,
        event=PspEvent(
            event_id="evt_…",
            type="some.type",
            kind=kind,
            reference=chance.choice(["pi_…"] * 6 + [None] if kind is PspEventKind.CHARGE else ["pi_…"]),
            charge_reference=None if kind is PspEventKind.CHARGE else "pi_…",
            amount=500 if kind is not PspEventKind.CHARGE else None,
            currency="INR" if kind is not PspEventKind.CHARGE else None,
            charge_id=chance.choice(["ch_…"] * 6 + ["ch_nobody", None]),
            paid=kind is PspEventKind.CHARGE and chance.random() < 0.5,
            authorized=kind is PspEventKind.CHARGE and chance.random() < 0.3,
            payload={"id": "evt_…", "data": {"object": {"amount": 500, "note": 'ü"'}}, "list": [1, None, 1.5]},
        ),
    )


async def test_both_paths_leave_the_same_rows(books: Books) -> None:
    """Of random payments each twice, which differ in their names alone."""
    seed = 4  # the same states each time: among them is each outcome
    chance = random.Random(seed)
    kept: Counter[Kept | None] = Counter()
    for number in range(7 * STATES):
        state = any_state(chance)
        names = [f"{number:03}hot", f"{number:03}all"]
        for name in names:
            await books.payment(
                name,
                state.status,
                reference=state.reference and state.reference.replace("…", name),
                booked=state.booked,
                psp=state.psp,
                outcome=state.outcome,
                marks=state.marks,
            )
            if state.was_here:
                await books.store(state.told(name))
        quick, general = (state.told(name) for name in names)
        before = await books.rows(names[0])
        outcome = await books.kept(quick)
        kept[outcome] += 1
        what = f"seed {seed}, state {number}: {state}"
        if outcome is None:
            assert await books.rows(names[0]) == before, f"written, without saying so; {what}"
            continue
        told = await books.store(general)
        assert told is None, f"{told} has to hear of it; {what}"
        assert await books.rows(names[0]) == await books.rows(names[1]), what
    assert set(kept) == {None, *Kept}, "each outcome was there"


# --- each on its own ---


def paid(name: str, **more: Any) -> PspEvent:
    """The event that the PSP took the money for a payment."""
    usual = {"kind": PspEventKind.CHARGE, "type": "payment_intent.succeeded", "paid": True, "payload": {"id": name}}
    ours = {"event_id": f"evt_{name}", "reference": f"pi_{name}", "charge_id": f"ch_{name}"}
    return PspEvent(**{**usual, **ours, **more})


HELD = {"reference": "pi_{}", "outcome": "AUTHORIZED"}
AUTHORIZED = {"paid": False, "authorized": True}


@pytest.mark.parametrize(
    ("status", "charge", "event", "outcome"),
    [
        ("SUCCESS", {"reference": "pi_{}", "booked": True}, {}, Kept.PROCESSED),
        ("SUCCESS", {"reference": "pi_{}", "booked": True}, {"paid": False}, Kept.PROCESSED),
        ("FAILED", {"reference": "pi_second"}, {"paid": False}, Kept.PROCESSED),
        # It has ended unpaid, and the event tells of no money.
        ("FAILED", {"reference": "pi_{}"}, {"paid": False}, Kept.NEEDLESS),
        ("CANCELLED", HELD, AUTHORIZED, Kept.NEEDLESS),
        ("EXECUTING", {}, {}, Kept.RECEIVED),
        ("EXECUTING", {"reference": "pi_{}"}, {}, Kept.RECEIVED),
        # It waits with what the event says.
        ("AUTHORIZED", HELD, AUTHORIZED, Kept.PROCESSED),
        ("AUTHORIZED", {**HELD, "marks": ["cancel"]}, AUTHORIZED, Kept.PROCESSED),
        # It is being captured: the settlement reads it.
        ("AUTHORIZED", {**HELD, "marks": ["capture"]}, {}, Kept.RECEIVED),
        ("AUTHORIZED", {**HELD, "marks": ["capture"]}, AUTHORIZED, Kept.PROCESSED),
        # Captured at the PSP, or void there; or another authorisation than the one that it waits with.
        ("AUTHORIZED", HELD, {}, None),
        ("AUTHORIZED", {**HELD, "marks": ["capture", "cancel"]}, {}, None),
        ("AUTHORIZED", HELD, {"paid": False}, None),
        ("AUTHORIZED", {**HELD, "reference": "pi_earlier"}, AUTHORIZED, None),
        ("AUTHORIZED", {**HELD, "outcome": "DECLINED"}, AUTHORIZED, None),
        # It listens: its workflow is told.
        ("PENDING", {}, {}, None),
        ("REQUIRES_ACTION", {"reference": "pi_{}"}, {}, None),
        ("NOT_STARTED", {}, {}, None),
        # A late charge.
        ("FAILED", {"reference": "pi_{}"}, {}, None),
        ("CANCELLED", {}, {}, None),
        # Paid twice.
        ("SUCCESS", {"reference": "pi_first", "booked": True}, {}, None),
        # The PSP's name of the charge is still to be written down.
        ("FAILED", {}, {"paid": False}, None),
        # Nothing of ours, or not by our id.
        ("SUCCESS", {"reference": "pi_{}", "booked": True}, {"charge_id": "ch_nobody"}, None),
        ("SUCCESS", {"reference": "pi_{}", "booked": True}, {"charge_id": None}, None),
        ("SUCCESS", {"reference": "pi_{}", "booked": True, "psp": "another"}, {}, None),
        # About a refund.
        ("SUCCESS", {"reference": "pi_{}", "booked": True}, {"refund_id": "re_1", "kind": PspEventKind.REFUND}, None),
        ("SUCCESS", {"reference": "pi_{}", "booked": True}, {"refund_failed": True}, None),
    ],
)
async def test_what_is_kept_at_once(
    books: Books, status: str, charge: dict[str, Any], event: dict[str, Any], outcome: Kept | None
) -> None:
    name = secrets.token_hex(4)
    named = charge["reference"].format(name) if "reference" in charge else None
    await books.payment(name, status, **{**charge, "reference": named})
    assert await books.kept(paid(name, **event)) is outcome
    again = Kept.DUPLICATE if outcome not in (None, Kept.NEEDLESS) else outcome
    assert await books.kept(paid(name, **event)) is again


async def test_a_name_that_another_charge_has_is_left_to_the_general_path(books: Books) -> None:
    first, second = secrets.token_hex(4), secrets.token_hex(4)
    await books.payment(first, "SUCCESS", reference=f"pi_{second}", booked=True)
    await books.payment(second, "EXECUTING")
    before = await books.rows(second)
    assert await books.kept(paid(second)) is None
    assert await books.rows(second) == before


# --- while somebody else writes to the payment ---


async def waiting(books: Books) -> bool:
    """Whether somebody waits for what this connection holds."""
    query = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return bool(await books.owner.fetch(query))


async def test_an_event_that_waits_for_the_settlement_is_seen_by_it_or_sees_it(books: Books) -> None:
    """Between the two nothing stays in the inbox."""
    name = secrets.token_hex(4)
    await books.payment(name, "EXECUTING")
    async with books.owner.transaction():
        await books.owner.execute("SELECT FROM payment WHERE id = $1 FOR UPDATE", f"pay_{name}")
        keeping = asyncio.create_task(books.kept(paid(name)))
        await eventually(lambda: waiting(books), what="the event waits")
        await books.owner.execute("UPDATE payment SET status = 'SUCCESS' WHERE id = $1", f"pay_{name}")
        await books.owner.execute(
            "UPDATE charge SET booked = true, reference = $2 WHERE id = $1", f"ch_{name}", f"pi_{name}"
        )
    assert await keeping is None, "what it saw of the charge is of before"
    assert await books.store(paid(name)) is None
    assert (await books.event(f"evt_{name}"))["status"] == "PROCESSED"


async def test_an_event_that_waits_for_the_end_of_the_fast_path_is_told(books: Books) -> None:
    """The payment came to rest meanwhile: it was EXECUTING when the statement began, and listens now."""
    name = secrets.token_hex(4)
    await books.payment(name, "EXECUTING")
    async with books.owner.transaction():
        await books.owner.execute("UPDATE payment SET status = 'PENDING' WHERE id = $1", f"pay_{name}")
        keeping = asyncio.create_task(books.kept(paid(name)))
        await eventually(lambda: waiting(books), what="the event waits")
    assert await keeping is None
    told = await books.store(paid(name))
    assert isinstance(told, webhook.ToPayment)


async def test_a_name_that_was_written_down_meanwhile_stays(books: Books) -> None:
    name = secrets.token_hex(4)
    await books.payment(name, "EXECUTING")
    async with books.owner.transaction():
        await books.owner.execute("SELECT FROM payment WHERE id = $1 FOR UPDATE", f"pay_{name}")
        keeping = asyncio.create_task(books.kept(paid(name)))
        await eventually(lambda: waiting(books), what="the event waits")
        await books.owner.execute("UPDATE charge SET reference = $2 WHERE id = $1", f"ch_{name}", f"pi_first_{name}")
    assert await keeping is Kept.RECEIVED
    (row,) = await books.owner.fetch("SELECT reference FROM charge WHERE id = $1", f"ch_{name}")
    assert row["reference"] == f"pi_first_{name}"


async def test_a_lock_that_is_held_for_too_long_is_an_outage(books: Books) -> None:
    """The PSP sends it again."""
    name = secrets.token_hex(4)
    await books.payment(name, "EXECUTING")
    impatient = Database(books.url, pool_size=1, timeout_s=0.1)
    try:
        async with books.owner.transaction():
            await books.owner.execute("SELECT FROM payment WHERE id = $1 FOR UPDATE", f"pay_{name}")
            with pytest.raises(LockTimeout):
                await hot.keep(impatient, "stripe", paid(name))
    finally:
        await impatient.close()
    assert await books.owner.fetch("SELECT FROM webhook_inbox WHERE event_id = $1", f"evt_{name}") == []
