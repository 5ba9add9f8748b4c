"""What operators type about what follows a payment: captures, reviews, refunds, disputes, sellers, rules and tasks."""

import json
import re
import secrets
from pathlib import Path
from typing import Any

import pytest

from services.audit import audit
from tests.audit.test_operator_commands import actions, run
from tests.conftest import Deploy
from tests.support.eventually import eventually
from tests.support.shop import Shop

BY = ("--by", "olga")


async def clean(shop: Shop) -> bool:
    return [f for f in await audit(shop.paysaga.database) if f.tenant_id == shop.tenant] == []


async def authorised(shop: Shop, **fields: Any) -> dict[str, Any]:
    payment = await shop.paid(shop.checkout(), capture="manual", **fields)
    return await shop.until(payment["id"], "AUTHORIZED")


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[0]


async def task_id(shop: Shop, payment_id: str, kind: str) -> str:
    async def probe() -> str | None:
        tasks = (await shop.explain(payment_id))["tasks"]
        return next((str(task["id"]) for task in tasks if task["kind"] == kind), None)

    return await eventually(probe, what=f"a task {kind} of {payment_id}")


# --- capture ---


async def test_an_operator_captures_a_part_and_the_page_shows_it(shop: Shop) -> None:
    payment = await authorised(shop)
    said = await run(shop, "payments", "capture", payment["id"], "--amount", "320.00", *BY)
    sentence = f"{payment['id']} was AUTHORIZED: 320.00 INR are being captured, and 180.00 are released.\n"
    assert (said.code, said.out) == (0, sentence), said.err
    await shop.until(payment["id"], "SUCCESS")
    page = (await run(shop, "payments", "show", payment["id"])).out
    assert re.search(r"capture +asked for by olga", page)
    assert re.search(r"500\.00 INR +320\.00 +SUCCESS", page)
    assert await actions(shop, payment["id"]) == [("olga", "payment.capture")]
    again = await run(shop, "payments", "capture", payment["id"], *BY)
    assert (again.code, again.err) == (1, f"paysaga: {payment['id']}: The payment is captured already.\n")
    assert await clean(shop)


async def test_an_operator_captures_parts_of_several_orders(shop: Shop) -> None:
    payment = await authorised(shop, orders=[("anna", "300.00"), ("bo", "200.00")])
    first, second = (order["payment_order_id"] for order in payment["payment_orders"])
    for arguments, why in (
        (("--amount", "1.00"), "say --part ORDER=AMOUNT"),
        (("--part", f"{first}=300.01"), f"300.01 is more than the 300.00 of {first}"),
        (("--part", "nobody=1.00"), "The payment has no order nobody."),
        (("--part", f"{first}=1,00"), "An amount is a decimal string"),
        (("--part", f"{first}=0"), "Nothing would be captured"),
    ):
        refused = await run(shop, "payments", "capture", payment["id"], *arguments, *BY)
        assert refused.code == 1, arguments
        assert why in refused.err
    parts = ("--part", f"{first}=299.99", "--part", f"{second}=0.01")
    assert (await run(shop, "payments", "capture", first, *parts, *BY)).code == 0
    orders = (await shop.until(payment["id"], "SUCCESS"))["payment_orders"]
    assert [order["captured_amount"] for order in orders] == ["299.99", "0.01"]


# --- risk rules and reviews ---


async def test_rules_are_set_shown_and_refused_with_what_is_wrong(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    rule = {"name": "large", "type": "amount", "currency": "INR", "above": "100.00", "then": "review"}
    path.write_text(json.dumps({"rules": [rule | {"above": "1,5"}, {"name": "odd", "type": "moon"}], "later": 1}))
    refused = await run(shop, "risk", "set", shop.tenant, str(path), *BY)
    assert refused.code == 1
    for part in ("nothing was changed", "rules.0.amount", "An amount is a decimal string", "'moon'", "later"):
        assert part in refused.err
    path.write_text(json.dumps({"rules": [rule]}))
    said = await run(shop, "risk", "set", shop.tenant, str(path), *BY)
    sentence = f"{shop.tenant} has version 1 of its rules, for payments from now on: 1 rule.\n"
    assert (said.code, said.out) == (0, sentence), said.err
    shown = await run(shop, "risk", "show", shop.tenant)
    assert json.loads(shown.out)["rules"] == [rule]
    assert "version 1, by olga" in shown.err
    assert await actions(shop, shop.tenant) == [("olga", "risk.rules")]
    assert (await run(shop, "risk", "set", "nobody", str(path), *BY)).err.startswith("paysaga: There is no tenant")
    assert "cannot be read" in (await run(shop, "risk", "set", shop.tenant, str(tmp_path), *BY)).err


async def test_an_operator_decides_reviews(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    rule = {"name": "large", "type": "amount", "currency": "INR", "above": "100.00", "then": "review"}
    path.write_text(json.dumps({"rules": [rule]}))
    assert (await run(shop, "risk", "set", shop.tenant, str(path), *BY)).code == 0
    good, bad = [await shop.paid(shop.checkout()) for _ in range(2)]
    waiting = await run(shop, "reviews", "--tenant", shop.tenant)
    for payment in (good, bad):
        await shop.until(payment["id"], "IN_REVIEW")
        assert payment["id"] in waiting.out
    assert "large: 500.00 INR is above 100.00 INR" in waiting.out
    assert re.search(r"in 2\d h", waiting.out)
    assert "payments review" in (await run(shop, "tasks")).out
    approve = ("--approve", "--note", "called the buyer")
    said = await run(shop, "payments", "review", good["id"], *approve, *BY)
    assert (said.code, said.out) == (0, f"{good['id']} was IN_REVIEW: approved, it goes on.\n"), said.err
    assert (await run(shop, "payments", "review", bad["id"], "--reject", *BY)).code == 0
    await shop.until(good["id"], "SUCCESS")
    assert (await shop.until(bad["id"], "FAILED"))["failure"]["code"] == "risk_rejected"
    page = (await run(shop, "payments", "show", good["id"])).out
    assert "approve by olga: called the buyer" in page
    assert await actions(shop, bad["id"]) == [("olga", "payment.review")]
    late = await run(shop, "payments", "review", bad["id"], "--approve", *BY)
    assert (late.code, late.err) == (1, f"paysaga: {bad['id']}: The payment is FAILED, not IN_REVIEW.\n")
    assert (await run(shop, "payments", "review", bad["id"], *BY)).code == 2, "a decision is required"
    assert (await run(shop, "payments", "review", bad["id"], "--approve", "--by", " ")).code == 2, "and a name"
    assert await clean(shop)


# --- refunds ---


async def test_an_operator_refunds_a_part_of_one_order(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), orders=[("anna", "300.00"), ("bo", "200.00")])
    second = payment["payment_orders"][1]["payment_order_id"]
    nameless = await run(shop, "refunds", "create", payment["id"], *BY)
    assert "name one as payment_order_id" in nameless.err
    said = await run(shop, "refunds", "create", payment["id"], "--order", second, "--amount", "50.5", *BY)
    assert said.code == 0, said.err
    refund_id = found(r"^re_\w+", said.out)
    assert said.out == f"{refund_id} of 50.50 INR is SUCCEEDED.\n"
    assert await actions(shop, refund_id) == [("olga", "refund.create")]
    too_much = await run(shop, "refunds", "create", second, "--amount", "149.51", *BY)
    assert (too_much.code, too_much.err) == (1, f"paysaga: {payment['id']}: At most 149.50 INR can be refunded.\n")
    for arguments in (("list", "--payment", payment["id"]), ("show", refund_id)):
        page = (await run(shop, "refunds", *arguments)).out
        assert refund_id in page
        assert payment["id"] in page
        assert "50.50 INR" in page
    assert re.search(r"refund_reserve +wallet:bo:pending", page)
    ended = await run(shop, "refunds", "resolve", refund_id, "--decision", "retry", *BY)
    assert ended.err == f"paysaga: {refund_id}: The refund is SUCCEEDED: the buyer has the money.\n"
    assert await clean(shop)


async def test_a_refund_that_the_psp_does_not_know_is_decided_by_its_own_id(deploy: Deploy) -> None:
    """Of two that wait, the one that is named is asked for again, and the other one stays as it is."""
    paysaga = await deploy(stripe_key_life_s=4.0, stripe_key_margin_s=0.0)
    shop = await paysaga.shop("lost")
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    await paysaga.sandbox.fault("refunds.create", "http_500", checkout=checkout, times=2)
    first, second = [await shop.refunded(payment["id"], amount=f"{n}00.00", wait=0) for n in (1, 2)]
    for refund in (first, second):
        await shop.refund_until(refund["id"], "NEEDS_ATTENTION")
    listed = (await run(shop, "refunds", "list", "--open")).out
    assert first["id"] in listed
    assert second["id"] in listed
    unnamed = await run(shop, "payments", "resolve", payment["id"], "--decision", "retry", *BY)
    assert "has several refunds to decide about" in unnamed.err
    said = await run(shop, "refunds", "resolve", second["id"], "--decision", "retry", *BY)
    assert (said.code, said.out) == (0, f"{second['id']}: retry noted.\n"), said.err
    await shop.refund_until(second["id"], "SUCCEEDED")
    assert (await paysaga.sandbox.log(checkout)).refunded == [20000]
    assert (await run(shop, "payments", "resolve", payment["id"], "--decision", "retry", *BY)).code == 0
    await shop.refund_until(first["id"], "SUCCEEDED")
    assert "No refund is open" in (await run(shop, "refunds", "list", "--open")).out
    assert ("olga", "payment.resolve") in await actions(shop, payment["id"])


# --- disputes ---


async def test_an_operator_answers_a_dispute(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    await shop.paysaga.sandbox.dispute(await shop.reference(payment["id"]), evidence_due_s=3600)
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    listed = (await run(shop, "disputes", "list", "--open")).out
    assert re.search(rf"{dispute['id']} .*500\.00 INR .*NEEDS_RESPONSE .*in \d+ min.*\n{payment['id']}", listed)
    for field, why in (
        ("moon=full", "fields.moon.[key]: Input should be"),
        ("customer_name=", "at least 1 character"),
        ("uncategorized_text=4242 4242 4242 4242", "Card data is never accepted"),
    ):
        refused = await run(shop, "disputes", "evidence", dispute["id"], "--field", field, *BY)
        assert refused.code == 1
        assert why in refused.err
    fields = ("--field", "uncategorized_text=winning_evidence", "--field", "shipping_carrier=India Post")
    said = await run(shop, "disputes", "evidence", dispute["reference"], *fields, *BY)
    assert said.code == 0, said.err
    assert "(shipping_carrier, uncategorized_text) is being submitted" in said.out
    assert await actions(shop, dispute["id"]) == [("olga", "dispute.evidence")]
    stored = await shop.paysaga.sql("SELECT fields FROM dispute_evidence WHERE dispute_id = $1", dispute["id"])
    assert b"India Post" not in stored[0]["fields"]
    await shop.dispute_until(payment["id"], "WON")
    page = (await run(shop, "disputes", "show", dispute["id"])).out
    for part in ("WON", "shipping_carrier", "SUBMITTED", "dispute_withdrawn", "dispute_release", "15.00 INR"):
        assert part in page
    late = await run(shop, "disputes", "evidence", dispute["id"], *fields, *BY)
    assert late.err == f"paysaga: {dispute['id']}: The dispute is WON.\n"
    paid = (await run(shop, "payments", "show", payment["id"])).out
    assert dispute["id"] in paid
    assert "Set aside for them" in paid
    assert await clean(shop)


# --- merchants ---


async def test_a_seller_is_frozen_unfrozen_and_closed(shop: Shop) -> None:
    seller = f"dora-{secrets.token_hex(4)}"
    made = await shop.paysaga.http.post("/v1/merchants", json={"seller_account": seller}, headers=shop.headers)
    merchant_id = made.json()["id"]
    said = await run(shop, "merchants", "freeze", seller, *BY)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{seller} of {shop.tenant} was ACTIVE and is FROZEN: ")
    refused = await shop.pay(shop.checkout(), orders=[(seller, "1.00")])
    assert refused.json()["code"] == "merchant_not_active"
    frozen = await run(shop, "merchants", "list", "--tenant", shop.tenant, "--status", "frozen")
    assert seller in frozen.out
    assert "anna" not in frozen.out
    assert (await run(shop, "merchants", "unfreeze", merchant_id, *BY)).code == 0
    assert (await run(shop, "merchants", "close", seller, *BY)).code == 0
    late = await run(shop, "merchants", "unfreeze", seller, *BY)
    assert (late.code, late.err) == (1, f"paysaga: {seller}: A closed merchant stays closed.\n")
    assert (await actions(shop, merchant_id))[1:] == [("olga", "merchant.change")] * 3
    shown = (await run(shop, "merchants", "show", seller)).out
    assert "CLOSED" in shown
    assert "returned on a refund" in shown


async def test_a_seller_of_several_tenants_is_not_guessed(shop: Shop) -> None:
    await shop.paysaga.shop(f"{shop.tenant}-other")
    said = await run(shop, "merchants", "freeze", "anna", *BY)
    assert said.code == 1
    assert "Several tenants have a merchant anna" in said.err
    assert (await run(shop, "merchants", "show", "anna", "--tenant", shop.tenant)).code == 0


# --- tasks ---


async def test_a_task_that_nothing_closes_is_closed_by_a_person(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_refundFail")
    await shop.refunded(payment["id"], amount="10.00")
    task = await task_id(shop, payment["id"], "refund_came_back")
    shown = (await run(shop, "tasks")).out
    assert task in shown
    assert f"`paysaga tasks close {task} --note " in shown
    assert (await run(shop, "tasks", "close", task, *BY)).code == 2, "a note is required"
    close = ("tasks", "close", task, "--note", "paid by bank transfer", *BY)
    said = await run(shop, *close)
    assert (said.code, said.out) == (0, f"{task} (refund_came_back) is closed.\n"), said.err
    assert await actions(shop, task) == [("olga", "task.close")]
    assert task not in (await run(shop, "tasks")).out
    assert "was closed already, by olga: paid by bank transfer" in (await run(shop, *close)).out
    assert await clean(shop)


async def test_a_task_that_its_answer_closes_is_not_closed_by_hand(shop: Shop) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault("payment_intents.create", "wrong_amount", checkout=checkout, delta=100)
    payment = await shop.paid(checkout)
    task = await task_id(shop, payment["id"], "amount_mismatch")
    said = await run(shop, "tasks", "close", task, "--note", "go away", *BY)
    assert said.code == 1
    assert f"`paysaga payments resolve {payment['id']} --decision cancel`" in said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("refunds", "show", "re_nobody"), "There is no refund re_nobody"),
        (("disputes", "show", "dp_nobody"), "There is no dispute dp_nobody"),
        (("merchants", "show", "nobody"), "There is no merchant nobody"),
        (("risk", "show", "nobody"), "There is no tenant nobody"),
        (("tasks", "close", "task_nobody", "--note", "n", *BY), "There is no task task_nobody"),
        (("payments", "capture", "pay_nobody", *BY), "There is no payment pay_nobody"),
        (("refunds", "create", "pay_nobody", *BY), "There is no payment pay_nobody"),
    ],
)
async def test_what_is_not_there_is_one_sentence(shop: Shop, arguments: tuple[str, ...], sentence: str) -> None:
    said = await run(shop, *arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"paysaga: {sentence}")
    assert said.err.count("\n") == 1
