"""What failed for good is one dead letter, and is tried again once the cause is gone. Events that the broker refuses
are in `test_events.py`."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from db.audit.audit import audit_database
from tests.audit.command import paysaga_command
from tests.e2e.test_cancel import forget, marked, sweep
from tests.e2e.test_webhooks_out import due, endpoint, until
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.receiver import Got, Receiver
from tests.support.shop import Shop

Letter = dict[str, Any]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as made:
        yield made


async def letters(shop: Shop, **filters: str) -> list[Letter]:
    found: list[Letter] = (await shop.get("/v1/dead-letters", **filters)).raise_for_status().json()["data"]
    return found


async def waiting(shop: Shop) -> str:
    """The id of a payment that waits for its PSP."""
    payment = await shop.paid(shop.checkout(), "pm_upi_processing")
    return str((await shop.until(payment["id"], "PENDING"))["id"])


async def completed(shop: Shop, payment_id: str) -> None:
    await shop.paysaga.sandbox.steer(await shop.reference(payment_id), "complete_processing")
    await shop.until(payment_id, "SUCCESS")


# --- deliveries to a shop ---


async def died(shop: Shop, receiver: Receiver, count: int) -> list[Letter]:
    """Test events at an endpoint that refused them until there was no try left."""

    async def refuse(_: Got) -> web.Response:
        return web.Response(status=500)

    receiver.reply = refuse
    made = await endpoint(shop, receiver.url())
    for _ in range(count):
        (await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")).raise_for_status()
    await shop.paysaga.sql("UPDATE webhook_delivery SET attempts = 10 WHERE endpoint_id = $1", made["id"])

    async def all_dead() -> list[Letter] | None:
        await due(shop, made["id"])
        found = await letters(shop, source="webhook_deliveries", status="OPEN")
        return found if len(found) == count else None

    found = await eventually(all_dead, what=f"{count} dead letters")
    receiver.reply = None
    receiver.got.clear()
    return found


async def test_many_deliveries_by_filter(shop: Shop, receiver: Receiver) -> None:
    """Counted first, then some of them, then the rest; a repetition of a request does nothing more."""
    dead = await died(shop, receiver, 3)
    assert {one["error_class"] for one in dead} == {"http_500"}
    (count,) = (await shop.get("/v1/dead-letters/counts")).json()["data"]
    assert (count["source"], count["error_class"], count["open"]) == ("webhook_deliveries", "http_500", 3)

    async def replay(key: str | None = None, **body: Any) -> dict[str, Any]:
        answer = await shop.post("/v1/dead-letter-replays", body, key=key)
        done: dict[str, Any] = answer.raise_for_status().json()
        return done

    counted = await replay(dry_run=True)
    assert (counted["id"], counted["matching"], counted["replayed"], counted["left"]) == (None, 3, 0, 3)
    assert (await replay(error_class="http_503"))["matching"] == 0
    for _ in range(2):
        some = await replay("some", source="webhook_deliveries", limit=2, rate_per_s=100)
        assert (some["replayed"], some["refused"], some["left"]) == (2, 0, 1)
    for letter in sorted(dead, key=lambda one: str(one["id"]))[:2]:
        await until(shop, letter["ref_id"], "DELIVERED")
    (rest,) = await letters(shop, status="OPEN")
    assert rest["id"] == dead[0]["id"], "the oldest first"

    path = f"/v1/webhook-endpoints/{(await until(shop, rest['ref_id'], 'DEAD'))['endpoint_id']}"
    await shop.paysaga.http.patch(path, json={"status": "DISABLED"}, headers=shop.headers)
    assert ((await replay())["refused"], [one["id"] for one in await letters(shop, status="OPEN")]) == (1, [rest["id"]])
    await shop.paysaga.http.patch(path, json={"status": "ENABLED"}, headers=shop.headers)
    assert (await replay())["left"] == 0
    await until(shop, rest["ref_id"], "DELIVERED")
    told = [(one["action"], one["object_id"]) for one in (await shop.get("/v1/audit-log")).json()["data"]]
    assert told.count(("dead_letter.replay", rest["id"])) == 1
    assert sum(action == "dead_letter.replay_many" for action, _ in told) == 4


# --- workflows ---


async def told(shop: Shop, payment_id: str) -> str:
    """An event of the PSP's about the payment that nobody could use nineteen times."""
    inbox_id = f"whk_{secrets.token_hex(13)}"
    await shop.paysaga.sql(
        "INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, reference, payment_id, charge_id,"
        " status, attempts, note)"
        " SELECT $1, tenant_id, 'stripe', 'evt_' || $1, 'payment_intent.processing', '{}', reference, payment_id, id,"
        " 'RECEIVED', 19, 'failed: KeyError' FROM charge WHERE payment_id = $2",
        inbox_id,
        payment_id,
    )
    return inbox_id


async def test_a_workflow_and_a_webhook_that_fail_for_good(paysaga: Deployment, shop: Shop) -> None:
    """The workflow gets nowhere, so nobody takes notice of the event; both are tried again in one request."""
    payment_id = await waiting(shop)
    await forget(shop, f"payment:{payment_id}")
    await marked(paysaga, f"payment:{payment_id}")  # without a sweep, whose messages begin the count of failures anew

    async def found() -> tuple[str, dict[str, Letter]] | None:
        """A look of the workflow that was ended may still be under way, and takes notice of what has come by then."""
        inbox_id = await told(shop, payment_id)
        await sweep(paysaga)
        both = {one["source"]: one for one in await letters(shop, status="OPEN", object_id=payment_id)}
        return (inbox_id, both) if len(both) == 2 else None

    inbox_id, both = await eventually(found, what="two dead letters")
    workflow, webhook = both["workflows"], both["webhooks"]
    assert (workflow["ref_id"], workflow["error_class"]) == (f"payment:{payment_id}", "task_failing")
    assert "NotFound" in workflow["error"], "the type of the error"
    assert (webhook["ref_id"], webhook["attempts"], webhook["error_class"]) == (inbox_id, 20, "failed")
    assert webhook["links"] == workflow["links"] == [f"/v1/payments/{payment_id}"]
    assert ("payment_intent.processing" in webhook["error"], "KeyError" in webhook["error"]) == (True, True)
    shown = (await shop.get(f"/v1/dead-letters/{webhook['id']}")).json()["payload"]
    assert (shown["event_id"], shown["type"]) == (f"evt_{inbox_id}", "payment_intent.processing")
    tasks = (await paysaga_command(paysaga.environment(), "tasks")).out
    assert f"`paysaga dead-letters list --object {payment_id}`" in tasks
    assert "`paysaga dead-letters list`" in tasks
    assert [one for one in await audit_database(paysaga.database) if one.tenant_id == shop.tenant] == []

    done = await shop.post("/v1/dead-letter-replays", {"object_id": payment_id})
    assert (done.json()["replayed"], done.json()["left"]) == (2, 0)

    async def used() -> bool:
        await sweep(paysaga)
        (row,) = await paysaga.sql("SELECT status FROM webhook_inbox WHERE id = $1", inbox_id)
        return bool(row["status"] == "PROCESSED")

    await eventually(used, what="the event is taken notice of")
    await completed(shop, payment_id)
    await sweep(paysaga)
    assert (await shop.explain(payment_id))["tasks"] == []
    assert [one["status"] for one in await letters(shop)] == ["REPLAYED", "REPLAYED"]


async def test_a_workflow_that_ends_badly_again_and_again(paysaga: Deployment, shop: Shop) -> None:
    payment_id = await waiting(shop)
    handle = paysaga.temporal.get_workflow_handle(f"payment:{payment_id}")
    for _ in range(3):
        await handle.terminate("by an operator's mistake")

        async def runs() -> bool:
            await sweep(paysaga)
            return bool((await handle.describe()).status.name == "RUNNING")  # type: ignore[union-attr]

        await eventually(runs, what="the sweeper starts it again")

    async def found() -> list[Letter]:
        await sweep(paysaga)
        return await letters(shop, source="workflows", status="OPEN")

    (letter,) = await eventually(found, what="a dead letter")
    assert (letter["error_class"], letter["attempts"], letter["object_id"]) == ("terminated", 3, payment_id)
    path = f"/v1/dead-letters/{letter['id']}"
    body = {"reason": "An operator had mistaken it for another one."}
    discarded = (await shop.post(f"{path}/discard", body)).raise_for_status().json()
    assert (discarded["status"], discarded["reason"]) == ("DISCARDED", body["reason"])
    assert (await shop.post(f"{path}/replay")).json()["code"] == "dead_letter_closed"
    await sweep(paysaga)
    assert [one["status"] for one in await letters(shop)] == ["DISCARDED"], "it is not told of again"
    await completed(shop, payment_id)
