"""Risk rules and reviews: the same over HTTP and at a terminal."""

import json
from pathlib import Path
from typing import Any

from tests.commands.conftest import BY, audit_log, both, same_log
from tests.support.shop import Shop

LARGE = {"name": "large", "type": "amount", "currency": "INR", "above": "100.00", "then": "review"}


async def in_review(shop: Shop) -> dict[str, Any]:
    payment = await shop.paid(shop.checkout())
    return await shop.until(payment["id"], "IN_REVIEW")


async def test_new_rules_are_written_to_the_audit_log(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"rules": [LARGE]}))
    done = await both(
        shop,
        http=("PUT", "/v1/risk/rules", {"rules": [LARGE]}),
        cli=["risk", "set", shop.tenant, str(path), *BY],
    )
    done.accepted()
    by_key, by_person = await audit_log(shop, shop.tenant)
    same_log([by_key], [by_person], own=["version"])
    assert [row.detail["version"] for row in (by_key, by_person)] == [1, 2]


async def test_what_is_no_set_of_rules(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    for rules, code in (
        ({"rules": [LARGE | {"above": "1,5"}]}, "field_invalid"),
        ({"rules": [{"name": "odd", "type": "moon"}]}, "field_invalid"),
        ({"rules": [LARGE, LARGE]}, "field_invalid"),
        ({"rules": [], "later": 1}, "field_unknown"),
        ({"rules": [LARGE | {"name": "4242 4242 4242 4242"}]}, "card_data_forbidden"),
    ):
        path.write_text(json.dumps(rules))
        done = await both(shop, http=("PUT", "/v1/risk/rules", rules), cli=["risk", "set", shop.tenant, str(path), *BY])
        done.refused(code)
    assert await audit_log(shop, shop.tenant) == []


async def test_a_review_is_written_to_the_audit_log(shop: Shop) -> None:
    await shop.paysaga.http.put("/v1/risk/rules", json={"rules": [LARGE]}, headers=shop.headers)
    one, other = [await in_review(shop) for _ in range(2)]
    path, note = f"/v1/payments/{one['id']}/review", "called the buyer"
    for text, code in (("x" * 2001, "field_invalid"), ("card 4242 4242 4242 4242", "card_data_forbidden")):
        bad = await both(
            shop,
            http=("POST", path, {"decision": "approve", "note": text}),
            cli=["payments", "review", one["id"], "--approve", "--note", text, *BY],
        )
        bad.refused(code)
    done = await both(
        shop,
        http=("POST", path, {"decision": "approve", "note": note}),
        cli=["payments", "review", other["id"], "--approve", "--note", note, *BY],
    )
    done.accepted()
    same_log(await audit_log(shop, one["id"]), await audit_log(shop, other["id"]))
    await shop.until(one["id"], "SUCCESS")
    late = await both(
        shop,
        http=("POST", path, {"decision": "reject"}),
        cli=["payments", "review", one["id"], "--reject", *BY],
    )
    late.refused("payment_not_in_review")
