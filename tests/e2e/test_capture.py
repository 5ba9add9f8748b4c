"""Manual capture: reserve, then take it in full or in part, or let it go; an authorisation is never forgotten."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.audit.audit import audit_database
from tests.conftest import Deploy
from tests.e2e.test_payment import FEE_KEPT
from tests.support.deployment import Deployment
from tests.support.reconciling import reconciled
from tests.support.shop import Shop

WEEK_S = 7 * 86_400


pytestmark = pytest.mark.usefixtures("audited")


async def authorized(shop: Shop, checkout: str, **fields: Any) -> dict[str, Any]:
    payment = await shop.paid(checkout, capture="manual", wait=20, **fields)
    assert payment["status"] == "AUTHORIZED", payment
    return payment


def capture(shop: Shop, payment: dict[str, Any], body: Any = None, **more: Any) -> Any:
    return shop.post(f"/v1/payments/{payment['id']}/capture", body or {}, **({"wait": 20} | more))


async def test_captured_in_full(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    assert await shop.balances() == {}, "what is only reserved is nobody's money"
    answer = await capture(shop, payment)
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS"), answer.text
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.sent("payment_intents.capture")) == ([50000], 1)
    assert (await shop.balances())["wallet:anna:pending", "INR"] == -48500
    again = await capture(shop, payment)
    assert (again.status_code, again.json()["code"]) == (409, "payment_settled")


@pytest.mark.uncached
async def test_captured_in_part_releases_the_rest_and_shrinks_the_fee(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    orders = [("anna", "100.00"), ("bo", "200.00"), ("chen", "200.00")]
    payment = await authorized(shop, checkout, orders=orders)
    wanted = [{"payment_order_id": f"{checkout}-{n}", "amount": amount} for n, amount in ((1, "100.00"), (2, "50.50"))]
    body = (await capture(shop, payment, {"payment_orders": wanted})).json()
    shown = [(o["status"], o["captured_amount"], (o["failure"] or {}).get("code")) for o in body["payment_orders"]]
    assert shown == [("SUCCESS", "100.00", None), ("SUCCESS", "50.50", None), ("CANCELLED", "0.00", "not_captured")]
    assert (body["status"], body["is_payment_done"]) == ("SUCCESS", False)
    assert (await paysaga.sandbox.log(checkout)).charged == [15050]
    balances = await shop.balances()
    assert balances["wallet:anna:pending", "INR"] == -9700
    assert balances["wallet:bo:pending", "INR"] == -(5050 - 152)
    assert ("wallet:chen:pending", "INR") not in balances
    refund = await shop.refunded(payment["id"], payment_order_id=f"{checkout}-2")
    assert (refund["amount"], refund["status"]) == ("50.50", "SUCCEEDED")


@pytest.mark.uncached
async def test_cancelled_before_its_capture(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    cancelled = await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)
    assert cancelled.json()["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, [a["status"] for a in log.authorizations]) == ([], ["authorized", "voided"])
    assert (await capture(shop, payment)).json()["code"] == "payment_not_authorized"


async def test_cancel_races_capture_and_one_wins(paysaga: Deployment, shop: Shop) -> None:
    """Whatever the order of arrival, the buyer has paid everything or nothing."""
    checkouts = [shop.checkout() for _ in range(6)]
    payments = await asyncio.gather(*(authorized(shop, checkout) for checkout in checkouts))
    calls = [
        call for p in payments for call in (capture(shop, p), shop.post(f"/v1/payments/{p['id']}/cancel", wait=20))
    ]
    answers = await asyncio.gather(*calls)
    ends = await asyncio.gather(*(shop.until(payment["id"]) for payment in payments))
    for end, checkout, captured, cancelled in zip(ends, checkouts, answers[::2], answers[1::2], strict=True):
        log = await paysaga.sandbox.log(checkout)
        left = sum(log.charged) - sum(log.refunded)
        assert left == (50000 if end["status"] == "SUCCESS" else 0)
        refused = [a.json()["code"] for a in (captured, cancelled) if a.status_code == 409]
        if end["status"] == "SUCCESS":
            assert refused == ["payment_settled"]
        else:
            assert refused in ([], ["payment_cancelling"], ["payment_not_authorized"])


@pytest.mark.uncached
async def test_an_unanswered_capture_is_resolved_and_made_once(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    await paysaga.sandbox.fault("payment_intents.capture", "http_500_after", checkout=checkout)
    await paysaga.sandbox.fault("payment_intents.retrieve", "http_503", checkout=checkout, times=2)
    await capture(shop, payment, wait=0)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(checkout)).charged == [50000]


async def test_a_seller_frozen_meanwhile_gets_nothing_and_the_buyer_pays_nothing(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    await shop.set_merchant("anna", status="FROZEN")
    refused = await capture(shop, payment)
    assert (refused.status_code, refused.json()["code"]) == (422, "merchant_not_active")
    await shop.set_merchant("anna", status="ACTIVE")
    assert (await capture(shop, payment)).json()["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(checkout)).charged == [50000]


@pytest.mark.parametrize(("policy", "end", "charged"), [("void", "CANCELLED", []), ("capture", "SUCCESS", [50000])])
async def test_near_its_expiry_the_policy_decides(deploy: Deploy, policy: str, end: str, charged: list[int]) -> None:
    """The PSP keeps it for a week, and we decide six seconds after it was made."""
    paysaga = await deploy(authorization_margin_s=WEEK_S - 4.0, poll_first_s=60.0)
    shop = await paysaga.shop("expiry")
    checkout = shop.checkout()
    payment = await authorized(shop, checkout, on_authorization_expiry=policy)
    ended = await shop.until(payment["id"])
    assert ended["status"] == end
    assert (await paysaga.sandbox.log(checkout)).charged == charged
    if policy == "void":
        assert ended["failure"]["code"] == "authorization_expired"
        assert await shop.balances() == {}
    assert await audit_database(paysaga.database) == []


async def test_an_authorisation_that_the_psp_let_go_ends_the_payment(paysaga: Deployment, shop: Shop) -> None:
    payment = await authorized(shop, shop.checkout())
    await paysaga.sandbox.steer(await shop.reference(payment["id"]), "expire")
    ended = await shop.until(payment["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("CANCELLED", "authorization_expired")


@pytest.mark.uncached
async def test_captured_in_the_temporal_ui(paysaga: Deployment, shop: Shop) -> None:
    payment = await authorized(shop, shop.checkout())
    said = await paysaga.update(f"payment:{payment['id']}", "capture", {"by": "olga"})
    assert said in ("capture noted", None)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"


async def test_a_cancel_after_the_capture_was_sent_refunds_it(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    hold = await paysaga.sandbox.fault("payment_intents.capture", "hold_after", checkout=checkout)
    await capture(shop, payment, wait=0)
    await paysaga.sandbox.struck(hold)
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)).status_code == 202
    await paysaga.sandbox.release(hold)
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
    assert await shop.balances() == FEE_KEPT


async def accept(shop: Shop, payment_id: str) -> Any:
    return await shop.post(f"/v1/payments/{payment_id}/resolve", {"decision": "accept"}, wait=20)


@pytest.mark.uncached
async def test_a_part_that_was_captured_at_the_psp_is_shared_among_the_orders(paysaga: Deployment, shop: Shop) -> None:
    """In units that the PSP can move, so that each share can be given back by itself."""
    checkout = shop.checkout()
    orders = [("anna", "5.000"), ("bo", "3.000"), ("chen", "2.000")]
    payment = await authorized(shop, checkout, orders=orders, currency="KWD")
    await paysaga.sandbox.capture_by_hand(await shop.reference(payment["id"]), 3_330)
    await shop.until(payment["id"], "NEEDS_ATTENTION")
    assert (await shop.balances())["suspense", "KWD"] == -3_330
    await shop.set_merchant("bo", status="FROZEN")
    refused = await accept(shop, payment["id"])
    assert (refused.status_code, refused.json()["code"]) == (409, "decision_refused"), refused.text
    assert refused.json()["detail"] == "bo is frozen. Nothing is credited: cancel refunds what came."
    assert [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]] == ["amount_mismatch"]
    await shop.set_merchant("bo", status="ACTIVE")
    ended = (await accept(shop, payment["id"])).json()
    assert [order["captured_amount"] for order in ended["payment_orders"]] == ["1.660", "1.000", "0.670"], ended
    balances = await shop.balances()
    assert ("suspense", "KWD") not in balances
    wallets = {seller: balances[f"wallet:{seller}:pending", "KWD"] for seller, _ in orders}
    assert wallets == {"anna": -1_610, "bo": -970, "chen": -650}
    refund = await shop.refunded(payment["id"], payment_order_id=f"{checkout}-3")
    assert (refund["amount"], refund["status"]) == ("0.670", "SUCCEEDED")
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([3_330], [670])
    now = datetime.now(UTC)
    window = {"from": (now - timedelta(minutes=5)).isoformat(), "to": (now + timedelta(minutes=5)).isoformat()}
    await reconciled(shop, **window)
    assert (await shop.get("/v1/discrepancies", status="OPEN")).json()["data"] == []


async def test_an_order_for_which_nothing_is_left_ends_cancelled(paysaga: Deployment, shop: Shop) -> None:
    payment = await authorized(shop, shop.checkout(), orders=[("anna", "499.00"), ("bo", "0.01")])
    await paysaga.sandbox.capture_by_hand(await shop.reference(payment["id"]), 10_000)
    await shop.until(payment["id"], "NEEDS_ATTENTION")
    ended = (await accept(shop, payment["id"])).json()
    shown = [(o["status"], o["captured_amount"], (o["failure"] or {}).get("code")) for o in ended["payment_orders"]]
    assert shown == [("SUCCESS", "100.00", None), ("CANCELLED", "0.00", "not_captured")]
    assert (ended["status"], ended["is_payment_done"]) == ("SUCCESS", False)
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel")).json()["code"] == "payment_settled"


async def test_what_a_charge_took_less_is_accepted_or_refunded(paysaga: Deployment, shop: Shop) -> None:
    """A charge that was to be captured at once, and a cancel that comes before the decision."""
    checkouts = [shop.checkout() for _ in range(2)]
    for checkout in checkouts:
        await paysaga.sandbox.fault("payment_intents.create", "wrong_amount", checkout=checkout, delta=-100)
    kept, undone = [await shop.paid(checkout, wait=0) for checkout in checkouts]
    for payment in (kept, undone):
        await shop.until(payment["id"], "NEEDS_ATTENTION")
    assert (await accept(shop, kept["id"])).json()["status"] == "SUCCESS"
    answers = await asyncio.gather(shop.post(f"/v1/payments/{undone['id']}/cancel", wait=0), accept(shop, undone["id"]))
    end = await shop.until(undone["id"])
    assert (end["status"], answers[0].status_code == 409) in [("CANCELLED", False), ("SUCCESS", True)]
    log = await paysaga.sandbox.log(checkouts[1])
    assert sum(log.refunded) == (49_900 if end["status"] == "CANCELLED" else 0)
