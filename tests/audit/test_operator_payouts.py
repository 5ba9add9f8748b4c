"""What operators type about payouts: make, stop, show and list them, decide about one; schedules, releases and runs."""

import csv
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.audit.test_operator_commands import actions, run
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.payouts import earn, request, until, wallet, with_account
from tests.support.shop import Shop

BY = ("--by", "olga")


@pytest.fixture
async def quick(paysaga: Deployment) -> AsyncIterator[None]:
    """The sandbox lets charges go at once, and its payouts arrive soon; other tests want it as it is."""
    await paysaga.sandbox.configure(available_delay_s=0, check_available_balance=False, payout_delay_s=0.3)
    yield
    await paysaga.sandbox.configure(available_delay_s=172_800, check_available_balance=True, payout_delay_s=2)


pytestmark = pytest.mark.usefixtures("quick")


def seller_of(shop: Shop) -> tuple[str, ...]:
    return ("anna", "--tenant", shop.tenant)


async def task_of(shop: Shop, object_id: str) -> dict[str, Any]:
    async def probe() -> dict[str, Any] | None:
        found = await shop.paysaga.sql(
            "SELECT id, kind FROM operator_task WHERE object_id = $1 AND closed_at IS NULL", object_id
        )
        return dict(found[0]) if found else None

    return await eventually(probe, what=f"a task about {object_id}")


async def not_returned(shop: Shop) -> dict[str, Any]:
    """A payout that failed, and that the PSP refuses to give back."""
    await shop.paysaga.sandbox.configure(payout_delay_s=None)
    await with_account(shop, "anna", "acct_reversalRefused")
    await earn(shop, "500.00")
    payout = await request(shop)
    reference = (await until(shop, payout["id"], "IN_TRANSIT"))["reference"]
    await shop.paysaga.sandbox.steer_payout(reference, "fail")
    return await until(shop, payout["id"], "NEEDS_ATTENTION")


# --- make, show, list, stop ---


async def test_an_operator_pays_a_part_and_the_page_shows_it(shop: Shop) -> None:
    account = await with_account(shop, "anna")
    paid = await earn(shop, "500.00")
    said = await run(shop, "payouts", "create", *seller_of(shop), "--amount", "100.00", *BY)
    match = re.match(r"(pt_\w{26}) of 100\.00 INR is (IN_TRANSIT|PAID)\.\n$", said.out)
    assert match is not None, said
    payout_id = match[1]
    assert await actions(shop, payout_id) == [("olga", "payout.create")]
    await until(shop, payout_id, "PAID")
    page = (await run(shop, "payouts", "show", payout_id)).out
    order = paid[0]["payment_orders"][0]
    for part in (account, "PAID", "100.00 INR", "transfer", "payout", "tr_", "po_", order["id"], "of 485.00", "olga"):
        assert part in page, part
    assert "became available" in page
    (item,) = csv.DictReader((await run(shop, "payouts", "items", payout_id)).out.splitlines())
    assert (item["amount"], item["part_of"], item["order_id"]) == ("100.00", "485.00", order["id"])
    listed = (await run(shop, "payouts", "list", "--seller", "anna", "--tenant", shop.tenant, "--status", "paid")).out
    assert payout_id in listed
    (row,) = csv.DictReader(
        (await run(shop, "payouts", "list", "--tenant", shop.tenant, "--csv", "-")).out.splitlines()
    )
    assert (row["id"], row["amount"], row["currency"], row["status"]) == (payout_id, "100.00", "INR", "PAID")
    nothing = await run(shop, "payouts", "list", "--tenant", shop.tenant, "--status", "returned")
    assert nothing.out == "No payouts are RETURNED.\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--amount", "485.01"), "485.00 INR can be paid out"),
        (("--amount", "1,00"), "decimal string"),
    ],
)
async def test_a_payout_that_is_not_possible_is_one_sentence(shop: Shop, arguments: tuple[str, ...], why: str) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    said = await run(shop, "payouts", "create", *seller_of(shop), *arguments, *BY)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("paysaga: anna: ")
    assert why in said.err


async def test_one_on_its_way_is_stopped(shop: Shop) -> None:
    await shop.paysaga.sandbox.configure(payout_delay_s=None)
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    payout = await request(shop)
    await until(shop, payout["id"], "IN_TRANSIT")
    said = await run(shop, "payouts", "cancel", payout["id"], *BY)
    assert (said.code, said.out) == (0, f"{payout['id']} is CANCELLED: 485.00 INR are in the wallet again.\n"), said.err
    assert (await actions(shop, payout["id"]))[1:] == [("olga", "payout.cancel")]
    assert "given back" in (await run(shop, "payouts", "show", payout["id"])).out
    assert (await run(shop, "payouts", "cancel", payout["id"], *BY)).out == f"{payout['id']} is CANCELLED already.\n"


async def test_one_that_has_arrived_is_not_stopped(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    payout = await request(shop)
    await until(shop, payout["id"], "PAID")
    said = await run(shop, "payouts", "cancel", payout["id"], *BY)
    assert said.code == 1
    assert "cannot be cancelled: It is PAID." in said.err
    assert [action for _, action in await actions(shop, payout["id"])] == ["payout.create"]


async def test_one_that_the_psp_will_not_stop_goes_on(shop: Shop) -> None:
    await shop.paysaga.sandbox.configure(payout_delay_s=None)
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    payout = await request(shop)
    reference = (await until(shop, payout["id"], "IN_TRANSIT"))["reference"]
    await shop.paysaga.sandbox.steer_payout(reference, "transit")
    said = await run(shop, "payouts", "cancel", payout["id"], *BY)
    assert said.code == 1, said.out
    assert "is IN_TRANSIT and goes on" in said.err
    assert "refused: " in (await run(shop, "payouts", "show", payout["id"])).out


# --- decide ---


async def test_what_the_psp_does_not_give_back_is_decided(shop: Shop) -> None:
    payout = await not_returned(shop)
    task = await task_of(shop, payout["id"])
    assert task["kind"] == "payout_not_returned"
    told = f"`paysaga payouts resolve {payout['id']} done`"
    for page in (("tasks",), ("payouts", "show", payout["id"])):
        said = await run(shop, *page)
        assert payout["id"] in said.out
        assert told in said.out
    refused = await run(shop, "tasks", "close", task["id"], "--note", "go away", *BY)
    assert (refused.code, told in refused.err) == (1, True)
    impossible = ("reference", "--reference", "trr_1")
    assert "say retry, paid or done" in (await run(shop, "payouts", "resolve", payout["id"], *impossible, *BY)).err
    assert "needs the PSP's name" in (await run(shop, "payouts", "resolve", payout["id"], "reference", *BY)).err
    note = ("--note", "taken back in the dashboard")
    said = await run(shop, "payouts", "resolve", payout["id"], "done", *note, *BY)
    assert (said.code, said.out) == (0, f"{payout['id']} was NEEDS_ATTENTION and is FAILED.\n"), said.err
    assert (await actions(shop, payout["id"]))[1:] == [("olga", "payout.resolve")]
    assert (await wallet(shop))["available"] == "485.00"
    assert task["id"] not in (await run(shop, "tasks")).out
    late = await run(shop, "payouts", "resolve", payout["id"], "retry", *BY)
    assert "there is nothing to decide" in late.err

    async def workflow_ended() -> bool:
        handle = shop.paysaga.temporal.get_workflow_handle(f"payout:{payout['id']}")
        status = (await handle.describe()).status
        return status is not None and status.name == "COMPLETED"

    await eventually(workflow_ended, what="the workflow hears of it")


async def test_a_call_is_made_again_under_a_new_key(shop: Shop) -> None:
    payout = await not_returned(shop)
    first = await task_of(shop, payout["id"])
    said = await run(shop, "payouts", "resolve", payout["id"], "retry", *BY)
    assert (said.code, said.out) == (0, f"{payout['id']} was NEEDS_ATTENTION and is RETURNING.\n"), said.err

    async def again() -> bool:
        return bool((await task_of(shop, payout["id"]))["id"] != first["id"])

    await eventually(again, what="refused again")
    assert f"{payout['id']}:reversal:2" in (await run(shop, "payouts", "show", payout["id"])).out


async def test_a_transfer_nobody_knows_of_is_made_again(deploy: Deploy) -> None:
    paysaga = await deploy(stripe_key_life_s=2.0, stripe_key_margin_s=0.0)
    await paysaga.sandbox.configure(available_delay_s=0, check_available_balance=False, payout_delay_s=0.1)
    shop = await paysaga.shop("unclear")
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    fault = await paysaga.sandbox.fault("transfers.create", "http_500_uncached", times=None)
    payout = await request(shop)
    await until(shop, payout["id"], "NEEDS_ATTENTION")
    assert (await task_of(shop, payout["id"]))["kind"] == "payout_unclear"
    assert f"`paysaga payouts resolve {payout['id']} reference" in (await run(shop, "tasks")).out
    await paysaga.sandbox.clear(fault)
    said = await run(shop, "payouts", "resolve", payout["id"], "retry", "--note", "not there", *BY)
    assert said.code == 0, said.err
    await until(shop, payout["id"], "PAID")


# --- schedules ---


async def test_a_schedule_is_set_and_what_is_not_said_stays(shop: Shop) -> None:
    schedule = ("payouts", "schedule", *seller_of(shop), *BY)
    said = await run(shop, *schedule, "--weekly", "mon,friday", "--minimum", "INR=100.00", "--delay-days", "7")
    assert (said.code, said.out) == (
        0,
        f"anna of {shop.tenant} is paid each monday, friday, from 100.00 INR, of orders that are 7 days old. It has no "
        "account at the PSP to be paid to.\n",
    ), said.err
    await with_account(shop, "anna")
    said = await run(shop, *schedule, "--monthly", "31,15")
    assert re.fullmatch(
        rf"anna of {shop.tenant} is paid on day 15, 31 of the month, from 100\.00 INR, of orders that are 7 days old; "
        r"next on \d{4}-\d\d-\d\d\.\n",
        said.out,
    ), said
    said = await run(shop, *schedule, "--minimum", "INR=0", "--delay-days", "0")
    assert "is paid on day 15, 31 of the month; next on" in said.out
    assert "is paid each day" in (await run(shop, *schedule, "--daily")).out
    page = (await run(shop, "merchants", "show", *seller_of(shop))).out
    assert re.search(r"paid out +each day, to acct_paysOut_", page)
    assert "is paid only when asked for.\n" in (await run(shop, *schedule, "--manual")).out
    merchant = (await shop.get("/v1/merchants/anna")).json()
    assert [action for _, action in await actions(shop, merchant["id"])].count("payout.schedule") == 5


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "Say --daily"),
        (("--daily", "--manual"), "Say one of"),
        (("--weekly", "someday"), "is no day of the week"),
        (("--weekly", "t"), "is no day of the week"),
        (("--weekly", ""), "weekly payouts name their weekdays"),
        (("--monthly", "0"), "a day of the month 1 to 31"),
        (("--monthly", "first"), "are no days of the month"),
        (("--minimum", "INR"), "An amount is a decimal string"),
        (("--minimum", "XXY=1"), "is not an ISO 4217"),
    ],
)
async def test_a_schedule_that_is_none_is_one_sentence(shop: Shop, arguments: tuple[str, ...], why: str) -> None:
    said = await run(shop, "payouts", "schedule", *seller_of(shop), *arguments, *BY)
    assert (said.code, said.out) == (1, "")
    assert why in said.err


# --- releases and runs ---


async def test_what_is_due_is_released(shop: Shop) -> None:
    await shop.paid(shop.checkout())
    said = await run(shop, "payouts", "release", *BY)
    assert said.code == 0, said.err
    assert re.search(r"\d+ orders? (is|are) released", said.out)
    assert (await wallet(shop))["available"] == "485.00"
    assert (await run(shop, "payouts", "release", *BY)).out.startswith("Nothing is due")


async def test_a_run_pays_who_is_due_once_and_is_followed(deploy: Deploy) -> None:
    paysaga = await deploy()
    await paysaga.sandbox.configure(available_delay_s=0, check_available_balance=False, payout_delay_s=0.1)
    shop = await paysaga.shop("run")
    assert "No payouts were ever run" in (await run(shop, "payouts", "runs")).out
    for seller, account in (("anna", "acct_paysOut"), ("bo", "acct_transferRefused"), ("chen", "acct_paysOut")):
        await with_account(shop, seller, account, **({} if seller == "chen" else {"interval": "daily"}))
        await shop.paid(shop.checkout(), orders=[(seller, "500.00")])
    day = datetime.now(UTC).date()
    said = await run(shop, "payouts", "run", "--date", str(day), *BY)
    assert said.code == 0, said.err
    match = re.search(rf"(prun_\w{{26}}) of {day}: 2 payouts made now, 2 in all: (.*)\.\n", said.out)
    assert match is not None, said.out
    assert "1 FAILED" in match[2]
    assert re.search(r"sent to the PSP.* 2/2", said.out)
    paid = (await shop.get("/v1/payouts", seller_account="anna")).json()["data"]
    assert [(p["amount"], p["business_date"]) for p in paid] == [("485.00", str(day))]
    await until(shop, paid[0]["id"], "PAID")
    again = await run(shop, "payouts", "run", *BY)
    # Who was paid is not paid again; what failed has paid nothing, and is tried once more.
    assert f"{match[1]} of {day}: 1 payout made now, 3 in all: 1 PAID, 2 FAILED.\n" in again.out, again
    runs = (await run(shop, "payouts", "runs")).out
    for part in (match[1], str(day), "olga", "1 PAID, 2 FAILED"):
        assert part in runs
    assert f"run of {day}" in (await run(shop, "payouts", "list")).out
    tomorrow = await run(shop, "payouts", "run", "--date", str(day + timedelta(days=1)), *BY)
    assert (tomorrow.code, "is yet to come" in tomorrow.err) == (1, True)
    assert (await run(shop, "payouts", "run", "--date", "21.11.2026", *BY)).code == 2
    assert await actions(shop, f"payout_run:{day}") == [("olga", "payout.run")] * 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "pt_nobody"), "There is no payout pt_nobody"),
        (("create", "nobody", *BY), "There is no merchant nobody"),
    ],
)
async def test_what_is_not_there_is_one_sentence(shop: Shop, arguments: tuple[str, ...], sentence: str) -> None:
    said = await run(shop, "payouts", *arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"paysaga: {sentence}")
    assert said.err.count("\n") == 1
