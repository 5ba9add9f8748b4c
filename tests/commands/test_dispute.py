"""Evidence: the same over HTTP and at a terminal."""

from typing import Any

from tests.commands.conftest import BY, audit_log, both, same_log
from tests.support.shop import Shop


async def disputed(shop: Shop) -> dict[str, Any]:
    payment = await shop.paid(shop.checkout())
    await shop.paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    return await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")


async def test_evidence_is_written_to_the_audit_log(shop: Shop) -> None:
    one, other = [await disputed(shop) for _ in range(2)]
    done = await both(
        shop,
        http=("POST", f"/v1/disputes/{one['id']}/evidence", {"fields": {"shipping_carrier": "India Post"}}),
        cli=["disputes", "evidence", other["id"], "--field", "shipping_carrier=India Post", *BY],
    )
    done.accepted()
    same_log(await audit_log(shop, one["id"]), await audit_log(shop, other["id"]), own=["evidence"])


async def test_what_is_no_evidence(shop: Shop) -> None:
    dispute = await disputed(shop)
    path = f"/v1/disputes/{dispute['id']}/evidence"
    for name, text, code in (
        ("shipping_carrier", "", "field_invalid"),
        ("shipping_carrier", "x" * 5_001, "field_invalid"),
        ("uncategorized_text", "x" * 20_001, "field_invalid"),
        ("uncategorized_text", "card 4242 4242 4242 4242", "card_data_forbidden"),
        ("moon", "full", "field_invalid"),
    ):
        done = await both(
            shop,
            http=("POST", path, {"fields": {name: text}}),
            cli=["disputes", "evidence", dispute["id"], "--field", f"{name}={text}", *BY],
        )
        done.refused(code)
    assert await audit_log(shop, dispute["id"]) == []
    fields = {"uncategorized_text": "x" * 20_000, "shipping_carrier": "x" * 5_000}
    assert (await shop.post(path, {"fields": fields})).status_code == 202


async def test_evidence_is_taken_once(shop: Shop) -> None:
    dispute = await disputed(shop)
    path, fields = f"/v1/disputes/{dispute['id']}/evidence", {"shipping_carrier": "India Post"}
    assert (await shop.post(path, {"fields": fields})).status_code == 202
    done = await both(
        shop,
        http=("POST", path, {"fields": fields}),
        cli=["disputes", "evidence", dispute["id"], "--field", "shipping_carrier=India Post", *BY],
    )
    done.refused("evidence_submitted")
