"""A checkout page's client token: one payment, read and confirmed, from the sites that the shop names."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from db.core.keyring import Keyring
from domain.errors import Unprocessable
from domain.ids import payment_workflow_id
from services import tenant as tenants
from services.client_token import ClientToken
from services.command import Caller
from tests.api.problem import refused
from tests.api.rows import rows
from tests.audit.command import paysaga_command
from tests.commands.conftest import BY
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Answer, Shop

SECURE = "pm_card_threeDSecure2Required"


class Page:
    """A checkout page: it has the token of one payment, and nothing else."""

    def __init__(self, shop: Shop, created: Answer) -> None:
        assert created.status_code in (201, 202), created.text
        self.shop, self.id = shop, str(created.json()["id"])
        self.token = str(created.json()["client_token"])

    @classmethod
    async def of(cls, shop: Shop, token: str = "pm_card_visa", **fields: Any) -> "Page":
        return cls(shop, await shop.pay(shop.checkout(), token, **fields))

    async def ask(
        self, method: str = "GET", path: str | None = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        sent = {"Authorization": f"Bearer {token or self.token}"} | headers
        return await self.shop.paysaga.http.request(method, path or f"/v1/payments/{self.id}", headers=sent)

    async def confirm(self, **headers: str) -> Answer:
        return await self.ask("POST", f"/v1/payments/{self.id}/confirm", **headers)


def signed(shop: Shop, **changed: Any) -> str:
    """A token by the deployment's own key."""
    keys = shop.paysaga.settings.encryption_keys
    assert keys is not None
    return replace(ClientToken(shop.tenant, "pay_1", 4_000_000_000), **changed).text(
        Keyring.parse(keys.get_secret_value())
    )


# --- what a page does ---


async def test_a_page_takes_its_payment_through_3ds_to_its_end(shop: Shop) -> None:
    body, key = shop.body(shop.checkout(), SECURE, confirm=False, metadata={"margin": "12"}), str(uuid4())
    page = Page(shop, await shop.post("/v1/payments", body, key=key))
    shown = (await page.ask()).json()
    assert shown == {
        "id": page.id,
        "object": "payment",
        "status": "NOT_STARTED",
        "is_payment_done": False,
        "amount": "500.00",
        "currency": "INR",
        "next_action": None,
        "failure": None,
    }
    waiting = await page.confirm(Prefer="wait=25")
    assert (waiting.status_code, waiting.json()["status"]) == (202, "REQUIRES_ACTION"), waiting.text
    url = httpx2.URL(waiting.json()["next_action"]["url"])
    async with httpx2.AsyncClient() as browser:
        await browser.post(url, data={"decision": "approve", "client_secret": url.params["client_secret"]})
    done = await page.confirm(Prefer="wait=25")
    assert (done.status_code, done.json()["status"], done.json().keys()) == (200, "SUCCESS", shown.keys())
    replayed = await shop.post("/v1/payments", body, key=key)
    assert (replayed.headers["idempotent-replayed"], replayed.json()["client_token"]) == ("true", page.token)
    assert "client_token" not in await shop.payment(page.id)

    log = "SELECT action, actor, address FROM audit_log WHERE object_id = $1 AND actor = 'client_token'"
    assert [tuple(row) for row in await shop.paysaga.sql(log, page.id)] == [
        ("payment.confirm", "client_token", "127.0.0.1")
    ]
    keys = await shop.paysaga.sql("SELECT key FROM idempotency_key WHERE tenant_id = $1", shop.tenant)
    assert [row["key"] for row in keys] == [key], "a page takes none of the shop's keys"
    await _is_nowhere(page)


async def _is_nowhere(page: Page) -> None:
    """Neither the token nor a part of it is in the database, the workflow's history or a log."""
    paysaga = page.shop.paysaga
    message, _, signature = page.token.removeprefix("ct_").partition(".")
    history = await paysaga.temporal.get_workflow_handle(payment_workflow_id(page.id)).fetch_history()
    kept = b"".join(event.SerializeToString() for event in history.events)
    kept += b"".join((paysaga.folder / name).read_bytes() for name in ("api.log", "worker.log"))
    tables = await paysaga.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for part in (message, signature):
        assert part.encode() not in kept
        found = " UNION ALL ".join(f"SELECT 1 FROM {t['tablename']} t WHERE strpos(t::text, $1) > 0" for t in tables)
        assert await paysaga.sql(found, part) == []


async def test_a_page_is_told_what_its_buyer_can_act_on(shop: Shop) -> None:
    for token, reason, shown in (
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds", "insufficient_funds"),
        ("pm_card_chargeDeclinedFraudulent", "fraud_suspected", "declined"),
    ):
        page = await Page.of(shop, token)
        assert (await shop.payment(page.id))["failure"]["code"] == reason
        assert (await page.ask()).json()["failure"] == {"code": shown}
        refused(await page.confirm(), 409, "payment_closed")
    rules = {"rules": [{"name": "all", "type": "amount", "currency": "INR", "above": "0", "then": "review"}]}
    http = shop.paysaga.http
    (await http.put("/v1/risk/rules", json=rules, headers=shop.headers)).raise_for_status()
    reviewed = await Page.of(shop)
    assert (await shop.payment(reviewed.id))["status"] == "IN_REVIEW"
    assert (await reviewed.ask()).json()["status"] == "PENDING"


# --- what it does not ---


def others(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The operations that ask for a credential and do not take a client token: (method, path)."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            schemes = {name for one in operation.get("security", ()) for name in one}
            if schemes and "clientToken" not in schemes:
                yield method.upper(), path


async def test_every_other_operation_is_refused(shop: Shop) -> None:
    document = (await shop.paysaga.http.get("/openapi.json")).json()
    page = await Page.of(shop, confirm=False)
    before, tried = await rows(shop), list(others(document))
    for method, path in tried:
        own = re.sub(r"\{[^}]*\}", page.id, path)
        headers = {"Authorization": f"Bearer {page.token}", "Idempotency-Key": str(uuid4())}
        content = {"content": b"a,b", "headers": headers | {"Content-Type": "text/csv"}}
        sent = content if path.endswith("/files") else {"json": {}, "headers": headers}
        refused(await shop.paysaga.http.request(method, own, **sent), 403, "client_token_refused")
    assert await rows(shop) == before
    credentialed = [o for methods in document["paths"].values() for o in methods.values() if "security" in o]
    assert len(tried) == len(credentialed) - 2
    assert len(tried) > 40


async def test_another_payment_is_as_one_that_is_not_there(paysaga: Deployment) -> None:
    one, other = [await paysaga.shop(f"page-{secrets.token_hex(5)}") for _ in range(2)]
    page, second, theirs = (await Page.of(one), await Page.of(one, confirm=False), await Page.of(other, confirm=False))
    own = await one.payment(page.id)
    order = own["payment_orders"][0]
    names = [order["id"], order["payment_order_id"], own["checkout_id"], await one.reference(page.id)]
    unknown = await page.ask(path="/v1/payments/pay_nobody")
    refused(unknown, 404, "payment_not_found")
    for name in (second.id, theirs.id, *names):
        assert (await page.ask(path=f"/v1/payments/{name}")).content == unknown.content, name
        confirmed = await page.ask("POST", f"/v1/payments/{name}/confirm")
        assert (confirmed.status_code, confirmed.content) == (404, unknown.content), name
    for untouched in (second, theirs):
        assert (await untouched.ask()).json()["status"] == "NOT_STARTED"
    stolen = signed(other, payment_id=page.id)
    refused(await page.ask(token=stolen), 404, "payment_not_found")


async def test_a_token_that_is_forged_or_over_is_refused(shop: Shop) -> None:
    page = await Page.of(shop, confirm=False)
    strange = ClientToken(shop.tenant, page.id, 4_000_000_000).text(Keyring({"k": bytes(32)}))
    for token, code in (
        (signed(shop, payment_id=page.id, expires=1_000_000_000), "client_token_expired"),
        (strange, "client_token_invalid"),
        (page.token[:-1], "client_token_invalid"),
        ("ct_", "client_token_invalid"),
        ("ct_" + "A" * 9_000, "client_token_invalid"),
    ):
        refused(await page.ask(token=token), 401, code)
        refused(await page.ask("POST", f"/v1/payments/{page.id}/confirm", token=token), 401, code)
        refused(await page.ask(path="/v1/payments", token=token), 401, code)
    assert (await page.ask()).json()["status"] == "NOT_STARTED"


# --- from which pages ---


async def preflight(shop: Shop, origin: str, path: str = "/v1/payments/pay_1", method: str = "GET") -> Answer:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }
    return await shop.paysaga.http.request("OPTIONS", path, headers=headers)


async def heeded(shop: Shop, site: str, status: int) -> Answer:
    """The answer to a preflight, once what the tenant allows is known."""

    async def probe() -> Answer | None:
        answer = await preflight(shop, site)
        return answer if answer.status_code == status else None

    return await eventually(probe, what=f"preflight of {site}: {status}")


def cors(answer: Answer) -> dict[str, str]:
    assert "Origin" in answer.headers["vary"]
    return {n: v for n, v in answer.headers.items() if n.startswith("access-control-")}


READABLE = {"access-control-expose-headers": "Location, Retry-After, RateLimit, RateLimit-Policy"}


async def test_a_page_calls_from_the_sites_of_its_shop(paysaga: Deployment) -> None:
    one, other = [await paysaga.shop(f"cors-{secrets.token_hex(5)}") for _ in range(2)]
    site, elsewhere = (f"https://{shop.tenant}.example:8443" for shop in (one, other))
    refused(await preflight(one, site), 403, "origin_not_allowed")
    await tenants.allow_origin(paysaga.database, Caller("olga"), one.tenant, f"{site.upper()}/")
    await tenants.allow_origin(paysaga.database, Caller("olga"), other.tenant, elsewhere)
    granted = await heeded(one, site, 204)
    assert cors(granted) == {
        "access-control-allow-origin": site,
        "access-control-allow-methods": "GET",
        "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key, Prefer",
        "access-control-max-age": "7200",
    }
    confirm = await preflight(one, site, "/v1/payments/pay_1/confirm", "POST")
    assert (confirm.status_code, confirm.headers["access-control-allow-methods"]) == (204, "POST")

    page = await Page.of(one, confirm=False)
    readable = READABLE | {"access-control-allow-origin": site}
    assert cors(await page.ask(Origin=site)) == readable
    for answer, code in (
        (await page.ask(path="/v1/payments/pay_1", Origin=site), "payment_not_found"),
        (await page.ask(token=signed(one, expires=1), Origin=site), "client_token_expired"),
    ):
        assert (cors(answer), answer.json()["code"]) == (readable, code)
    assert cors(await page.ask()) == {}
    assert cors(await page.ask(token="ct_x", Origin=site)) == {}

    assert (await preflight(one, elsewhere)).status_code == 204, "whose page it is, is not known yet"
    for foreign in (elsewhere, "null", "https://evil.example", site.replace("https", "http"), f"{site}.evil.example"):
        for answer in (await page.ask(Origin=foreign), await page.confirm(Origin=foreign)):
            refused(answer, 403, "origin_not_allowed")
            assert cors(answer) == {}
    assert (await page.ask()).json()["status"] == "NOT_STARTED"
    assert (await page.confirm(Origin=site)).json()["status"] == "SUCCESS"

    said = await paysaga_command(paysaga.environment(), "tenants", "forbid-origin", one.tenant, site, *BY)
    assert (said.out, said.err) == (f"{one.tenant}: pages may call from nowhere.\n", "")
    refused(await heeded(one, site, 403), 403, "origin_not_allowed")
    refused(await page.ask(Origin=site), 403, "origin_not_allowed")
    log = "SELECT actor, action, detail->>'site' AS site FROM audit_log WHERE object_id = $1 ORDER BY seq"
    assert [tuple(row) for row in await paysaga.sql(log, one.tenant)] == [
        ("olga", "tenant.allow_origin", site),
        ("olga", "tenant.forbid_origin", site),
    ]


@pytest.mark.parametrize("bad", ["https://shop.example/paid", "http://shop.example", "shop.example", "*", "null"])
async def test_an_origin_is_scheme_host_and_port(shop: Shop, bad: str) -> None:
    with pytest.raises(Unprocessable) as error:
        await tenants.allow_origin(shop.paysaga.database, Caller("olga"), shop.tenant, bad)
    assert error.value.code == "origin_invalid"


async def test_only_the_two_operations_answer_a_preflight(shop: Shop) -> None:
    document = (await shop.paysaga.http.get("/openapi.json")).json()
    for method, path in others(document):
        if path.startswith("/codec/"):
            continue  # of the page of Temporal's UI
        answer = await preflight(shop, "https://shop.example", re.sub(r"\{[^}]*\}", "x", path), method)
        refused(answer, 405, "method_not_allowed")
        assert "access-control-allow-origin" not in answer.headers
    plain = await shop.paysaga.http.request("OPTIONS", "/v1/payments/pay_1", headers={"Origin": "https://x.example"})
    refused(plain, 405, "method_not_allowed")


async def test_an_api_key_in_a_page_is_refused(shop: Shop) -> None:
    """A browser names the page that calls; from our own `/docs` it is this server itself."""
    http, page = shop.paysaga.http, await Page.of(shop, confirm=False)
    own = str(http.base_url).rstrip("/")
    await tenants.allow_origin(shop.paysaga.database, Caller("olga"), shop.tenant, "https://keys.example")
    await heeded(shop, "https://keys.example", 204)
    for foreign, path, readable in (
        ("https://keys.example", f"/v1/payments/{page.id}", True),
        ("https://evil.example", f"/v1/payments/{page.id}", False),
        ("https://keys.example", "/v1/merchants", False),
        ("null", "/v1/merchants", False),
    ):
        answer = await http.get(path, headers=shop.headers | {"Origin": foreign})
        assert "`paysaga keys rotate key_" in refused(answer, 403, "secret_key_in_browser")["detail"]
        assert ("access-control-allow-origin" in answer.headers) is readable
    for fine in ({"Origin": own}, {"Origin": "https://pay.example", "Sec-Fetch-Site": "same-origin"}, {}):
        assert (await http.get("/v1/merchants", headers=shop.headers | fine)).status_code == 200
    said = (shop.paysaga.folder / "api.log").read_text()
    assert "secret_key_in_browser" in said
    assert shop.secret not in said
