"""The promises that every broker keeps to the relay. NATS is always there; the others where PAYSAGA_TEST_BROKERS names
them, as `make test-brokers` does."""

import asyncio
import json
import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from config.settings import Settings
from db.core.database import FEW, Database
from domain.errors import Conflict
from domain.message import Message, Sink
from embedded.ports import free_port
from embedded.stack import EmbeddedStack
from gateways.brokers.protocol import Broker, BrokerAway, CannotRead
from gateways.brokers.registry import open_broker
from services.event import verify
from tests.support.broker import held_to_their_order
from tests.support.databases import copy_database
from tests.support.eventually import eventually
from tests.support.outside import BrokerServer, KafkaServer, NatsServer, RabbitMqServer
from workers.relay import BrokerPump, lead

SERVERS = {"nats": NatsServer, "kafka": KafkaServer, "rabbitmq": RabbitMqServer}
NAMES = ["nats", *os.environ.get("PAYSAGA_TEST_BROKERS", "").split()]

EVENTS = """
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT 'evt_' || n, 'platform', 'payment.pending', 1, 'pay_' || (n % 50), jsonb_build_object('n', n), now()
    FROM generate_series($1::integer, $2::integer) AS n
"""


@pytest.fixture(scope="module", params=NAMES)
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BrokerServer]:
    found: BrokerServer = SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    try:
        await found.start()
        yield found
    finally:
        await found.stop()


@pytest.fixture
async def broker(server: BrokerServer) -> AsyncIterator[Broker]:
    found = open_broker(server.url)
    await connected(found)
    yield found
    await found.close()


async def connected(broker: Broker) -> None:
    """Once the server is there."""

    async def there() -> bool:
        try:
            await broker.connect()
        except BrokerAway:
            return False
        return True

    await eventually(there, what="the broker")


class Tenant:
    """Messages of a tenant of a test's own, numbered as in an outbox."""

    def __init__(self) -> None:
        self.id = f"t-{secrets.token_hex(4)}"
        self.last = 0

    def message(self, object_id: str = "pay_1", size: int = 500) -> Message:
        self.last += 1
        name, subject = f"evt_{self.id}_{self.last}", f"{object_id}_{self.id}"
        body: dict[str, object] = {"id": name, "tenantid": self.id, "subject": subject, "sequence": f"{self.last:020}"}
        body |= {"type": "com.paysaga.payment.pending.v1", "data": {"x": "x" * size}}
        return Message(self.last, name, self.id, "payment.pending", subject, json.dumps(body))

    def messages(self, number: int) -> list[Message]:
        return [self.message(f"pay_{n % 20}") for n in range(number)]


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


async def held(server: BrokerServer, tenant: Tenant) -> list[str]:
    """The ids that are stored, each as often as it is; of an object they are in order."""
    found = await server.events(tenant.id)
    held_to_their_order(found)
    return [event["id"] for event in found]


async def test_batches_are_stored_in_order_and_repeated_under_the_same_ids(
    server: BrokerServer, broker: Broker, tenant: Tenant
) -> None:
    since = datetime.now(UTC)
    messages = tenant.messages(1_100)
    for start in range(0, len(messages), 500):
        assert await broker.publish(messages[start : start + 500]) == {}
    again = messages[-100:]
    assert await broker.publish(again) == {}
    assert await broker.publish([again[-1]]) == {}
    ids = await held(server, tenant)
    assert set(ids) == {message.id for message in messages}
    assert 1_100 <= len(ids) <= 1_201
    if isinstance(server, RabbitMqServer):
        with pytest.raises(CannotRead):
            _ = [one async for one in broker.stored(since)]
        return
    seen = [one async for one in broker.stored(since - timedelta(seconds=2)) if tenant.id in one]
    assert sorted(seen) == sorted(ids)
    assert [one async for one in broker.stored(datetime.now(UTC) + timedelta(hours=1))] == []


async def test_what_is_too_large_is_refused_alone(server: BrokerServer, broker: Broker, tenant: Tenant) -> None:
    before, large, after = tenant.messages(40), tenant.message(size=1_200_000), tenant.messages(40)
    refused = await broker.publish([*before, large, *after])
    assert list(refused) == [large.seq]
    assert list(await broker.publish([large])) == [large.seq]
    assert "larg" in refused[large.seq] or "max" in refused[large.seq]
    assert await broker.publish(tenant.messages(40)) == {}
    assert set(await held(server, tenant)) == {f"evt_{tenant.id}_{n}" for n in range(1, 122) if n != large.seq}


async def test_what_was_given_up_is_not_sent_after_newer_events(
    server: BrokerServer, broker: Broker, tenant: Tenant
) -> None:
    await broker.publish(tenant.messages(40))
    server.send(signal.SIGSTOP)
    older = [tenant.message(f"pay_{n % 20}", size=20_000) for n in range(80)]
    publishing = asyncio.create_task(broker.publish(older))
    await asyncio.wait([publishing], timeout=0.2)
    publishing.cancel()
    await asyncio.wait([publishing])
    await broker.close()
    server.send(signal.SIGCONT)
    await connected(broker)
    newer = tenant.messages(40)
    assert await broker.publish([*older, *newer]) == {}
    assert set(await held(server, tenant)) == {f"evt_{tenant.id}_{n}" for n in range(1, 161)}


async def test_a_broker_that_is_absent_is_said_to_be_without_its_password(
    server: BrokerServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    scheme = server.url.partition("://")[0]
    absent = open_broker(f"{scheme}://paysaga:hunter2@127.0.0.1:{free_port()}")
    with pytest.raises(BrokerAway) as caught:
        await absent.connect()
    with pytest.raises(BrokerAway):
        await absent.publish(Tenant().messages(2))
    await absent.close()
    assert "hunter2" not in caplog.text + str(caught.value) + repr(absent)


async def test_a_server_wants_the_right_password_and_is_known_by_its_certificate(
    server: BrokerServer, tenant: Tenant
) -> None:
    broker = open_broker(server.secure_url)
    await broker.connect()
    assert await broker.publish(tenant.messages(3)) == {}
    await broker.close()
    assert len(await held(server, tenant)) == 3
    login = server.secure_url.partition("://")[2].partition("@")[0]
    unknown = [server.secure_url.partition("cafile=")[0]] if "cafile=" in server.secure_url else []
    for wrong in (server.secure_url.replace(login, "paysaga:hunter2"), *unknown):
        broker = open_broker(wrong)
        with pytest.raises(BrokerAway):
            await broker.connect()
        await broker.close()


async def test_the_relay_loses_nothing_of_a_broker_that_is_killed(server: BrokerServer, servers: EmbeddedStack) -> None:
    """The relay as it is, on an outbox of its own; the broker dies while it publishes, and comes back."""
    name = f"relay{secrets.token_hex(3)}"
    await copy_database(servers.postgres, name)
    url = servers.postgres.url(name)
    outbox = await asyncpg.connect(url)
    relay = asyncio.create_task(lead(Settings(database_url=url), BrokerPump(open_broker(server.url), 4_000)))
    began = datetime.now(UTC)

    async def led() -> bool:
        return bool(await outbox.fetchval("SELECT active FROM event_sink WHERE sink = $1", int(Sink.BROKER)))

    async def waiting() -> int:
        return int(await outbox.fetchval("SELECT count(*) FROM outbox_todo WHERE sink = $1", int(Sink.BROKER)))

    async def fewer_than(number: int) -> bool:
        return await waiting() < number

    try:
        await eventually(led, what="the relay")
        await server.settled()
        await outbox.execute(EVENTS, 1, 2_500)
        await eventually(lambda: fewer_than(2_500), what="the first events")
        server.send(signal.SIGKILL)
        await outbox.execute(EVENTS, 2_501, 3_000)
        await eventually(lambda: fewer_than(1), what="the rest")
    finally:
        relay.cancel()
        await asyncio.wait([relay])
    ids = await outbox.fetch("SELECT id FROM outbox")
    found = await server.events("platform")
    held_to_their_order(found)
    assert {event["id"] for event in found} == {row["id"] for row in ids}
    database = Database(url, pool_size=FEW)
    compare = verify(database, open_broker(server.url), began - timedelta(minutes=1), datetime.now(UTC))
    if isinstance(server, RabbitMqServer):
        with pytest.raises(Conflict, match="keep"):
            await compare
    else:
        comparison = await compare
        assert (comparison.events, comparison.missing, comparison.waiting) == (len(ids), 0, 0)
    await database.close()
    await outbox.close()
