"""The usual way of a payout, one statement for each step: it leaves what the general steps leave, and where anything is
unusual it leaves nothing."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import task
from db.payout import decision, lifecycle, payout, usual
from db.payout import request as requests
from db.payout.lifecycle import Ready
from db.payout.request import NewPayout
from domain.ids import new_id
from domain.payout import BANK_PATIENCE, BookPayoutStep, BookTransferStep, PayoutCall
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from embedded.stack import EmbeddedStack
from tests.conftest import PATIENT
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.shop import Shop


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """One of its own: payouts that nobody carries out would be found by the audits of others."""
    name = f"usual{secrets.token_hex(3)}"
    async with Deployment(servers, tmp_path_factory.mktemp("usual"), name, **PATIENT) as deployment:
        yield deployment


NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SEND_FOR_S = 600.0


async def asked(shop: Shop, seller: str, make: Any = requests.request) -> str:
    """A payout that nobody carries out. Its id."""
    await payouts.with_account(shop, seller)
    await payouts.fund(shop, seller, amount=12_345)
    made = await shop.paysaga.database.run(lambda c: make(c, new_payout(shop, seller, None), NOW))
    return str(made.id)


def new_payout(shop: Shop, seller: str, amount: int | None) -> NewPayout:
    return NewPayout(
        id=new_id("pt"),
        tenant_id=shop.tenant,
        seller_account=seller,
        currency="INR",
        amount=amount,
        psp="stripe",
        actor="test",
        send_for_s=SEND_FOR_S,
        payable=lambda amount, _: amount,
    )


def transfer(payout_id: str) -> BookTransferStep:
    result = TransferResult(outcome=TransferOutcome.DONE, reference=f"tr_{payout_id}")
    return BookTransferStep(payout_id=payout_id, call=PayoutCall.TRANSFER, result=result, at=NOW)


def payout_step(payout_id: str, outcome: PayoutOutcome) -> BookPayoutStep:
    later = NOW + timedelta(hours=1)
    result = PayoutResult(outcome=outcome, reference=f"po_{payout_id}", arrival_at=later, asked_at=datetime.now(UTC))
    return BookPayoutStep(payout_id=payout_id, result=result, next_check_at=later, at=NOW)


async def told(shop: Shop, payout_id: str) -> None:
    """A webhook about it that nobody has read."""
    await shop.paysaga.sql(
        "INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, payout_id, kind, status, received_at)"
        " VALUES ($1, $2, 'stripe', $1, 'payout.paid', '{}', $3, 'payout', 'RECEIVED', now() - interval '1 minute')",
        f"in_{secrets.token_hex(8)}",
        shop.tenant,
        payout_id,
    )


async def by_statements(shop: Shop, payout_id: str) -> list[dict[str, Any]]:
    """What there is of it after each step."""
    run, seen = shop.paysaga.database.run, []
    first = await run(lambda c: usual.ready(c, payout_id))
    assert first is not None
    assert first.row.id == payout_id
    seen.append(await rows(shop, payout_id))
    second = await run(lambda c: usual.transferred(c, first, transfer(payout_id), SEND_FOR_S))
    assert second is not None
    seen.append(await rows(shop, payout_id))
    await told(shop, payout_id)
    assert await run(lambda c: usual.sent(c, second, payout_step(payout_id, PayoutOutcome.PENDING))) is not None
    seen.append(await rows(shop, payout_id))
    row = await run(lambda c: payout.get(c, payout_id))
    done = payout_step(payout_id, PayoutOutcome.PAID)
    assert await run(lambda c: usual.paid(c, row, done, BANK_PATIENCE)) is not None
    return [*seen, await rows(shop, payout_id)]


async def by_general_steps(shop: Shop, payout_id: str) -> list[dict[str, Any]]:
    run, seen = shop.paysaga.database.run, []
    assert await run(lambda c: lifecycle.ready(c, payout_id, PayoutCall.TRANSFER)) is not None
    seen.append(await rows(shop, payout_id))
    await run(lambda c: lifecycle.book_transfer(c, transfer(payout_id), SEND_FOR_S))
    assert await run(lambda c: lifecycle.ready(c, payout_id, PayoutCall.PAYOUT)) is not None
    seen.append(await rows(shop, payout_id))
    await told(shop, payout_id)
    for outcome in (PayoutOutcome.PENDING, PayoutOutcome.PAID):
        step = payout_step(payout_id, outcome)
        await run(lambda c, s=step: lifecycle.book_payout(c, s, SEND_FOR_S))  # type: ignore[misc]
        seen.append(await rows(shop, payout_id))
    return seen


_ROWS = {
    "payout": "SELECT * FROM payout WHERE id = $1",
    "call": "SELECT * FROM payout_call WHERE payout_id = $1 ORDER BY call",
    "history": "SELECT * FROM payout_transition WHERE payout_id = $1 ORDER BY seq",
    "event": "SELECT * FROM outbox WHERE object_id = $1 ORDER BY seq",
    "inbox": "SELECT * FROM webhook_inbox WHERE payout_id = $1",
    "items": "SELECT amount, released, tenant_id FROM payout_item WHERE payout_id = $1 ORDER BY posting_seq",
    "wallet": "SELECT w.pending, w.available, w.reserved, w.receivable, w.payable_from > p.seq AS all_paid"
    " FROM payout o JOIN wallet w USING (tenant_id, seller_account, currency) JOIN ledger_transaction t"
    " ON (t.kind, t.source_id) = ('payout', o.id) JOIN ledger_posting p ON p.transaction_id = t.id AND"
    " p.account LIKE 'wallet:%' WHERE o.id = $1",
    "ledger": "SELECT t.kind, t.source_id, t.corrects, t.at, p.account, p.currency, p.amount FROM ledger_transaction t"
    " JOIN ledger_posting p ON p.transaction_id = t.id WHERE t.source_id = $1 ORDER BY t.seq, p.seq",
}
_OWN = {"seq", "created_at", "updated_at", "processed_at", "received_at", "next_check_at", "destination", "run_id"}
"""What differs between any two payouts."""
_WHETHER = {"sent_at", "send_until"}


async def rows(shop: Shop, payout_id: str) -> dict[str, Any]:
    """Everything of it, without what differs between any two."""
    (one,) = await shop.paysaga.sql("SELECT seller_account FROM payout WHERE id = $1", payout_id)
    found: dict[str, Any] = {}
    for name, query in _ROWS.items():
        plain = [
            {
                column: value is not None if column in _WHETHER else value
                for column, value in dict(row).items()
                if column not in _OWN and not (name in ("event", "inbox") and column in ("id", "event_id"))
            }
            for row in await shop.paysaga.sql(query, payout_id)
        ]
        text = json.dumps(plain, default=str, sort_keys=True)
        found[name] = json.loads(text.replace(payout_id, "pt_…").replace(one["seller_account"], "seller"))
    return found


async def test_it_leaves_what_the_general_steps_leave(shop: Shop) -> None:
    ours, theirs = await asked(shop, "anna", usual.request), await asked(shop, "bo")
    assert await rows(shop, ours) == await rows(shop, theirs)
    quick, general = await by_statements(shop, ours), await by_general_steps(shop, theirs)
    for step, (found, wanted) in enumerate(zip(quick, general, strict=True)):
        assert found == wanted, step
    assert [len(quick[-1][name]) for name in ("history", "event", "ledger", "call")] == [4, 4, 6, 2]


async def test_whatever_the_wallet_holds_both_pay_the_same_postings(shop: Shop) -> None:
    """In parts, after deductions, and again what came back."""
    await asyncio.gather(*(payouts.with_account(shop, seller) for seller in ("anna", "bo")))
    run = shop.paysaga.database.run
    for amount, taken in ((1_000, 400), (2_000, 1_000), (-300, None), (5_000, 6_300), (70, None)):
        await payouts.fund(shop, "anna", "bo", amount=amount)
        if taken is None:
            continue
        made = [
            await run(lambda c, s=seller, m=make, n=taken: m(c, new_payout(shop, s, n), NOW))  # type: ignore[misc]
            for seller, make in (("anna", usual.request), ("bo", requests.request))
        ]
        first, second = [await rows(shop, one.id) for one in made]
        assert first == second
        assert sum(item["amount"] for item in first["items"]) == taken
    for one in made:
        await run(lambda c, o=one: requests.return_to_wallet(c, o, NOW))  # type: ignore[misc]
    again = [
        await run(lambda c, s=seller, m=make: m(c, new_payout(shop, s, None), NOW))  # type: ignore[misc]
        for seller, make in (("anna", usual.request), ("bo", requests.request))
    ]
    assert await rows(shop, again[0].id) == await rows(shop, again[1].id)
    assert await run(lambda c: usual.request(c, new_payout(shop, "anna", None), NOW)) is None, "nothing is left"


async def test_a_request_that_is_unusual_is_left_to_the_general_one(shop: Shop) -> None:
    await payouts.with_account(shop, "anna")
    await payouts.fund(shop, "anna", amount=1_000)
    sql, run = shop.paysaga.sql, shop.paysaga.database.run
    of = "WHERE tenant_id = $1 AND seller_account = 'anna'"
    for table, unusual, usually in (
        ("merchant", "status = 'FROZEN'", "status = 'ACTIVE'"),
        ("merchant", "payout_account = NULL", "payout_account = 'acct_paysOut'"),
        ("wallet", "receivable = 1", "receivable = 0"),
    ):
        await sql(f"UPDATE {table} SET {unusual} {of}", shop.tenant)
        assert await run(lambda c: usual.request(c, new_payout(shop, "anna", None), NOW)) is None
        await sql(f"UPDATE {table} SET {usually} {of}", shop.tenant)
    for amount in (1_001, 0):
        assert await run(lambda c, n=amount: usual.request(c, new_payout(shop, "anna", n), NOW)) is None  # type: ignore[misc]
    assert await run(lambda c: usual.request(c, new_payout(shop, "nobody", None), NOW)) is None
    assert not await sql(f"SELECT FROM payout {of}", shop.tenant)


async def _cancel(shop: Shop, payout_id: str) -> None:
    await shop.paysaga.database.run(lambda c: decision.request_cancel(c, payout_id, "olga", NOW))


async def _freeze(shop: Shop, payout_id: str) -> None:
    await shop.paysaga.sql(
        "UPDATE merchant m SET status = 'FROZEN' FROM payout p WHERE p.id = $1"
        " AND (m.tenant_id, m.seller_account) = (p.tenant_id, p.seller_account)",
        payout_id,
    )


async def _ask(shop: Shop, payout_id: str) -> None:
    await shop.paysaga.database.run(
        lambda c: task.open_task(c, shop.tenant, None, "payout_stuck", "why?", object_id=payout_id)
    )


async def _unknown(shop: Shop, payout_id: str) -> None:
    await shop.paysaga.sql("UPDATE payout SET unknown_count = 1 WHERE id = $1", payout_id)


async def _move_on(shop: Shop, payout_id: str) -> None:
    await shop.paysaga.sql("UPDATE payout SET status = 'NEEDS_ATTENTION' WHERE id = $1", payout_id)


@pytest.mark.parametrize("unusual", [_cancel, _freeze, _ask, _unknown, _move_on])
async def test_what_is_unusual_is_left_to_the_general_steps(shop: Shop, unusual: Any) -> None:
    run = shop.paysaga.database.run
    payout_id = await asked(shop, "anna")
    first = await run(lambda c: usual.ready(c, payout_id))
    assert first is not None
    await unusual(shop, payout_id)
    before = await rows(shop, payout_id)
    assert await run(lambda c: usual.ready(c, payout_id)) is None
    assert await run(lambda c: usual.transferred(c, first, transfer(payout_id), SEND_FOR_S)) is None
    assert await rows(shop, payout_id) == before


async def test_an_answer_that_is_not_plain_is_left_to_them(shop: Shop) -> None:
    run = shop.paysaga.database.run
    payout_id = await asked(shop, "anna")
    first = await run(lambda c: usual.ready(c, payout_id))
    assert first is not None
    refused = transfer(payout_id).model_copy(update={"result": TransferResult(outcome=TransferOutcome.REFUSED)})
    assert await run(lambda c: usual.transferred(c, first, refused, SEND_FOR_S)) is None
    stopped = Ready(first.row, first.call, first.now, "cancelled before it was sent")
    assert await run(lambda c: usual.transferred(c, stopped, transfer(payout_id), SEND_FOR_S)) is None
    second = await run(lambda c: usual.transferred(c, first, transfer(payout_id), SEND_FOR_S))
    assert second is not None
    assert await run(lambda c: usual.ready(c, payout_id)) is None, "it is further on"
    for outcome in (PayoutOutcome.FAILED, PayoutOutcome.PAID, PayoutOutcome.NOT_FOUND):
        step = payout_step(payout_id, outcome)
        assert await run(lambda c, s=step: usual.sent(c, second, s)) is None  # type: ignore[misc]
    row = await run(lambda c: payout.get(c, payout_id))
    done = payout_step(payout_id, PayoutOutcome.PAID)
    assert await run(lambda c: usual.paid(c, row, done, BANK_PATIENCE)) is None, "it is not on its way yet"
