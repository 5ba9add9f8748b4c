"""Storing and ending a payment in one statement, or under its lock: both leave the same rows, and a statement whose
guard does not hold leaves none."""

import asyncio
import base64
import json
import os
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from db import api_key, merchant, task, webhook
from db.core.database import Database
from db.core.idempotency import Claim, Request
from db.core.keyring import Keyring
from db.hot import end, read, store
from db.hot import webhook as hot_webhook
from db.hot.store import Stored
from db.hot.terms import TermsCache
from db.hot.webhook import Kept
from db.ledger import posting as ledger
from db.merchant import MerchantTerms
from db.payment import checkout, compensation, lifecycle, payment, settlement
from db.payment.payment import NewOrder, NewPayment
from db.payment.record import Payment
from domain.ids import new_id
from domain.ledger import Kind, Transaction, psp_fee
from domain.model import Failure
from domain.payment import CancelStep, CloseStep, CompensateStep, Settlement, SettleOutcome, SettleStep, WaitStep
from domain.psp import CardFacts, ChargeOutcome, ChargeResult, PspEvent, PspEventKind, PspFee
from domain.status import MerchantStatus, Status
from embedded.stack import EmbeddedStack
from services import webhook as service
from tests.support.databases import copy_database, drop_database
from tests.support.eventually import eventually

STATES = int(os.environ.get("PAYSAGA_STATES", "12"))
"""Random states of each test that compares both ways; `make states` tries many more."""
AT = datetime(2026, 11, 3, 10, 30, tzinfo=UTC)
GENERAL, HOT = "general", "hot"
KEYRING = Keyring.parse("k1:" + base64.b64encode(b"1" * 32).decode())


class Books:
    """A database that no server works on, with two tenants of the same sellers: one for each way."""

    def __init__(self, database: Database, owner: asyncpg.Connection) -> None:
        self.database, self.owner = database, owner
        self.keys: dict[str, str] = {}
        self.terms = TermsCache()

    async def sellers(self, terms: dict[str, MerchantTerms]) -> None:
        for tenant_id in (GENERAL, HOT):
            for name, of in terms.items():
                await self.database.run(
                    lambda c, t=tenant_id, n=name, of=of: merchant.create(c, t, {"seller_account": n, **of})  # type: ignore[misc, typeddict-item]
                )

    async def stored(self, new: NewPayment) -> Payment:
        """In the way of its tenant."""
        request = Request(new.id, b"hash")
        if new.tenant_id == HOT:
            stored = await store.store(self.database, self.terms, KEYRING, new, request)
            assert isinstance(stored, Stored)
            assert stored.payment == await read.payment(self.database, new.id), "what it says is what it wrote"
        else:
            await checkout.store(self.database, KEYRING, new, request)
        return await self.read(new.id)

    async def read(self, payment_id: str) -> Payment:
        found = await read.payment(self.database, payment_id)
        assert found is not None
        assert found == await self.database.read(lambda c: payment.get(c, payment_id)), "as it is read in three"
        return found

    async def settled(self, row: Payment, result: ChargeResult) -> list[Settlement]:
        """One order after the other, as the saga does."""
        answers: list[Settlement] = []
        for order in row.orders:
            step = settle_step(row, order.id, result)
            if row.tenant_id == HOT:
                ended = await end.settle(self.database, self.terms, await self.read(row.id), step)
                assert ended is not None, "it is left to the general path"
                assert ended == await self.read(row.id), "what it says is what it wrote"
                answer = Settlement(outcome=SettleOutcome.SETTLED, status=ended.status)
            else:
                answer = await self.database.run(lambda c, s=step: settlement.settle(c, s))  # type: ignore[misc]
            answers.append(answer)
        return answers

    async def rows(self, new: NewPayment) -> dict[str, list[dict[str, Any]]]:
        """All rows of a payment, without what differs between any two: ids, numbers, times, what is encrypted."""
        names = {new.id: "PAY", new.tenant_id: "TENANT", self.keys[new.tenant_id]: "KEY", new.buyer_id: "BUYER"}
        names |= {order.id: f"ORDER{n}" for n, order in enumerate(new.orders)}
        names[await self.owner.fetchval("SELECT id FROM charge WHERE payment_id = $1", new.id)] = "CHARGE"
        refunds = await self.owner.fetch("SELECT id FROM refund WHERE payment_id = $1 ORDER BY seq", new.id)
        names |= {row["id"]: f"REFUND{n}" for n, row in enumerate(refunds)}
        found = {}
        for table, where in TABLES.items():
            rows = await self.owner.fetch(
                f"SELECT to_jsonb(t)::text AS row FROM {table} t WHERE {where} ORDER BY {ORDER.get(table, 'seq')}",
                new.id,
                new.tenant_id,
                new.buyer_id,
            )
            found[table] = [_plain(json.loads(_named(row["row"], names))) for row in rows]
        return found


_OF_ORDER = "IN (SELECT id FROM payment_order WHERE payment_id = $1)"
_ANY = "$1::text IS NOT NULL AND $2::text IS NOT NULL AND $3::text IS NOT NULL AND "
_OF_REFUND = "IN (SELECT id FROM refund WHERE payment_id = $1)"
_TRANSACTIONS = f"source_id {_OF_ORDER} OR payment_id = $1"
_PERSON = "(SELECT id FROM person WHERE tenant_id = $2 AND buyer_id = $3)"
TABLES = {
    table: _ANY + f"({where})"
    for table, where in {
        "payment": "id = $1",
        "payment_order": "payment_id = $1",
        "payment_order_transition": "payment_id = $1",
        "charge": "payment_id = $1",
        "ledger_transaction": _TRANSACTIONS,
        "ledger_posting": f"transaction_id IN (SELECT id FROM ledger_transaction WHERE {_TRANSACTIONS})",
        "ledger_account": "tenant_id = $2",
        "wallet": "tenant_id = $2",
        "outbox": f"object_id = $1 OR object_id {_OF_ORDER} OR object_id {_OF_REFUND}",
        "audit_log": f"object_id = $1 OR object_id {_OF_REFUND}",
        "idempotency_key": f"object_id = $1 OR object_id {_OF_REFUND}",
        "refund": "payment_id = $1",
        "reserve": "payment_id = $1",
        "webhook_inbox": "payment_id = $1",
        "operator_task": "payment_id = $1",
        "person": "tenant_id = $2 AND buyer_id = $3",
        "person_email": f"person_id IN {_PERSON}",
    }.items()
}
ORDER = {
    "payment": "id", "payment_order": "position", "charge": "attempt", "ledger_account": "name, currency",
    "wallet": "seller_account", "idempotency_key": "created_at", "webhook_inbox": "event_id", "operator_task": "kind",
    "person": "id", "person_email": "digest",
}  # fmt: skip
_ENCRYPTED = {"token", "buyer_email", "buyer_phone", "digest", "email", "sealed_action"}
_NUMBERED = {"seq", "xact", "version"}
_OWN_IDS = ("evt_", "lt_", "whk_", "task_", "prs_", "rsv_", "dp_")


def _named(text: str, names: dict[str, str]) -> str:
    for name, stands_for in names.items():
        text = text.replace(name, stands_for)
    return text


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    def value(key: str, found: Any) -> Any:
        if isinstance(found, str) and found.startswith("2026-11-03T10:30:00"):
            return "AT"
        is_time = isinstance(found, str) and len(found) > 18 and found[4:5] == "-" and "T" in found
        is_own = isinstance(found, str) and found.startswith(_OWN_IDS)
        return found is not None if key in _ENCRYPTED or key == "key" or is_time or is_own else found

    return {key: value(key, found) for key, found in row.items() if key not in _NUMBERED}


@pytest.fixture(scope="module")
async def books(shared_servers: EmbeddedStack) -> AsyncIterator[Books]:
    postgres, name = shared_servers.postgres, f"hot{secrets.token_hex(4)}"
    await copy_database(postgres, name)
    database, owner = Database(postgres.url(name, "paysaga"), pool_size=4), await asyncpg.connect(postgres.url(name))
    try:
        found = Books(database, owner)
        for tenant_id in (GENERAL, HOT):
            secret = f"sk_test_{tenant_id}"
            found.keys[tenant_id] = await database.run(lambda c, t=tenant_id, s=secret: api_key.create(c, t, "shop", s))  # type: ignore[misc]
        yield found
    finally:
        await owner.close()
        await database.close()
        await drop_database(postgres, name)


def settle_step(row: Payment, order_id: str, result: ChargeResult) -> SettleStep:
    ids = tuple(order.id for order in row.orders)
    together = ids if order_id == ids[-1] else ()
    completes = (order_id,) if row.on_partial_failure == "keep_successful" else together
    return SettleStep(payment_id=row.id, order_id=order_id, result=result, completes=completes, at=AT)


# --- the same rows ---


@dataclass(frozen=True)
class State:
    """A checkout, what has happened to it, and the PSP's answer."""

    name: str
    new: NewPayment
    terms: dict[str, MerchantTerms]
    result: ChargeResult
    before: tuple[str, ...] = field(default=())

    def of(self, books: Books, tenant_id: str) -> NewPayment:
        ids = sorted(new_id("po") for _ in self.new.orders)
        orders = [replace(order, id=order_id) for order_id, order in zip(ids, self.new.orders, strict=True)]
        return replace(self.new, id=new_id("pay"), tenant_id=tenant_id, actor=books.keys[tenant_id], orders=orders)


def any_state(chance: random.Random, name: str) -> State:
    sellers = [f"{seller}{name}" for seller in chance.sample(["anna", "bo", "chen"], chance.randint(1, 3))]
    orders = [
        NewOrder("", f"order{name}-{n}", chance.choice(sellers), chance.randint(100, 90_000), 0)
        for n in range(chance.choice([1, 1, 2, 3, 4]))
    ]
    total = sum(order.amount for order in orders)
    terms: dict[str, MerchantTerms] = {
        seller: {
            "fee_percent": Decimal(chance.choice(["0", "2.5", "3", "99"])),
            "fee_fixed": Decimal(chance.choice(["0", "0.30"])),
            "psp_fee_payer": chance.choice(["platform", "seller"]),
            "payout_delay_days": chance.choice([0, 2, 7]),
        }
        for seller in sellers
    }
    available = chance.choice([None, AT + timedelta(days=1), AT + timedelta(days=9)])
    taken = PspFee(reference="", amount=chance.randint(0, total // 20), currency="INR", available_on=available)
    fee = chance.choice([None, taken, taken])
    card = chance.choice([None, CardFacts(), CardFacts(fingerprint=f"fp{name}", brand="visa", country="IN")])
    return State(
        name=name,
        new=NewPayment(
            id="",
            tenant_id="",
            checkout_id=chance.choice([None, f"checkout{name}"]),
            buyer_id=f"buyer-{chance.choice([name, 'known'])}",
            currency="INR",
            psp="stripe",
            method=chance.choice(["card", "upi"]),
            token=b"k1:token",
            on_partial_failure=chance.choice(["compensate_all", "keep_successful"]),
            metadata=chance.choice([{}, {"cart": "7", "naïve": "ÿ\U0001f600"}]),
            confirmed=chance.random() < 0.8,
            send_for_s=3600,
            actor="",
            email=chance.choice([None, f"{name}@example.com", "known@example.com"]),
            phone=chance.choice([None, "+4915112345678"]),
            may_authorize=True,
            authorize_only=chance.random() < 0.2,
            capture_by_request=chance.random() < 0.2,
            buyer_country=chance.choice([None, "IN"]),
            return_url=chance.choice(["", "https://shop.example/back"]),
            statement_descriptor=chance.choice(["", "SHOP"]),
            orders=orders,
        ),
        terms=terms,
        result=ChargeResult(
            outcome=ChargeOutcome.SUCCEEDED, reference="", amount=total, currency="INR", fee=fee, card=card
        ),
        before=tuple(what for what in BEFORE if chance.random() < 0.3),
    )


async def waits(books: Books, row: Payment) -> None:
    step = WaitStep(payment_id=row.id, status=Status.PENDING, next_check_s=60, reason="at the PSP", at=AT)
    await books.database.run(lambda c: lifecycle.wait_in_status(c, KEYRING, step))


async def asks_a_person(books: Books, row: Payment) -> None:
    await waits(books, row)
    for kind in ("psp_unknown", "refund_failed"):
        await books.database.run(lambda c, k=kind: task.open_task(c, row.tenant_id, row.id, k, "why"))  # type: ignore[misc]


async def hears_of_it(books: Books, row: Payment) -> None:
    for paid in (True, False):
        event = PspEvent(
            event_id=f"evt{paid}-{row.id}", type="payment_intent", kind=PspEventKind.CHARGE, paid=paid, payload={}
        )
        await books.database.run(
            lambda c, e=event: webhook.insert(  # type: ignore[misc]
                c, row.psp, e, tenant_id=row.tenant_id, payment_id=row.id, charge_id=row.charge.id, concerned=True
            )
        )
    await books.database.run(lambda c: lifecycle.noted(c, row.id))


BEFORE: dict[str, Callable[[Books, Payment], Awaitable[None]]] = {
    "waits": waits,
    "asks a person": asks_a_person,
    "hears of it": hears_of_it,
}


def own(result: ChargeResult, row: Payment) -> ChargeResult:
    """With the PSP's names, which are its own in each tenant."""
    fee = result.fee and result.fee.model_copy(update={"reference": f"txn_{row.id}"})
    return result.model_copy(update={"reference": f"pi_{row.id}", "fee": fee})


async def test_both_ways_store_and_settle_the_same_rows(books: Books) -> None:
    chance = random.Random(1)
    for number in range(STATES):
        state = any_state(chance, f"s{number}")
        await books.sellers(state.terms)
        seen, answers = [], []
        for tenant_id in (GENERAL, HOT):
            new = state.of(books, tenant_id)
            row = await books.stored(new)
            seen.append([await books.rows(new)])
            if not new.confirmed:
                await books.database.run(lambda c, r=row: lifecycle.confirm(c, r.id, 3600, AT, "shop"))  # type: ignore[misc]
            for what in state.before:
                await BEFORE[what](books, row)
            answers.append(await books.settled(row, own(state.result, row)))
            seen[-1].append(await books.rows(new))
        assert seen[0][0] == seen[1][0], f"stored: {state}"
        assert seen[0][1] == seen[1][1], f"settled: {state}"
        assert answers[0][-1] == answers[1][-1]
        assert answers[1][0].status is Status.SUCCESS


async def test_both_ways_close_with_the_same_rows(books: Books) -> None:
    chance = random.Random(2)
    for number in range(STATES // 2):
        state = any_state(chance, f"c{number}")
        await books.sellers(state.terms)
        outcome = chance.choice([ChargeOutcome.DECLINED, ChargeOutcome.VOIDED])
        failure = chance.choice([None, Failure(code="card_declined", message="Declined.", psp_code="do_not_honor")])
        status = Status.FAILED if failure else Status.CANCELLED
        named = chance.random() < 0.5
        seen = []
        for tenant_id in (GENERAL, HOT):
            new = replace(state.of(books, tenant_id), confirmed=True)
            row = await books.stored(new)
            for what in state.before:
                await BEFORE[what](books, row)
            result = ChargeResult(outcome=outcome, reference=f"pi_{row.id}" if named else None, failure=failure)
            step = CloseStep(payment_id=row.id, status=status, failure=failure, result=result, at=AT)
            if tenant_id == HOT:
                ended = await end.close(books.database, await books.read(row.id), step)
                assert ended == await books.read(row.id), "what it says is what it wrote"
                assert ended.status is status
            else:
                assert await books.database.run(lambda c, s=step: lifecycle.close(c, s)) is status  # type: ignore[misc]
            seen.append(await books.rows(new))
        assert seen[0] == seen[1], f"closed: {state}"


# --- the guards ---


async def usual(
    books: Books, name: str, tenant_id: str = HOT, *, authorize_only: bool = False, capture_by_request: bool = False
) -> tuple[NewPayment, Payment]:
    """A checkout of two orders, stored in one statement."""
    terms: MerchantTerms = {"fee_percent": Decimal(3), "fee_fixed": Decimal(0)}
    await books.sellers({f"{seller}-{name}": terms for seller in ("anna", "bo")})
    orders = [NewOrder(new_id("po"), f"{seller}-{name}", f"{seller}-{name}", 500, 0) for seller in ("anna", "bo")]
    new = replace(
        any_state(random.Random(3), name).new,
        id=new_id("pay"),
        tenant_id=tenant_id,
        actor=books.keys[tenant_id],
        checkout_id=f"checkout-{name}",
        buyer_id=f"buyer-{name}",
        email=f"{name}@example.com",
        orders=orders,
        confirmed=True,
        authorize_only=authorize_only,
        capture_by_request=capture_by_request,
        return_url="",
    )
    return new, await books.stored(new)


async def frozen(books: Books, row: Payment) -> None:
    seller = row.orders[1].seller_account
    await books.database.run(lambda c: merchant.change(c, HOT, seller, {"status": MerchantStatus.FROZEN}))


async def bears_the_fee(books: Books, row: Payment) -> None:
    seller = row.orders[1].seller_account
    await books.database.run(lambda c: merchant.change(c, HOT, seller, {"psp_fee_payer": "seller"}))


async def waits_for_longer(books: Books, row: Payment) -> None:
    seller = row.orders[0].seller_account
    await books.database.run(lambda c: merchant.change(c, HOT, seller, {"payout_delay_days": 30}))


async def cancelled(books: Books, row: Payment) -> None:
    await books.database.run(lambda c: lifecycle.request_cancel(c, CancelStep(payment_id=row.id, by="shop", at=AT)))


async def settled_in_part(books: Books, row: Payment) -> None:
    step = settle_step(row, row.orders[0].id, paid(row))
    await books.database.run(lambda c: settlement.settle(c, step))


async def compensating(books: Books, row: Payment) -> None:
    step = CompensateStep(payment_id=row.id, order_ids=(), result=paid(row), ends_as=Status.FAILED, at=AT)
    await books.database.run(lambda c: compensation.begin_compensation(c, step, 3600))


async def closed(books: Books, row: Payment) -> None:
    step = CloseStep(payment_id=row.id, status=Status.FAILED, at=AT, result=None)
    await books.database.run(lambda c: lifecycle.close(c, step))


async def has_its_fee_booked(books: Books, row: Payment) -> None:
    """By its name at the PSP, for another payment."""
    fee = Transaction(kind=Kind.PSP_FEE, source_id=f"stripe:txn_{row.id}", postings=psp_fee("stripe", 20, "INR"))
    await books.database.run(lambda c: ledger.post(c, HOT, [fee], AT))


def paid(row: Payment) -> ChargeResult:
    fee = PspFee(reference=f"txn_{row.id}", amount=20, currency="INR")
    return ChargeResult(
        outcome=ChargeOutcome.SUCCEEDED, reference=f"pi_{row.id}", amount=row.amount, currency="INR", fee=fee
    )


@pytest.mark.parametrize(
    "meanwhile",
    [frozen, bears_the_fee, waits_for_longer, cancelled, settled_in_part, compensating, closed, waits,
     has_its_fee_booked],
    ids=lambda one: one.__name__,
)  # fmt: skip
async def test_nothing_is_settled_that_has_changed_since_it_was_read(
    books: Books, meanwhile: Callable[[Books, Payment], Awaitable[None]]
) -> None:
    new, row = await usual(books, f"settle-{meanwhile.__name__}")
    step = settle_step(row, row.orders[0].id, paid(row))
    assert await books.terms.of(books.database, HOT, [order.seller_account for order in row.orders]) is not None
    await meanwhile(books, row)
    before = await books.rows(new)
    assert await end.settle(books.database, books.terms, row, step) is None
    assert await books.rows(new) == before


@pytest.mark.parametrize(
    "meanwhile", [cancelled, settled_in_part, compensating, closed, waits], ids=lambda one: one.__name__
)
async def test_nothing_is_closed_that_has_changed_since_it_was_read(
    books: Books, meanwhile: Callable[[Books, Payment], Awaitable[None]]
) -> None:
    new, row = await usual(books, f"close-{meanwhile.__name__}")
    await meanwhile(books, row)
    before = await books.rows(new)
    result = ChargeResult(outcome=ChargeOutcome.DECLINED, reference=f"pi_{row.id}")
    step = CloseStep(payment_id=row.id, status=Status.FAILED, at=AT, result=result)
    assert await end.close(books.database, row, step) is None
    assert await books.rows(new) == before


# --- webhooks meanwhile ---


def event_of(row: Payment) -> PspEvent:
    return PspEvent(
        event_id=f"evt-{row.id}",
        type="payment_intent.succeeded",
        kind=PspEventKind.CHARGE,
        reference=f"pi_{row.id}",
        charge_id=row.charge.id,
        paid=True,
        payload={},
    )


async def note_of(books: Books, row: Payment) -> str | None:
    query = "SELECT note FROM webhook_inbox WHERE event_id = $1"
    note: str | None = await books.owner.fetchval(query, event_of(row).event_id)
    return note


async def test_a_webhook_that_came_since_the_payment_was_read_is_seen(books: Books) -> None:
    _, row = await usual(books, "heard")
    assert await hot_webhook.keep(books.database, row.psp, event_of(row)) is Kept.RECEIVED
    assert await end.settle(books.database, books.terms, row, settle_step(row, row.orders[0].id, paid(row)))
    assert await note_of(books, row) == "the payment has ended"


async def ends(books: Books, row: Payment, *, settled: bool) -> object:
    if settled:
        return await end.settle(books.database, books.terms, row, settle_step(row, row.orders[0].id, paid(row)))
    result = ChargeResult(outcome=ChargeOutcome.DECLINED, reference=f"pi_{row.id}")
    step = CloseStep(payment_id=row.id, status=Status.FAILED, at=AT, result=result)
    return await end.close(books.database, row, step)


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_has_not_seen_a_webhook_is_not_written(books: Books, settled: bool, at_once: bool) -> None:
    """Both have begun when the lock that they wait for is given back: the webhook is first, and the other does not see
    it. `at_once`: it is kept in one statement."""
    _, row = await usual(books, f"crossed-{settled}-{at_once}")
    async with webhook_first(books, row, at_once=at_once):
        ending = asyncio.create_task(ends(books, row, settled=settled))
    assert await ending is None
    assert (await books.read(row.id)).status is Status.EXECUTING
    assert await ends(books, row, settled=settled), "the second time it is seen"


@asynccontextmanager
async def webhook_first(books: Books, row: Payment, *, at_once: bool) -> AsyncIterator[None]:
    """While the payment is locked a webhook waits for it, and behind that one statement, which the block begins."""
    event = event_of(row)
    async with books.owner.transaction():
        await books.owner.execute("SELECT FROM payment WHERE id = $1 FOR UPDATE", row.id)
        keeping = asyncio.create_task(
            hot_webhook.keep(books.database, row.psp, event)
            if at_once
            else books.database.run(lambda c: service.store(c, row.psp, event))
        )
        await eventually(lambda: _are_waiting(books, 1), what="the webhook waits")
        yield
        await eventually(lambda: _are_waiting(books, 2), what="the other waits behind it")
    assert await keeping is (Kept.RECEIVED if at_once else None)


async def _are_waiting(books: Books, number: int) -> bool:
    """So many statements wait for a lock, one behind the other."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await books.database.read(lambda c: c.scalar(text(query))) == number)


@pytest.mark.parametrize("step", ["another amount", "another currency", "a fee in another currency", "a cancel"])
async def test_what_is_not_as_usual_is_left_to_the_general_path(books: Books, step: str) -> None:
    new, row = await usual(books, f"unusual-{step.replace(' ', '-')}")
    changes: dict[str, dict[str, Any]] = {
        "another amount": {"amount": row.amount - 1},
        "another currency": {"currency": "EUR"},
        "a fee in another currency": {"fee": PspFee(reference=f"txn_{row.id}", amount=20, currency="EUR")},
    }
    if step == "a cancel":
        await cancelled(books, row)
        row = await books.read(row.id)
    result = paid(row).model_copy(update=changes.get(step, {}))
    before = await books.rows(new)
    assert await end.settle(books.database, books.terms, row, settle_step(row, row.orders[0].id, result)) is None
    assert await books.rows(new) == before


async def has_another_fee(books: Books, new: NewPayment) -> NewPayment:
    seller = new.orders[1].seller_account
    await books.database.run(lambda c: merchant.change(c, HOT, seller, {"fee_percent": Decimal(5)}))
    return new


async def has_a_frozen_seller(books: Books, new: NewPayment) -> NewPayment:
    seller = new.orders[1].seller_account
    await books.database.run(lambda c: merchant.change(c, HOT, seller, {"status": MerchantStatus.FROZEN}))
    return new


async def has_an_unknown_seller(_: Books, new: NewPayment) -> NewPayment:
    return replace(new, orders=[replace(new.orders[0], seller_account="nobody")])


async def has_a_site_of_nobody(_: Books, new: NewPayment) -> NewPayment:
    return replace(new, return_url="https://elsewhere.example/", return_origin="https://elsewhere.example")


async def has_the_key_of_another(books: Books, new: NewPayment) -> NewPayment:
    await taken(books, new, b"another hash")
    return new


async def taken(books: Books, new: NewPayment, request_hash: bytes) -> None:
    await books.owner.execute(
        "INSERT INTO idempotency_key (tenant_id, key, request_hash, object_id) VALUES ($1, $2, $3, 'pay_first')",
        *(HOT, new.id, request_hash),
    )


async def has_a_checkout_of_another(books: Books, new: NewPayment) -> NewPayment:
    first, _ = await usual(books, f"first-{new.id}")
    return replace(new, checkout_id=first.checkout_id)


async def has_an_order_of_another(books: Books, new: NewPayment) -> NewPayment:
    first, _ = await usual(books, f"first-{new.id}")
    return replace(new, orders=[replace(new.orders[0], payment_order_id=first.orders[0].payment_order_id)])


async def has_a_buyer_who_was_forgotten(books: Books, new: NewPayment) -> NewPayment:
    await books.owner.execute("UPDATE person SET key = NULL WHERE tenant_id = $1 AND buyer_id = $2", HOT, new.buyer_id)
    return new


@pytest.mark.parametrize(
    "change",
    [has_another_fee, has_a_frozen_seller, has_an_unknown_seller, has_a_site_of_nobody, has_the_key_of_another,
     has_a_checkout_of_another, has_an_order_of_another, has_a_buyer_who_was_forgotten],
    ids=lambda one: one.__name__,
)  # fmt: skip
async def test_nothing_is_stored_that_the_general_path_has_to_decide(
    books: Books, change: Callable[[Books, NewPayment], Awaitable[NewPayment]]
) -> None:
    first, _ = await usual(books, f"store-{change.__name__}")
    orders = [replace(o, id=new_id("po"), payment_order_id=f"{o.payment_order_id}-2") for o in first.orders]
    second = replace(first, id=new_id("pay"), checkout_id=f"{first.checkout_id}-2", orders=orders)
    new = await change(books, second)
    new = replace(new, orders=[replace(order, id=new_id("po")) for order in new.orders])
    tables = [*TABLES, "person", "person_email"]
    counts = [await books.owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables]
    assert await store.store(books.database, books.terms, KEYRING, new, Request(new.id, b"hash")) is None
    assert counts == [await books.owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


@pytest.mark.parametrize("now", [has_another_fee, has_a_frozen_seller, None], ids=lambda one: one and one.__name__)
async def test_the_same_request_again_finds_the_first(
    books: Books, now: Callable[[Books, NewPayment], Awaitable[NewPayment]] | None
) -> None:
    """Also where it would be refused or dearer by now."""
    first, _ = await usual(books, f"replay-{now and now.__name__}")
    again = replace(first, id=new_id("pay"))
    await taken(books, again, b"hash")
    if now is not None:
        await now(books, again)
    found = await store.store(books.database, books.terms, KEYRING, again, Request(again.id, b"hash"))
    assert found == Claim("pay_first", replayed=True)


async def test_a_tenant_with_risk_rules_is_left_to_the_general_path(books: Books) -> None:
    first, _ = await usual(books, "unruled")
    tenant_id = "ruled"
    key = await books.database.run(lambda c: api_key.create(c, tenant_id, "shop", "sk_test_ruled"))
    seller = first.orders[0].seller_account
    await books.database.run(
        lambda c: merchant.create(c, tenant_id, {"seller_account": seller, "fee_percent": Decimal(3)})
    )
    orders = [replace(first.orders[0], id=new_id("po"), seller_account=seller)]
    new = replace(first, id=new_id("pay"), tenant_id=tenant_id, actor=key, orders=orders)
    cache = TermsCache()
    assert await cache.of(books.database, tenant_id, [seller]) is not None
    await books.owner.execute(
        "INSERT INTO risk_rule_set (tenant_id, version, rules, actor) VALUES ($1, 1, '{}', 'test')", tenant_id
    )
    for knows in (cache, TermsCache()):
        assert await store.store(books.database, knows, KEYRING, new, Request(new.id, b"hash")) is None


async def test_checkouts_of_a_new_buyer_at_once_share_one_key(books: Books) -> None:
    """Whoever comes second breaks a unique key, is stored by the general path, and can be read."""
    first, _ = await usual(books, "crowd")
    made = []
    for n in range(6):
        orders = [replace(o, id=new_id("po"), payment_order_id=f"{o.payment_order_id}-{n}") for o in first.orders]
        made.append(
            replace(first, id=new_id("pay"), checkout_id=None, buyer_id="newcomer", email="n@example.io", orders=orders)
        )

    async def stored(new: NewPayment) -> Stored | Claim | None:
        return await store.store(books.database, books.terms, KEYRING, new, Request(new.id, b"hash"))

    found = await asyncio.gather(*(stored(new) for new in made))
    assert any(found)
    for new, done in zip(made, found, strict=True):
        if done is None:
            await checkout.store(books.database, KEYRING, new, Request(new.id, b"hash"))
        known = await books.database.read(lambda c, n=new: payment.secrets_of(c, n.id))  # type: ignore[misc]
        assert known.email is not None
        email = KEYRING.decrypt(known.email, bound_to=f"{new.id}:email", person_key=known.person_key)
        assert email == "n@example.io"
        if isinstance(done, Stored):
            assert done.secrets == known
    count = "SELECT count(*) FROM person WHERE tenant_id = $1 AND buyer_id = 'newcomer'"
    assert await books.owner.fetchval(count, HOT) == 1
    assert (
        await books.owner.fetchval(
            "SELECT count(*) FROM person_email e JOIN person p ON p.id = e.person_id WHERE p.buyer_id = 'newcomer'"
        )
        == 1
    )


async def test_a_settlement_again_is_the_same_settlement(books: Books) -> None:
    new, row = await usual(books, "again")
    first = await end.settle(books.database, books.terms, row, settle_step(row, row.orders[0].id, paid(row)))
    before = await books.rows(new)
    again = await end.settle(
        books.database, books.terms, await books.read(row.id), settle_step(row, row.orders[1].id, paid(row))
    )
    assert first == again == await books.read(row.id)
    assert await books.rows(new) == before
