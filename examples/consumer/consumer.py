"""A consumer of Paysaga's events, to be copied: put your own work in place of `handle` and `TABLES`.

It imports nothing of Paysaga, only the client of your broker (`nats-py`, `aiokafka` or `aio-pika`), and keeps its state
in a database of its own. It promises:

- An event comes at least once, and takes effect once: its `id` and its effect are committed in one transaction, and
  an `id` that is known is dropped.
- An event whose `sequence` is below the last one of its `subject` is dropped: each carries the whole object.
- The broker is told that an event is done after that commit, so whatever is killed in between is done again.
- An event that cannot be handled is tried a few times and then kept as a dead letter with the cause; those behind it
  go on. `--retry-dead` takes the dead letters again, once the cause is gone.

    python consumer.py --url nats://user:password@127.0.0.1:4222 --database totals.db

or `kafka://host:port,host:port`, or `amqp://user:password@host:port/vhost`. Of the three `from_…` below you need one.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import signal
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

STREAM, TOPICS, EXCHANGE = "PAYSAGA", "paysaga.v1.", "paysaga.v1.events"
BATCH = 200
"""Events that are committed together."""

ATTEMPTS_MAX = 5
GAP_S = 0.5
"""Between two attempts at an event; each gap is twice the one before."""

_LOOK_S = 1.0
_LOG = logging.getLogger("consumer")

Event = dict[str, Any]
Handle = Callable[[sqlite3.Connection, Event], None]
"""What is done with an event, on a connection whose transaction is committed by the caller."""


# --- yours: what an event does here ---

TABLES = """
CREATE TABLE IF NOT EXISTS total (
    tenant TEXT NOT NULL, currency TEXT NOT NULL, payments INTEGER NOT NULL, amount TEXT NOT NULL,
    PRIMARY KEY (tenant, currency)
);
"""


def handle(database: sqlite3.Connection, event: Event) -> None:
    """Count the payments that have succeeded, and add up their amounts."""
    if event["type"] != "com.paysaga.payment.succeeded.v1":
        return
    tenant, payment = event["tenantid"], event["data"]
    known = database.execute(
        "SELECT payments, amount FROM total WHERE tenant = ? AND currency = ?", (tenant, payment["currency"])
    ).fetchone()
    payments, amount = known or (0, "0")
    database.execute(
        "INSERT OR REPLACE INTO total VALUES (?, ?, ?, ?)",
        (tenant, payment["currency"], payments + 1, str(Decimal(amount) + Decimal(payment["amount"]))),
    )


# --- each event once ---

_INBOX = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latest (subject TEXT PRIMARY KEY, sequence TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failed (id TEXT PRIMARY KEY, attempts INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letter (
    id TEXT PRIMARY KEY, body BLOB NOT NULL, cause TEXT NOT NULL, attempts INTEGER NOT NULL, at TEXT NOT NULL
);
"""


class Inbox:
    """The database of a consumer: which events it has taken, what they did, and those that it could not take."""

    def __init__(self, path: Path, tables: str, handle: Handle) -> None:
        self.database = sqlite3.connect(path, isolation_level=None, timeout=30)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")  # what is acknowledged to the broker is on the disk
        self.database.executescript(_INBOX + tables)
        self._handle = handle

    def close(self) -> None:
        self.database.close()

    def take(self, bodies: Sequence[bytes]) -> bool:
        """Take events in their order and commit. False: one of them failed and is to be tried again, with those
        behind it; the ones before it are done. An error of the database itself is raised, and is no attempt."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            whole = all(self._take_one(body) for body in bodies)
            self.database.execute("COMMIT")
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        return whole

    def _take_one(self, body: bytes) -> bool:
        key = hashlib.sha256(body).hexdigest()
        self.database.execute("SAVEPOINT one")
        try:
            event: Event = json.loads(body)
            key = event["id"]
            if self._is_new(key, event["subject"], event["sequence"]):
                self._handle(self.database, event)
        except sqlite3.OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with an event, the others go on
            self.database.execute("ROLLBACK TO one")
            return self._has_failed(key, body, f"{type(error).__name__}: {error}")
        finally:
            self.database.execute("RELEASE one")
        return True

    def _is_new(self, key: str, subject: str, sequence: str) -> bool:
        """Neither known nor older than what is known of its object. It is known from now on."""
        added = self.database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, _now()))
        if not added.rowcount:
            return False
        newer = self.database.execute(
            "INSERT INTO latest VALUES (?, ?) ON CONFLICT (subject)"
            " DO UPDATE SET sequence = excluded.sequence WHERE latest.sequence < excluded.sequence",
            (subject, sequence),
        )
        return bool(newer.rowcount)

    def _has_failed(self, key: str, body: bytes, cause: str) -> bool:
        """Whether it is given up by now. Attempts are stored, so that a restart does not begin to count anew."""
        if self.database.execute("SELECT 1 FROM dead_letter WHERE id = ?", (key,)).fetchone():
            return True  # one that cannot even be read is known by its bytes
        (attempts,) = self.database.execute(
            "INSERT INTO failed VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET attempts = attempts + 1"
            " RETURNING attempts",
            (key,),
        ).fetchone()
        _LOG.warning("event %s failed, attempt %s: %s", key, attempts, cause)
        if attempts < ATTEMPTS_MAX:
            return False
        self.database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, _now()))
        self.database.execute(
            "INSERT OR REPLACE INTO dead_letter VALUES (?, ?, ?, ?, ?)", (key, body, cause, attempts, _now())
        )
        self.database.execute("DELETE FROM failed WHERE id = ?", (key,))
        return True

    def retry_dead(self) -> int:
        """Take the dead letters again, once each; returns how many are still dead. One of whose object something
        newer was taken meanwhile is dropped."""
        letters = self.database.execute("SELECT id, body FROM dead_letter ORDER BY at").fetchall()
        for key, body in letters:
            self.database.execute("BEGIN IMMEDIATE")
            self.database.execute("DELETE FROM dead_letter WHERE id = ?", (key,))
            self.database.execute("DELETE FROM seen WHERE id = ?", (key,))
            self.database.execute("INSERT OR REPLACE INTO failed VALUES (?, ?)", (key, ATTEMPTS_MAX - 1))
            self._take_one(body)
            self.database.execute("DELETE FROM failed WHERE id = ?", (key,))
            self.database.execute("COMMIT")
        (left,) = self.database.execute("SELECT count(*) FROM dead_letter").fetchone()
        return int(left)


def _now() -> str:
    return datetime.now(UTC).isoformat()


# --- where events come from ---


@dataclass(frozen=True)
class Batch:
    """Events in order, none where there are no more at present; `done` tells the broker that they need not come
    again."""

    bodies: Sequence[bytes]
    done: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Source:
    """Which events are read: those of a noun (`payment`, `refund` …), and of one tenant where that is said; a topic of
    Kafka has those of all. `name`: under which the broker remembers how far. `again_s`: how long NATS waits before it
    gives out once more what it was not told to be done; the others see that the connection has gone."""

    url: str
    name: str
    noun: str
    tenant: str = "*"
    again_s: float = 30.0

    def batches(self) -> AsyncGenerator[Batch, None]:
        """Batch after batch, for as long as the connection holds."""
        read = {"nats": from_nats, "kafka": from_kafka, "amqp": from_rabbitmq}
        return read[self.url.partition(":")[0]](self)


async def from_nats(source: Source) -> AsyncGenerator[Batch, None]:
    """By a durable pull consumer of the stream."""
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

    client = await nats.connect(source.url, allow_reconnect=False, connect_timeout=2, error_cb=_quiet)
    try:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=source.again_s,
            max_ack_pending=BATCH,  # one batch at a time: the next one is asked for when this one is done
        )
        subject = f"paysaga.v1.{source.tenant}.{source.noun}.>"
        reader = await client.jetstream().pull_subscribe(subject, durable=source.name, stream=STREAM, config=config)
        while not client.is_closed:
            try:
                messages = await reader.fetch(BATCH, timeout=_LOOK_S)
            except TimeoutError:
                messages = []

            async def done(messages: Sequence[Any] = messages) -> None:
                for message in messages:
                    await message.ack()

            yield Batch([message.data for message in messages], done)
    finally:
        await client.close()


async def _quiet(_: Exception) -> None:
    """The calls that fail raise; the client would also print it."""


async def from_kafka(source: Source) -> AsyncGenerator[Batch, None]:
    """As a member of a consumer group: several processes share the partitions, and one database."""
    from aiokafka import AIOKafkaConsumer

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # while a topic or a server is away, ten lines a second
    consumer = AIOKafkaConsumer(
        f"{TOPICS}{source.noun}",
        bootstrap_servers=source.url.removeprefix("kafka://"),
        group_id=source.name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        metadata_max_age_ms=5_000,  # the topic may not be there yet
        session_timeout_ms=10_000,
    )
    await consumer.start()
    try:
        while True:
            found = await consumer.getmany(timeout_ms=int(_LOOK_S * 1000), max_records=BATCH)
            records = [record for part in found.values() for record in part]
            yield Batch([record.value for record in records], consumer.commit if records else _nothing)
    finally:
        await consumer.stop()


async def _nothing() -> None:
    """There is nothing to tell."""


async def from_rabbitmq(source: Source) -> AsyncGenerator[Batch, None]:
    """From a queue of its own, which keeps what comes from its first start on."""
    import aio_pika

    connection = await aio_pika.connect(source.url)
    try:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=BATCH)
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        # Attempts are counted here: the server is not to drop what was given out often because this was killed often.
        kept: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
        queue = await channel.declare_queue(source.name, durable=True, arguments=kept)
        await queue.bind(exchange, f"{source.tenant}.{source.noun}.*")
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        await queue.consume(arrived.put)
        while not channel.is_closed:
            messages = []
            with suppress(TimeoutError):
                messages.append(await asyncio.wait_for(arrived.get(), _LOOK_S))
                while not arrived.empty():
                    messages.append(arrived.get_nowait())

            async def done(messages: Sequence[Any] = messages) -> None:
                if messages:
                    await messages[-1].ack(multiple=True)

            yield Batch([message.body for message in messages], done)
    finally:
        await connection.close()


# --- the loop ---


async def consume(
    source: Source, inbox: Inbox, stopping: asyncio.Event, *, idle: Callable[[], None] | None = None, once: bool = False
) -> None:
    """Take events until told to stop; `once`: or until there are no more. `idle` is called when there are no more.
    While the broker is away this waits for it."""
    while not stopping.is_set():
        try:
            async with aclosing(source.batches()) as batches:
                async for batch in batches:
                    await _take(batch, inbox, stopping)
                    if not batch.bodies and idle is not None:
                        idle()
                    if stopping.is_set() or (once and not batch.bodies):
                        return
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - of three clients; whatever it is, it is tried again
            _LOG.warning("a new connection is tried: %s %s", type(error).__name__, error)
        await asyncio.sleep(_LOOK_S)


async def _take(batch: Batch, inbox: Inbox, stopping: asyncio.Event) -> None:
    gap_s = GAP_S
    while batch.bodies and not inbox.take(batch.bodies):
        if stopping.is_set():
            return  # nothing is lost: the broker gives it out again
        await asyncio.sleep(gap_s)
        gap_s *= 2
    await batch.done()


async def run(source: Source, inbox: Inbox, *, idle: Callable[[], None] | None = None, once: bool = False) -> None:
    """`consume` as a program: SIGTERM and Ctrl-C have it finish what it has begun, and leave."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await consume(source, inbox, stopping, idle=idle, once=once)


def main() -> None:
    words = argparse.ArgumentParser(description="Counts the payments that have succeeded.")
    words.add_argument("--url", required=True, help="nats://…, kafka://… or amqp://…")
    words.add_argument("--database", type=Path, required=True, help="a file of this consumer's own")
    words.add_argument("--tenant", default="*", help="of one tenant alone, at NATS and RabbitMQ")
    words.add_argument("--name", default="totals", help="under which the broker remembers how far it has read")
    words.add_argument("--noun", default="payment", help="payment, payment_order, refund, dispute, payout, ledger …")
    words.add_argument(
        "--again-after", type=float, default=30.0, metavar="SECONDS", help="what was not done comes again"
    )
    words.add_argument("--retry-dead", action="store_true", help="take the dead letters again, and leave")
    given = words.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    inbox = Inbox(given.database, TABLES, handle)
    try:
        if given.retry_dead:
            _LOG.info("%s dead letters are left", inbox.retry_dead())
        else:
            asyncio.run(run(Source(given.url, given.name, given.noun, given.tenant, given.again_after), inbox))
    finally:
        inbox.close()


if __name__ == "__main__":
    main()
