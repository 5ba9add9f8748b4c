"""The brokers that `make chaos-events` kills."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import aio_pika
from aiokafka import AIOKafkaConsumer, TopicPartition

from embedded.errors import StackError
from embedded.stack import EmbeddedStack
from gateways.brokers.kafka import PARTITIONS, PREFIX
from tests.support.broker import published, unread
from tests.support.eventually import eventually
from tests.support.outside import BrokerServer, KafkaServer, RabbitMqServer


@dataclass(frozen=True)
class Server:
    """A broker that can be killed; something starts it again."""

    url: str
    kill: Callable[[], Awaitable[None]]
    read: Callable[[str], Awaitable[list[dict[str, Any]]]]
    """All events of a tenant, in the order in which they are stored."""

    unread: Callable[[str], Awaitable[int]]
    """Of the consumer of this name."""


@asynccontextmanager
async def _nats(stack: EmbeddedStack) -> AsyncIterator[Server]:
    """The broker of the stack, which its supervisor starts again."""
    events_url = stack.settings.events_url
    assert events_url is not None, "the stack starts one"
    url = events_url.get_secret_value()
    yield Server(url, partial(kill_child, stack, "broker"), partial(published, url), partial(unread, url))


@asynccontextmanager
async def _kafka(stack: EmbeddedStack) -> AsyncIterator[Server]:
    """A node as `make test-brokers` has it."""
    async with _outside(KafkaServer(stack.home.path / "kafka"), _unread_of_kafka) as server:
        yield server


@asynccontextmanager
async def _rabbitmq(stack: EmbeddedStack) -> AsyncIterator[Server]:
    """The same of RabbitMQ."""
    async with _outside(RabbitMqServer(stack.home.path / "rabbitmq"), _unread_of_rabbitmq) as server:
        yield server


@asynccontextmanager
async def _outside(
    broker: BrokerServer, unread: Callable[[BrokerServer, str], Awaitable[int]]
) -> AsyncIterator[Server]:
    async def kill() -> None:
        broker.send(signal.SIGKILL)

    try:
        await broker.start()
        yield Server(broker.url, kill, broker.events, partial(unread, broker))
    finally:
        await broker.stop()


async def _unread_of_kafka(broker: BrokerServer, name: str) -> int:
    """Between what the group has committed and the end of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.url.removeprefix("kafka://"), group_id=name)
    try:
        await consumer.start()
        ends = await consumer.end_offsets([TopicPartition(f"{PREFIX}payment", number) for number in range(PARTITIONS)])
        return sum([end - (await consumer.committed(place) or 0) for place, end in ends.items()])
    finally:
        await consumer.stop()


async def _unread_of_rabbitmq(broker: BrokerServer, name: str) -> int:
    """The queue's own count has those that nobody has now; what was given out is back once its reader has gone."""
    async with await aio_pika.connect(broker.url) as connection:
        queue = await (await connection.channel()).declare_queue(name, passive=True)
        return queue.declaration_result.message_count or 0


BROKERS = {"nats": _nats, "kafka": _kafka, "rabbitmq": _rabbitmq}


async def kill_child(stack: EmbeddedStack, name: str) -> None:
    async def running() -> int | None:
        with suppress(StackError):
            return stack.pid_of(name)
        return None

    os.kill(await eventually(running, what=name), signal.SIGKILL)
