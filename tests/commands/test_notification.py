"""Notifications: HTTP and the terminal do the same, refuse the same, and write the same into the audit log."""

import json
import secrets

from domain.ids import new_id
from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, Both, audit_log, both, same_log
from tests.support.shop import Shop

SETTINGS = "/v1/notification-settings"


async def set_both(one: Shop, other: Shop, body: object, *words: str) -> Both:
    """The settings of a shop over HTTP, and of another one at the terminal."""
    answer = await one.paysaga.http.put(SETTINGS, json=body, headers=one.headers)
    whose = ("--tenant", other.tenant, "--json")
    return Both(answer, await paysaga_command(one.paysaga.environment(), "notifications", *words, *whose, *BY))


async def test_settings_are_written_both_ways(shop: Shop) -> None:
    other = await shop.paysaga.shop(f"other-{secrets.token_hex(5)}")
    told = {"type": "payment.succeeded", "channel": "email", "locale": "de"}
    steps: list[tuple[dict[str, object], tuple[str, ...]]] = [
        ({"settings": [told]}, ("enable", "payment.succeeded", "email", "--locale", "de")),
        ({"settings": [told | {"enabled": False, "locale": "en"}]}, ("disable", "payment.succeeded", "email")),
        ({"sender_name": "Anna's"}, ("sign", "Anna's")),
    ]
    for body, words in steps:
        done = await set_both(shop, other, body, *words)
        done.accepted()
        said = json.loads(done.said.out)
        assert said.pop("tenant_id") == other.tenant
        assert {**said, "sender_name": ""} == {**done.http.json(), "sender_name": ""}
    same_log(await audit_log(shop, shop.tenant), await audit_log(shop, other.tenant), own=("sender_name",))


async def test_settings_are_refused_in_the_same_words(shop: Shop) -> None:
    def of(name: str, locale: str = "en", times: int = 1) -> dict[str, object]:
        return {"settings": [{"type": name, "channel": "email", "locale": locale}] * times}

    unknown = await set_both(shop, shop, of("payment.created"), "enable", "payment.created", "email")
    assert "payment.succeeded" in unknown.refused("notification_type_unknown")
    speechless = await set_both(
        shop, shop, of("payment.failed", "xx-yy-zz"), "enable", "payment.failed", "email", "--locale", "xx-yy-zz"
    )
    speechless.refused("locale_unknown")
    twice = await shop.paysaga.http.put(SETTINGS, json=of("payment.failed", times=2), headers=shop.headers)
    assert twice.json()["code"] == "setting_repeated"


async def test_a_contact_is_written_and_never_shown(shop: Shop) -> None:
    path = "/v1/notification-contacts"
    body = {"email": "anna@shop.example", "phone": "+4915112345678", "locale": "de"}
    words = ("--email", "anna@shop.example", "--phone", "+4915112345678", "--locale", "de", "--json")
    whose = ("--tenant", shop.tenant, *BY)
    cli = ("notifications", "contact", "seller:anna", *words, *whose)
    done = await both(shop, http=("PUT", f"{path}/seller:anna", body), cli=cli)
    done.accepted()
    written = {"recipient": "seller:anna", "has_email": True, "has_phone": True, "locale": "de"}
    assert json.loads(done.said.out) == {"tenant_id": shop.tenant, "object": "notification_contact", **written}
    assert (await shop.get(path)).json()["data"] == [{"object": "notification_contact", **written}]
    by_key, by_person = [[row] for row in await audit_log(shop, "seller:anna")]
    same_log(by_key, by_person)
    nobody = await both(
        shop, http=("PUT", f"{path}/seller:nobody", body), cli=("notifications", "contact", "seller:nobody", *whose)
    )
    nobody.refused("recipient_not_found")
    wrong = await both(
        shop,
        http=("PUT", f"{path}/operator", {"email": "anna"}),
        cli=("notifications", "contact", "operator", "--email", "anna", *whose),
    )
    wrong.refused("field_invalid")
    (row,) = await shop.paysaga.sql(
        "SELECT t::text AS said FROM notification_contact t WHERE tenant_id = $1", shop.tenant
    )
    assert "shop.example" not in row["said"]


async def test_a_suppression_is_lifted_once(shop: Shop) -> None:
    ids = [new_id("sup"), new_id("sup")]
    for one in ids:
        await shop.paysaga.sql(
            "INSERT INTO suppression (id, tenant_id, channel, digest, reason) VALUES ($1, $2, 'sms', $3, 'invalid')",
            one,
            shop.tenant,
            one.encode(),
        )
    for code in ("", "suppression_not_found"):
        done = await both(
            shop, http=("POST", f"/v1/suppressions/{ids[0]}/lift", None), cli=("notifications", "lift", ids[1], *BY)
        )
        done.refused(code) if code else done.accepted()
    same_log(await audit_log(shop, ids[0]), await audit_log(shop, ids[1]))


async def test_the_pages_show_what_is_there(shop: Shop) -> None:
    environment = shop.paysaga.environment()
    for words in (("list",), ("suppressions",), ("settings",)):
        said = await paysaga_command(environment, "notifications", *words, "--tenant", shop.tenant)
        assert said.code == 0, said.err
    assert "Nobody is told of anything yet" in said.out
    missing = await paysaga_command(environment, "notifications", "show", new_id("ntf"))
    assert (missing.code, "There is no such notification." in missing.err) == (1, True)
