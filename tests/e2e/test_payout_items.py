"""What a payout pays: which postings, in which parts; never more than there is, and nothing twice."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.payouts import went
from tests.support.shop import Shop

SOLD = "500.00"
EARNED = 48500


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    async with Deployment(servers, tmp_path_factory.mktemp("items"), "payout_items", **payouts.QUICK) as deployment:
        await deployment.sandbox.configure(**payouts.PSP)
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """A tenant whose sellers have accounts at the PSP; the books of all are audited at its end."""
    shop = await paysaga.shop(f"items-{secrets.token_hex(5)}", allow_negative_balance=True)
    for seller in ("anna", "bo", "chen"):
        await payouts.with_account(shop, seller)
    yield shop
    assert await audit_database(paysaga.database) == []


async def items(shop: Shop, payout_id: str) -> list[tuple[str, str, str | None]]:
    """(kind, amount, the whole that it is a part of)."""
    found = (await shop.get(f"/v1/payouts/{payout_id}/items")).raise_for_status().json()["data"]
    return [(one["kind"], one["amount"], one["part_of"]) for one in found]


async def postings(shop: Shop, payout_id: str) -> set[str]:
    """The ledger transactions behind it."""
    found = (await shop.get(f"/v1/payouts/{payout_id}/items")).raise_for_status().json()["data"]
    return {one["transaction_id"] for one in found}


async def payable_from(shop: Shop, seller: str = "anna") -> tuple[int, list[int]]:
    """From where on the next payout looks; and the numbers of the postings to the balance that can be paid."""
    (wallet,) = await shop.paysaga.sql(
        "SELECT payable_from FROM wallet WHERE tenant_id = $1 AND seller_account = $2", shop.tenant, seller
    )
    rows = await shop.paysaga.sql(
        "SELECT p.seq FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id WHERE p.tenant_id = $1"
        " AND p.account = $2 AND t.kind NOT IN ('payout', 'payout_reversal') ORDER BY 1",
        shop.tenant,
        f"wallet:{seller}:available",
    )
    return wallet["payable_from"], [row["seq"] for row in rows]


async def paid(shop: Shop, **body: Any) -> str:
    payout_id: str = (await payouts.request(shop, **body))["id"]
    await payouts.until(shop, payout_id, "PAID")
    return payout_id


async def test_a_payout_lists_what_it_pays_and_the_next_one_the_rest(shop: Shop) -> None:
    await payouts.earn(shop, SOLD, SOLD)
    first = await paid(shop, amount="600.00")
    assert await items(shop, first) == [("release", "485.00", None), ("release", "115.00", "485.00")]
    since, seqs = await payable_from(shop)
    assert since == seqs[1]
    second = await paid(shop)
    assert await items(shop, second) == [("release", "370.00", "485.00")]
    since, seqs = await payable_from(shop)
    assert since > seqs[-1]
    assert await payouts.amounts(shop.paysaga.sandbox, first) == went(60000)
    assert await payouts.amounts(shop.paysaga.sandbox, second) == went(37000)


async def test_what_a_refund_took_is_deducted_first(shop: Shop) -> None:
    sale, _ = await payouts.earn(shop, SOLD, SOLD)
    refund = await shop.refunded(sale["id"], amount="100.00")
    await shop.refund_until(refund["id"], "SUCCEEDED")
    part = await paid(shop, amount="100.00")
    assert sorted(await items(shop, part)) == [("refund_reserve", "-97.00", None), ("release", "197.00", "485.00")]
    rest = await paid(shop)
    assert await items(shop, rest) == [("release", "288.00", "485.00"), ("release", "485.00", None)]
    assert (await payouts.wallet(shop))["available"] == "0.00"


async def test_what_the_seller_owes_is_kept_back(shop: Shop) -> None:
    (sale,) = await payouts.earn(shop, SOLD)
    await paid(shop)
    refund = await shop.refunded(sale["id"], amount="100.00")
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert (await shop.balances())["receivable:anna", "INR"] == 9700
    await payouts.earn(shop, SOLD)
    refused = await shop.post("/v1/payouts", {"seller_account": "anna", "amount": "400.00"})
    assert (refused.status_code, refused.json()["code"]) == (422, "payout_exceeds_available")
    payout_id = await paid(shop)
    assert sorted(await items(shop, payout_id)) == [("debt_recovery", "-97.00", None), ("release", "485.00", None)]
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(38800)
    assert ("receivable:anna", "INR") not in await shop.balances()


async def test_what_was_given_back_can_be_paid_again(shop: Shop) -> None:
    await payouts.earn(shop, SOLD, SOLD)
    first = await paid(shop, amount="100.00")
    await payouts.with_account(shop, "anna", "acct_payoutFails")
    failed = (await payouts.request(shop))["id"]
    since, seqs = await payable_from(shop)
    assert since > seqs[-1]
    await payouts.until(shop, failed, "FAILED")
    assert (await payable_from(shop))[0] == seqs[0], "back to where it had taken from"
    returned = (await shop.get(f"/v1/payouts/{failed}/items")).json()["data"]
    assert {one["returned"] for one in returned} == {True}
    await payouts.with_account(shop, "anna")
    again = await paid(shop)
    assert await items(shop, again) == [("release", "385.00", "485.00"), ("release", "485.00", None)]
    assert await postings(shop, again) == await postings(shop, failed)
    assert await postings(shop, first) < await postings(shop, again)
    assert await payouts.amounts(shop.paysaga.sandbox, again) == went(87000)


async def test_twenty_payouts_at_once_never_exceed_the_balance(shop: Shop) -> None:
    await payouts.earn(shop, SOLD, SOLD, SOLD)
    body = {"seller_account": "anna", "amount": "100.00"}
    asked = (partial(shop.post, "/v1/payouts", body, key=f"payout-{n}") for n in range(20))
    answers = await asyncio.gather(*map(shop.insist, asked))
    assert sorted(answer.status_code for answer in answers) == [202] * 14 + [422] * 6
    assert {a.json()["code"] for a in answers if a.status_code == 422} == {"payout_exceeds_available"}
    made = [a.json()["id"] for a in answers if a.status_code == 202]
    await asyncio.gather(*(payouts.until(shop, payout_id, "PAID") for payout_id in made))
    moved = await asyncio.gather(*(payouts.amounts(shop.paysaga.sandbox, payout_id) for payout_id in made))
    assert list(moved) == [went(10000)] * 14
    rest = await paid(shop)
    assert await payouts.amounts(shop.paysaga.sandbox, rest) == went(3 * EARNED - 140000)


async def test_everything_asked_for_ten_times_at_once_is_paid_once(shop: Shop) -> None:
    """Under one key it is one payout; without one, nothing is left for the others."""
    await payouts.earn(shop, SOLD)
    body, key = {"seller_account": "anna"}, str(uuid4())
    keys = [key] * 5 + [str(uuid4()) for _ in range(5)]
    asked = (partial(shop.post, "/v1/payouts", body, key=one) for one in keys)
    answers = await asyncio.gather(*map(shop.insist, asked))
    made = {a.json()["id"] for a in answers if a.status_code in (201, 202)}
    assert len(made) == 1, [answer.text for answer in answers]
    assert {a.status_code for a in answers} <= {201, 202, 409, 422}
    (payout_id,) = made
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED)


async def test_a_payout_and_a_refund_at_once_share_the_balance(paysaga: Deployment) -> None:
    """Where no credit is allowed: one of them gets it, the other is refused."""
    shop = await paysaga.shop(f"items-{secrets.token_hex(5)}")
    for seller in ("anna", "bo", "chen"):
        await payouts.with_account(shop, seller)
    sales = [(await payouts.earn(shop, SOLD, seller=seller))[0] for seller in ("anna", "bo", "chen")]

    async def both(seller: str, sale: dict[str, Any]) -> tuple[int, int]:
        asked = shop.post("/v1/payouts", {"seller_account": seller}), shop.refund(sale["id"], wait=0)
        payout, refund = await asyncio.gather(*asked)
        if payout.status_code == 202:
            await payouts.until(shop, payout.json()["id"], "PAID")
        if refund.status_code == 202:
            await shop.refund_until(refund.json()["id"], "SUCCEEDED")
        return payout.status_code, refund.status_code

    ends = await asyncio.gather(*map(both, ("anna", "bo", "chen"), sales))
    assert set(ends) <= {(202, 422), (422, 202), (422, 201)}, ends
    balances = await shop.balances()
    assert not [account for account, _ in balances if account.startswith(("wallet", "receivable", "payout"))], balances


async def test_a_seller_who_is_frozen_or_has_no_account_is_not_paid(shop: Shop) -> None:
    await payouts.earn(shop, SOLD)
    await shop.set_merchant("anna", status="FROZEN")
    frozen = await shop.post("/v1/payouts", {"seller_account": "anna"})
    assert (frozen.status_code, frozen.json()["code"]) == (409, "merchant_not_active")
    await shop.set_merchant("anna", status="ACTIVE", payout={"account": None})
    nowhere = await shop.post("/v1/payouts", {"seller_account": "anna"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (422, "payout_account_missing")
    assert (await payouts.wallet(shop))["available"] == "485.00"
