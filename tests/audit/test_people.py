"""People at the terminal: encryption keys are replaced while payments run, a buyer is forgotten while the books stay,
and what is kept for a time alone goes after it."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from db.audit.audit import run_audit
from db.audit.people import PEOPLE
from db.core.keyring import Keyring
from domain.errors import Conflict, NotFound
from embedded.stack import EmbeddedStack
from services import keyring
from services import person as people
from services.audit import audit
from services.command import Caller
from services.keyring import Rotated
from tests.api.test_api_webhooks import deliver, event_of
from tests.audit.command import Said, paysaga_command
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.keys import ring
from tests.support.shop import Shop


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Its processes encrypt under k1 and read the others."""
    folder = tmp_path_factory.mktemp("people")
    name = f"people{secrets.token_hex(4)}"
    settings = {"encryption_keys": SecretStr(ring(1, 2, 3)), "poll_max_s": 600.0, "worker_schedules": True}
    async with Deployment(servers, folder, name, **settings) as deployment:
        yield deployment


@pytest.fixture(scope="module")
async def shop(paysaga: Deployment) -> Shop:
    return await paysaga.shop("people")


async def typed(shop: Shop, *words: str, keys: str = ring(1, 2, 3)) -> Said:
    return await paysaga_command({**shop.paysaga.environment(), "PAYSAGA_ENCRYPTION_KEYS": keys}, *words)


async def rotated(shop: Shop, *numbers: int) -> Rotated:
    return await keyring.rotate(shop.paysaga.database, Keyring.parse(ring(*numbers)))


async def forgotten(shop: Shop, person: str) -> None:
    who = Caller("olga")
    await people.forget(shop.paysaga.database, Keyring.parse(ring(1, 2, 3)), who, shop.tenant, person)


async def everything(shop: Shop) -> str:
    """Every row of every table as text, and what is behind the hexadecimal of bytes."""
    tables = await shop.paysaga.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [await shop.paysaga.sql(f'SELECT t::text AS text FROM "{table}" t') for (table,) in tables]
    return "\n".join(row["text"] for of_table in rows for row in of_table)


async def found_in(shop: Shop, *canaries: str) -> list[str]:
    stored = await everything(shop)
    return [text for text in canaries if text in stored or text.encode().hex() in stored]


async def own_buyer(shop: Shop, **fields: Any) -> tuple[str, str, dict[str, Any]]:
    """(id of a buyer of the test's own, their address, their payment)."""
    buyer = f"buyer-{secrets.token_hex(6)}"
    email = f"{buyer}@canary.example"
    payment = await shop.paid(shop.checkout(), buyer={"id": buyer, "email": email}, **fields)
    return buyer, email, payment


async def ended_dispute(shop: Shop, payment_id: str, canary: str) -> None:
    """A dispute that was answered with evidence, and has ended."""
    await shop.paysaga.sandbox.dispute(await shop.reference(payment_id), amount=10000)
    dispute = await shop.dispute_until(payment_id, "NEEDS_RESPONSE")
    fields = {"fields": {"customer_name": canary, "uncategorized_text": "losing_evidence"}}
    answer = await shop.post(f"/v1/disputes/{dispute['id']}/evidence", fields)
    assert answer.status_code == 202, answer.text
    await shop.dispute_until(payment_id, "WON", "LOST")


async def test_encryption_keys_are_replaced_twice_while_payments_run(shop: Shop) -> None:
    before = [(await own_buyer(shop))[2] for _ in range(3)]
    waiting = await shop.paid(shop.checkout(), confirm=False)  # its token is needed after both rotations
    asked = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    url = asked["next_action"]["url"]
    assert "secret" in url
    assert await found_in(shop, url, url.rpartition("=")[2]) == []
    # As an earlier release stored it: the address under the ring's key, and nobody to be found by it.
    legacy, email, payment = await own_buyer(shop)
    await shop.until(payment["id"])
    old = Keyring.parse(ring(1)).encrypt(email, bound_to=f"{payment['id']}:email")
    await shop.paysaga.sql(
        "DELETE FROM person_email a USING person p WHERE p.id = a.person_id AND p.buyer_id = $1", legacy
    )
    await shop.paysaga.sql("DELETE FROM person WHERE buyer_id = $1", legacy)
    await shop.paysaga.sql("UPDATE payment SET buyer_email = $1 WHERE id = $2", old, payment["id"])
    (note,) = [checked.note for checked in await run_audit(shop.paysaga.database, PEOPLE)]
    assert "1 values are not under the key of a person yet" in note

    meanwhile = []
    stop = asyncio.Event()

    async def pay() -> None:
        while not stop.is_set():
            meanwhile.append(await shop.paid(shop.checkout()))

    paying = asyncio.create_task(pay())
    second = await rotated(shop, 2, 1, 3)
    await rotated(shop, 3, 2, 1)
    stop.set()
    await paying
    assert second.done["payment.buyer_email"] == 1
    assert second.done["payment.token"] >= len(before)
    last = await rotated(shop, 3, 2, 1)  # what runs still encrypts under k1
    assert (last.current, last.left) == ("k3", {})
    assert last.in_use["payment.token"].keys() == {"k3"}
    said = await typed(shop, "keys", "rotate", keys=ring(3))
    assert "under an older key than k3" in said.out, (said.out, said.err)

    assert (await shop.payment(asked["id"]))["next_action"]["url"] == url
    assert url in "".join((await typed(shop, "payments", "show", asked["id"])).out.split())
    await shop.post(f"/v1/payments/{asked['id']}/cancel")
    await shop.post(f"/v1/payments/{waiting['id']}/confirm")
    for one in (*before, *meanwhile, waiting):
        assert (await shop.until(one["id"]))["status"] == "SUCCESS"
    at_psp = await shop.paysaga.sandbox.stripe(f"/v1/payment_intents/{await shop.reference(waiting['id'])}")
    assert at_psp["receipt_email"] == "buyer@example.com"
    (found,) = await people.look(shop.paysaga.database, Keyring.parse(ring(3)), shop.tenant, email)
    assert found.buyer_id == legacy


async def test_a_key_that_is_missing_is_named(shop: Shop) -> None:
    await own_buyer(shop)
    with pytest.raises(Conflict, match="PAYSAGA_ENCRYPTION_KEYS"):
        await rotated(shop, 2)


async def test_a_buyer_is_forgotten_and_the_books_stay(shop: Shop) -> None:
    evidence = f"evidence {secrets.token_hex(8)}"
    buyer, email, disputed = await own_buyer(shop, metadata={"gift_for": "Asha"})
    payment = await shop.paid(shop.checkout(), buyer={"id": buyer, "email": email})
    for one in (disputed, payment):
        await shop.until(one["id"])
    await ended_dispute(shop, disputed["id"], evidence)
    refund = await shop.refunded(payment["id"], amount="1.00", reason=f"{buyer} rang")
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert await found_in(shop, email, evidence) == []
    forget = ("forget", email, "--tenant", shop.tenant)

    running = await shop.paid(shop.checkout(), buyer={"id": buyer}, confirm=False)
    with pytest.raises(Conflict, match=r"under way \(1 payments\)"):
        await forgotten(shop, email)
    await shop.post(f"/v1/payments/{running['id']}/cancel")
    await shop.until(running["id"])

    dry = await typed(shop, *forget, "--json")
    (would,) = json.loads(dry.out)["people"]
    assert (would["buyer_id"], would["rows"]["payments"]) == (buyer, 3)
    assert (await shop.payment(payment["id"]))["buyer"] == {"id": buyer}
    balances = await shop.balances()

    done = await typed(shop, *forget, "--yes", "--by", "olga", "--json")
    assert done.code == 0, done.err
    name = json.loads(done.out)["people"][0]["name"]
    assert await found_in(shop, buyer, email, evidence, "Asha") == []
    shown = await shop.payment(disputed["id"])
    assert (shown["buyer"], shown["metadata"], shown["status"]) == ({"id": name}, {}, "SUCCESS")
    assert [one["id"] for one in (await shop.get("/v1/payments", buyer_id=name)).json()["data"]] == [
        running["id"],
        payment["id"],
        disputed["id"],
    ]
    assert (await shop.get("/v1/payments", buyer_id=buyer)).json()["data"] == []
    assert await shop.balances() == balances
    assert await audit(shop.paysaga.database, shop.paysaga.temporal) == []
    (logged,) = await shop.paysaga.sql("SELECT actor, object_id FROM audit_log WHERE action = 'person.forget'")
    assert tuple(logged) == ("olga", name)
    for again in (email, buyer):
        with pytest.raises(NotFound, match="no such buyer"):
            await forgotten(shop, again)

    await shop.refund_until((await shop.refunded(payment["id"], amount="10.00"))["id"], "SUCCEEDED")
    await shop.paysaga.sandbox.dispute(await shop.reference(payment["id"]), amount=5000)
    later = f"later {secrets.token_hex(8)}"
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    fields = {"customer_name": later, "uncategorized_text": "winning_evidence"}
    await shop.post(f"/v1/disputes/{dispute['id']}/evidence", {"fields": fields})
    await shop.dispute_until(payment["id"], "WON", "LOST", "UNDER_REVIEW")
    assert await found_in(shop, later) == []
    assert await audit(shop.paysaga.database) == []


async def test_who_comes_back_is_somebody_new(shop: Shop) -> None:
    buyer, email, payment = await own_buyer(shop)
    await shop.until(payment["id"])
    await forgotten(shop, buyer)
    again = await shop.paid(shop.checkout(), buyer={"id": buyer, "email": email})
    assert (await shop.until(again["id"]))["status"] == "SUCCESS"
    listed = (await shop.get("/v1/payments", buyer_id=buyer)).json()["data"]
    assert [one["id"] for one in listed] == [again["id"]]


async def test_what_is_kept_for_a_time_goes_after_it_and_no_event_counts_twice(shop: Shop) -> None:
    paysaga = shop.paysaga
    done, kept = await shop.paid(shop.checkout()), await shop.paid(shop.checkout(), confirm=False)
    await shop.until(done["id"])
    reference = await shop.reference(done["id"])
    await paysaga.sandbox.refund_by_hand(reference, 5000)
    query = "SELECT event_id, status, note, payload FROM webhook_inbox WHERE payment_id = $1 AND kind = 'refund'"

    async def events() -> list[Any]:
        rows = await paysaga.sql(query + " ORDER BY id", done["id"])
        return rows if rows and all(row["status"] == "PROCESSED" for row in rows) else []

    stored = await eventually(events, what="the events of the refund")
    old = "now() - interval '91 days'"
    await paysaga.sql(f"UPDATE webhook_inbox SET received_at = {old} WHERE payment_id = $1", done["id"])
    await paysaga.sql(f"UPDATE idempotency_key SET created_at = {old} WHERE tenant_id = $1", shop.tenant)
    assert (await typed(shop, "sweep")).code == 0

    after = await events()
    assert [tuple(row)[:3] for row in after] == [tuple(row)[:3] for row in stored]
    assert {row["payload"] for row in after} == {"{}"}
    keys = {row["object_id"] for row in await paysaga.sql("SELECT object_id FROM idempotency_key")}
    assert done["id"] not in keys
    assert kept["id"] in keys, "the payment is open"

    # Taken for new, it would be the second refund that the PSP made.
    thing = {"object": "refund", "id": "re_again", "payment_intent": reference, "amount": 5000, "currency": "inr"}
    again = event_of(thing, id=stored[0]["event_id"], type="refund.created")
    assert (await deliver(shop, again)).status_code == 200
    assert await events() == after
    assert len((await shop.explain(done["id"]))["refunds"]) == 1
    assert await audit(paysaga.database) == []
