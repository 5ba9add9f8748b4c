"""Dead letters: HTTP and the terminal do the same, refuse the same, and write the same into the audit log."""

import json

from tests.api.objects import dead_letter
from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, audit_log, both, same_log
from tests.support.shop import Shop

PATH = "/v1/dead-letters"


async def test_one_is_tried_again(shop: Shop) -> None:
    one, two = await dead_letter(shop), await dead_letter(shop)
    cli = ("dead-letters", "replay", two, *BY)
    done = await both(shop, http=("POST", f"{PATH}/{one}/replay", None), cli=cli)
    done.accepted()
    assert done.http.json()["status"] == "REPLAYED"
    assert f"{two} is tried again" in done.said.out
    same_log(await audit_log(shop, one), await audit_log(shop, two), own=("ref_id",))
    (await both(shop, http=("POST", f"{PATH}/{one}/replay", None), cli=("dead-letters", "replay", one, *BY))).refused(
        "dead_letter_closed"
    )
    cli = ("dead-letters", "replay", "dl_nobody", *BY)
    (await both(shop, http=("POST", f"{PATH}/dl_nobody/replay", None), cli=cli)).refused("dead_letter_not_found")


async def test_one_is_discarded(shop: Shop) -> None:
    one, two = await dead_letter(shop), await dead_letter(shop)
    http = ("POST", f"{PATH}/{one}/discard", {"reason": " "})
    (await both(shop, http=http, cli=("dead-letters", "discard", two, "--reason", " ", *BY))).refused("reason_required")
    http = ("POST", f"{PATH}/{one}/discard", {"reason": "x" * 2001})
    cli = ("dead-letters", "discard", two, "--reason", "x" * 2001, *BY)
    (await both(shop, http=http, cli=cli)).refused("field_invalid")
    http = ("POST", f"{PATH}/{one}/discard", {"reason": "it has closed"})
    done = await both(shop, http=http, cli=("dead-letters", "discard", two, "--reason", "it has closed", *BY, "--json"))
    done.accepted()
    by_key, by_person = done.http.json(), json.loads(done.said.out)
    assert (by_key["status"], by_key["reason"]) == ("DISCARDED", "it has closed")
    assert (by_person["status"], by_person["actor"], by_person["tenant_id"]) == ("DISCARDED", "olga", shop.tenant)
    same_log(await audit_log(shop, one), await audit_log(shop, two), own=("ref_id",))
    shown = await paysaga_command(shop.paysaga.environment(), "dead-letters", "show", two)
    assert "by olga: it has closed" in " ".join(shown.out.split())


async def test_a_disabled_endpoint_gets_nothing(shop: Shop) -> None:
    letter = await dead_letter(shop)
    (found,) = (await shop.get(PATH)).json()["data"]
    delivery = (await shop.get(f"/v1/webhook-deliveries/{found['ref_id']}")).json()
    path = f"/v1/webhook-endpoints/{delivery['endpoint_id']}"
    await shop.paysaga.http.patch(path, json={"status": "DISABLED"}, headers=shop.headers)
    http = ("POST", f"{PATH}/{letter}/replay", None)
    (await both(shop, http=http, cli=("dead-letters", "replay", letter, *BY))).refused("endpoint_disabled")


async def test_many_are_counted_and_tried_again(shop: Shop) -> None:
    ids = [await dead_letter(shop) for _ in range(3)]
    one, two = [(await shop.get(PATH, limit=limit)).json() for limit in (2, 200)]
    assert [row["id"] for row in one["data"]] == ids[:0:-1]
    rest = (await shop.get(PATH, limit=2, cursor=one["next_cursor"])).json()
    assert ([row["id"] for row in rest["data"]], rest["next_cursor"], two["next_cursor"]) == (ids[:1], None, None)
    words = ("dead-letters", "replay", "--tenant", shop.tenant, "--source", "webhook_deliveries", *BY, "--json")
    http = ("POST", "/v1/dead-letter-replays", {"source": "webhook_deliveries", "dry_run": True})
    counted = await both(shop, http=http, cli=(*words, "--dry-run"))
    counted.accepted()
    assert counted.http.json() == json.loads(counted.said.out)
    assert (counted.http.json()["matching"], counted.http.json()["left"]) == (3, 3)
    http = ("POST", "/v1/dead-letter-replays", {"source": "webhook_deliveries", "limit": 1})
    done = await both(shop, http=http, cli=(*words, "--limit", "1"))
    done.accepted()
    by_key, by_person = done.http.json(), json.loads(done.said.out)
    assert [(row["matching"], row["replayed"]) for row in (by_key, by_person)] == [(3, 1), (2, 1)]
    same_log(await audit_log(shop, by_key["id"]), await audit_log(shop, by_person["id"]), own=("rate_per_s",))
    neither = await paysaga_command(shop.paysaga.environment(), "dead-letters", "replay", *BY)
    assert (neither.code, neither.out) == (2, "")
