"""Risk rules as data, and a person's decision about a payment in review."""

import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from api import examples
from tests.api.problem import refused
from tests.api.rows import rows
from tests.support.shop import Answer, Shop

LARGE = {"name": "large", "type": "amount", "currency": "INR", "above": "100.00", "then": "review"}
CVC = {"name": "wrong code", "type": "check", "of": "cvc", "then": "review"}
VELOCITY = {"name": "often", "type": "velocity", "of": "buyer", "within_s": 60, "then": "block"}


async def put(shop: Shop, body: Any, **headers: str) -> Answer:
    return await shop.paysaga.http.put("/v1/risk/rules", json=body, headers=shop.headers | headers)


async def rules(shop: Shop, *one: dict[str, Any], **terms: Any) -> None:
    answer = await put(shop, {"rules": list(one)} | terms)
    assert answer.status_code == 200, answer.text


async def in_review(shop: Shop, *, after: bool = False, **terms: Any) -> dict[str, Any]:
    """A payment that waits for a person: before its charge, or authorised."""
    await rules(shop, CVC if after else LARGE, **terms)
    payment = await shop.paid(shop.checkout(), "pm_card_cvcCheckFail")
    assert payment["status"] == "IN_REVIEW"
    return payment


async def decide(shop: Shop, payment_id: str, decision: Any = "approve", **how: Any) -> Answer:
    note = how.pop("note", None)
    body = {"decision": decision} | ({} if note is None else {"note": note})
    return await shop.post(f"/v1/payments/{payment_id}/review", body, **how)


async def charged(shop: Shop, payment: dict[str, Any]) -> list[int]:
    return (await shop.paysaga.sandbox.log(payment["checkout_id"])).charged


# --- the rules ---


async def test_a_shop_without_rules_has_version_0(shop: Shop) -> None:
    shown = (await shop.get("/v1/risk/rules")).json()
    assert shown == {
        "object": "risk_rules", "version": 0, "updated_by": None, "updated_at": None,
        "rules": {
            "rules": [], "review_deadline_s": 86400, "on_deadline": "reject", "unavailable_allow_up_to": {},
        },
    }  # fmt: skip


async def test_rules_are_replaced_as_a_whole_and_each_time_a_version(shop: Shop) -> None:
    for version, name in enumerate(["usual", "none", "usual"], 1):
        answer = await put(shop, examples.RISK_RULES[name]["value"])
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert (shown["version"], shown["object"]) == (version, "risk_rules")
        assert shown["updated_by"].startswith("key_")
        assert shown["updated_at"]
        names = [rule["name"] for rule in shown["rules"]["rules"]]
        assert names == [rule["name"] for rule in examples.RISK_RULES[name]["value"]["rules"]]
        assert (await shop.get("/v1/risk/rules")).json() == shown


async def test_twenty_writers_at_once_make_twenty_versions(shop: Shop) -> None:
    asked = (partial(put, shop, {"rules": [LARGE | {"above": f"{n}.00"}]}) for n in range(20))
    answers = await asyncio.gather(*map(shop.insist, asked))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 21))
    assert (await shop.get("/v1/risk/rules")).json()["version"] == 20


async def test_a_payment_is_judged_by_the_rules_of_its_creation(shop: Shop) -> None:
    await rules(shop, LARGE)
    stored = await shop.paid(shop.checkout(), confirm=False)
    await rules(shop)
    assert (await shop.paid(shop.checkout()))["status"] == "SUCCESS"
    answer = await shop.post(f"/v1/payments/{stored['id']}/confirm")
    assert answer.json()["status"] == "IN_REVIEW"
    (decision,) = (await shop.explain(stored["id"]))["risk"]
    assert (decision["rules_version"], decision["verdict"]) == (1, "review")
    assert decision["reasons"] == ["large: 500.00 INR is above 100.00 INR"]


SETS: list[tuple[Any, str, str]] = [
    ({"rules": [LARGE, LARGE]}, "field_invalid", "two rules have the same name"),
    ({"rules": [LARGE | {"name": f"r{n}"} for n in range(101)]}, "field_invalid", "100"),
    ({"rules": [LARGE | {"above": "a lot"}]}, "field_invalid", "decimal string"),
    ({"rules": [LARGE | {"above": 100}]}, "field_invalid", "string"),
    ({"rules": [LARGE | {"above": "1.005"}]}, "field_invalid", "2 decimals"),
    ({"rules": [LARGE | {"above": "-1"}]}, "field_invalid", "decimal string"),
    ({"rules": [LARGE | {"currency": "XYZ"}]}, "field_invalid", "ISO 4217"),
    ({"rules": [LARGE | {"currency": "{x}"}]}, "field_invalid", "ISO 4217"),
    ({"rules": [LARGE | {"then": "allow"}]}, "field_invalid", "review"),
    ({"rules": [LARGE | {"because": "x"}]}, "field_unknown", "not permitted"),
    ({"rules": [LARGE | {"name": ""}]}, "field_invalid", "1 character"),
    ({"rules": [{"name": "x", "type": "amount", "then": "block"}]}, "field_missing", "required"),
    ({"rules": [LARGE | {"type": "horoscope"}]}, "field_invalid", "tags"),
    ({"rules": [VELOCITY]}, "field_invalid", "exactly one of count_above and amount_above"),
    ({"rules": [VELOCITY | {"count_above": 1, "amount_above": "1", "currency": "INR"}]}, "field_invalid", "exactly"),
    ({"rules": [VELOCITY | {"amount_above": "1.00"}]}, "field_invalid", "belong together"),
    ({"rules": [VELOCITY | {"count_above": -1}]}, "field_invalid", "0"),
    ({"rules": [VELOCITY | {"count_above": 1, "within_s": 10**9}]}, "field_invalid", "2678400"),
    ({"rules": {}}, "field_invalid", ""),
    ({"rules": None}, "field_invalid", ""),
    ({"review_deadline_s": 0}, "field_invalid", "1"),
    ({"review_deadline_s": 10**30}, "field_invalid", ""),
    ({"on_deadline": "wait"}, "field_invalid", "approve"),
    ({"unavailable_allow_up_to": {"XYZ": "1"}}, "field_invalid", "ISO 4217"),
    ({"unavailable_allow_up_to": {"INR": "1.001"}}, "field_invalid", "2 decimals"),
    ({"version": 7}, "field_unknown", ""),
    ({"rules": [LARGE | {"name": "card 4000056655665556"}]}, "card_data_forbidden", ""),
    ({"rules": [LARGE | {"name": "a\x00b"}]}, "text_invalid", ""),
    ([], "field_invalid", ""),
]


async def test_rules_that_cannot_be_meant_leave_the_old_ones(shop: Shop) -> None:
    await rules(shop, LARGE)
    before = (await shop.get("/v1/risk/rules")).json(), await rows(shop)
    for body, code, message in SETS:
        problem = refused(await put(shop, body), 422, code)
        assert message in problem["detail"], (body, problem)
        assert "4000056655665556" not in str(problem)
    refused(await put(shop, {"rules": [LARGE | {"name": "n" * 200_000}]}), 413, "body_too_large")
    assert ((await shop.get("/v1/risk/rules")).json(), await rows(shop)) == before


@pytest.mark.parametrize(
    "body",
    [
        {"rules": [{"name": "risky", "type": "psp_risk_score", "at_least": False, "then": "block"}]},
        {"rules": [VELOCITY | {"count_above": 1, "within_s": "60"}]},
        {"rules": [VELOCITY | {"count_above": True}]},
        {"review_deadline_s": 60.0},
        {"review_deadline_s": "60"},
    ],
)
async def test_a_number_is_a_number(shop: Shop, body: Any) -> None:
    refused(await put(shop, body), 422, "field_invalid")


async def test_the_rule_that_is_wrong_is_named(shop: Shop) -> None:
    wrong = {"rules": [LARGE, VELOCITY, LARGE | {"name": "other", "above": "x"}]}
    problem = refused(await put(shop, wrong), 422, "field_invalid")
    assert [error["field"] for error in problem["errors"]] == ["rules.1.velocity", "rules.2.amount"]


# --- the list ---


async def test_reviews_are_listed_the_oldest_first_until_they_are_decided(shop: Shop) -> None:
    assert (await shop.get("/v1/reviews")).json() == {"object": "list", "data": []}
    first, second, third = [await in_review(shop) for _ in range(3)]
    listed = (await shop.get("/v1/reviews")).json()["data"]
    assert [review["payment_id"] for review in listed] == [first["id"], second["id"], third["id"]]
    assert [review["payment_id"] for review in (await shop.get("/v1/reviews", limit=1)).json()["data"]] == [first["id"]]
    expected: dict[str, Any] = {
        "object": "review", "payment_id": first["id"], "amount": "500.00", "currency": "INR", "stage": "before_charge",
        "reasons": ["large: 500.00 INR is above 100.00 INR"],
    }  # fmt: skip
    assert {name: listed[0][name] for name in expected} == expected
    assert listed[0]["deadline_at"] > first["created_at"]
    await decide(shop, first["id"])
    await decide(shop, second["id"], "reject")
    assert [review["payment_id"] for review in (await shop.get("/v1/reviews")).json()["data"]] == [third["id"]]


@pytest.mark.parametrize("limit", ["0", "201", "many", ""])
async def test_a_list_that_cannot_be_meant(shop: Shop, limit: str) -> None:
    refused(await shop.get("/v1/reviews", limit=limit), 422, "field_invalid")


# --- the decision ---


@pytest.mark.parametrize("after", [False, True])
async def test_approve_goes_on_and_reject_ends(shop: Shop, after: bool) -> None:
    """Before the charge nothing is charged, and after the authorisation nothing is captured, until it is approved."""
    approved, rejected = await in_review(shop, after=after), await in_review(shop, after=after)
    assert await charged(shop, approved) == []
    answer = await decide(shop, approved["id"], note="called the buyer")
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert answer.headers["location"] == f"/v1/payments/{approved['id']}"
    assert await charged(shop, approved) == [50000]
    answer = await decide(shop, rejected["id"], "reject")
    assert (answer.status_code, answer.json()["status"]) == (200, "FAILED")
    assert answer.json()["failure"]["code"] == "risk_rejected"
    assert await charged(shop, rejected) == []
    decision = (await shop.explain(approved["id"]))["risk"][-1]
    assert (decision["review"], decision["review_note"]) == ("approve", "called the buyer")
    assert decision["reviewed_by"].startswith("key_")
    assert decision["reviewed_at"] >= decision["at"]


@pytest.mark.parametrize("name", ["order", "own"])
async def test_a_review_is_named_by_any_of_the_payments_ids(shop: Shop, name: str) -> None:
    payment = await in_review(shop)
    order = payment["payment_orders"][0]
    answer = await decide(shop, {"order": order["id"], "own": order["payment_order_id"]}[name])
    assert (answer.json()["id"], answer.json()["status"]) == (payment["id"], "SUCCESS")


BODIES: list[tuple[Any, str]] = [
    ({}, "field_missing"),
    ({"note": "x"}, "field_missing"),
    ({"decision": "maybe"}, "field_invalid"),
    ({"decision": "APPROVE"}, "field_invalid"),
    ({"decision": None}, "field_invalid"),
    ({"decision": True}, "field_invalid"),
    ({"decision": "approve", "note": None}, "field_invalid"),
    ({"decision": "approve", "note": 7}, "field_invalid"),
    ({"decision": "approve", "note": "n" * 2001}, "field_invalid"),
    ({"decision": "approve", "by": "olga"}, "field_unknown"),
    ({"decision": "approve", "note": "his card is 4000 0566 5566 5556"}, "card_data_forbidden"),
    ({"decision": "approve", "note": "the cvc is 123"}, "card_data_forbidden"),
    ({"decision": "approve", "note": "a\x00b"}, "text_invalid"),
    ([], "field_invalid"),
    ("approve", "field_invalid"),
]


async def test_a_decision_that_cannot_be_meant_decides_nothing_and_leaves_the_key(shop: Shop) -> None:
    payment, key = await in_review(shop), str(uuid4())
    before = await rows(shop)
    path, http = f"/v1/payments/{payment['id']}/review", shop.paysaga.http
    for body, code in BODIES:
        problem = refused(await shop.post(path, body, key=key), 422, code)
        assert "5566" not in str(problem)
    refused(await http.post(path, json={"decision": "approve"}, headers=shop.headers), 400, "idempotency_key_missing")
    refused(await decide(shop, payment["id"], key="k" * 256), 400, "idempotency_key_invalid")
    refused(await http.post(path, headers=shop.headers | {"Idempotency-Key": key}), 415, "unsupported_media_type")
    refused(await decide(shop, "nobody", key=key), 404, "payment_not_found")
    assert await rows(shop) == before
    answer = await decide(shop, payment["id"], key=key)
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"confirm": False}, "NOT_STARTED"),
        ({"token": "pm_card_threeDSecure2Required"}, "REQUIRES_ACTION"),
        ({"token": "pm_upi_processing"}, "PENDING"),
        ({"capture": "manual"}, "AUTHORIZED"),
        ({"token": "pm_card_chargeDeclined"}, "FAILED"),
        ({}, "SUCCESS"),
    ],
)
async def test_what_is_not_in_review_is_not_decided(shop: Shop, fields: dict[str, Any], status: str) -> None:
    payment = await shop.paid(shop.checkout(), **fields)
    assert payment["status"] == status
    before = await rows(shop)
    for decision in ("approve", "reject"):
        refused(await decide(shop, payment["id"], decision), 409, "payment_not_in_review")
    assert await rows(shop) == before


async def test_a_payment_in_review_is_neither_captured_nor_refunded(shop: Shop) -> None:
    payment = await in_review(shop, after=True)
    before = await rows(shop)
    refused(await shop.post(f"/v1/payments/{payment['id']}/capture", {}), 409, "payment_not_authorized")
    refused(await shop.refund(payment["id"]), 409, "payment_not_settled")
    assert await rows(shop) == before


async def test_the_first_decision_counts(shop: Shop) -> None:
    payment = await in_review(shop)
    answers = await asyncio.gather(
        *(decide(shop, payment["id"], decision, wait=20) for decision in ("approve", "reject") * 4)
    )
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    codes = {answer.json()["code"] for answer in answers if answer is not winner}
    assert codes <= {"review_decided", "payment_not_in_review"}
    decision = (await shop.explain(payment["id"]))["risk"][0]["review"]
    ended = await shop.until(payment["id"])
    assert ended["status"] == {"approve": "SUCCESS", "reject": "FAILED"}[decision]
    assert await charged(shop, payment) == ([50000] if decision == "approve" else [])


async def test_a_second_decision_while_the_first_is_carried_out_is_refused(shop: Shop) -> None:
    payment = await in_review(shop, after=True)
    hold = await shop.paysaga.sandbox.fault("payment_intents.cancel", "hold_before", checkout=payment["checkout_id"])
    first = await decide(shop, payment["id"], "reject", wait=0)
    assert first.status_code == 202
    await shop.paysaga.sandbox.struck(hold)
    refused(await decide(shop, payment["id"], wait=0), 409, "review_decided")
    await shop.paysaga.sandbox.release(hold)
    assert (await shop.until(payment["id"]))["status"] == "FAILED"


async def test_a_replay_answers_with_the_payment_and_another_request_is_refused(shop: Shop) -> None:
    payment, key = await in_review(shop), str(uuid4())
    first = await decide(shop, payment["id"], key=key)
    again = await decide(shop, payment["id"], key=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.json()) == (200, first.json())
    problem = refused(await decide(shop, payment["id"], "reject", key=key), 422, "idempotency_key_reused")
    assert problem["first_object"] == payment["id"]
    assert await charged(shop, payment) == [50000]


@pytest.mark.parametrize(("on_deadline", "status"), [("reject", "FAILED"), ("approve", "SUCCESS")])
async def test_what_nobody_decides_ends_as_the_rules_say(shop: Shop, on_deadline: str, status: str) -> None:
    payment = await in_review(shop, review_deadline_s=1, on_deadline=on_deadline)
    assert (await shop.until(payment["id"]))["status"] == status
    refused(await decide(shop, payment["id"]), 409, "payment_not_in_review")
    assert (await shop.explain(payment["id"]))["risk"][0]["review"] == on_deadline
    assert (await shop.get("/v1/reviews")).json()["data"] == []


async def test_a_payment_in_review_can_be_cancelled(shop: Shop) -> None:
    payment = await in_review(shop)
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel")).json()["status"] == "CANCELLED"
    refused(await decide(shop, payment["id"]), 409, "payment_not_in_review")
    assert await charged(shop, payment) == []


async def test_a_blocked_payment_fails_without_the_psp(shop: Shop) -> None:
    await rules(shop, LARGE | {"then": "block"})
    payment = await shop.paid(shop.checkout())
    assert (payment["status"], payment["failure"]["code"]) == ("FAILED", "risk_blocked")
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).requests == []
