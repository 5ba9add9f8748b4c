"""Where the buyer is sent back to: a site of the shop's own, with our ids, and as it was when the payment was made."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from db.audit.audit import audit_database
from tests.api.problem import refused
from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, audit_log
from tests.conftest import Deploy
from tests.support.keys import ring
from tests.support.shop import Shop

SECURE = "pm_card_threeDSecure2Required"


async def sent_to(shop: Shop, payment_id: str) -> str | None:
    """The return URL that the PSP has."""
    intent = await shop.paysaga.sandbox.stripe(f"/v1/payment_intents/{await shop.reference(payment_id)}")
    found: str | None = intent["next_action"]["redirect_to_url"]["return_url"]
    return found


async def tenants(shop: Shop, command: str, site: str) -> Any:
    return await paysaga_command(shop.paysaga.environment(), "tenants", command, shop.tenant, site, *BY)


async def test_a_return_url_is_on_a_site_of_the_shop(shop: Shop) -> None:
    url = "https://shop.example:8443/paid?lang=de%20at"
    body = shop.body(shop.checkout(), SECURE, return_url=url)
    problem = refused(await shop.post("/v1/payments", body, key="k-1"), 422, "return_url_not_allowed")
    assert f"`paysaga tenants allow-return-url {shop.tenant} https://shop.example:8443`" in problem["detail"]
    for bad in ("http://shop.example:8443/", "https://shop.example:8443\\@evil.example", "/paid"):
        refused(await shop.post("/v1/payments", body | {"return_url": bad}), 422, "return_url_invalid")
    refused(await shop.post("/v1/payments", body | {"return_url": url + "x" * 1_800}), 422, "field_invalid")

    said = await tenants(shop, "allow-return-url", "https://Shop.example:8443/")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{shop.tenant}: buyers may be sent back to https://shop.example:8443.\n"
    assert "already" in (await tenants(shop, "allow-return-url", "https://shop.example:8443")).out
    assert "https://shop.example:8443" in (await paysaga_command(shop.paysaga.environment(), "tenants", "list")).out
    for bad in ("https://shop.example/paid", "http://shop.example", "shop.example"):
        assert (await tenants(shop, "allow-return-url", bad)).code == 1

    answer = await shop.post("/v1/payments", body, key="k-1")
    payment = await shop.until(answer.json()["id"], "REQUIRES_ACTION")
    assert payment["return_url"] == f"{url}&payment_id={payment['id']}&checkout_id={payment['checkout_id']}"
    assert await sent_to(shop, payment["id"]) == payment["return_url"]
    for elsewhere in ("https://shop.example/paid", "https://shop.example.evil.example:8443/", "https://evil.example"):
        other = body | {"checkout_id": shop.checkout(), "return_url": elsewhere}
        refused(await shop.post("/v1/payments", other), 422, "return_url_not_allowed")

    assert (await tenants(shop, "forbid-return-url", "https://shop.example:8443")).code == 0
    refused(await shop.post("/v1/payments", body | {"checkout_id": "c-2"}), 422, "return_url_not_allowed")
    again = await shop.post("/v1/payments", body, key="k-1")
    assert (again.status_code, again.json()["id"]) == (202, payment["id"]), "what was taken on is answered as before"
    shown = await paysaga_command(shop.paysaga.environment(), "payments", "show", payment["id"])
    assert "shop.example:8443/paid" in shown.out
    logged = [(row.actor, row.action, row.detail) for row in await audit_log(shop, shop.tenant)]
    site = {"site": "https://shop.example:8443"}
    assert logged == [("olga", "tenant.allow_return_url", site), ("olga", "tenant.forbid_return_url", site)]
    assert (await tenants(shop, "allow-return-url", "https://x.example")).code == 0
    nobody = await paysaga_command(
        shop.paysaga.environment(), "tenants", "allow-return-url", "nobody", "https://x.example"
    )
    assert (nobody.code, nobody.err.startswith("paysaga: There is no tenant nobody.")) == (1, True)


async def test_without_one_the_payment_has_none(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    assert payment["return_url"] is None


async def test_a_changed_setting_changes_nothing_under_a_live_key(deploy: Deploy) -> None:
    """The PSP made the charge and did not answer; both of our processes come back with other settings."""
    old = "https://old.example/back?x=1"
    paysaga = await deploy(stripe_return_url=old, stripe_statement_descriptor="OLD SHOP")
    shop = await paysaga.shop("settings")
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = created = (await shop.pay(checkout, SECURE, wait=0, return_url=old)).json()
    await paysaga.sandbox.struck(hold)
    await paysaga.api.kill()
    await paysaga.worker.kill()
    changed = {
        "stripe_return_url": "https://new.example/",
        "stripe_statement_descriptor": "NEW SHOP",
        "encryption_keys": SecretStr(ring(4, 1, 2, 3)),
    }
    paysaga.settings = paysaga.settings.model_copy(update=changed)
    own = tuple(f"PAYSAGA_{name.upper()}" for name in changed)
    for process in (paysaga.api, paysaga.worker):
        process.env.update({name: value for name, value in paysaga.environment().items() if name.startswith(own)})
    await paysaga.sandbox.release(hold)
    await paysaga.start_worker()
    await paysaga.start_api()
    payment = await shop.until(payment["id"], "REQUIRES_ACTION")
    sent = await sent_to(shop, payment["id"])
    assert sent is not None
    assert (urlsplit(sent).netloc, parse_qs(urlsplit(sent).query)) == (
        "old.example",
        {"x": ["1"], "payment_id": [payment["id"]], "checkout_id": [checkout]},
    )
    (attempt,) = (await shop.explain(payment["id"]))["attempts"]
    assert "key_reused" not in str(attempt)
    by_token = {"Authorization": f"Bearer {created['client_token']}"}
    seen = await paysaga.http.get(f"/v1/payments/{payment['id']}", headers=by_token)
    assert seen.json()["status"] == "REQUIRES_ACTION", "what the old key signed is good"
    other = await shop.until((await shop.paid(shop.checkout(), SECURE))["id"], "REQUIRES_ACTION")
    assert str(await sent_to(shop, other["id"])).startswith("https://new.example/?payment_id=pay_")
    assert await audit_database(paysaga.database) == []
