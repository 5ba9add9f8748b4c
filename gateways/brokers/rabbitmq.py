"""RabbitMQ: a durable topic exchange, `paysaga.v1.events`, with the key `{tenant}.{noun}.{verb}`.

Events are persistent, and each is confirmed once every queue that it goes to has it. Consumers bind queues of their
own; what no queue is bound for is confirmed and gone, which is RabbitMQ's way. `?queue=NAME` in the URL keeps all
events in a durable quorum queue, for whoever comes to read it.

The server closes the channel when an event is too large, and takes nothing of what is behind it; then each event is
published by itself, on a new connection, and the answers tell which it was.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq import Channel
from yarl import URL

from domain.message import Message
from gateways.brokers.protocol import BrokerAway, CannotRead
from gateways.brokers.tls import FILES, context_of

EXCHANGE = "paysaga.v1.events"

_TIMEOUT_S = 10.0
# The relay says that a server is away; the client would print where in its own code it noticed.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

_UNUSABLE = re.compile(r"[\s.*#]")
_AWAY = (AMQPError, RuntimeError, OSError, TimeoutError)
"""The client raises a RuntimeError where its connection or channel is closed already."""


def key_of(message: Message) -> str:
    """A dot, `*` and `#` have a meaning in keys."""
    return ".".join(_UNUSABLE.sub("_", name) for name in (message.tenant_id, *message.type.split(".")))


class RabbitMq:
    """A connection to one server, or to a cluster behind one name. `url`: `amqp://user:password@host:port/vhost`,
    `amqps://` with TLS. Options: `queue`, `heartbeat` (seconds), `cafile`, `certfile`, `keyfile`. Raises ValueError."""

    def __init__(self, url: str) -> None:
        address = URL(url)
        unknown = set(address.query) - {"queue", "heartbeat", *FILES}
        if unknown:
            raise ValueError(f"RabbitMQ knows no {', '.join(unknown)} in its URL")
        self._queue = address.query.get("queue")
        self._tls = context_of(address.query) if address.scheme == "amqps" else None
        self._url = address.without_query_params("queue", *FILES)
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None

    async def connect(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._open()
        except _AWAY as error:
            await self.close()
            raise _away(error) from error

    async def _open(self) -> None:
        """In place of the connection that is there: one with a channel that confirms what is published. The exchange,
        and the queue that is asked for, are made where they are missing."""
        await self.close()
        self._connection = await aio_pika.connect(self._url, ssl_context=self._tls)
        channel = await self._connection.channel(publisher_confirms=True)
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        underlay = await channel.get_underlay_channel()
        assert isinstance(underlay, Channel), "of aio-pika"
        self._channel = underlay
        if self._queue is None:
            return
        other = await self._connection.channel()  # the server closes it where there is no such queue
        try:
            await other.declare_queue(self._queue, passive=True)
        except ChannelNotFoundEntity:
            queue = await channel.declare_queue(self._queue, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind(EXCHANGE, "#")

    async def publish(self, batch: Sequence[Message]) -> Mapping[int, str]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if len(batch) > 1 and await self._publish_together(batch):
                    return {}
            return await self._publish_each(batch)
        except _AWAY as error:
            raise _away(error) from error

    async def _publish_together(self, batch: Sequence[Message]) -> bool:
        """False: the server refuses one of them, and has none of those behind it."""
        sent = (self._publish_one(message) for message in batch)
        failures = [failure for failure in await asyncio.gather(*sent, return_exceptions=True) if failure]
        if any(isinstance(failure, ChannelPreconditionFailed) for failure in failures):
            await self._open()
            return False
        for failure in failures:
            raise failure
        return True

    async def _publish_each(self, batch: Sequence[Message]) -> Mapping[int, str]:
        """One after the other."""
        refused: dict[int, str] = {}
        for message in batch:
            async with asyncio.timeout(_TIMEOUT_S):
                try:
                    await self._publish_one(message)
                except ChannelPreconditionFailed as error:
                    refused[message.seq] = str(error)
                    await self._open()
        return refused

    async def _publish_one(self, message: Message) -> None:
        """Until the server has confirmed it. An exchange of aio-pika would also wait, with its channel locked, for each
        message to be on the wire: a batch would be sent one by one."""
        if self._channel is None:
            raise BrokerAway("RabbitMQ is not connected")
        packed = aio_pika.Message(
            message.body.encode(),
            message_id=message.id,
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._channel.basic_publish(
            packed.body, exchange=EXCHANGE, routing_key=key_of(message), properties=packed.properties, wait=False
        )

    async def stored(self, since: datetime) -> AsyncIterator[str]:  # noqa: ARG002 - the protocol's
        raise CannotRead("queues are their consumers', and what was consumed is gone")
        yield ""

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(*_AWAY):
                async with asyncio.timeout(1):
                    await connection.close()


def _away(error: BaseException) -> BrokerAway:
    return BrokerAway(f"RabbitMQ does not answer: {type(error).__name__}")
