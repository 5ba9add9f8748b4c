"""New objects in a state that stays, for tests that ask who may see them and what they look like. For payouts the
sandbox has to be `boundless`."""

from datetime import UTC, datetime, timedelta

from domain.ids import new_id
from tests.support.eventually import eventually
from tests.support.payouts import failing, fund
from tests.support.reconciling import falsify, reconciled
from tests.support.shop import Shop


async def payout(shop: Shop, seller: str = "anna") -> str:
    """The id of one on its way, which stays there."""
    await fund(shop, seller, amount=10_000)
    payout_id, _ = await failing(shop, seller, amount="100.00", currency="INR")
    return payout_id


async def reconciliation(shop: Shop) -> str:
    """The id of a run that has ended, over a day on which nothing happened."""
    return str((await reconciled(shop, business_date="2026-01-31"))["id"])


async def discrepancy(shop: Shop, seller: str = "anna") -> str:
    """The id of one that is open: the PSP lists less than what was charged."""
    payment = await shop.paid(shop.checkout(), orders=[(seller, "500.00")])
    (charge,) = await shop.paysaga.sql(
        "SELECT id, fee ->> 'reference' AS line FROM charge WHERE payment_id = $1", payment["id"]
    )
    await falsify(shop, charge["line"], amount=49_000)
    now = datetime.now(UTC)
    around = {"from": (now - timedelta(minutes=1)).isoformat(), "to": (now + timedelta(minutes=1)).isoformat()}
    await reconciled(shop, **around)
    found = (await shop.get("/v1/discrepancies", status="OPEN", **{"class": "amount"})).raise_for_status().json()
    (one,) = [one for one in found["data"] if one["object_id"] == charge["id"]]
    return str(one["id"])


async def captured_in_part(shop: Shop, seller: str = "anna") -> str:
    """The id of a payment of 500.00 INR of which somebody captured 300.00 at the PSP, and a person has to decide."""
    payment = await shop.paid(shop.checkout(), orders=[(seller, "500.00")], capture="manual")
    await shop.until(payment["id"], "AUTHORIZED")
    await shop.paysaga.sandbox.capture_by_hand(await shop.reference(payment["id"]), 30_000)
    await shop.until(payment["id"], "NEEDS_ATTENTION")
    return str(payment["id"])


async def webhook_endpoint(shop: Shop, _: str = "anna") -> str:
    """The id of one at a name that leads nowhere."""
    url = f"https://shop.example/{shop.checkout()}"
    made = (await shop.post("/v1/webhook-endpoints", {"url": url})).raise_for_status().json()
    return str(made["id"])


async def webhook_delivery(shop: Shop, _: str = "anna") -> str:
    """The id of one that is tried in vain."""
    endpoint_id = await webhook_endpoint(shop)
    return str((await shop.post(f"/v1/webhook-endpoints/{endpoint_id}/test")).raise_for_status().json()["id"])


async def dead_letter(shop: Shop, _: str = "anna") -> str:
    """The id of one that is open: a delivery to a name that leads nowhere, which was tried for days."""
    delivery_id = await webhook_delivery(shop)
    await shop.paysaga.sql("UPDATE webhook_delivery SET attempts = 10 WHERE id = $1", delivery_id)

    async def given_up() -> str | None:
        await shop.paysaga.sql(
            "UPDATE webhook_delivery SET next_attempt_at = now() WHERE id = $1 AND status = 'PENDING'", delivery_id
        )
        rows = await shop.paysaga.sql("SELECT id FROM dead_letter WHERE ref_id = $1 AND status = 'OPEN'", delivery_id)
        return str(rows[0]["id"]) if rows else None

    return await eventually(given_up, what="a dead letter")


async def notification(shop: Shop, seller: str = "anna") -> str:
    """The id of one that waits: the workers of the tests have no channels."""
    told = {"settings": [{"type": "payment.succeeded", "channel": "email"}]}
    path = "/v1/notification-settings"
    (await shop.paysaga.http.put(path, json=told, headers=shop.headers)).raise_for_status()
    payment = await shop.paid(shop.checkout(), orders=[(seller, "500.00")])

    async def made() -> str | None:
        rows = (await shop.get("/v1/notifications", object_id=payment["id"])).raise_for_status().json()["data"]
        return str(rows[0]["id"]) if rows else None

    return await eventually(made)


async def suppression(shop: Shop, _: str = "anna") -> str:
    """The id of one, of an address that nobody has."""
    suppression_id = new_id("sup")
    await shop.paysaga.sql(
        "INSERT INTO suppression (id, tenant_id, channel, digest, reason) VALUES ($1, $2, 'sms', $3, 'invalid')",
        suppression_id,
        shop.tenant,
        suppression_id.encode(),
    )
    return suppression_id
