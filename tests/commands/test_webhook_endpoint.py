"""Webhook endpoints: HTTP and the terminal do the same, refuse the same, and write the same into the audit log."""

import json
from typing import Any

import pytest

from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, Both, audit_log, both, same_log
from tests.support.receiver import Receiver
from tests.support.shop import Shop

PATH = "/v1/webhook-endpoints"


async def made(shop: Shop, url: str) -> tuple[str, str]:
    """Two endpoints, one for each way."""
    ids = [
        (await shop.post(PATH, {"url": f"{url}/{name}"})).raise_for_status().json()["id"] for name in ("http", "cli")
    ]
    return ids[0], ids[1]


async def test_an_endpoint_lives(shop: Shop) -> None:
    async with Receiver() as receiver:
        url, types = receiver.url(), ("--type", "payment.succeeded")
        cli = ("webhook-endpoints", "create", f"{url}/2", "--tenant", shop.tenant, *types, "--json", *BY)
        done = await both(shop, http=("POST", PATH, {"url": f"{url}/1", "types": ["payment.succeeded"]}), cli=cli)
        done.accepted()
        one, two = done.http.json(), json.loads(done.said.out)
        assert two.pop("tenant_id") == shop.tenant
        own = ("id", "url", "secret", "created_at")
        assert {k: v for k, v in one.items() if k not in own} == {k: v for k, v in two.items() if k not in own}
        assert one["secret"].startswith("whsec_")
        assert two["secret"].startswith("whsec_")
        http, cli_id = one["id"], two["id"]

        async def step(method: str, rest: str, body: Any, *words: str) -> Both:
            said = await both(shop, http=(method, f"{PATH}/{http}{rest}", body), cli=("webhook-endpoints", *words, *BY))
            said.accepted()
            return said

        await step("PATCH", "", {"types": []}, "change", cli_id, "--all-types")
        await step("POST", "/rotate", None, "rotate", cli_id)
        await step("POST", "/replay", {"since": "2026-01-01T00:00:00Z"}, "replay", cli_id, "--since", "2026-01-01")
        test = await step("POST", "/test", None, "test", cli_id, "--json")
        deliveries = test.http.json()["id"], json.loads(test.said.out)["id"]
        resent = await both(
            shop,
            http=("POST", f"/v1/webhook-deliveries/{deliveries[0]}/resend", None),
            cli=("webhook-endpoints", "resend", deliveries[1], *BY),
        )
        resent.accepted()
        await step("PATCH", "", {"status": "DISABLED"}, "disable", cli_id)
        await step("PATCH", "", {"status": "DISABLED"}, "disable", cli_id)
        await step("PATCH", "", {"status": "ENABLED"}, "enable", cli_id)
        by_key, by_person = [await audit_log(shop, endpoint) for endpoint in (http, cli_id)]
        same_log(by_key, by_person, own=("url", "delivery", "deliveries"))
        assert [row.action.rpartition(".")[2] for row in by_key] == [
            "create", "change", "rotate", "replay", "test", "resend", "disable", "enable",
        ]  # fmt: skip
        for words in (("list",), ("show", http), ("deliveries", http), ("delivery", deliveries[0])):
            said = await paysaga_command(shop.paysaga.environment(), "webhook-endpoints", *words)
            assert (said.code, http in said.out or deliveries[0] in said.out) == (0, True), said.err


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        ({"url": "https://10.0.0.1/"}, ("https://10.0.0.1/",), "url_refused"),
        ({"url": "https://localhost/"}, ("https://localhost/",), "url_refused"),
        ({"url": "https://[::ffff:7f00:1]/"}, ("https://[::ffff:7f00:1]/",), "url_refused"),
        ({"url": "https://2130706433/"}, ("https://2130706433/",), "url_refused"),
        ({"url": "https://a:b@shop.example/"}, ("https://a:b@shop.example/",), "url_refused"),
        ({"url": "http://shop.example/"}, ("http://shop.example/",), "url_refused"),
        (
            {"url": "https://shop.example/", "types": ["payment.paid"]},
            ("https://shop.example/", "--type", "payment.paid"),
            "event_type_unknown",
        ),
    ],
)
async def test_what_is_refused(shop: Shop, body: Any, words: tuple[str, ...], code: str) -> None:
    cli = ("webhook-endpoints", "create", *words, "--tenant", shop.tenant, *BY)
    done = await both(shop, http=("POST", PATH, body), cli=cli)
    assert done.http.status_code == 422
    done.refused(code)


async def test_a_second_one_of_a_url_and_a_disabled_one(shop: Shop) -> None:
    url = "https://shop.example/twice"
    (await shop.post(PATH, {"url": url})).raise_for_status()
    cli = ("webhook-endpoints", "create", url, "--tenant", shop.tenant, *BY)
    (await both(shop, http=("POST", PATH, {"url": url}), cli=cli)).refused("endpoint_exists")
    one, two = await made(shop, "https://shop.example")
    for endpoint in (one, two):
        await shop.paysaga.http.patch(f"{PATH}/{endpoint}", json={"status": "DISABLED"}, headers=shop.headers)
    done = await both(shop, http=("POST", f"{PATH}/{one}/test", None), cli=("webhook-endpoints", "test", two, *BY))
    done.refused("endpoint_disabled")


async def test_a_replayed_rotation_tells_no_secret(shop: Shop) -> None:
    one, _ = await made(shop, "https://shop.example")
    first = await shop.post(f"{PATH}/{one}/rotate", key="rotate-once")
    again = await shop.post(f"{PATH}/{one}/rotate", key="rotate-once")
    assert first.json()["secret"].startswith("whsec_")
    assert (again.status_code, again.json()["secret"]) == (200, None)
    rows = await audit_log(shop, one)
    assert [row.action for row in rows] == ["webhook_endpoint.create", "webhook_endpoint.rotate"]
