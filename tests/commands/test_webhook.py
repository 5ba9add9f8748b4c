"""The commands about webhooks, which the terminal alone has: the PSP sends what changes something."""

import json
import secrets

import pytest

from domain.endpoint import EventScope
from gateways.stripe.events import SUBSCRIPTIONS
from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, audit_log
from tests.support.sandbox import SandboxAccount
from tests.support.shop import Shop


async def test_the_endpoints_are_set_up_and_checked(shop: Shop) -> None:
    """At a new account of the PSP's; then somebody changes what it sends."""
    account, url = f"sk_test_{secrets.token_hex(8)}", "https://shop.example/webhooks/stripe"
    environment = shop.paysaga.environment() | {"PAYSAGA_STRIPE_API_KEY": account}
    said = await paysaga_command(environment, "webhooks", "check", "--url", url)
    assert said.code == 1
    assert said.out.count("nobody") == len(SUBSCRIPTIONS)
    assert "`paysaga webhooks setup --url https://HOST/webhooks/stripe` puts it right." in said.out

    said = await paysaga_command(environment, "webhooks", "setup", "--url", url, *BY, "--json")
    made = json.loads(said.out)["data"]
    assert {one["scope"]: tuple(one["types"]) for one in made} == {k.value: v for k, v in SUBSCRIPTIONS.items()}
    assert all(one["is_new"] and one["url"] == url and one["secret"].startswith("whsec_") for one in made)
    for one in made:
        (logged,) = await audit_log(shop, one["reference"])
        assert (logged.actor, logged.action, logged.detail["types"]) == ("olga", "webhook.endpoint", one["types"])
    said = await paysaga_command(environment, "webhooks", "check")
    assert (said.code, "The PSP sends what is wanted." in said.out) == (0, True), said.err

    sandbox = SandboxAccount(shop.paysaga.stack.sandbox_url, account)
    await sandbox.open()
    await sandbox.configure(webhook_events=["charge.updated", *SUBSCRIPTIONS[EventScope.ACCOUNT][1:]])
    await sandbox.close()
    said = await paysaga_command(environment, "webhooks", "check", "--url", url, "--json")
    own, of_sellers = json.loads(said.out)["data"]
    assert said.code == 1
    assert (own["missing"], own["superfluous"]) == ([SUBSCRIPTIONS[EventScope.ACCOUNT][0]], ["charge.updated"])
    assert (of_sellers["missing"], of_sellers["superfluous"]) == ([], [])
    said = await paysaga_command(environment, "webhooks", "setup", "--url", url, *BY)
    assert f"is changed: our account's events go to {url}." in said.out
    assert "secret" not in said.out
    said = await paysaga_command(environment, "webhooks", "setup", "--url", url, *BY)
    assert (said.code, said.out) == (0, "Nothing to do: the PSP sends what is wanted.\n")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://shop.example/", "The address of the endpoint is https://<the API's host>/webhooks/stripe"),
        ("https://[/webhooks/stripe", "The address of the endpoint is"),
        ("https://shop.example/webhooks/stripe", "The PSP refuses the endpoint: "),  # the sandbox sends to one address
    ],
)
async def test_an_endpoint_that_cannot_be_is_one_sentence(shop: Shop, url: str, words: str) -> None:
    said = await paysaga_command(shop.paysaga.environment(), "webhooks", "setup", "--url", url, *BY)
    assert (said.code, said.out) == (1, "")
    assert words in said.err
    assert said.err.count("\n") == 1
