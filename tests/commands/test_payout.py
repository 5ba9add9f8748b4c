"""Payouts: HTTP and the terminal give the same command, with the same refusals, limits and rows in the audit log."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.commands.conftest import BY, Logged, audit_log, both, same_log
from tests.support.deployment import Deployment
from tests.support.payouts import earn, request, until, with_account
from tests.support.shop import Shop


@pytest.fixture
async def quick(paysaga: Deployment) -> AsyncIterator[None]:
    """The sandbox lets charges go at once, and its payouts stay under way; other tests want it as it is."""
    await paysaga.sandbox.configure(available_delay_s=0, check_available_balance=False, payout_delay_s=None)
    yield
    await paysaga.sandbox.configure(available_delay_s=172_800, check_available_balance=True, payout_delay_s=2)


pytestmark = pytest.mark.usefixtures("quick")


def seller_of(shop: Shop, seller: str = "anna") -> tuple[str, ...]:
    return (seller, "--tenant", shop.tenant)


async def log_of_payouts(shop: Shop, *, by_person: bool) -> list[Logged]:
    """What was done to payouts of the shop, by keys or by persons."""
    rows = await shop.paysaga.sql("SELECT id FROM payout WHERE tenant_id = $1 ORDER BY seq", shop.tenant)
    logged = [row for found in rows for row in await audit_log(shop, found["id"])]
    return [row for row in logged if row.actor.startswith("key_") is not by_person]


async def test_a_payout_is_made(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    body = {"seller_account": "anna", "amount": "100.00"}
    cli = ("payouts", "create", *seller_of(shop), "--amount", "100.00", *BY)
    (await both(shop, http=("POST", "/v1/payouts", body), cli=cli)).accepted()
    by_person = await log_of_payouts(shop, by_person=True)
    same_log(await log_of_payouts(shop, by_person=False), by_person)
    assert [row.detail for row in by_person] == [{"seller_account": "anna", "amount": "100.00", "currency": "INR"}]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"amount": "485.01"}, "payout_exceeds_available"),
        ({"amount": "0"}, "amount_not_positive"),
        ({"amount": "1,00"}, "amount_invalid"),
        ({"amount": "1.001"}, "amount_precision"),
        ({"amount": "1" * 25}, "field_invalid"),
        ({"currency": "USD"}, "nothing_to_pay_out"),
        ({"currency": "XXQ"}, "currency_unknown"),
        ({"currency": "IN"}, "field_invalid"),
    ],
)
async def test_a_payout_that_is_not_possible(shop: Shop, fields: dict[str, str], code: str) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    options = [part for name, value in fields.items() for part in (f"--{name}", value)]
    cli = ("payouts", "create", *seller_of(shop), *options, *BY)
    (await both(shop, http=("POST", "/v1/payouts", {"seller_account": "anna", **fields}), cli=cli)).refused(code)
    assert await log_of_payouts(shop, by_person=False) == await log_of_payouts(shop, by_person=True) == []


async def test_a_seller_who_cannot_be_paid(shop: Shop) -> None:
    for terms, code in (({"name": "Bo"}, "payout_account_missing"), ({"status": "FROZEN"}, "merchant_not_active")):
        await shop.paysaga.http.patch("/v1/merchants/bo", json=terms, headers=shop.headers)
        cli = ("payouts", "create", *seller_of(shop, "bo"), "--currency", "INR", *BY)
        body = {"seller_account": "bo", "currency": "INR"}
        (await both(shop, http=("POST", "/v1/payouts", body), cli=cli)).refused(code)


async def test_a_payout_is_cancelled(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    by_key, by_person = await request(shop, amount="100.00"), await request(shop, amount="100.00")
    for payout in (by_key, by_person):
        await until(shop, payout["id"], "IN_TRANSIT")
    path = f"/v1/payouts/{by_key['id']}/cancel"
    done = await both(shop, http=("POST", path, None), cli=("payouts", "cancel", by_person["id"], *BY))
    done.accepted()
    logs = [await audit_log(shop, payout["id"]) for payout in (by_key, by_person)]
    same_log(logs[0][1:], logs[1][1:])  # after `payout.create`


async def test_one_that_cannot_be_cancelled(shop: Shop) -> None:
    await with_account(shop, "anna", "acct_transferRefused")
    await earn(shop, "500.00")
    payout = await request(shop)
    await until(shop, payout["id"], "FAILED")
    path = f"/v1/payouts/{payout['id']}/cancel"
    done = await both(shop, http=("POST", path, None), cli=("payouts", "cancel", payout["id"], *BY))
    done.refused("payout_not_cancellable")


SCHEDULES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"interval": "weekly", "weekdays": ["monday", "friday"]}, ("--weekly", "monday,friday")),
    ({"interval": "monthly", "monthdays": [1, 15], "minimum": {"INR": "100.00"}, "delay_days": 7},
     ("--monthly", "1,15", "--minimum", "INR=100.00", "--delay-days", "7")),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "options"), SCHEDULES)
async def test_a_schedule_is_set(shop: Shop, fields: dict[str, Any], options: tuple[str, ...]) -> None:
    sellers = {name: (await shop.get(f"/v1/merchants/{name}")).json()["id"] for name in ("anna", "bo")}
    cli = ("payouts", "schedule", *seller_of(shop, "bo"), *options, *BY)
    done = await both(shop, http=("POST", "/v1/payouts/schedule", {"seller_account": "anna", **fields}), cli=cli)
    done.accepted()
    logs = [await audit_log(shop, sellers[name]) for name in ("anna", "bo")]
    same_log(*logs, own=("seller_account",))
    shown = [(await shop.get(f"/v1/payouts/schedule/{name}")).json() for name in ("anna", "bo")]
    assert {**shown[0], "seller_account": ""} == {**shown[1], "seller_account": ""}


@pytest.mark.parametrize(
    ("fields", "options", "code"),
    [
        ({"interval": "weekly"}, ("--weekly", ""), "payout_schedule_invalid"),
        ({"interval": "daily", "minimum": {"INR": "1,00"}}, ("--daily", "--minimum", "INR=1,00"), "amount_invalid"),
    ],
)
async def test_a_schedule_that_is_none(shop: Shop, fields: dict[str, Any], options: tuple[str, ...], code: str) -> None:
    cli = ("payouts", "schedule", *seller_of(shop), *options, *BY)
    body = {"seller_account": "anna", **fields}
    done = await both(shop, http=("POST", "/v1/payouts/schedule", body), cli=cli)
    assert done.code == code
    assert done.said.code == 1
    assert done.http.json()["errors"][0]["detail"].rstrip(".") in done.said.err
