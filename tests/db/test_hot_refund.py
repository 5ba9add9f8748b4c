"""A refund stored, ended and heard of in one statement each, or under the payment's lock: both leave the same rows, and
a statement whose guard does not hold leaves none."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from db import audit_log, merchant, task
from db.core.database import Connection
from db.core.idempotency import Claim, Request
from db.dispute import booking as disputes
from db.hot import refund as hot
from db.hot import webhook as hot_webhook
from db.hot.refund import OpenRefund
from db.hot.terms import TermsCache
from db.hot.webhook import Kept
from db.payment.record import Payment
from db.payout import release
from db.refund import attempt, booking, creation, find
from db.refund.creation import NewRefund
from db.refund.record import Refund
from domain.dispute import BookDisputeStep
from domain.errors import PaysagaError
from domain.ids import new_id
from domain.model import Failure
from domain.payout import ReleasedFunds, ReleaseFundsStep
from domain.psp import DisputeMoney, DisputeOutcome, DisputeResult, PspEvent, PspEventKind, RefundOutcome, RefundResult
from domain.refund import BookRefundStep
from domain.status import RefundStatus, Status
from services import webhook as service
from services.command import once
from tests.db.test_hot import AT, GENERAL, HOT, STATES, Books, _are_waiting, any_state, books, own, paid, usual
from tests.support.eventually import eventually

__all__ = ["books"]

SOON = timedelta(seconds=1)


def new_refund(row: Payment, order: int = 0, amount: int | None = None, reason: str | None = None) -> NewRefund:
    """A refund that is asked for, of one of a payment's orders."""
    return NewRefund(
        id=new_id("re"),
        payment_id=row.id,
        order_id=row.orders[order].id,
        amount=amount,
        reason=reason,
        actor="shop",
        send_for_s=3600,
        unit=1,
    )


async def requested(books: Books, row: Payment, new: NewRefund) -> Refund:
    """Under the payment's lock, as the service does."""

    async def work(connection: Connection) -> Refund:
        made = await creation.request(connection, new, AT)
        await audit_log.record(connection, row.tenant_id, new.actor, "refund.create", made.id, creation.said(made))
        return made

    done = await once(books.database, row.tenant_id, Request(new.id, b"hash"), new.id, work)
    assert done.result is not None
    return done.result


async def stored(
    books: Books, row: Payment, new: NewRefund, cache: TermsCache | None = None
) -> OpenRefund | Claim | None:
    """In one statement, where it can be. `cache`: of the sellers' terms, which knows them unless another is given."""
    return await hot.store(books.database, cache or books.terms, row, new, Request(new.id, b"hash"), AT)


def made_by_psp(row: Refund, **changes: Any) -> BookRefundStep:
    """The step that books a refund which the PSP made as it was asked for."""
    result = RefundResult(
        asked_at=row.created_at,
        outcome=RefundOutcome.SUCCEEDED,
        reference=f"pyr_{row.id}",
        amount=row.amount,
        currency=row.currency,
    )
    return BookRefundStep(refund_id=row.id, result=result.model_copy(update=changes), at=AT)


async def booked(books: Books, row: Refund, step: BookRefundStep | None = None) -> None:
    step = step or made_by_psp(row)
    await books.database.run(lambda c: booking.book(c, row.payment_id, step, 1))


async def read(books: Books, refund_id: str) -> Refund:
    return await books.database.read(lambda c: find.get(c, refund_id))


async def is_what_it_says(books: Books, made: OpenRefund) -> None:
    assert made.refund == await read(books, made.refund.id)
    assert made.owner == await books.read(made.owner.id)
    query = "SELECT status, sum(amount) AS amount FROM reserve WHERE order_id = $1 AND source_id LIKE 're_%' GROUP BY 1"
    sums = {row["status"]: row["amount"] for row in await books.owner.fetch(query, made.refund.order_id)}
    assert (made.held, made.taken) == (sums.get("HELD", 0), sums.get("TAKEN", 0))


# --- what may have happened to a payment before, and meanwhile ---


async def refunded_in_part(books: Books, row: Payment) -> None:
    part = new_refund(row, 0, max(1, row.orders[0].captured_amount // 3))
    await booked(books, await requested(books, row, part))


async def asked_for_another_part(books: Books, row: Payment) -> None:
    await requested(books, row, new_refund(row, 0, max(1, row.orders[0].captured_amount // 7)))


async def asked_for_another_order(books: Books, row: Payment) -> None:
    await requested(books, row, new_refund(row, -1, 1))


async def another_failed(books: Books, row: Payment) -> None:
    made = await requested(books, row, new_refund(row, 0, max(1, row.orders[0].captured_amount // 5)))
    failure = Failure(code="refund_failed", message="No.")
    await booked(books, made, made_by_psp(made, outcome=RefundOutcome.FAILED, failure=failure))


async def released(books: Books, row: Payment) -> None:
    """One order after the other, so that all are in the same order each time."""
    step = ReleaseFundsStep(at=AT, due_at=AT + timedelta(days=90), limit=1)
    for seller in sorted({order.seller_account for order in row.orders}):
        of = (row.tenant_id, seller)
        while await books.database.run(lambda c, of=of: release.release(c, step, of=of)) != ReleasedFunds():  # type: ignore[misc]
            pass


async def refunded_at_the_psp(books: Books, row: Payment) -> None:
    name, amount = f"pyr_hand_{row.id}", max(1, row.amount // 9)
    made_id = await books.database.run(lambda c: creation.made_at_psp(c, row, name, amount, row.currency))
    made = await read(books, made_id)
    await booked(books, made, made_by_psp(made, reference=name))


async def disputed(books: Books, row: Payment) -> None:
    """And the money is with the buyer's bank."""
    name, amount = f"du_{row.id}", max(1, row.amount // 8)
    dispute_id = await books.database.run(lambda c: disputes.opened(c, row, name, amount, row.currency, AT))
    result = DisputeResult(
        outcome=DisputeOutcome.NEEDS_RESPONSE,
        reference=name,
        amount=amount,
        currency=row.currency,
        money=(DisputeMoney(reference=f"txn_{name}", amount=-amount, fee=0, currency=row.currency),),
    )
    step = BookDisputeStep(dispute_id=dispute_id, result=result, next_check_at=AT, at=AT)
    await books.database.run(lambda c: disputes.book(c, step, 1))


async def a_person_is_asked(books: Books, row: Payment) -> None:
    await books.database.run(lambda c: task.open_task(c, row.tenant_id, row.id, "refund_failed", "why"))


BEFORE: dict[str, Callable[[Books, Payment], Awaitable[None]]] = {
    one.__name__: one
    for one in (
        *(refunded_in_part, asked_for_another_part, asked_for_another_order, another_failed, released),
        *(refunded_at_the_psp, disputed, a_person_is_asked),
    )
}
UNUSUAL = {"refunded_at_the_psp", "disputed", "a_person_is_asked"}
"""What is left to the general path in the end, as is an order of which the seller has nothing."""


# --- the same rows ---


async def test_both_ways_store_and_end_the_same_rows(books: Books) -> None:
    """Of random payments, refunded in full or in part, of fees that return or stay."""
    chance, ways = random.Random(7), Counter[str]()
    for number in range(STATES):
        state = any_state(chance, f"r{number}")
        kept = chance.choice(["returned", "returned", "kept"])
        await books.sellers({name: {**of, "platform_fee_on_refund": kept} for name, of in state.terms.items()})
        state = replace(state, new=replace(state.new, confirmed=True))
        before = [what for what in BEFORE if chance.random() < (0.1 if what in UNUSUAL else 0.25)]
        order = chance.randrange(len(state.new.orders))
        part, reason = chance.choice([None, None, 0.5, 1.0]), chance.choice([None, "duplicate", "it broke"])
        as_read, knows = chance.random() < 0.4, chance.random() < 0.7
        seen: list[Rows] = []
        refusals: list[list[str | None]] = []
        for tenant_id in (GENERAL, HOT):
            new = state.of(books, tenant_id)
            row = await books.stored(new)
            await books.settled(row, own(state.result, row))
            refusals.append([await refusal_of(BEFORE[what](books, await books.read(row.id))) for what in before])
            row = await books.read(row.id)
            amount = None if part is None else max(1, int(row.orders[order].refundable * part))
            asked = replace(new_refund(row, order, amount, reason), actor=books.keys[tenant_id])
            is_usual = not {*before} & UNUSUAL and row.orders[order].captured_fee < row.orders[order].captured_amount
            way = Way(books, ways, tenant_id == HOT, is_usual, books.terms if knows else TermsCache())
            refusals[-1].append(await refusal_of(way.store(row, asked)))
            seen.append({f"stored: {table}": rows for table, rows in (await books.rows(new)).items()})
            if refusals[-1][-1] is None:
                await way.end(asked.id, as_read=as_read)
            seen[-1] |= await books.rows(new)
        assert refusals[0] == refusals[1], f"{before}, {part}: {state}"
        for table, rows in seen[0].items():
            assert rows == seen[1][table], f"{table} after {before}, {part}: {state}"
    assert min(ways["stored"], ways["settled"]) > STATES // 8


Rows = dict[str, list[dict[str, Any]]]


async def refusal_of(work: Awaitable[None]) -> str | None:
    try:
        await work
    except PaysagaError as refusal:
        return refusal.code
    return None


@dataclass
class Way:
    """One of the two ways. `usual`: in one statement each, then; `ways` counts those that were."""

    books: Books
    ways: Counter[str]
    hot: bool
    usual: bool
    terms: TermsCache
    made: OpenRefund | None = None

    async def store(self, row: Payment, new: NewRefund) -> None:
        found = await stored(self.books, row, new, self.terms) if self.hot else None
        if isinstance(found, OpenRefund):
            await is_what_it_says(self.books, found)
            self.made = found
            self.ways["stored"] += 1
        else:
            await requested(self.books, row, new)
            assert not (self.hot and self.usual), "it is usual, and left to the general path"

    async def end(self, refund_id: str, *, as_read: bool) -> None:
        row, ended = await read(self.books, refund_id), None
        step = made_by_psp(row)
        if self.made is not None and not as_read:
            ended = await hot.settle(self.books.database, self.made, step)
        elif self.hot:
            ended = await hot.settle_as_read(self.books.database, row, await self.books.read(row.payment_id), step)
        if ended is not None:
            await is_what_it_says(self.books, ended)
            self.ways["settled"] += 1
        else:
            await booked(self.books, row, step)
            assert not (self.hot and self.usual), "it is usual, and left to the general path"


# --- the guards of storing ---


async def settled(books: Books, name: str, tenant_id: str = HOT) -> tuple[Any, Payment]:
    """A payment of two orders that has settled."""
    new, row = await usual(books, name, tenant_id)
    await books.settled(row, paid(row))
    return new, await books.read(row.id)


async def keeps_the_fee(books: Books, row: Payment) -> None:
    seller = row.orders[0].seller_account
    await books.database.run(lambda c: merchant.change(c, HOT, seller, {"platform_fee_on_refund": "kept"}))


async def has_less_in_the_wallet(books: Books, row: Payment) -> None:
    """As if it were paid out: what the statement is to take is not there."""
    await books.owner.execute(
        "UPDATE wallet SET pending = 0 WHERE tenant_id = $1 AND seller_account = $2", HOT, row.orders[0].seller_account
    )


@pytest.mark.parametrize(
    "meanwhile",
    [asked_for_another_part, refunded_in_part, another_failed, released, refunded_at_the_psp, disputed,
     has_less_in_the_wallet],
    ids=lambda one: one.__name__,
)  # fmt: skip
async def test_nothing_is_stored_of_an_order_that_has_changed_since_it_was_read(
    books: Books, meanwhile: Callable[[Books, Payment], Awaitable[None]]
) -> None:
    new, row = await settled(books, f"store-refund-{meanwhile.__name__}")
    await meanwhile(books, row)
    before = await books.rows(new)
    assert await stored(books, row, new_refund(row, 0, 100)) is None
    assert await books.rows(new) == before


async def test_nothing_is_stored_by_terms_that_have_changed_since(books: Books) -> None:
    """Since the process saw them; after that it reads them."""
    new, row = await settled(books, "store-refund-terms")
    await keeps_the_fee(books, row)
    before = await books.rows(new)
    assert await stored(books, row, new_refund(row)) is None
    assert await books.rows(new) == before
    assert await stored(books, row, new_refund(row, 0, 100)) is not None


@pytest.mark.parametrize("what", ["nothing left", "too much", "no order named", "another request's key", "under way"])
async def test_what_the_general_path_refuses_is_not_stored(books: Books, what: str) -> None:
    new, row = await settled(books, f"refused-{what.replace(' ', '-')}")
    asked = new_refund(row, 0, 100)
    match what:
        case "nothing left":
            await requested(books, row, new_refund(row))
            row, asked = await books.read(row.id), new_refund(row)
        case "too much":
            asked = new_refund(row, 0, row.orders[0].amount + 1)
        case "no order named":
            asked = replace(asked, order_id=None)
        case "another request's key":
            query = "INSERT INTO idempotency_key (tenant_id, key, request_hash, object_id) VALUES ($1, $2, $3, 're_1')"
            await books.owner.execute(query, HOT, asked.id, b"another hash")
        case _:
            row = row.model_copy(update={"status": Status.NEEDS_ATTENTION})
    before = await books.rows(new)
    assert await stored(books, row, asked) is None
    assert await books.rows(new) == before


async def test_the_same_request_again_finds_the_first_refund(books: Books) -> None:
    new, row = await settled(books, "refund-again")
    first = new_refund(row, 0, 100)
    request = Request(first.id, b"hash")
    assert isinstance(await hot.store(books.database, books.terms, row, first, request, AT), OpenRefund)
    before, row = await books.rows(new), await books.read(row.id)
    again = await hot.store(books.database, books.terms, row, new_refund(row, 0, 100), request, AT)
    assert again == Claim(first.id, replayed=True)
    assert await books.rows(new) == before


# --- the guards of ending ---


async def open_refund(books: Books, name: str) -> tuple[Any, OpenRefund]:
    new, row = await settled(books, name)
    made = await stored(books, row, new_refund(row, 0, 200))
    assert isinstance(made, OpenRefund)
    return new, made


async def ended_already(books: Books, row: Refund) -> None:
    await booked(books, row)


async def pending_at_the_psp(books: Books, row: Refund) -> None:
    await booked(books, row, made_by_psp(row, outcome=RefundOutcome.PENDING))


async def failed(books: Books, row: Refund) -> None:
    failure = Failure(code="refund_failed", message="No.")
    await booked(books, row, made_by_psp(row, outcome=RefundOutcome.FAILED, failure=failure))


async def not_answered(books: Books, row: Refund) -> None:
    await books.database.run(lambda c: attempt.unknown(c, row.id, "timeout", tries=1, again_s=1))


async def tried_under_a_new_key(books: Books, row: Refund) -> None:
    await booked(books, row, made_by_psp(row, outcome=RefundOutcome.NOT_FOUND))
    await books.database.run(lambda c: attempt.next_attempt(c, row.id, 3600))


async def named_as_another(books: Books, row: Refund) -> None:
    """By the PSP."""
    owner = await books.read(row.payment_id)
    other = await requested(books, owner, new_refund(owner, 1, 1))
    await booked(books, other, made_by_psp(other, reference=f"pyr_{row.id}"))


def of_the_payment(change: Callable[[Books, Payment], Awaitable[None]]) -> Callable[[Books, Refund], Awaitable[None]]:
    async def changed(books: Books, row: Refund) -> None:
        await change(books, await books.read(row.payment_id))

    changed.__name__ = change.__name__
    return changed


OF_PAYMENT = [
    of_the_payment(one)
    for one in (asked_for_another_part, asked_for_another_order, refunded_in_part, another_failed, released)
]
LEFT = [of_the_payment(one) for one in (refunded_at_the_psp, disputed, a_person_is_asked)]


@pytest.mark.parametrize(
    "meanwhile",
    [*OF_PAYMENT, *LEFT, ended_already, pending_at_the_psp, failed, not_answered, tried_under_a_new_key,
     named_as_another],
    ids=lambda one: one.__name__,
)  # fmt: skip
async def test_no_refund_is_ended_of_what_has_changed_since_it_was_stored(
    books: Books, meanwhile: Callable[[Books, Refund], Awaitable[None]]
) -> None:
    """Read again it is ended at once, or, where that is not usual, by the general path."""
    new, made = await open_refund(books, f"end-{meanwhile.__name__}")
    await meanwhile(books, made.refund)
    before, step = await books.rows(new), made_by_psp(made.refund)
    assert await hot.settle(books.database, made, step) is None
    assert await books.rows(new) == before
    row, owner = await read(books, made.refund.id), await books.read(made.owner.id)
    ended = await hot.settle_as_read(books.database, row, owner, step)
    assert (ended is not None) is (meanwhile in OF_PAYMENT)
    if ended is None:
        assert await books.rows(new) == before
    else:
        await is_what_it_says(books, ended)


@pytest.mark.parametrize(
    "changes",
    [{"amount": 199}, {"currency": "EUR"}, {"reference": None}, {"outcome": RefundOutcome.PENDING},
     {"outcome": RefundOutcome.FAILED}, {"outcome": RefundOutcome.NOT_FOUND}, {"outcome": RefundOutcome.UNKNOWN}],
    ids=str,
)  # fmt: skip
async def test_an_answer_that_is_not_as_usual_is_left_to_the_general_path(
    books: Books, changes: dict[str, Any]
) -> None:
    new, made = await open_refund(books, "-".join(("answer", *changes, *map(str, changes.values()))))
    before, step = await books.rows(new), made_by_psp(made.refund, **changes)
    assert await hot.settle(books.database, made, step) is None
    assert await hot.settle_as_read(books.database, made.refund, made.owner, step) is None
    late = made_by_psp(made.refund).model_copy(update={"at": datetime.now(AT.tzinfo) + timedelta(hours=1)})
    assert await hot.settle(books.database, made, late) is None, "a person may have been told of it"
    assert await books.rows(new) == before


async def test_what_another_has_committed_while_the_lock_was_waited_for_is_seen(books: Books) -> None:
    """Both statements begin while the payment is locked, behind a refund that is asked for in the general way."""
    new, made = await open_refund(books, "crossed")
    row = await books.read(made.owner.id)
    async with books.owner.transaction():
        await books.owner.execute("SELECT FROM payment WHERE id = $1 FOR UPDATE", row.id)
        first = asyncio.create_task(requested(books, row, new_refund(row, 0, 100)))
        await eventually(lambda: _are_waiting(books, 1), what="the first waits")
        storing = asyncio.create_task(stored(books, row, new_refund(row, 0, 100)))
        ending = asyncio.create_task(hot.settle(books.database, made, made_by_psp(made.refund)))
        await eventually(lambda: _are_waiting(books, 3), what="the others wait behind it")
    assert (await first).amount == 100
    assert [await storing, await ending] == [None, None]
    assert (await read(books, made.refund.id)).status is RefundStatus.REQUESTED
    assert [r["id"] for r in (await books.rows(new))["refund"]] == ["REFUND0", "REFUND1"]


# --- webhooks ---


def event_of(row: Refund, **changes: Any) -> PspEvent:
    usual = {
        "event_id": f"evt-{row.id}",
        "type": "refund.updated",
        "kind": PspEventKind.REFUND,
        "reference": f"pyr_{row.id}",
        "charge_reference": f"pi_{row.payment_id}",
        "refund_id": row.id,
        "amount": row.amount,
        "currency": row.currency,
        "payload": {"id": "evt", "note": 'ü"'},
    }
    return PspEvent.model_validate(usual | changes)


CAME: list[dict[str, Any]] = [
    {},
    {"amount": None, "currency": None},
    {"refund_failed": True},
    {"reference": "pyr_other"},
    {"refund_id": None},
    {"refund_id": "re_nobody"},
    {"charge_reference": None},
]
WHERE: dict[str, Callable[[Books, Refund], Awaitable[None]] | None] = {
    "asked for": None,
    **{one.__name__: one for one in (ended_already, pending_at_the_psp, failed, tried_under_a_new_key)},
    "lost": lambda books, row: booked(books, row, made_by_psp(row, outcome=RefundOutcome.NOT_FOUND)),
}


async def inbox_of(books: Books, row: Payment) -> int:
    count: int = await books.owner.fetchval("SELECT count(*) FROM webhook_inbox WHERE payment_id = $1", row.id)
    return count


@pytest.mark.parametrize("where", WHERE)
async def test_both_ways_keep_an_event_in_the_same_rows(books: Books, where: str) -> None:
    """About a refund in each status, each event that may come; what is kept at once is a duplicate the second time."""
    kept: dict[int, Kept | None] = {}
    told: dict[tuple[str, int], service.Recipient | None] = {}
    inbox = {}
    for tenant_id in (GENERAL, HOT):
        new, row = await settled(books, f"events-{where}-{tenant_id}", tenant_id)
        for number, changes in enumerate(CAME):
            made = await requested(books, await books.read(row.id), new_refund(row, 0, 10))
            if (changed := WHERE[where]) is not None:
                await changed(books, made)
            event = event_of(made, **changes)
            if tenant_id == HOT:
                before = await inbox_of(books, row)
                kept[number] = await hot_webhook.keep(books.database, "stripe", event)
                if kept[number] is not None:
                    assert await hot_webhook.keep(books.database, "stripe", event) is Kept.DUPLICATE
                    assert told[GENERAL, number] is None
                    continue
                assert await inbox_of(books, row) == before, "written, without saying so"
            told[tenant_id, number] = await books.database.run(lambda c, e=event: service.store(c, "stripe", e))  # type: ignore[misc]
        inbox[tenant_id] = (await books.rows(new))["webhook_inbox"]
    assert inbox[GENERAL] == inbox[HOT]
    usual = {"asked for": Kept.RECEIVED, "tried_under_a_new_key": Kept.RECEIVED, "ended_already": Kept.PROCESSED}
    assert {kept[0], kept[1]} == {usual.get(where)}


async def test_an_event_that_waits_for_the_booking_sees_it(books: Books) -> None:
    _, made = await open_refund(books, "event-crossed")
    async with books.owner.transaction():
        await books.owner.execute("SELECT FROM payment WHERE id = $1 FOR UPDATE", made.owner.id)
        ending = asyncio.create_task(hot.settle(books.database, made, made_by_psp(made.refund)))
        await eventually(lambda: _are_waiting(books, 1), what="the booking waits")
        keeping = asyncio.create_task(hot_webhook.keep(books.database, "stripe", event_of(made.refund)))
        await eventually(lambda: _are_waiting(books, 2), what="the event waits behind it")
    assert await ending is not None
    assert await keeping is Kept.PROCESSED
