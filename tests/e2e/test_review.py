"""Risk rules: what they allow, block before the PSP hears of it, and leave to a person."""

from typing import Any

import pytest

from tests.support.deployment import Deployment
from tests.support.shop import Shop

LARGE = {"name": "large", "type": "amount", "currency": "INR", "above": "400.00", "then": "review"}


pytestmark = pytest.mark.usefixtures("audited")


async def rules(shop: Shop, *rules: dict[str, Any], **more: Any) -> None:
    body = {"rules": list(rules)} | more
    answer = await shop.paysaga.http.put("/v1/risk/rules", json=body, headers=shop.headers)
    assert answer.status_code == 200, answer.text


async def test_no_rule_that_applies_changes_nothing(paysaga: Deployment, shop: Shop) -> None:
    await rules(shop, LARGE | {"above": "1000.00"})
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    assert payment["status"] == "SUCCESS"
    assert [d["verdict"] for d in (await shop.explain(payment["id"]))["risk"]] == ["allow"]
    assert (await paysaga.sandbox.log(checkout)).sent("payment_intents.create") == 1


async def test_block_fails_before_any_psp_call(paysaga: Deployment, shop: Shop) -> None:
    await rules(shop, LARGE | {"then": "block"})
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    assert (payment["status"], payment["failure"]["code"]) == ("FAILED", "risk_blocked")
    assert (await paysaga.sandbox.log(checkout)).requests == []
    (decision,) = (await shop.explain(payment["id"]))["risk"]
    assert decision["reasons"] == ["large: 500.00 INR is above 400.00 INR"]


@pytest.mark.uncached
@pytest.mark.parametrize(("decision", "end"), [("approve", "SUCCESS"), ("reject", "FAILED")])
async def test_a_review_waits_for_a_person(paysaga: Deployment, shop: Shop, decision: str, end: str) -> None:
    await rules(shop, LARGE)
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    assert payment["status"] == "IN_REVIEW"
    assert (await paysaga.sandbox.log(checkout)).requests == []
    waiting = (await shop.get("/v1/reviews")).json()["data"]
    assert [(r["payment_id"], r["reasons"]) for r in waiting] == [
        (payment["id"], ["large: 500.00 INR is above 400.00 INR"])
    ]
    answer = await shop.post(f"/v1/payments/{payment['id']}/review", {"decision": decision, "note": "ok"}, wait=20)
    assert (answer.status_code, answer.json()["status"]) == (200, end), answer.text
    assert (await paysaga.sandbox.log(checkout)).charged == ([50000] if end == "SUCCESS" else [])
    again = await shop.post(f"/v1/payments/{payment['id']}/review", {"decision": "approve"})
    assert again.json()["code"] == "payment_not_in_review"
    (audited,) = await paysaga.sql("SELECT actor, detail FROM audit_log WHERE action = 'payment.review'"
                                   " AND object_id = $1", payment["id"])  # fmt: skip
    assert audited["actor"].startswith("key_")
    assert (await shop.explain(payment["id"]))["tasks"] == []


@pytest.mark.uncached
@pytest.mark.parametrize(("default", "end"), [("approve", "SUCCESS"), ("reject", "FAILED")])
async def test_at_the_deadline_the_default_holds(shop: Shop, default: str, end: str) -> None:
    await rules(shop, LARGE, review_deadline_s=1, on_deadline=default)
    payment = await shop.paid(shop.checkout())
    ended = await shop.until(payment["id"])
    assert ended["status"] == end
    (decision,) = (await shop.explain(payment["id"]))["risk"]
    assert (decision["review"], decision["reviewed_by"]) == (default, "deadline")


@pytest.mark.uncached
async def test_cancelled_in_review_the_psp_never_hears_of_it(paysaga: Deployment, shop: Shop) -> None:
    await rules(shop, LARGE)
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    cancelled = await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)
    assert cancelled.json()["status"] == "CANCELLED"
    assert (await paysaga.sandbox.log(checkout)).requests == []


@pytest.mark.uncached
async def test_approved_in_the_temporal_ui(paysaga: Deployment, shop: Shop) -> None:
    await rules(shop, LARGE)
    payment = await shop.paid(shop.checkout())
    said = await paysaga.update(f"payment:{payment['id']}", "review", {"decision": "approve", "by": "olga"})
    assert said in ("approve noted", None)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    (decision,) = (await shop.explain(payment["id"]))["risk"]
    assert decision["reviewed_by"] == "olga"


async def test_a_seller_frozen_during_the_review_stops_it_before_the_charge(paysaga: Deployment, shop: Shop) -> None:
    await rules(shop, LARGE)
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    await shop.set_merchant("anna", status="FROZEN")
    answer = await shop.post(f"/v1/payments/{payment['id']}/review", {"decision": "approve"}, wait=20)
    assert (answer.json()["status"], answer.json()["failure"]["code"]) == ("FAILED", "wallet_refused")
    assert (await paysaga.sandbox.log(checkout)).requests == []


async def test_velocity_counts_what_came_before(shop: Shop) -> None:
    velocity = {"name": "often", "type": "velocity", "of": "buyer", "within_s": 3600, "count_above": 2, "then": "block"}
    await rules(shop, velocity)
    statuses = [(await shop.paid(shop.checkout(), buyer={"id": "busy"}))["status"] for _ in range(3)]
    assert statuses == ["SUCCESS", "SUCCESS", "FAILED"]
    assert (await shop.paid(shop.checkout(), buyer={"id": "calm"}))["status"] == "SUCCESS"


async def test_of_very_many_payments_no_more_are_counted_than_tell(shop: Shop) -> None:
    await shop.paysaga.sql(
        "INSERT INTO payment"
        " (id, tenant_id, buyer_id, amount, currency, status, psp, method, token, on_partial_failure, metadata)"
        " SELECT 'pay_' || $1 || n, $1, 'whale', 100, 'INR', 'SUCCESS', 'stripe', 'card', '', 'compensate_all', '{}'"
        " FROM generate_series(1, 1050) AS n",
        shop.tenant,
    )
    many = {"type": "velocity", "of": "buyer", "within_s": 3600, "then": "review"}
    few = many | {"name": "few", "count_above": 10}
    most = many | {"name": "most", "count_above": 1050}
    sum_ = many | {"name": "sum", "amount_above": "1040.00", "currency": "INR"}
    none = many | {"name": "none", "count_above": 1051}
    await rules(shop, few, most, sum_, none)
    paid = await shop.paid(shop.checkout(), buyer={"id": "whale"}, orders=[("anna", "1.00")])
    (judged,) = (await shop.explain(paid["id"]))["risk"]
    assert judged["reasons"] == [
        "few: 1000 payments of the buyer within 3600 s",
        "most: 1051 payments of the buyer within 3600 s",
        "sum: 1051.00 INR of the buyer within 3600 s",
    ]
    # They have no orders, which the audit at the end would find.
    await shop.paysaga.sql("DELETE FROM payment WHERE tenant_id = $1 AND id <> $2", shop.tenant, paid["id"])


async def test_the_same_card_is_known_by_its_fingerprint(shop: Shop) -> None:
    velocity = {"name": "card", "type": "velocity", "of": "card", "within_s": 3600, "count_above": 1, "then": "block"}
    await rules(shop, velocity)
    first, second, other = [
        (await shop.paid(shop.checkout(), token))["status"]
        for token in ("tok_visa_one", "tok_visa_two", "pm_card_mastercard")
    ]
    assert (first, second, other) == ("SUCCESS", "FAILED", "SUCCESS")


async def test_countries_and_currencies_that_do_not_match(shop: Shop) -> None:
    await rules(
        shop,
        {"name": "foreign", "type": "country_mismatch", "between": ["buyer", "card"], "then": "review"},
        {"name": "odd", "type": "currency_mismatch", "of": "card", "expected": {"GB": ["GBP"]}, "then": "block"},
    )
    buyer = {"id": "buyer_1", "country": "US"}
    assert (await shop.paid(shop.checkout(), buyer=buyer))["status"] == "SUCCESS"
    assert (await shop.paid(shop.checkout(), buyer=buyer | {"country": "IN"}))["status"] == "IN_REVIEW"
    assert (await shop.paid(shop.checkout(), "pm_card_gb"))["failure"]["code"] == "risk_blocked"


async def test_a_card_that_cannot_be_asked_about_is_allowed_only_when_small(paysaga: Deployment, shop: Shop) -> None:
    card = {"name": "card", "type": "velocity", "of": "card", "within_s": 60, "count_above": 9, "then": "block"}
    await rules(shop, card, unavailable_allow_up_to={"INR": "100.00"})
    fault = await paysaga.sandbox.fault("payment_methods.retrieve", "http_503", times=2)
    small = await shop.paid(shop.checkout(), orders=[("anna", "100.00")])
    large = await shop.paid(shop.checkout())
    await paysaga.sandbox.clear(fault)
    assert (small["status"], large["status"]) == ("SUCCESS", "IN_REVIEW")
    (decision,) = (await shop.explain(large["id"]))["risk"]
    assert decision["reasons"] == ["card: the card could not be checked"]


async def test_the_issuers_checks_are_judged_before_the_capture(paysaga: Deployment, shop: Shop) -> None:
    check = {"name": "code", "type": "check", "of": "cvc", "results": ["fail"], "then": "block"}
    score = {"name": "risky", "type": "psp_risk_score", "at_least": 60, "then": "review"}
    await rules(shop, check, score)
    good, bad, risky = shop.checkout(), shop.checkout(), shop.checkout()
    assert (await shop.paid(good, wait=20))["status"] == "SUCCESS"
    blocked = await shop.paid(bad, "pm_card_cvcCheckFail", wait=20)
    assert (blocked["status"], blocked["failure"]["code"]) == ("FAILED", "risk_blocked")
    log = await paysaga.sandbox.log(bad)
    assert (log.charged, [a["status"] for a in log.authorizations]) == ([], ["authorized", "voided"])
    review = await shop.paid(risky, "pm_card_riskLevelElevated", wait=20)
    assert review["status"] == "IN_REVIEW"
    answer = await shop.post(f"/v1/payments/{review['id']}/review", {"decision": "approve"}, wait=20)
    assert answer.json()["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(risky)).charged == [50000]
    stages = [(d["stage"], d["verdict"]) for d in (await shop.explain(review["id"]))["risk"]]
    assert stages == [("before_charge", "allow"), ("after_authorization", "review")]


@pytest.mark.uncached
async def test_rejected_after_the_authorisation_it_is_voided(paysaga: Deployment, shop: Shop) -> None:
    score = {"name": "risky", "type": "psp_risk_score", "at_least": 60, "then": "review"}
    await rules(shop, score)
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_riskLevelElevated", wait=20)
    answer = await shop.post(f"/v1/payments/{payment['id']}/review", {"decision": "reject"}, wait=20)
    assert (answer.json()["status"], answer.json()["failure"]["code"]) == ("FAILED", "risk_rejected")
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, [a["status"] for a in log.authorizations]) == ([], ["authorized", "voided"])
    assert await shop.balances() == {}


async def test_captured_at_the_psp_although_it_was_rejected_it_is_refunded(paysaga: Deployment, shop: Shop) -> None:
    score = {"name": "risky", "type": "psp_risk_score", "at_least": 60, "then": "review"}
    await rules(shop, score)
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_riskLevelElevated", wait=20)
    intent = await shop.reference(payment["id"])
    await paysaga.sandbox.capture_by_hand(intent)
    await shop.post(f"/v1/payments/{payment['id']}/review", {"decision": "reject"}, wait=0)
    ended = await shop.until(payment["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("FAILED", "risk_rejected")
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
