"""Merchants: HTTP and the terminal freeze, unfreeze and close one with the same refusals and rows in the audit log."""

import pytest

from tests.commands.conftest import BY, audit_log, both, same_log
from tests.support.shop import Shop


async def test_a_seller_is_frozen_unfrozen_and_closed(shop: Shop) -> None:
    sellers = {name: (await shop.get(f"/v1/merchants/{name}")).json()["id"] for name in ("anna", "bo")}
    for command, status in (("freeze", "FROZEN"), ("freeze", "FROZEN"), ("unfreeze", "ACTIVE"), ("close", "CLOSED")):
        cli = ("merchants", command, "bo", "--tenant", shop.tenant, *BY)
        done = await both(shop, http=("PATCH", "/v1/merchants/anna", {"status": status}), cli=cli)
        done.accepted()
        assert done.http.json()["status"] == (await shop.get("/v1/merchants/bo")).json()["status"] == status
    by_key, by_person = [await audit_log(shop, sellers[name]) for name in ("anna", "bo")]
    same_log(by_key, by_person, own=("seller_account",))
    assert len(by_key) == 3, "what is so already is no change"


@pytest.mark.parametrize(("command", "status"), [("unfreeze", "ACTIVE"), ("freeze", "FROZEN")])
async def test_closed_is_for_ever(shop: Shop, command: str, status: str) -> None:
    await shop.paysaga.http.patch("/v1/merchants/anna", json={"status": "CLOSED"}, headers=shop.headers)
    cli = ("merchants", command, "anna", "--tenant", shop.tenant, *BY)
    done = await both(shop, http=("PATCH", "/v1/merchants/anna", {"status": status}), cli=cli)
    assert done.refused("merchant_closed") == "A closed merchant stays closed."


async def test_a_seller_that_is_not_there(shop: Shop) -> None:
    cli = ("merchants", "freeze", "nobody", "--tenant", shop.tenant, *BY)
    done = await both(shop, http=("PATCH", "/v1/merchants/nobody", {"status": "FROZEN"}), cli=cli)
    assert (done.http.status_code, done.code) == (404, "merchant_not_found")
    assert (done.said.code, done.said.err.startswith("paysaga: There is no merchant nobody")) == (1, True)
