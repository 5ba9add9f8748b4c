"""Authorising, asking to capture and settling what was captured, in one statement each or under the payment's lock:
both leave the same rows, and a statement whose guard does not hold leaves none."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from db import merchant
from db.core.idempotency import Request
from db.hot import capture as hot
from db.hot import end
from db.hot import rest as hot_rest
from db.payment import capture, charge, lifecycle
from db.payment.payment import NewPayment
from db.payment.record import Payment
from domain.payment import CancelStep, CaptureStep, CloseStep, WaitState, WaitStep
from domain.psp import CardFacts, ChargeOutcome, ChargeResult, NextAction
from domain.status import MerchantStatus, Status
from services.command import once
from tests.db.test_hot import (
    AT,
    BEFORE,
    GENERAL,
    HOT,
    KEYRING,
    STATES,
    Books,
    State,
    any_state,
    asks_a_person,
    bears_the_fee,
    books,
    frozen,
    hears_of_it,
    own,
    paid,
    settle_step,
    usual,
    webhook_first,
)

__all__ = ["books"]
WAITS_AS = {
    ChargeOutcome.AUTHORIZED: Status.AUTHORIZED,
    ChargeOutcome.REQUIRES_ACTION: Status.REQUIRES_ACTION,
    ChargeOutcome.PENDING: Status.PENDING,
}


def answer(chance: random.Random, outcome: ChargeOutcome, state: State) -> ChargeResult:
    return ChargeResult(
        outcome=outcome,
        reference=chance.choice(["", None]) if outcome is ChargeOutcome.PENDING else "",
        amount=sum(order.amount for order in state.new.orders),
        currency="INR",
        capture_before=chance.choice([None, AT + timedelta(days=7)]),
        card=chance.choice([None, CardFacts(brand="visa")]),
    )


def wait_step(row: Payment, result: ChargeResult, **changes: Any) -> WaitStep:
    named = result if result.reference is None else result.model_copy(update={"reference": f"pi_{row.id}"})
    step = WaitStep(
        payment_id=row.id,
        status=WAITS_AS[result.outcome],
        result=named,
        deadline_s=3600,
        next_check_s=5,
        reason="it waits",
        at=AT,
    )
    return step.model_copy(update=changes)


async def rested(books: Books, row: Payment, step: WaitStep) -> WaitState:
    """In the way of its tenant."""
    if row.tenant_id != HOT:
        return await books.database.run(lambda c: lifecycle.wait_in_status(c, KEYRING, step))
    done = await hot_rest.rest(books.database, await books.read(row.id), step)
    assert done is not None, "it is left to the general path"
    assert done.payment == await books.read(row.id), "what it says is what it wrote"
    return done.state


async def test_both_ways_let_a_payment_wait_with_the_same_rows(books: Books) -> None:
    chance = random.Random(4)
    for number in range(STATES):
        state = any_state(chance, f"w{number}")
        await books.sellers(state.terms)
        result = answer(chance, chance.choice(list(WAITS_AS)), state)
        deadline_s = chance.choice([None, 3600])
        before = [what for what in state.before if what == "hears of it"]
        seen, states = [], []
        for tenant_id in (GENERAL, HOT):
            new = replace(state.of(books, tenant_id), confirmed=True)
            row = await books.stored(new)
            for what in before:
                await BEFORE[what](books, row)
            states.append(await rested(books, row, wait_step(row, result, deadline_s=deadline_s)))
            seen.append(await books.rows(new))
        assert seen[0] == seen[1], f"it waits: {state}"
        assert states[0] == states[1]
        assert states[1].nudged is bool(before)


async def asked(books: Books, new: NewPayment, row: Payment, amounts: Mapping[str, int] | None) -> Payment:
    """In the way of its tenant."""
    request = Request(f"capture-{row.id}", b"capture")
    if row.tenant_id == HOT:
        marked = await hot.request(books.database, row, amounts, new.actor, AT, request)
        assert marked is not None, "it is left to the general path"
    else:
        done = await once(
            books.database, row.tenant_id, request, row.id,
            lambda c: capture.request(c, row.id, amounts, new.actor, AT),
        )  # fmt: skip
        assert done.result is not None
        marked = done.result
    assert marked == await books.read(row.id), "what it says is what it wrote"
    return marked


def parts_of(chance: random.Random, row: Payment) -> dict[str, int] | None:
    """Some of each order, of some of them; None: everything."""
    if chance.random() < 0.3:
        return None
    parts = {o.id: chance.choice([o.amount, chance.randint(1, o.amount)]) for o in row.orders if chance.random() < 0.7}
    return parts or {row.orders[0].id: 1}


async def test_both_ways_capture_with_the_same_rows(books: Books) -> None:
    """In full and in part, with orders that are let go."""
    chance = random.Random(5)
    for number in range(STATES):
        state = any_state(chance, f"a{number}")
        await books.sellers(state.terms)
        reserved, seed = answer(chance, ChargeOutcome.AUTHORIZED, state), chance.random()
        seen: list[list[dict[str, Any]]] = []
        for tenant_id in (GENERAL, HOT):
            new = replace(state.of(books, tenant_id), confirmed=True, authorize_only=True, capture_by_request=True)
            row = await books.stored(new)
            await rested(books, row, wait_step(row, reserved))
            row = await books.read(row.id)
            row = await asked(books, new, row, parts_of(random.Random(seed), row))
            seen.append([await books.rows(new)])
            if "hears of it" in state.before:
                await hears_of_it(books, row)
            taken = own(state.result, row).model_copy(update={"amount": row.to_capture})
            answers = await books.settled(row, taken)
            assert answers[-1].status is Status.SUCCESS
            seen[-1].append(await books.rows(new))
        assert seen[0][0] == seen[1][0], f"asked: {state}"
        assert seen[0][1] == seen[1][1], f"captured: {state}"


# --- the guards ---


async def authorised(books: Books, name: str) -> tuple[NewPayment, Payment]:
    """A checkout of two orders that waits for its capture."""
    new, row = await usual(books, name, authorize_only=True, capture_by_request=True)
    assert await hot_rest.rest(books.database, row, wait_step(row, held(row)))
    return new, await books.read(row.id)


def held(row: Payment) -> ChargeResult:
    return ChargeResult(outcome=ChargeOutcome.AUTHORIZED, reference="", amount=row.amount, currency="INR")


async def cancelled(books: Books, row: Payment) -> None:
    await books.database.run(lambda c: lifecycle.request_cancel(c, CancelStep(payment_id=row.id, by="shop", at=AT)))


async def closed(books: Books, row: Payment) -> None:
    step = CloseStep(payment_id=row.id, status=Status.FAILED, at=AT, result=None)
    await books.database.run(lambda c: lifecycle.close(c, step))


async def expired(books: Books, row: Payment) -> None:
    step = CaptureStep(payment_id=row.id, by="authorization expiry", at=AT)
    await books.database.run(lambda c: capture.expire(c, step))


async def asked_before(books: Books, row: Payment) -> None:
    await books.database.run(lambda c: capture.request(c, row.id, None, "shop", AT))


async def used_its_key(books: Books, row: Payment) -> None:
    await books.owner.execute(
        "INSERT INTO idempotency_key (tenant_id, key, request_hash, object_id) VALUES ($1, $2, $3, 'pay_first')",
        *(HOT, f"capture-{row.id}", b"another"),
    )


Meanwhile = Callable[[Books, Payment], Awaitable[None]]


@pytest.mark.parametrize(
    "meanwhile", [frozen, cancelled, closed, expired, asked_before, asks_a_person, used_its_key],
    ids=lambda one: one.__name__,
)  # fmt: skip
async def test_no_capture_is_asked_for_that_the_general_path_has_to_decide(books: Books, meanwhile: Meanwhile) -> None:
    new, row = await authorised(books, f"ask-{meanwhile.__name__}")
    await meanwhile(books, row)
    before = await books.rows(new)
    request = Request(f"capture-{row.id}", b"capture")
    for found in (row, await books.read(row.id)):  # as it was, and as it is
        assert await hot.request(books.database, found, None, new.actor, AT, request) is None
    assert await books.rows(new) == before


async def test_a_frozen_seller_whose_order_is_let_go_is_in_nobodys_way(books: Books) -> None:
    new, row = await authorised(books, "let-go")
    await frozen(books, row)  # the second order's
    marked = await asked(books, new, row, {row.orders[0].id: 300})
    result = paid(row).model_copy(update={"amount": 300})
    settled = await end.settle(books.database, books.terms, marked, settle_step(row, row.orders[1].id, result))
    assert settled is not None
    assert [order.status for order in settled.orders] == [Status.SUCCESS, Status.CANCELLED]
    assert settled == await books.read(row.id)
    again = await end.settle(books.database, books.terms, settled, settle_step(row, row.orders[1].id, result))
    assert again == settled


async def is_frozen(books: Books, row: Payment) -> None:
    seller = row.orders[0].seller_account
    await books.database.run(lambda c: merchant.change(c, HOT, seller, {"status": MerchantStatus.FROZEN}))


@pytest.mark.parametrize(
    "meanwhile", [is_frozen, bears_the_fee, cancelled, closed, asks_a_person], ids=lambda one: one.__name__
)
async def test_nothing_captured_is_settled_that_has_changed_since_it_was_asked_for(
    books: Books, meanwhile: Meanwhile
) -> None:
    new, row = await authorised(books, f"take-{meanwhile.__name__}")
    parts = {row.orders[0].id: 100, row.orders[1].id: 200}
    marked = await asked(books, new, row, parts)
    assert await books.terms.of(books.database, HOT, [order.seller_account for order in row.orders]) is not None
    await meanwhile(books, row)
    before = await books.rows(new)
    result = paid(row).model_copy(update={"amount": 300})
    assert await end.settle(books.database, books.terms, marked, settle_step(row, row.orders[0].id, result)) is None
    assert await books.rows(new) == before


async def unanswered(books: Books, row: Payment) -> None:
    result = ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason="timeout", answered_at=AT)
    await books.database.run(lambda c: charge.unanswered(c, row.id, row.charge.id, result, 5))


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("meanwhile", [cancelled, closed, unanswered], ids=lambda one: one.__name__)
async def test_no_wait_begins_that_the_general_path_has_to_decide(
    books: Books, meanwhile: Meanwhile, is_known: bool
) -> None:
    """`is_known`: it has been read since."""
    new, row = await usual(books, f"rest-{meanwhile.__name__}-{is_known}")
    await meanwhile(books, row)
    before = await books.rows(new)
    found = await books.read(row.id) if is_known else row
    assert await hot_rest.rest(books.database, found, wait_step(row, held(row))) is None
    assert await books.rows(new) == before


@pytest.mark.parametrize("at_once", [True, False])
async def test_no_wait_begins_that_has_not_seen_a_webhook(books: Books, at_once: bool) -> None:
    """Both have begun when the lock that they wait for is given back, and the webhook is first."""
    _, row = await usual(books, f"rest-crossed-{at_once}")
    async with webhook_first(books, row, at_once=at_once):
        resting = asyncio.create_task(hot_rest.rest(books.database, row, wait_step(row, held(row))))
    assert await resting is None
    again = await hot_rest.rest(books.database, row, wait_step(row, held(row)))
    assert again is not None
    assert again.state.nudged, "the second time it is seen"


UNUSUAL: dict[str, dict[str, Any]] = {
    "a person is asked": {"task": "capture_refused"},
    "a review": {"status": Status.IN_REVIEW},
    "no answer": {"result": None},
    "an answer that leaves all open": {"result": ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason="timeout")},
    "a next step in the answer": {
        "status": Status.REQUIRES_ACTION,
        "result": ChargeResult(
            outcome=ChargeOutcome.REQUIRES_ACTION, next_action=NextAction(url="https://bank.example/3ds")
        ),
    },
    "paid": {"status": Status.PENDING, "result": ChargeResult(outcome=ChargeOutcome.SUCCEEDED)},
}


@pytest.mark.parametrize("unusual", UNUSUAL)
async def test_a_wait_that_is_not_as_usual_is_left_to_the_general_path(books: Books, unusual: str) -> None:
    new, row = await usual(books, f"rest-{unusual.replace(' ', '-')}")
    before = await books.rows(new)
    step = wait_step(row, held(row)).model_copy(update=UNUSUAL[unusual])
    assert await hot_rest.rest(books.database, row, step) is None
    assert await books.rows(new) == before
