"""Kafka: one topic for each noun, `paysaga.v1.{noun}`, whose key is the id of the object.

An idempotent producer with acks=all. Events of a publish are packed by partition, and a partition is sent its next pack
when it has the last one, so the order of an object's events holds whatever fails. The client never gives up by itself
what it could not send; whoever gives up here closes the producer with all that it holds, and opens another one.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import DefaultPartitioner

from domain.event_types import event_types
from domain.message import Message
from gateways.brokers.protocol import BrokerAway
from gateways.brokers.tls import FILES, context_of

PREFIX = "paysaga.v1."
PARTITIONS = 12
"""For ever: with another number, an object's events would go on in another partition."""

# The relay says that a cluster is away; the client would say it as well, twenty times a second.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

_CONTENT_TYPE = ("content-type", b"application/cloudevents+json; charset=UTF-8")
_TIMEOUT_S = 10.0
_PACK_BYTES = 256 * 1024
_EVENT_MAX_BYTES = 64 * 1024 * 1024
"""Far above what a topic takes (1 MB by default): it is the broker that refuses."""

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_Ends = dict[TopicPartition, int]
_AWAY = (KafkaError, OSError, TimeoutError)


def topic_of(message: Message) -> str:
    return PREFIX + message.type.partition(".")[0]


class Kafka:
    """A producer of one cluster. `url`: `kafka://user:password@host:port,host:port`, `kafka+ssl://` with TLS. Options:
    `sasl` (PLAIN), `replication` of topics that are made (the cluster's own default), `cafile`, `certfile`, `keyfile`.
    Raises ValueError."""

    def __init__(self, url: str) -> None:
        self._options, self._replication = _read(url)
        self._producer: _Producer | None = None
        self._topics: set[str] = set()

    async def connect(self) -> None:
        await self.close()
        nouns = {name.partition(".")[0] for name, _ in event_types()}
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._prepare(PREFIX + noun for noun in nouns)
                await self._open()
        except _AWAY as error:
            await self.close()
            raise _away(error) from error

    async def _open(self) -> None:
        """Open a producer in place of the one that is there."""
        await self.close()
        self._producer = _Producer(
            **self._options,
            acks="all",
            enable_idempotence=True,
            max_batch_size=_PACK_BYTES,
            max_request_size=_EVENT_MAX_BYTES,
        )
        await self._producer.start()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()

    async def _prepare(self, topics: Iterable[str]) -> None:
        """Make the topics that are missing; those that are there stay as their operator wants them."""
        async with self._admin() as admin:
            self._topics = set(await admin.list_topics())
            missing = sorted(set(topics) - self._topics)
            if not missing:
                return
            answer = await admin.create_topics([self._topic(name) for name in missing])
            for name, code, *_ in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise BrokerAway(f"Kafka has no topic {name}, and does not make it: {for_code(code).__name__}")
            self._topics.update(missing)

    def _topic(self, name: str) -> NewTopic:
        topic = NewTopic(name, PARTITIONS, 1)
        topic.replication_factor = self._replication  # its constructor refuses the cluster's own, -1
        return topic

    async def publish(self, batch: Sequence[Message]) -> Mapping[int, str]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                unknown = {topic_of(message) for message in batch} - self._topics
                if unknown:
                    await self._prepare(unknown)
                if len(batch) > 1 and await self._publish_packed(batch):
                    return {}
            return await self._publish_each(batch)
        except _AWAY as error:
            raise _away(error) from error

    async def _publish_packed(self, batch: Sequence[Message]) -> bool:
        """False: something is too large, and what else is stored is not known."""
        places: dict[TopicPartition, list[Message]] = defaultdict(list)
        for message in batch:
            places[await self._connected.place_of(message)].append(message)
        sent = (self._send(place, messages) for place, messages in places.items())
        # All of them are waited for, so that nothing is under way when this returns.
        failures = [failure for failure in await asyncio.gather(*sent, return_exceptions=True) if failure]
        for failure in failures:
            if not isinstance(failure, MessageSizeTooLargeError):
                raise failure
        if failures:
            await self._open()
        return not failures

    async def _publish_each(self, batch: Sequence[Message]) -> Mapping[int, str]:
        """One after the other. A producer that was refused something is of no more use: the cluster waits for the
        number that the refused event had."""
        refused: dict[int, str] = {}
        for message in batch:
            async with asyncio.timeout(_TIMEOUT_S):
                try:
                    await self._send(await self._connected.place_of(message), [message])
                except MessageSizeTooLargeError:
                    refused[message.seq] = "larger than the topic's max.message.bytes"
                    await self._open()
        return refused

    async def _send(self, place: TopicPartition, messages: Sequence[Message]) -> None:
        """To one partition, in as many packs as it takes, one after the other."""
        pack = self._connected.create_batch()
        for message in messages:
            if not _added(pack, message):
                await self._stored(place, pack)
                pack = self._connected.create_batch()
                _added(pack, message)
        await self._stored(place, pack)

    async def _stored(self, place: TopicPartition, pack: Any) -> None:
        await (await self._connected.send_batch(pack, place.topic, partition=place.partition))

    @property
    def _connected(self) -> "_Producer":
        if self._producer is None:
            raise BrokerAway("Kafka is not connected")
        return self._producer

    async def stored(self, since: datetime) -> AsyncIterator[str]:
        consumer = AIOKafkaConsumer(**self._options, group_id=None, enable_auto_commit=False)
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._admin() as admin:
                found = [one for one in await admin.describe_topics() if one["topic"].startswith(PREFIX)]
                places = [TopicPartition(t["topic"], p["partition"]) for t in found for p in t["partitions"]]
                await consumer.start()
                ends = await _ends(consumer, places, since)
            while ends:
                page = await consumer.getmany(timeout_ms=int(_TIMEOUT_S * 1000))
                if not page:
                    raise BrokerAway("Kafka does not answer")
                for place, records in page.items():
                    for record in records:
                        if record.offset < ends.get(place, 0):
                            yield json.loads(record.value)["id"]
                ends = {place: end for place, end in ends.items() if await consumer.position(place) < end}
        except _AWAY as error:
            raise _away(error) from error
        finally:
            await consumer.stop()

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(*_AWAY):
                async with asyncio.timeout(1):
                    await producer.abandon()


class _Producer(AIOKafkaProducer):  # type: ignore[misc]
    """A producer that can be given up. `stop` first sends what is left, for as long as that takes: also what was given
    up long ago, after newer events. So this one knows the requests that are under way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._requests: set[asyncio.Task[Any]] = set()
        self._send_request, self._sender._send_produce_req = self._sender._send_produce_req, self._known_request

    async def _known_request(self, node_id: int, batches: Any) -> None:
        task = asyncio.current_task()
        assert task is not None, "the sender makes one for each"
        self._requests.add(task)
        try:
            await self._send_request(node_id, batches)
        finally:
            self._requests.discard(task)

    async def abandon(self) -> None:
        """Close at once, with all that was not sent."""
        sender = self._sender.sender_task
        tasks = [*self._requests, *([] if sender is None else [sender])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        kept = self._message_accumulator
        for batch in (*kept._pending_batches, *(one for line in kept._batches.values() for one in line)):
            batch.future.cancel()
        await self.stop()

    async def place_of(self, message: Message) -> TopicPartition:
        """The partition that Java's clients choose for the same key."""
        topic = topic_of(message)
        partitions = sorted(await self.partitions_for(topic))
        return TopicPartition(topic, DefaultPartitioner()(message.object_id.encode(), partitions, partitions))


def _added(pack: Any, message: Message) -> bool:
    """False: it is full. An empty one takes everything."""
    key, value = message.object_id.encode(), message.body.encode()
    return pack.append(timestamp=None, key=key, value=value, headers=[_CONTENT_TYPE]) is not None


async def _ends(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], since: datetime) -> _Ends:
    """Have the consumer begin with what was stored since then. Returns how far to read where there is something."""
    begins = await consumer.offsets_for_times(dict.fromkeys(places, int(since.timestamp() * 1000)))
    starts = {place: begin.offset for place, begin in begins.items() if begin is not None}
    consumer.assign(list(starts))
    for place, start in starts.items():
        consumer.seek(place, start)
    ends: _Ends = await consumer.end_offsets(list(starts))
    return ends


def _away(error: BaseException) -> BrokerAway:
    return BrokerAway(f"Kafka does not answer: {type(error).__name__}")


def _read(url: str) -> tuple[dict[str, Any], int]:
    """The options of every client of this cluster, and the replication of topics (-1: its default)."""
    parts = urlsplit(url)
    login, _, servers = parts.netloc.rpartition("@")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    secure = parts.scheme == "kafka+ssl"
    replication = given.pop("replication", "-1")
    mechanism = given.pop("sasl", "PLAIN")
    files = {name: given.pop(name) for name in FILES if name in given}
    if given or parts.path not in ("", "/"):
        raise ValueError(f"Kafka knows no {', '.join(given) or 'path'} in its URL")
    if mechanism not in _MECHANISMS or not replication.removeprefix("-").isdecimal():
        raise ValueError(f"`sasl` is one of {', '.join(_MECHANISMS)}, `replication` a number")
    options: dict[str, Any] = {
        "bootstrap_servers": servers.split(","),
        "client_id": "paysaga",
        "request_timeout_ms": int(_TIMEOUT_S * 1000),
        "security_protocol": ("SASL_" if login else "") + ("SSL" if secure else "PLAINTEXT"),
    }
    if secure:
        options["ssl_context"] = context_of(files)
    if login:
        user, _, password = login.partition(":")
        options |= {"sasl_mechanism": mechanism, "sasl_plain_username": unquote(user)}
        options["sasl_plain_password"] = unquote(password)
    return options, int(replication)
