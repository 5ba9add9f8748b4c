"""Events reach the broker: each transition's, in order per object, whatever is killed on the way."""

import asyncio
import csv
import io
import json
import os
import secrets
import signal
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from domain.event_types import event_types
from embedded.errors import StackError
from embedded.ports import free_port
from embedded.stack import EmbeddedStack
from gateways.brokers.registry import open_broker
from services.command import Caller
from services.event import Comparison, replay, verify
from services.ledger import seal_all
from tests.audit.command import paysaga_command
from tests.conftest import PATIENT
from tests.support.broker import forget, held_to_their_order, published, repeat, unread
from tests.support.deployment import Deployment, Process
from tests.support.eventually import eventually
from tests.support.programs import Program
from tests.support.servers import own_broker
from tests.support.shop import Shop

OTHER_METRICS = free_port()


@pytest.fixture(scope="module")
async def broker(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    async with own_broker(servers, tmp_path_factory.mktemp("broker")) as stack:
        yield stack


@pytest.fixture(scope="module")
async def paysaga(broker: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Its worker leads the relay, or the other one does."""
    name = f"events{secrets.token_hex(3)}"
    events = {"events_url": broker.settings.events_url, "worker_metrics_port": free_port()}
    async with Deployment(broker, tmp_path_factory.mktemp("events"), name, **PATIENT, **events) as deployment:
        alone = {"PAYSAGA_WORKER_METRICS_PORT": str(OTHER_METRICS)}
        other = Process("workers", deployment.environment() | alone, deployment.folder / "other.log")
        await other.start()
        yield deployment
        await other.stop()


def url_of(paysaga: Deployment) -> str:
    assert paysaga.settings.events_url is not None, "set above"
    return paysaga.settings.events_url.get_secret_value()


async def all_out(paysaga: Deployment) -> bool:
    return not await paysaga.sql("SELECT FROM outbox_todo")


async def events_of(shop: Shop) -> list[dict[str, Any]]:
    """Once the relay has nothing left to do: what the broker has, held to what the outbox has."""
    paysaga = shop.paysaga
    await eventually(lambda: all_out(paysaga), what="the relay")
    found = await published(url_of(paysaga), shop.tenant)
    written = await paysaga.sql("SELECT id FROM outbox WHERE tenant_id = $1", shop.tenant)
    assert {event["id"] for event in found} == {row["id"] for row in written}
    return found


async def test_each_step_is_told_in_order(paysaga: Deployment) -> None:
    shop = await paysaga.shop("told")
    paid = await shop.paid(shop.checkout(), orders=[("anna", "100.00"), ("bo", "20.00")])
    declined = await shop.paid(shop.checkout(), "pm_card_chargeDeclined")
    waiting = await shop.paid(shop.checkout(), "pm_card_authenticationRequired")
    await shop.post(f"/v1/payments/{waiting['id']}/cancel")
    await shop.until(waiting["id"], "CANCELLED")
    order = paid["payment_orders"][0]["id"]
    refund = (await shop.post(f"/v1/payments/{paid['id']}/refunds", {"payment_order_id": order})).json()

    async def refunded() -> bool:
        return bool((await shop.get(f"/v1/refunds/{refund['id']}")).json()["status"] == "SUCCEEDED")

    await eventually(refunded)
    found = await events_of(shop)
    types = held_to_their_order(found)
    assert types[paid["id"]] == ["payment.created.v1", "payment.succeeded.v1"]
    assert types[order] == ["payment_order.created.v1", "payment_order.success.v1"]
    assert types[declined["id"]] == ["payment.created.v1", "payment.failed.v1"]
    assert types[waiting["id"]] == [
        "payment.created.v1", "payment.requires_action.v1", "payment.cancelled.v1",
    ]  # fmt: skip
    assert types[refund["id"]][0] == "refund.requested.v1"
    assert types[refund["id"]][-1] == "refund.succeeded.v1"
    catalogue = {one.cloud_type: one for one in event_types().values()}
    for event in found:
        one = catalogue[event["type"]]
        jsonschema.validate(event["data"], one.schema())
        assert (event["specversion"], event["source"]) == ("1.0", f"/paysaga/{shop.tenant}")
        assert (event["dataschema"], event["partitionkey"]) == (one.dataschema, event["subject"])
    done = next(e for e in found if e["subject"] == paid["id"] and e["data"]["is_payment_done"])
    assert (done["data"]["amount"], len(done["data"]["payment_orders"])) == ("120.00", 2)


async def test_a_leader_is_killed_and_another_goes_on(paysaga: Deployment) -> None:
    shop = await paysaga.shop("killed")

    async def pay() -> None:
        for _ in range(6):
            await shop.paid(shop.checkout(), wait=0)

    async def kill() -> None:
        await paysaga.worker.kill()
        await paysaga.start_worker()

    await asyncio.gather(pay(), kill())
    await paysaga.worker.kill()
    payments = [row["id"] for row in await paysaga.sql("SELECT id FROM payment WHERE tenant_id = $1", shop.tenant)]
    assert len(payments) == 6
    for payment_id in payments:
        await shop.until(payment_id, "SUCCESS")
    types = held_to_their_order(await events_of(shop))
    assert all(types[payment_id] == ["payment.created.v1", "payment.succeeded.v1"] for payment_id in payments)
    await paysaga.start_worker()


async def killed(broker: EmbeddedStack) -> None:
    """The server that runs, or will in a moment; its supervisor starts it again."""

    async def running() -> int | None:
        with suppress(StackError):
            return broker.pid_of("broker")
        return None

    os.kill(await eventually(running, what="the broker"), signal.SIGKILL)


async def test_a_broker_is_killed_and_payments_go_on(paysaga: Deployment, broker: EmbeddedStack) -> None:
    shop = await paysaga.shop("away")
    payments = []
    for _ in range(2):
        await killed(broker)
        payments += [(await shop.paid(shop.checkout()))["id"] for _ in range(4)]
    types = held_to_their_order(await events_of(shop))
    assert all(types[payment_id] == ["payment.created.v1", "payment.succeeded.v1"] for payment_id in payments)


async def test_a_gap_is_found_and_filled(paysaga: Deployment, broker: EmbeddedStack) -> None:
    shop = await paysaga.shop("gap")
    since = datetime.now(UTC) - timedelta(minutes=1)
    payment = await shop.paid(shop.checkout())
    lost = next(event for event in await events_of(shop) if event["type"].endswith("payment.succeeded.v1"))
    until = datetime.now(UTC)  # payments that other tests left open may still have events
    await forget(url_of(paysaga), lost["id"])

    async def compare() -> Comparison:
        return await verify(paysaga.database, open_broker(url_of(paysaga)), since, until)

    found = await compare()
    assert [one.id for one in found.examples] == [lost["id"]]
    assert (found.missing, found.waiting, found.examples[0].object_id) == (1, 0, payment["id"])
    # For two minutes the server knows the ids that it was given, also of what was deleted; not across its own death.
    await killed(broker)
    assert await replay(paysaga.database, Caller("tester"), since, until) == found.events
    await eventually(lambda: all_out(paysaga), what="the relay")
    assert (await compare()).missing == 0
    held_to_their_order(await events_of(shop))


async def test_what_the_broker_refuses_is_a_dead_letter_and_the_others_go_on(
    paysaga: Deployment, broker: EmbeddedStack
) -> None:
    """Replayed while the broker is as it was it is refused again; and is published once that takes more."""
    shop = await paysaga.shop("poison")
    await paysaga.sql(
        "INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)"
        " VALUES ('evt_poison', $1, 'task.opened', 1, 'task_x', to_jsonb(repeat('x', 1100000)), now())",
        shop.tenant,
    )
    payment = await shop.paid(shop.checkout())
    (first,) = await letters_of(shop, 1)
    (event,) = await paysaga.sql("SELECT seq FROM outbox WHERE id = 'evt_poison'")
    assert (first["source"], first["ref_id"], first["object_id"]) == ("events", str(event["seq"]), "task_x")
    assert (first["attempts"], first["status"], "max_payload" in first["error"]) == (5, "OPEN", True)
    await shop.until(payment["id"], "SUCCESS")
    await eventually(lambda: all_out(paysaga), what="the relay")
    types = held_to_their_order(await published(url_of(paysaga), shop.tenant))
    assert types[payment["id"]] == ["payment.created.v1", "payment.succeeded.v1"]
    detail = (await shop.get(f"/v1/dead-letters/{first['id']}")).json()
    assert (detail["payload"]["event_id"], detail["payload"]["data"]) == ("evt_poison", None)
    assert detail["payload"]["bytes"] > 1_100_000, "too large to be shown"

    await eventually(lambda: is_counted(paysaga), what="the metric")
    assert (await replay_letter(shop, first["id"]))["status"] == "REPLAYED"
    second, _ = await letters_of(shop, 2)
    assert (second["id"] != first["id"], second["status"], second["ref_id"]) == (True, "OPEN", first["ref_id"])
    with (broker.home.run / "nats.conf").open("a") as config:
        config.write("max_payload: 4MB\n")
    await killed(broker)
    assert (await replay_letter(shop, second["id"]))["actor"].startswith("key_")
    assert "evt_poison" in {event["id"] for event in await events_of(shop)}
    assert [one["status"] for one in await letters_of(shop, 2)] == ["REPLAYED", "REPLAYED"]


async def is_counted(paysaga: Deployment) -> bool:
    """By whichever worker leads."""
    pages = [
        (await paysaga.http.get(f"http://127.0.0.1:{port}/metrics")).text
        for port in (paysaga.settings.worker_metrics_port, OTHER_METRICS)
    ]
    return any('paysaga_dead_letters_open{source="events"} 1.0' in page for page in pages)


async def letters_of(shop: Shop, count: int) -> list[dict[str, Any]]:
    """All of a shop, the newest first, once there are so many."""

    async def enough() -> list[dict[str, Any]] | None:
        found = (await shop.get("/v1/dead-letters")).raise_for_status().json()["data"]
        return found if len(found) == count else None

    return await eventually(enough, what=f"{count} dead letters")


async def replay_letter(shop: Shop, letter_id: str) -> dict[str, Any]:
    done: dict[str, Any] = (await shop.post(f"/v1/dead-letters/{letter_id}/replay")).raise_for_status().json()
    return done


# --- consumers ---


def totals(path: Path) -> tuple[int, str]:
    """The payments that a consumer has counted, and their sum."""
    database = sqlite3.connect(path)
    found = database.execute("SELECT payments, amount FROM total").fetchall()
    database.close()
    return found[0] if found else (0, "0")


async def test_a_consumer_that_is_killed_between_commit_and_acknowledgement_counts_exactly(
    paysaga: Deployment, broker: EmbeddedStack, tmp_path: Path
) -> None:
    shop = await paysaga.shop("counted")
    for _ in range(3):
        await shop.paid(shop.checkout())
    await events_of(shop)
    path = tmp_path / "totals.db"
    place = ("--url", url_of(paysaga), "--tenant", shop.tenant, "--name", shop.tenant)
    words = (*place, "--database", str(path), "--again-after", "0.2")

    async def start(module: str) -> Program:
        return await asyncio.to_thread(Program, module, *words, env=os.environ, out=tmp_path / "log")

    for _ in range(2):
        dying = await start("tests.support.dying_consumer")
        assert await dying.ended() == -signal.SIGKILL
        assert totals(path) == (3, "1500.00")
    consumer = await start("examples.consumer.consumer")
    await repeat(url_of(paysaga), shop.tenant)
    await killed(broker)
    await shop.paid(shop.checkout())
    found = await events_of(shop)
    assert len(found) > len({event["id"] for event in found})

    async def read() -> bool:
        with suppress(OSError):
            return await unread(url_of(paysaga), shop.tenant) == 0
        return False

    await eventually(read, what="the consumer")
    consumer.send(signal.SIGTERM)
    assert await consumer.ended() == 0
    assert totals(path) == (4, "2000.00")


async def test_the_accounting_export_adds_up_to_the_trial_balance(paysaga: Deployment, tmp_path: Path) -> None:
    shop = await paysaga.shop("books")
    since = datetime.now(UTC) - timedelta(minutes=1)
    books: list[dict[Path, str]] = []
    for currency, amount in (("INR", "100.00"), ("JPY", "5000")):
        payment = await shop.paid(shop.checkout(), orders=[("anna", amount), ("bo", amount)], currency=currency)
        order = payment["payment_orders"][0]["id"]
        (await shop.refund(payment["id"], payment_order_id=order, wait=20)).raise_for_status()
        await seal_all(paysaga.database, lambda *_: None)
        await replay(paysaga.database, Caller("tester"), since, datetime.now(UTC))
        await eventually(lambda: all_out(paysaga), what="the relay")
        books.append(await exported(paysaga, tmp_path / "books", shop.tenant))
        said = await paysaga_command(
            paysaga.environment(), "ledger", "trial-balance", "--tenant", shop.tenant, "--csv", "-"
        )
        expected = {
            (row["account"], row["currency"]): Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
            for row in csv.DictReader(io.StringIO(said.out))
        }
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for text in (text for path, text in books[-1].items() if path.suffix == ".jsonl"):
            for line in map(json.loads, text.splitlines()):
                assert line["at"].startswith(datetime.now(UTC).strftime("%Y-%m-"))
                sums[line["account"], line["currency"]] += Decimal(line["amount"])
        assert sums == {key: amount for key, amount in expected.items() if amount or key in sums}
        (table,) = (text for path, text in books[-1].items() if path.suffix == ".csv")
        assert {
            (row["account"], row["currency"]): Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
            for row in csv.DictReader(io.StringIO(table))
        } == sums
    assert {currency for _, currency in sums} == {"INR", "JPY"}
    assert await exported(paysaga, tmp_path / "books", shop.tenant) == books[-1] != books[0]


async def exported(paysaga: Deployment, folder: Path, tenant: str) -> dict[Path, str]:
    """The files of a tenant, once the export has read everything."""
    words = ("--url", url_of(paysaga), "--folder", str(folder), "--once")
    program = await asyncio.to_thread(
        Program, "examples.accounting", *words, env=os.environ, out=folder.with_suffix(".log")
    )
    assert await program.ended() == 0, folder.with_suffix(".log").read_text()
    return {path: path.read_text() for path in (folder / tenant).iterdir()}
