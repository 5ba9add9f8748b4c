"""NATS JetStream: one stream that has every event, under `paysaga.v1.{tenant}.{noun}.{verb}.{object_id}`.

A batch is published atomically where the stream allows it: one flush to disk for all of it. The server refuses a batch
that has an event which it was given lately; then, and where a batch is refused for any other reason, each is published
by itself, and the answers tell which. An event's id is its message's id, so a repeated one is stored once within the
stream's window of duplicates; consumers drop it by its id whenever it comes.
"""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client
from nats.errors import Error, MaxPayloadError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from domain.message import Message
from gateways.brokers.protocol import BrokerAway

STREAM = "PAYSAGA"
SUBJECTS = "paysaga.v1.>"
KEPT_FOR_S = 14 * 86_400

_TIMEOUT_S = 5.0
_WINDOW = 100
_PAGE = 1_000
_UNUSABLE = re.compile(r"[\s.*>]")
_NANO = 1_000_000_000
_NOT_FOUND = 404
_TRY_LATER = 500
"""Codes of the server's errors from here on are about itself, below about the message."""


def subject_of(message: Message) -> str:
    """A dot, a blank, `*` and `>` have a meaning in subjects."""
    names = (message.tenant_id, *message.type.split("."), message.object_id)
    return ".".join(("paysaga", "v1", *(_UNUSABLE.sub("_", name) for name in names)))


class Nats:
    """A connection to one server or cluster. `url`: `nats://user:password@host:port`, several with commas."""

    def __init__(self, url: str) -> None:
        self._servers = url.split(",")
        self._client: Client | None = None
        self._atomic = False

    async def connect(self) -> None:
        await self.close()
        try:
            self._client = Client()
            await self._client.connect(
                servers=self._servers,
                allow_reconnect=False,
                connect_timeout=2,
                # Of the first connection too: each server is tried twice at once, not for two minutes.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=_quiet,
                name="paysaga",
            )
            self._atomic = await self._prepare()
        except (Error, OSError, TimeoutError) as error:
            await self.close()
            raise BrokerAway(f"NATS does not answer: {type(error).__name__}") from error

    async def _prepare(self) -> bool:
        """Make the stream where it is missing; one that is there stays as its operator wants it. Returns whether it
        takes atomic batches."""
        found = await self._api(f"STREAM.INFO.{STREAM}", {})
        if found.get("error", {}).get("code") == _NOT_FOUND:
            found = await self._api(
                f"STREAM.CREATE.{STREAM}",
                {
                    "name": STREAM,
                    "subjects": [SUBJECTS],
                    "retention": "limits",
                    "storage": "file",
                    "discard": "new",  # a full stream refuses, and the relay waits; it never drops what nobody has read
                    "max_age": KEPT_FOR_S * _NANO,
                    "duplicate_window": 120 * _NANO,
                    "allow_atomic": True,
                    "num_replicas": 1,
                },
            )
        if "error" in found:
            raise BrokerAway(f"NATS has no stream {STREAM}: {found['error'].get('description')}")
        return bool(found["config"].get("allow_atomic"))

    async def _api(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._connected.request(f"$JS.API.{name}", json.dumps(body).encode(), timeout=_TIMEOUT_S)
        found: dict[str, Any] = json.loads(answer.data)
        return found

    @property
    def _connected(self) -> Client:
        if self._client is None or not self._client.is_connected:
            raise BrokerAway("NATS is not connected")
        return self._client

    async def publish(self, batch: Sequence[Message]) -> Mapping[int, str]:
        try:
            if self._atomic and len(batch) > 1 and await self._publish_at_once(batch):
                return {}
            refused: dict[int, str] = {}
            for start in range(0, len(batch), _WINDOW):
                window = batch[start : start + _WINDOW]
                answers = await asyncio.gather(*(self._publish_one(message) for message in window))
                refused |= {m.seq: why for m, why in zip(window, answers, strict=True) if why is not None}
        except (Error, OSError, TimeoutError) as error:
            raise BrokerAway(f"NATS does not answer: {type(error).__name__}") from error
        return refused

    async def _publish_at_once(self, batch: Sequence[Message]) -> bool:
        """All or nothing. False: nothing, for something about one of them."""
        client, name, last = self._connected, uuid.uuid4().hex, len(batch)
        for n, message in enumerate(batch, 1):
            headers = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(n), "Nats-Msg-Id": message.id}
            body = message.body.encode()
            if len(body) > client.max_payload:
                return False  # the server forgets the batch after a while
            if n < last:
                await client.publish(subject_of(message), body, headers=headers)
        headers["Nats-Batch-Commit"] = "1"
        answer = await client.request(subject_of(message), body, timeout=_TIMEOUT_S, headers=headers)
        return _refusal(answer.data) is None

    async def _publish_one(self, message: Message) -> str | None:
        """Why it is refused; None: it is stored."""
        try:
            answer = await self._connected.request(
                subject_of(message),
                message.body.encode(),
                timeout=_TIMEOUT_S,
                headers={"Nats-Msg-Id": message.id},
            )
        except MaxPayloadError:
            return "larger than the server's max_payload"
        return _refusal(answer.data)

    async def stored(self, since: datetime) -> AsyncIterator[str]:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=since.astimezone(UTC),
            ack_policy=AckPolicy.NONE,
            headers_only=True,
            inactive_threshold=60,
        )
        try:
            reader = await self._connected.jetstream().pull_subscribe(SUBJECTS, stream=STREAM, config=config)
            left = (await reader.consumer_info()).num_pending or 0
            while left > 0:
                page = await reader.fetch(min(left, _PAGE), timeout=_TIMEOUT_S)
                left -= len(page)
                for message in page:
                    yield (message.headers or {}).get("Nats-Msg-Id", "")
            await reader.unsubscribe()
        except (Error, OSError, TimeoutError) as error:
            raise BrokerAway(f"NATS does not answer: {type(error).__name__}") from error

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Error, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await client.close()


def _refusal(answer: bytes) -> str | None:
    """Why the server refuses a message; None: it has stored it, or had it already. Raises BrokerAway where the error is
    about the server."""
    error = json.loads(answer).get("error")
    if error is None:
        return None
    if error["code"] >= _TRY_LATER:
        raise BrokerAway(f"NATS takes nothing at present: {error.get('description')}")
    return str(error.get("description"))


async def _quiet(_: Exception) -> None:
    """Whoever waits for an answer is told; the client would also print it."""
