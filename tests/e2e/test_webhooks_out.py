"""Webhooks reach shops: signed, in order, again after failures; and who does not answer keeps nobody else waiting."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from services.webhook_delivery import claim
from tests.support.eventually import eventually
from tests.support.receiver import Got, Receiver, hang
from tests.support.shop import Shop


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as made:
        yield made


async def fanned_out(shop: Shop) -> None:
    """What came before has gone its way."""

    async def over() -> bool:
        return not await shop.paysaga.sql("SELECT FROM outbox_todo WHERE sink = 2")

    await eventually(over)


async def endpoint(shop: Shop, url: str, *types: str) -> dict[str, Any]:
    await fanned_out(shop)
    answer = await shop.post("/v1/webhook-endpoints", {"url": url, "types": list(types)})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def got(receiver: Receiver, count: int) -> None:
    async def enough() -> bool:
        return len(receiver.got) >= count

    await eventually(enough, what=f"{count} webhooks")


async def deliveries(shop: Shop, endpoint_id: str, **filters: str) -> list[dict[str, Any]]:
    found = (await shop.get(f"/v1/webhook-endpoints/{endpoint_id}/deliveries", **filters)).raise_for_status().json()
    rows: list[dict[str, Any]] = found["data"]
    return rows


async def until(shop: Shop, delivery_id: str, status: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        row: dict[str, Any] = (await shop.get(f"/v1/webhook-deliveries/{delivery_id}")).raise_for_status().json()
        return row if row["status"] == status else None

    return await eventually(there, what=f"{delivery_id} {status}")


async def due(shop: Shop, endpoint_id: str) -> None:
    """Time passes: whatever waits is due, and the endpoint may be probed."""
    await shop.paysaga.sql(
        "UPDATE webhook_delivery SET next_attempt_at = now() WHERE endpoint_id = $1 AND status = 'PENDING'", endpoint_id
    )
    await shop.paysaga.sql(
        "UPDATE webhook_endpoint SET held_until = now() WHERE id = $1 AND failures >= 5", endpoint_id
    )


async def test_a_payment_is_told_signed_and_in_order(shop: Shop, receiver: Receiver) -> None:
    made = await endpoint(shop, receiver.url())
    payment = await shop.paid(shop.checkout())
    await got(receiver, 4)
    assert receiver.of(payment["id"]) == ["payment.created", "payment.succeeded"]
    assert receiver.of(payment["payment_orders"][0]["id"]) == ["payment_order.created", "payment_order.success"]
    numbers = [one.body["sequence"] for one in receiver.got if one.body["object_id"] == payment["id"]]
    assert numbers == sorted(numbers)
    for one in receiver.got:
        assert one.signed_by(made["secret"])
        assert one.headers["webhook-id"] == one.body["id"]
        assert one.headers["content-type"] == "application/json"
    (told,) = [one.body for one in receiver.got if one.body["type"] == "payment.succeeded"]
    assert (told["data"]["amount"], told["data"]["status"]) == ("500.00", "SUCCESS")
    row = next(row for row in await deliveries(shop, made["id"]) if row["event_id"] == told["id"])
    (tried,) = (await until(shop, row["id"], "DELIVERED"))["tries"]
    assert (tried["status_code"], tried["response"], tried["error"]) == (200, "thanks", None)


async def test_only_the_types_that_are_wanted(shop: Shop, receiver: Receiver) -> None:
    made = await endpoint(shop, receiver.url(), "payment.succeeded")
    await shop.paid(shop.checkout())
    (await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")).raise_for_status()
    await got(receiver, 2)
    assert sorted(receiver.types()) == ["payment.succeeded", "webhook_endpoint.test"]


async def test_a_replaced_secret_signs_for_a_day(shop: Shop, receiver: Receiver) -> None:
    made = await endpoint(shop, receiver.url())
    path = f"/v1/webhook-endpoints/{made['id']}"
    new = (await shop.post(f"{path}/rotate")).raise_for_status().json()["secret"]
    await shop.post(f"{path}/test")
    await got(receiver, 1)
    assert receiver.got[0].signed_by(made["secret"])
    assert receiver.got[0].signed_by(new)
    await shop.paysaga.sql("UPDATE webhook_endpoint SET old_secret_until = now() WHERE id = $1", made["id"])
    await shop.post(f"{path}/test")
    await got(receiver, 2)
    assert not receiver.got[1].signed_by(made["secret"])
    assert receiver.got[1].signed_by(new)


async def test_what_fails_is_tried_again_and_given_up_at_last(shop: Shop, receiver: Receiver) -> None:
    async def refuse(_: Got) -> web.Response:
        return web.Response(status=500, text="\0no")

    receiver.reply = refuse
    made = await endpoint(shop, receiver.url())
    (await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")).raise_for_status()
    await got(receiver, 1)
    (row,) = await deliveries(shop, made["id"])

    async def failed() -> bool:
        (now,) = await deliveries(shop, made["id"])
        return bool(now["attempts"] == 1)

    await eventually(failed)
    await shop.paysaga.sql("UPDATE webhook_delivery SET attempts = 10 WHERE id = $1", row["id"])
    await due(shop, made["id"])
    dead = await until(shop, row["id"], "DEAD")
    assert [(one["n"], one["status_code"]) for one in dead["tries"]] == [(1, 500), (2, 500)]
    assert dead["tries"][0]["response"] == "\N{REPLACEMENT CHARACTER}no"
    query = "SELECT status, error_class, attempts, tenant_id FROM dead_letter WHERE ref_id = $1"
    (letter,) = await shop.paysaga.sql(query, row["id"])
    assert tuple(letter) == ("OPEN", "http_500", 11, shop.tenant)
    receiver.reply = None
    (await shop.post(f"/v1/webhook-deliveries/{row['id']}/resend")).raise_for_status()
    await until(shop, row["id"], "DELIVERED")
    assert (await shop.paysaga.sql(query, row["id"]))[0]["status"] == "REPLAYED"
    assert receiver.got[-1].headers["webhook-id"] == receiver.got[0].headers["webhook-id"]


async def test_one_that_hangs_keeps_nobody_waiting(shop: Shop, receiver: Receiver) -> None:
    async with Receiver() as hanging:
        hanging.reply = hang
        await endpoint(shop, hanging.url())
        await endpoint(shop, receiver.url())
        payments = [await shop.paid(shop.checkout()) for _ in range(3)]
        await got(receiver, 12)
        assert all(receiver.of(one["id"]) == ["payment.created", "payment.succeeded"] for one in payments)
        assert len(hanging.got) == 4, "so many at once"


async def test_an_object_at_which_it_hangs_keeps_no_other_object_waiting(shop: Shop, receiver: Receiver) -> None:
    stuck: list[str] = []

    async def reply(one: Got) -> web.StreamResponse:
        object_id = one.body["object_id"]
        stuck.extend([] if stuck else [object_id])
        return await hang(one) if object_id in stuck else web.Response()

    receiver.reply = reply
    await endpoint(shop, receiver.url(), "payment.created", "payment.succeeded")
    payments = [(await shop.paid(shop.checkout()))["id"] for _ in range(3)]
    await got(receiver, 5)
    assert receiver.of(stuck[0]) == ["payment.created"]
    for other in set(payments) - {*stuck}:
        assert receiver.of(other) == ["payment.created", "payment.succeeded"]


async def test_an_object_whose_event_fails_waits_and_others_do_not(shop: Shop, receiver: Receiver) -> None:
    first = await shop.paid(shop.checkout())
    stuck: list[str] = []

    async def refuse(one: Got) -> web.Response:
        ours = one.body["object_id"] == first["id"]
        stuck.extend([one.body["type"]] if ours else [])
        return web.Response(status=503 if ours and len(stuck) == 1 else 200)

    receiver.reply = refuse
    made = await endpoint(shop, receiver.url(), "payment.created", "payment.succeeded")
    since = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    answer = await shop.post(f"/v1/webhook-endpoints/{made['id']}/replay", since)
    assert answer.json()["deliveries"] == 2
    await got(receiver, 1)
    second = await shop.paid(shop.checkout())
    await got(receiver, 3)
    assert receiver.of(second["id"]) == ["payment.created", "payment.succeeded"]
    assert receiver.of(first["id"]) == ["payment.created"]
    await due(shop, made["id"])
    await got(receiver, 5)
    assert receiver.of(first["id"]) == ["payment.created", "payment.created", "payment.succeeded"]


async def test_an_event_waits_ten_minutes_for_one_that_fails(shop: Shop, receiver: Receiver) -> None:
    async def refuse(one: Got) -> web.Response:
        return web.Response(status=500 if one.body["type"] == "payment.created" else 200, headers={"Retry-After": "60"})

    receiver.reply = refuse
    made = await endpoint(shop, receiver.url(), "payment.created", "payment.succeeded")
    await shop.paid(shop.checkout())

    async def second() -> str | None:
        rows = {row["type"]: row for row in await deliveries(shop, made["id"])}
        waits = len(rows) == 2 and rows["payment.created"]["attempts"] >= 1
        return str(rows["payment.succeeded"]["id"]) if waits else None

    waiting = await eventually(second)
    assert set(receiver.types()) == {"payment.created"}
    await shop.paysaga.sql(
        "UPDATE webhook_delivery SET created_at = created_at - interval '10 minutes' WHERE id = $1", waiting
    )
    await until(shop, waiting, "DELIVERED")
    assert (await deliveries(shop, made["id"], status="PENDING"))[0]["type"] == "payment.created"


async def test_one_that_was_down_for_days_gets_everything_in_order(shop: Shop, receiver: Receiver) -> None:
    down = True

    async def reply(_: Got) -> web.Response:
        return web.Response(status=502 if down else 200)

    receiver.reply = reply
    made = await endpoint(shop, receiver.url())
    payments = [(await shop.paid(shop.checkout()))["id"] for _ in range(3)]

    async def held() -> bool:
        return bool((await shop.get(f"/v1/webhook-endpoints/{made['id']}")).json()["failures"] >= 5)

    async def passing() -> bool:
        await due(shop, made["id"])
        return await held()

    await eventually(passing, what="failures")
    two_days = "created_at = created_at - interval '2 days'"
    await shop.paysaga.sql(f"UPDATE webhook_delivery SET {two_days} WHERE endpoint_id = $1", made["id"])
    down = False
    receiver.got.clear()
    await shop.paysaga.sql("UPDATE webhook_endpoint SET held_until = now() WHERE id = $1", made["id"])
    await due(shop, made["id"])
    await got(receiver, 12)
    for payment_id in payments:
        assert receiver.of(payment_id) == ["payment.created", "payment.succeeded"]
    assert len({one.headers["webhook-id"] for one in receiver.got}) == len(receiver.got) == 12


async def test_gone_disables_and_a_replay_sends_what_was_skipped(shop: Shop, receiver: Receiver) -> None:
    async def gone(_: Got) -> web.Response:
        return web.Response(status=410)

    receiver.reply = gone
    made = await endpoint(shop, receiver.url(), "payment.created")
    path = f"/v1/webhook-endpoints/{made['id']}"
    payment = await shop.paid(shop.checkout())

    async def disabled() -> bool:
        now = (await shop.get(path)).json()
        return (now["status"], now["disabled_because"]) == ("DISABLED", "gone")

    await eventually(disabled)
    (skipped,) = await deliveries(shop, made["id"])
    assert skipped["status"] == "SKIPPED"
    assert (await shop.post(f"{path}/test")).json()["code"] == "endpoint_disabled"
    unsent = await shop.paid(shop.checkout())
    await fanned_out(shop)
    receiver.reply = None
    receiver.got.clear()
    enabled = await shop.paysaga.http.patch(path, json={"status": "ENABLED"}, headers=shop.headers)
    assert enabled.json()["status"] == "ENABLED"
    since = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    assert (await shop.post(f"{path}/replay", since)).json()["deliveries"] == 2
    await got(receiver, 2)
    assert [one.body["object_id"] for one in receiver.got] == [payment["id"], unsent["id"]]
    assert (await shop.post(f"{path}/replay", since)).json()["deliveries"] == 0


async def test_five_days_of_failures_disable(shop: Shop, receiver: Receiver) -> None:
    async def refuse(_: Got) -> web.Response:
        return web.Response(status=500)

    receiver.reply = refuse
    made = await endpoint(shop, receiver.url())
    await shop.paysaga.sql(
        "UPDATE webhook_endpoint SET failures = 3, failing_since = now() - interval '5 days' WHERE id = $1", made["id"]
    )
    await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")

    async def disabled() -> bool:
        return bool((await shop.get(f"/v1/webhook-endpoints/{made['id']}")).json()["disabled_because"] == "failing")

    await eventually(disabled)
    (row,) = (await shop.get("/v1/audit-log", object_id=made["id"], action="webhook_endpoint.disable")).json()["data"]
    assert (row["actor"], row["detail"]["because"]) == ("paysaga", "failing")


async def test_redirects_are_not_followed(shop: Shop, receiver: Receiver) -> None:
    async def elsewhere(_: Got) -> web.Response:
        return web.Response(status=302, headers={"Location": receiver.url("/other")})

    receiver.reply = elsewhere
    made = await endpoint(shop, receiver.url())
    await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")

    async def tried() -> list[Any]:
        (row,) = await deliveries(shop, made["id"])
        found: list[Any] = (await shop.get(f"/v1/webhook-deliveries/{row['id']}")).json()["tries"]
        return found

    (one,) = await eventually(tried)
    assert (one["status_code"], one["error"]) == (302, "redirects are not followed")
    assert [request.path for request in receiver.got] == ["/hooks"]


async def test_a_killed_worker_s_deliveries_are_sent_by_the_next(shop: Shop, receiver: Receiver) -> None:
    paysaga, waiting = shop.paysaga, asyncio.Event()

    async def slow(_: Got) -> web.StreamResponse:
        waiting.set()
        return await hang(_)

    receiver.reply = slow
    made = await endpoint(shop, receiver.url())
    await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")
    async with asyncio.timeout(30):
        await waiting.wait()
    await paysaga.worker.kill()
    receiver.reply = None
    await paysaga.sql(
        "UPDATE webhook_delivery SET claimed_until = now() WHERE endpoint_id = $1 AND status = 'PENDING'", made["id"]
    )  # half a minute later
    await paysaga.start_worker()
    await got(receiver, 2)
    (row,) = await deliveries(shop, made["id"])
    assert len((await until(shop, row["id"], "DELIVERED"))["tries"]) == 1
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 1


async def test_many_workers_take_none_twice_and_four_at_once(shop: Shop, receiver: Receiver) -> None:
    receiver.reply = hang
    made = await endpoint(shop, receiver.url())
    ids = [(await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")).json()["id"] for _ in range(4)]
    await got(receiver, 4)
    await shop.paysaga.sql("UPDATE webhook_delivery SET claimed_until = NULL WHERE id = ANY($1)", ids)
    for _ in range(4):
        await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")
    claims = await asyncio.gather(*(claim(shop.paysaga.database, 10) for _ in range(4)))
    taken = [one.id for rows in claims for one in rows if one.endpoint_id == made["id"]]
    assert len(taken) == len(set(taken)) <= 4
    (row,) = await shop.paysaga.sql(
        "SELECT count(*) FROM webhook_delivery WHERE endpoint_id = $1 AND claimed_until > now()", made["id"]
    )
    assert row["count"] == 4


async def test_another_tenant_s_endpoint_is_not_there(shop: Shop, receiver: Receiver) -> None:
    made = await endpoint(shop, receiver.url())
    other = await shop.paysaga.shop(f"other-{secrets.token_hex(5)}")
    await other.paid(other.checkout())
    assert (await other.get(f"/v1/webhook-endpoints/{made['id']}")).json()["code"] == "endpoint_not_found"
    (await shop.post(f"/v1/webhook-endpoints/{made['id']}/test")).raise_for_status()
    await got(receiver, 1)
    assert receiver.types() == ["webhook_endpoint.test"]
    (row,) = await deliveries(shop, made["id"])
    assert (await other.get(f"/v1/webhook-deliveries/{row['id']}")).json()["code"] == "delivery_not_found"
