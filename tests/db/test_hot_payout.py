"""A payout's usual steps, each in one statement, or under its lock: both leave the same rows, and a statement whose
guard does not hold leaves none."""

import asyncio
import json
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any

import asyncpg
import pytest

from db import api_key, merchant, task
from db.core.database import Connection, Database
from db.core.statement import Statement
from db.hot import payout as hot
from db.hot import payout_request, payout_webhook
from db.hot.webhook import Kept
from db.ledger import posting as ledger
from db.ledger import wallet
from db.payout import decision, lifecycle, payout
from db.payout import request as requests
from db.payout import run as payout_run
from db.payout.lifecycle import Ready
from db.payout.record import Payout
from db.payout.request import NewPayout
from domain import ledger as accounts
from domain.errors import Conflict, PaysagaError
from domain.ids import new_id
from domain.ledger import Bucket, Kind, Posting, Transaction
from domain.payout import BANK_PATIENCE, BookPayoutStep, BookTransferStep, PayoutCall
from domain.psp import PayoutOutcome, PayoutResult, PspEvent, PspEventKind, TransferOutcome, TransferResult
from embedded.stack import EmbeddedStack
from services import webhook
from tests.db.test_hot import STATES
from tests.support.databases import copy_database, drop_database
from tests.support.eventually import eventually

TENANT = "shop"
CURRENCY = "INR"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SEND_FOR_S = 600.0


class Books:
    """A database that no server works on; of two sellers who are alike, one goes each way."""

    def __init__(self, database: Database, owner: asyncpg.Connection) -> None:
        self.database, self.owner = database, owner

    async def run(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        return await self.database.run(work)

    async def seller(self, amount: int = 0) -> str:
        """A new one with an account at the PSP, and so much to be paid."""
        name = f"seller{secrets.token_hex(4)}"
        new: Any = {"seller_account": name, "name": "", "fee_percent": 0, "fee_fixed": 0}
        await self.run(lambda c: merchant.create(c, TENANT, new | {"payout_account": f"acct_{name}"}))
        if amount:
            await self.fund(name, amount)
        return name

    async def fund(self, seller: str, amount: int) -> None:
        lines = (
            Posting(account=accounts.ADJUSTMENTS, amount=amount, currency=CURRENCY),
            Posting(account=accounts.wallet(seller, Bucket.AVAILABLE), amount=-amount, currency=CURRENCY),
        )
        adjustment = Transaction(kind=Kind.ADJUSTMENT, source_id=secrets.token_hex(8), postings=lines)

        async def work(connection: Connection) -> None:
            await wallet.lock(connection, TENANT, seller, CURRENCY)
            await wallet.apply(connection, TENANT, await ledger.post(connection, TENANT, [adjustment], NOW))

        await self.run(work)

    async def available(self, seller: str) -> int:
        found = await self.database.read(lambda c: wallet.of_seller(c, TENANT, seller))
        return sum(one.available for one in found)

    async def together(self, *news: NewPayout) -> list[Payout]:
        """Those that were made in one statement."""
        wanted = [(new, await self.available(new.seller_account)) for new in news]
        return list((await payout_request.request(self.database, wanted, NOW)).values())

    async def alone(self, new: NewPayout) -> Payout | None:
        """By the general steps; None: they refuse it."""
        try:
            found: Payout = await self.run(lambda c: requests.request(c, new, NOW))
        except PaysagaError:
            return None
        return found

    async def asked(self, amount: int = 12_345) -> str:
        """A payout that nobody carries out. Its id."""
        (made,) = await self.together(new_payout(await self.seller(amount)))
        return made.id

    async def rows(self, payout_id: str) -> dict[str, Any]:
        """Everything of it, without what differs between any two."""
        row = await self.owner.fetchrow("SELECT seller_account, reference FROM payout WHERE id = $1", payout_id)
        assert row is not None
        found: dict[str, Any] = {}
        for name, query in _ROWS.items():
            plain = [
                {
                    column: value is not None if column in _WHETHER else value
                    for column, value in dict(one).items()
                    if column not in _OWN and not (name in ("event", "inbox", "task") and column in ("id", "event_id"))
                }
                for one in await self.owner.fetch(query, payout_id)
            ]
            text = json.dumps(plain, default=str, sort_keys=True)
            found[name] = json.loads(text.replace(payout_id, "pt_…").replace(row["seller_account"], "seller"))
        return found


_ROWS = {
    "payout": "SELECT * FROM payout WHERE id = $1",
    "call": "SELECT * FROM payout_call WHERE payout_id = $1 ORDER BY call",
    "history": "SELECT * FROM payout_transition WHERE payout_id = $1 ORDER BY seq",
    "event": "SELECT * FROM outbox WHERE object_id = $1 ORDER BY seq",
    "inbox": "SELECT * FROM webhook_inbox WHERE payout_id = $1 ORDER BY received_at",
    "trace": "SELECT t.* FROM payout_trace t JOIN payout p USING (psp, reference) WHERE p.id = $1 ORDER BY trace_id",
    "task": "SELECT * FROM operator_task WHERE object_id = $1 ORDER BY kind",
    "items": "SELECT amount, released, tenant_id FROM payout_item WHERE payout_id = $1 ORDER BY posting_seq",
    "wallet": "SELECT w.pending, w.available, w.reserved, w.receivable, w.payable_from > p.seq AS all_paid"
    " FROM payout o JOIN wallet w USING (tenant_id, seller_account, currency) JOIN ledger_transaction t"
    " ON (t.kind, t.source_id) = ('payout', o.id) JOIN ledger_posting p ON p.transaction_id = t.id AND"
    " p.account LIKE 'wallet:%' WHERE o.id = $1",
    "ledger": "SELECT t.kind, t.source_id, t.corrects, t.at, p.account, p.currency, p.amount FROM ledger_transaction t"
    " JOIN ledger_posting p ON p.transaction_id = t.id WHERE t.source_id = $1 ORDER BY t.seq, p.seq",
}
_OWN = {
    "seq",
    "created_at",
    "updated_at",
    "processed_at",
    "received_at",
    "next_check_at",
    "destination",
    "run_id",
    "opened_at",
}
"""What differs between any two payouts."""
_WHETHER = {"sent_at", "send_until"}


@pytest.fixture(scope="module")
async def books(shared_servers: EmbeddedStack) -> AsyncIterator[Books]:
    postgres, name = shared_servers.postgres, f"hotpay{secrets.token_hex(4)}"
    await copy_database(postgres, name)
    database, owner = Database(postgres.url(name, "paysaga"), pool_size=8), await asyncpg.connect(postgres.url(name))
    try:
        await database.run(lambda c: api_key.create(c, TENANT, "shop", "sk_test_hot_payout"))
        yield Books(database, owner)
    finally:
        await owner.close()
        await database.close()
        await drop_database(postgres, name)


def new_payout(seller: str, amount: int | None = None, **of_run: Any) -> NewPayout:
    return NewPayout(
        id=new_id("pt"),
        tenant_id=TENANT,
        seller_account=seller,
        currency=CURRENCY,
        amount=amount,
        psp="stripe",
        actor="test",
        send_for_s=SEND_FOR_S,
        payable=lambda amount, _: amount - amount % 10,
        **of_run,
    )


# --- making payouts ---


async def test_whatever_a_wallet_holds_both_pay_the_same_postings(books: Books) -> None:
    """Of random wallets: credits and deductions, paid in parts or whole, and again what came back."""
    seed = 11
    chance = random.Random(seed)
    quick, general = await books.seller(), await books.seller()
    made: Counter[bool] = Counter()
    for number in range(STATES):
        what = f"seed {seed}, state {number}"
        for amount in [chance.randint(-400, 2_000) for _ in range(chance.randint(1, 4))]:
            for seller in (quick, general):
                if amount:
                    await books.fund(seller, amount)
        available = await books.available(quick)
        part = chance.choice([None, None, max(1, available // 3), available + 1])
        ours, theirs = await books.together(new_payout(quick, part)), await books.alone(new_payout(general, part))
        made[bool(ours)] += 1
        assert bool(ours) == (theirs is not None), what
        if not ours or theirs is None:
            continue
        assert await books.rows(ours[0].id) == await books.rows(theirs.id), what
        assert ours[0] == await books.run(lambda c, i=ours[0].id: payout.get(c, i)), "what it says is what it wrote"  # type: ignore[misc]
        if chance.random() < 0.3:
            for one in (ours[0], theirs):
                await books.run(lambda c, o=one: requests.return_to_wallet(c, o, NOW))  # type: ignore[misc]
    assert min(made.values()) > STATES // 10, "both happened"


async def _frozen(books: Books, seller: str) -> None:
    await books.owner.execute("UPDATE merchant SET status = 'FROZEN' WHERE seller_account = $1", seller)


async def _nowhere(books: Books, seller: str) -> None:
    await books.owner.execute("UPDATE merchant SET payout_account = NULL WHERE seller_account = $1", seller)


async def _indebted(books: Books, seller: str) -> None:
    lines = (
        Posting(account=accounts.ADJUSTMENTS, amount=-5, currency=CURRENCY),
        Posting(account=accounts.wallet(seller, Bucket.RECEIVABLE), amount=5, currency=CURRENCY),
    )
    debt = Transaction(kind=Kind.ADJUSTMENT, source_id=secrets.token_hex(8), postings=lines)

    async def work(connection: Connection) -> None:
        await wallet.apply(connection, TENANT, await ledger.post(connection, TENANT, [debt], NOW))

    await books.run(work)


async def _penniless(books: Books, seller: str) -> None:
    await books.fund(seller, -1_000)


@pytest.mark.parametrize("unusual", [_frozen, _nowhere, _indebted, _penniless])
async def test_one_who_is_unusual_is_left_out_and_the_others_are_paid(books: Books, unusual: Any) -> None:
    sellers = [await books.seller(1_000) for _ in range(3)]
    await unusual(books, sellers[1])
    made = await books.together(*(new_payout(seller) for seller in sellers))
    assert {one.seller_account: one.amount for one in made} == {sellers[0]: 1_000, sellers[2]: 1_000}
    assert not await books.owner.fetch("SELECT FROM payout WHERE seller_account = $1", sellers[1])


async def test_a_balance_that_is_not_as_it_was_read_is_left_to_the_general_path(books: Books) -> None:
    seller = await books.seller(1_000)
    new = new_payout(seller)
    assert await payout_request.request(books.database, [(new, 900)], NOW) == {}
    assert await payout_request.request(books.database, [(new, 1_100)], NOW) == {}
    # Its wallet says more than its postings.
    more = "UPDATE wallet SET available = available + $2 WHERE seller_account = $1"
    await books.owner.execute(more, seller, 10)
    assert await books.together(new) == []
    await books.owner.execute(more, seller, -10)
    assert len(await books.together(new)) == 1


async def test_a_wallet_that_is_being_written_to_is_not_waited_for(books: Books) -> None:
    busy, free = await books.seller(1_000), await books.seller(1_000)
    async with books.owner.transaction():
        await books.owner.execute("SELECT FROM wallet WHERE seller_account = $1 FOR UPDATE", busy)
        made = await books.together(new_payout(busy), new_payout(free))
    assert [one.seller_account for one in made] == [free]


_SLOWLY = "(SELECT w.*, pg_advisory_xact_lock(4711) FROM wanted w OFFSET 0)"


async def test_a_wallet_that_was_written_to_since_the_statement_began_is_left_out(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds what it held; but the statement does not see the postings."""
    sql = files("db.hot").joinpath("payout_request.sql").read_text()
    monkeypatch.setattr(payout_request, "_REQUEST", Statement(sql.replace("FROM wanted n\n", f"FROM {_SLOWLY} n\n", 1)))
    seller, other = await books.seller(1_000), await books.seller(1_000)
    await books.owner.execute("SELECT pg_advisory_lock(4711)")
    making = asyncio.create_task(books.together(new_payout(seller), new_payout(other)))
    try:
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        await eventually(lambda: books.owner.fetchval(waits), what="the statement has begun")
        for amount in (100, -100):
            await books.fund(seller, amount)
    finally:
        await books.owner.execute("SELECT pg_advisory_unlock(4711)")
    assert [one.seller_account for one in await making] == [other]


async def test_one_who_was_paid_for_the_date_is_not_paid_again(books: Books) -> None:
    day = date(2026, 3, 4)
    of_run = {"run_id": await books.run(lambda c: payout_run.open_run(c, day, "test", NOW)), "business_date": day}
    paid, new = await books.seller(1_000), await books.seller(1_000)
    assert len(await books.together(new_payout(paid, **of_run))) == 1
    await books.fund(paid, 500)
    (made,) = await books.together(new_payout(paid, **of_run), new_payout(new, **of_run))
    assert (made.seller_account, made.run_id, made.business_date) == (new, of_run["run_id"], day)
    with pytest.raises(Conflict, match="was paid for"):
        await books.run(lambda c: requests.request(c, new_payout(paid, **of_run), NOW))
    assert await books.available(paid) == 500


async def test_a_crowd_at_one_wallet_pays_each_posting_once(books: Books) -> None:
    """Credits come while payouts are made, in both ways."""
    seller = await books.seller(100)
    work = [books.fund(seller, 100) for _ in range(12)]
    ways = [books.together(new_payout(seller, 100)) for _ in range(8)] + [
        books.together(new_payout(seller)) for _ in range(4)
    ]
    general = [books.alone(new_payout(seller, 100)) for _ in range(4)]
    await asyncio.gather(*work, *ways, *general)
    paid = "SELECT sum(i.amount) FROM payout_item i JOIN payout p ON p.id = i.payout_id WHERE p.seller_account = $1"
    credited = "SELECT -sum(amount) FROM ledger_posting WHERE account = $1 AND amount < 0"
    wallet_of = accounts.wallet(seller, Bucket.AVAILABLE)
    left = await books.owner.fetchval(credited, wallet_of) - await books.owner.fetchval(paid, seller)
    assert left == await books.available(seller), "what is open of all postings is the balance"


# --- the steps to the bank ---


def transfer(payout_id: str) -> BookTransferStep:
    result = TransferResult(outcome=TransferOutcome.DONE, reference=f"tr_{payout_id}")
    return BookTransferStep(payout_id=payout_id, call=PayoutCall.TRANSFER, result=result, at=NOW)


MINUTE = timedelta(minutes=1)


def payout_step(
    payout_id: str, outcome: PayoutOutcome, trace_id: str | None = None, *, asked_in: timedelta = MINUTE
) -> BookPayoutStep:
    """`asked_in`: events that came before the PSP was asked are read by the step, later ones are not."""
    result = PayoutResult(
        outcome=outcome,
        reference=f"po_{payout_id}",
        arrival_at=LATER,
        asked_at=datetime.now(UTC) + asked_in,
        trace_id=trace_id,
    )
    return BookPayoutStep(payout_id=payout_id, result=result, next_check_at=LATER, at=NOW)


def told(of: str, **more: Any) -> PspEvent:
    """The event that it has arrived."""
    usual = {"kind": PspEventKind.PAYOUT, "type": "payout.paid", "payload": {"id": "evt", "note": 'ü"'}}
    ours = {"event_id": secrets.token_hex(8), "reference": f"po_{of}", "payout_id": of}
    return PspEvent(**{**usual, **ours, **more})


async def _cancel(books: Books, payout_id: str) -> None:
    with suppress(Conflict):  # it is paid
        await books.run(lambda c: decision.request_cancel(c, payout_id, "olga", NOW))


async def _freeze(books: Books, payout_id: str) -> None:
    await _frozen(books, await books.owner.fetchval("SELECT seller_account FROM payout WHERE id = $1", payout_id))


async def _ask(books: Books, payout_id: str) -> None:
    await books.run(lambda c: task.open_task(c, TENANT, None, "payout_stuck", "why?", object_id=payout_id))


async def _unknown(books: Books, payout_id: str) -> None:
    await books.owner.execute("UPDATE payout SET unknown_count = 1 WHERE id = $1", payout_id)


async def _move_on(books: Books, payout_id: str) -> None:
    await books.owner.execute("UPDATE payout SET status = 'NEEDS_ATTENTION' WHERE id = $1", payout_id)


async def _return(books: Books, payout_id: str) -> None:
    await books.owner.execute("UPDATE payout SET ends_as = 'FAILED' WHERE id = $1", payout_id)


UNUSUAL = [_cancel, _freeze, _ask, _unknown, _move_on, _return]


class Way:
    """One payout in one way, step by step; each step says whether it was taken."""

    def __init__(
        self, books: Books, payout_id: str, *, is_hot: bool, trace_id: str | None, asked_in: timedelta = MINUTE
    ) -> None:
        self.books, self.payout_id, self.is_hot = books, payout_id, is_hot
        self.trace_id, self.asked_in = trace_id, asked_in
        self.call: Ready | None = None

    async def ready(self) -> bool:
        if self.is_hot:
            self.call = await hot.ready(self.books.database, self.payout_id)
        else:
            self.call = await self.books.run(lambda c: lifecycle.ready(c, self.payout_id, PayoutCall.TRANSFER))
        return self.call is not None

    async def transferred(self) -> bool:
        step = transfer(self.payout_id)
        if self.is_hot:
            assert self.call is not None
            self.call = await hot.transferred(self.books.database, self.call, step, SEND_FOR_S)
        else:
            await self.books.run(lambda c: lifecycle.book_transfer(c, step, SEND_FOR_S))
            self.call = await self.books.run(lambda c: lifecycle.ready(c, self.payout_id, PayoutCall.PAYOUT))
        return self.call is not None

    async def told(self) -> bool:
        event = told(self.payout_id, trace_id=self.trace_id)
        if self.is_hot:
            return await payout_webhook.keep(self.books.database, "stripe", event) is not None
        await self.books.run(lambda c: webhook.store(c, "stripe", event))
        return True

    async def sent(self) -> bool:
        return await self._booked(PayoutOutcome.PENDING)

    async def paid(self) -> bool:
        return await self._booked(PayoutOutcome.PAID)

    async def _booked(self, outcome: PayoutOutcome) -> bool:
        trace_id = self.trace_id if outcome is PayoutOutcome.PAID else None
        step = payout_step(self.payout_id, outcome, trace_id, asked_in=self.asked_in)
        if not self.is_hot:
            await self.books.run(lambda c: lifecycle.book_payout(c, step, SEND_FOR_S))
            return True
        if outcome is PayoutOutcome.PENDING:
            assert self.call is not None
            return await hot.sent(self.books.database, self.call, step) is not None
        row, _ = await hot.read(self.books.database, self.payout_id)
        return await hot.paid(self.books.database, row, step, BANK_PATIENCE) is not None


STEPS = ("ready", "transferred", "told", "sent", "told", "paid", "told")


async def test_each_step_leaves_what_the_general_one_leaves(books: Books) -> None:
    """Of random payouts, to each of which something unusual may happen before any step."""
    seed = 4
    chance = random.Random(seed)
    left: Counter[str] = Counter()
    for number in range(2 * STATES):
        answer: dict[str, Any] = {
            "trace_id": chance.choice([None, f"TRACE{number}"]),
            "asked_in": chance.choice([MINUTE, -MINUTE]),
        }
        ways = [Way(books, await books.asked(), is_hot=is_hot, **answer) for is_hot in (True, False)]
        unusual, at = chance.choice(UNUSUAL), chance.choice([*range(len(STEPS)), *[len(STEPS)] * 5])
        for position, step in enumerate(STEPS):
            what = f"seed {seed}, state {number}: {step}, {unusual.__name__} before step {at}"
            if position == at:
                for way in ways:
                    await unusual(books, way.payout_id)
            before = await books.rows(ways[0].payout_id)
            if not await getattr(ways[0], step)():
                left[step] += 1
                assert await books.rows(ways[0].payout_id) == before, f"written, without saying so; {what}"
                assert position >= at, f"left to the general path; {what}"
                break
            await getattr(ways[1], step)()
            assert await books.rows(ways[0].payout_id) == await books.rows(ways[1].payout_id), what
        else:
            left["none"] += 1
    assert set(left) >= {"ready", "transferred", "sent", "none"}, left


@pytest.mark.parametrize("unusual", UNUSUAL)
async def test_what_is_unusual_is_left_to_the_general_steps(books: Books, unusual: Any) -> None:
    payout_id = await books.asked()
    way = Way(books, payout_id, is_hot=True, trace_id=None)
    assert await way.ready()
    ready = way.call
    await unusual(books, payout_id)
    before = await books.rows(payout_id)
    assert not await way.ready()
    way.call = ready
    assert not await way.transferred()
    assert await books.rows(payout_id) == before


async def test_an_answer_that_is_not_plain_is_left_to_them(books: Books) -> None:
    database, payout_id = books.database, await books.asked()
    first = await hot.ready(database, payout_id)
    assert first is not None
    refused = transfer(payout_id).model_copy(update={"result": TransferResult(outcome=TransferOutcome.REFUSED)})
    assert await hot.transferred(database, first, refused, SEND_FOR_S) is None
    stopped = Ready(first.row, first.call, first.now, "cancelled before it was sent")
    assert await hot.transferred(database, stopped, transfer(payout_id), SEND_FOR_S) is None
    second = await hot.transferred(database, first, transfer(payout_id), SEND_FOR_S)
    assert second is not None
    assert await hot.ready(database, payout_id) is None, "it is further on"
    for outcome in (PayoutOutcome.FAILED, PayoutOutcome.PAID, PayoutOutcome.NOT_FOUND):
        assert await hot.sent(database, second, payout_step(payout_id, outcome)) is None
    row, _ = await hot.read(database, payout_id)
    assert await hot.paid(database, row, payout_step(payout_id, PayoutOutcome.PAID), BANK_PATIENCE) is None


async def test_a_name_that_another_payout_has_is_left_to_them(books: Books) -> None:
    first, second = await books.asked(), await books.asked()
    ready = [await hot.ready(books.database, one) for one in (first, second)]
    assert ready[0] is not None
    assert ready[1] is not None
    assert await hot.transferred(books.database, ready[0], transfer(first), SEND_FOR_S) is not None
    same = transfer(first).model_copy(update={"payout_id": second})
    before = await books.rows(second)
    assert await hot.transferred(books.database, ready[1], same, SEND_FOR_S) is None
    assert await books.rows(second) == before


async def test_a_call_whose_key_is_over_or_that_has_another_attempt_is_not_sent(books: Books) -> None:
    for change in (
        "UPDATE payout_call SET send_until = now() WHERE payout_id = $1",
        "INSERT INTO payout_call (key, tenant_id, payout_id, call, attempt, send_until)"
        " SELECT key || ':again', tenant_id, payout_id, call, 2, send_until FROM payout_call WHERE payout_id = $1",
    ):
        payout_id = await books.asked()
        await books.owner.execute(change, payout_id)
        assert await hot.ready(books.database, payout_id) is None
        sent = "SELECT FROM payout_call WHERE payout_id = $1 AND sent_at IS NOT NULL"
        assert not await books.owner.fetch(sent, payout_id)


# --- events ---


@pytest.mark.parametrize(
    ("status", "event", "kept", "is_waited_for"),
    [
        ("REQUESTED", {}, Kept.RECEIVED, False),
        ("TRANSFERRED", {}, Kept.RECEIVED, False),
        ("IN_TRANSIT", {}, Kept.RECEIVED, True),
        ("PAID", {}, Kept.PROCESSED, False),
        *((status, {}, None, False) for status in ("RETURNING", "NEEDS_ATTENTION", "FAILED", "CANCELLED", "RETURNED")),
        ("IN_TRANSIT", {"payout_failed": True}, None, False),
        ("PAID", {"payout_failed": True}, None, False),
        ("IN_TRANSIT", {"payout_id": None}, None, False),
        ("IN_TRANSIT", {"payout_id": "pt_nobody"}, None, False),
        ("IN_TRANSIT", {"kind": PspEventKind.CHARGE}, None, False),
    ],
)
async def test_an_event_is_kept_at_once_where_it_is_plain(
    books: Books, status: str, event: dict[str, Any], kept: Kept | None, is_waited_for: bool
) -> None:
    quick, general = [await books.asked() for _ in range(2)]
    for payout_id in (quick, general):
        name = "UPDATE payout SET status = $2, reference = 'po_' || id WHERE id = $1"
        await books.owner.execute(name, payout_id, status)
    before = await books.rows(quick)
    said = told(quick, trace_id="TRACE", **event)
    found = await payout_webhook.keep(books.database, "stripe", said)
    assert (found and found.outcome) is kept
    if found is None:
        assert await books.rows(quick) == before
        return
    assert found.is_waited_for is is_waited_for
    recipient = await books.run(lambda c: webhook.store(c, "stripe", told(general, trace_id="TRACE")))
    assert (recipient is not None) is is_waited_for
    assert await books.rows(quick) == await books.rows(general)
    again = await payout_webhook.keep(books.database, "stripe", said)
    assert again is not None
    assert (again.outcome, again.is_waited_for) == (Kept.DUPLICATE, False)


async def test_an_event_of_another_psp_is_not_about_our_payout(books: Books) -> None:
    assert await payout_webhook.keep(books.database, "another", told(await books.asked())) is None


async def test_an_event_about_a_charge_of_ours_concerns_it(books: Books) -> None:
    name = secrets.token_hex(4)
    await books.owner.execute(
        "INSERT INTO payment (id, tenant_id, buyer_id, amount, currency, status, psp, method, token,"
        " on_partial_failure, metadata)"
        " VALUES ('pay_' || $1, $2, 'b', 5, 'INR', 'EXECUTING', 'stripe', 'card', '', 'compensate_all', '{}')",
        *(name, TENANT),
    )
    await books.owner.execute(
        "INSERT INTO charge (id, tenant_id, payment_id, attempt, psp, key, amount, currency, send_until, reference)"
        " VALUES ('ch_' || $1, $2, 'pay_' || $1, 1, 'stripe', $1, 5, 'INR', now(), 'po_' || $1)",
        *(name, TENANT),
    )
    event = told(name, kind=PspEventKind.OTHER, type="some.type", trace_id="TRACE")
    assert not await payout_webhook.keep_unconcerned(books.database, "stripe", event)
    assert await inbox(books, event) == []


async def inbox(books: Books, event: PspEvent) -> list[dict[str, Any]]:
    rows = await books.owner.fetch("SELECT * FROM webhook_inbox WHERE event_id = $1", event.event_id)
    own = {"id", "event_id", "received_at", "reference"}
    return [{name: value for name, value in dict(row).items() if name not in own} for row in rows]


async def test_an_event_that_nothing_follows_from_is_kept_in_one_statement(books: Books) -> None:
    """Such as that a payout is on its way, and the bank's reference of it."""
    kind: dict[str, Any] = {"kind": PspEventKind.OTHER, "type": "payout.updated"}
    harmless: list[dict[str, Any]] = [{}, {"trace_id": "TRACE"}, {"ignored": "it is of another account"}]
    for more in harmless:
        quick, general = told(new_id("pt"), **kind, **more), told(new_id("pt"), **kind, **more)
        for _ in range(2):  # it may come twice
            assert await payout_webhook.keep_unconcerned(books.database, "stripe", quick)
            await books.run(lambda c, e=general: webhook.store(c, "stripe", e))  # type: ignore[misc]
        assert await inbox(books, quick) == await inbox(books, general)
        traces = "SELECT trace_id FROM payout_trace WHERE reference = $1"
        assert await books.owner.fetch(traces, quick.reference) == await books.owner.fetch(traces, general.reference)
    others: list[dict[str, Any]] = [{"charge_id": "ch_1"}, {"refund_id": "re_1"}, {"kind": PspEventKind.PAYOUT}]
    for more in others:
        assert not await payout_webhook.keep_unconcerned(books.database, "stripe", told("pt_1", **kind | more))
