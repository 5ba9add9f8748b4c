"""`--json`: what is shown and what is done is one document, in the shapes of the HTTP API and with the tenant."""

import json
from typing import Any

from tests.audit.command import paysaga_command
from tests.commands.conftest import BY
from tests.support.shop import Shop
from workers.schedules import ensure_schedules

Document = dict[str, Any]


async def document(shop: Shop, *words: str) -> Document:
    said = await paysaga_command(shop.paysaga.environment(), *words, "--json")
    assert (said.code, said.err) == (0, ""), (words, said.err)
    made: Document = json.loads(said.out)
    return made


async def over_http(shop: Shop, path: str, **parameters: Any) -> Document:
    answer = await shop.get(path, **parameters)
    found: Document = answer.raise_for_status().json()
    return found


def of_tenant(shop: Shop, shape: Document) -> Document:
    return {"tenant_id": shop.tenant, **shape}


async def test_what_is_shown_has_the_shapes_of_http(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), orders=[("anna", "300.00"), ("bo", "200.00")])
    waiting = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    asked = {"payment_order_id": payment["payment_orders"][0]["id"], "amount": "5.00"}
    refund = (await shop.post(f"/v1/payments/{payment['id']}/refunds", asked)).json()
    payment = await over_http(shop, f"/v1/payments/{payment['id']}")

    one = await document(shop, "payments", "show", payment["id"])
    explained, books = one.pop("explanation"), one.pop("ledger")
    assert one == of_tenant(shop, payment)
    assert explained == await over_http(shop, f"/v1/payments/{payment['id']}/explain")
    assert books == (await over_http(shop, "/v1/ledger/transactions", payment_id=payment["id"]))["data"]

    listed = await document(shop, "payments", "list", "--tenant", shop.tenant, "--limit", "1")
    newest = await over_http(shop, f"/v1/payments/{waiting['id']}")
    assert listed == {"object": "list", "data": [of_tenant(shop, newest)], "next_cursor": waiting["id"]}
    rest = await document(shop, "payments", "list", "--tenant", shop.tenant, "--before", listed["next_cursor"])
    assert (rest["data"], rest["next_cursor"]) == ([of_tenant(shop, payment)], None)

    same = of_tenant(shop, await over_http(shop, f"/v1/refunds/{refund['id']}"))
    assert await document(shop, "refunds", "show", refund["id"]) == same
    assert (await document(shop, "refunds", "list", "--payment", payment["id"]))["data"] == [same]

    seller = await document(shop, "merchants", "show", "anna", "--tenant", shop.tenant)
    assert seller.pop("wallet") == await over_http(shop, "/v1/wallets/anna")
    assert seller == of_tenant(shop, await over_http(shop, "/v1/merchants/anna"))

    books = await document(shop, "ledger", "trial-balance", "--tenant", shop.tenant)
    assert books["totals"] == (await over_http(shop, "/v1/ledger/accounts"))["totals"]
    posted = (await document(shop, "ledger", "transactions", "--tenant", shop.tenant))["data"]
    assert posted == [of_tenant(shop, row) for row in (await over_http(shop, "/v1/ledger/transactions"))["data"]]
    since, until = "2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z"
    period = {"from": since, "to": until, "currency": "INR"}
    asked_for = ("anna", "--tenant", shop.tenant, "--from", since, "--to", until)
    (statement,) = (await document(shop, "ledger", "statement", *asked_for))["data"]
    assert statement == of_tenant(shop, await over_http(shop, "/v1/merchants/anna/statement", **period))


async def test_what_is_done_is_answered_as_over_http(shop: Shop) -> None:
    waiting = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    nudged = await document(shop, "payments", "nudge", waiting["id"])
    assert (nudged["id"], nudged["outcome"]) == (waiting["id"], "asked")
    cancelled = await document(shop, "payments", "cancel", waiting["id"], *BY)
    assert (cancelled["object"], cancelled["cancel_requested"]) == ("payment", True)
    paid = await shop.paid(shop.checkout())
    refund = await document(shop, "refunds", "create", paid["id"], "--amount", "1.00", *BY)
    assert refund == of_tenant(shop, await over_http(shop, f"/v1/refunds/{refund['id']}"))
    frozen = await document(shop, "merchants", "freeze", "bo", "--tenant", shop.tenant, *BY)
    assert (frozen["object"], frozen["status"]) == ("merchant", "FROZEN")
    key = await document(shop, "keys", "create", "--tenant", shop.tenant, "--name", "n", *BY)
    assert key["secret"].startswith("sk_")
    assert await document(shop, "keys", "revoke", key["id"], *BY) == {
        "object": "api_key",
        "id": key["id"],
        "revoked_now": True,
    }
    site = "https://shop.example"
    allowed = await document(shop, "tenants", "allow-return-url", shop.tenant, site, *BY)
    assert allowed == {"object": "tenant", "id": shop.tenant, "return_origins": [site]}
    allowed = await document(shop, "tenants", "allow-origin", shop.tenant, site, *BY)
    assert allowed == {"object": "tenant", "id": shop.tenant, "page_origins": [site]}
    (listed,) = [one for one in (await document(shop, "tenants", "list"))["data"] if one["id"] == shop.tenant]
    assert (listed["object"], listed["return_origins"], listed["page_origins"]) == ("tenant", [site], [site])
    await ensure_schedules(shop.paysaga.temporal, shop.paysaga.settings)
    swept = await document(shop, "sweep")
    assert (swept["object"], swept["ended"]) == ("sweep", True)


async def test_a_refusal_stays_a_sentence_beside_the_document(shop: Shop) -> None:
    said = await paysaga_command(shop.paysaga.environment(), "payments", "show", "pay_nobody", "--json")
    assert (said.code, said.out, said.err) == (1, "", "paysaga: There is no payment pay_nobody.\n")
