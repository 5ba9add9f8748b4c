"""`make chaos-events`: 2,000 payments while everything that hands on events is killed (SIGKILL) and comes back.

The leader of the relay is killed ten times, PostgreSQL, the broker and the consumer each three times. The first
payments are made without a broker. At the end each event of the outbox has to be in the broker, per object in order,
the same `id` wherever one is there twice; the consumer of `examples/` has to have counted each payment once. The
figures are printed as a line of JSON; the exit code is 1 where anything is missing.
"""

import argparse
import asyncio
import json
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx2

from db.audit.audit import audit_database
from embedded.ports import free_port
from embedded.stack import SERVERS, EmbeddedStack, free_settings
from services.command import Caller
from services.event import replay
from tests.machine.chaos_brokers import BROKERS, Server, kill_child
from tests.support.broker import out_of_order
from tests.support.deployment import Deployment, Process, make_template
from tests.support.eventually import eventually
from tests.support.shop import Shop

CLIENTS = 8
AMOUNT = "500.00"
KILLS = (
    "leader", "consumer", "leader", "postgres", "leader", "broker", "leader", "consumer", "leader", "postgres",
    "leader", "broker", "leader", "consumer", "leader", "postgres", "leader", "broker", "leader",
)  # fmt: skip
_PATIENCE_S = 90.0
_CONSUMER = "chaos"


@dataclass
class Report:
    """`without_broker`: payments that were made before there was one. `copies`: of events that are in the broker more
    than once. `led_again_s`: the longest time without a leader. `problems`: sentences; none is a success."""

    broker: str
    payments: int
    without_broker: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0
    led_again_s: float = 0.0
    events: int = 0
    in_broker: int = 0
    copies: int = 0
    counted: int = 0
    problems: list[str] = field(default_factory=list)


class Chaos:
    """A running Paysaga with two worker processes, a shop whose payments go on, and what is killed meanwhile."""

    def __init__(self, paysaga: Deployment, server: Server, shop: Shop, report: Report) -> None:
        self.paysaga, self.server, self.shop, self.report = paysaga, server, shop, report
        self.folder = paysaga.folder
        ports = [free_port(), free_port()]
        environment = paysaga.environment() | {"PAYSAGA_EVENTS_URL": server.url}
        self.workers = {
            port: Process(
                "workers", environment | {"PAYSAGA_WORKER_METRICS_PORT": str(port)}, self.folder / f"{port}.log"
            )
            for port in ports
        }
        self.http = httpx2.AsyncClient(timeout=2)
        self.payments: list[str] = []
        self._begun = 0
        self._allowed, self._more = 0, asyncio.Condition()
        self._consumer: asyncio.subprocess.Process | None = None

    # --- payments ---

    async def pay(self, until: int) -> None:
        """Payments go on until there are so many, as far as they are allowed to; each is begun again and again under
        its key until it is taken on."""

        async def client() -> None:
            while self._begun < until:
                self._begun += 1
                mine = self._begun
                async with self._more:
                    await self._more.wait_for(lambda mine=mine: mine <= self._allowed)  # type: ignore[misc]
                self.payments.append(await self._taken_on(self.shop.checkout("chaos")))

        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(client())

    async def allow(self, number: float) -> None:
        async with self._more:
            self._allowed = int(number)
            self._more.notify_all()

    async def _taken_on(self, checkout: str) -> str:
        async def probe() -> str | None:
            with suppress(httpx2.TransportError):
                answer = await self.shop.pay(checkout, key=checkout, wait=2)
                if answer.status_code in (201, 202):
                    return str(answer.json()["id"])
                if answer.status_code not in (409, 500, 503):
                    self.report.problems.append(f"{checkout}: {answer.status_code} {answer.text}")
            return None

        return await eventually(probe, timeout_s=_PATIENCE_S, what=f"{checkout} is taken on")

    async def ended(self) -> None:
        """Every payment has succeeded, and the relay has nothing left."""
        query = "SELECT count(*) AS n FROM payment WHERE tenant_id = $1 AND status = 'SUCCESS'"

        async def over() -> bool:
            (row,) = await self.paysaga.sql(query, self.shop.tenant)
            return bool(row["n"] >= len(self.payments)) and not await self.paysaga.sql(
                "SELECT FROM outbox_todo LIMIT 1"
            )

        await eventually(over, timeout_s=_PATIENCE_S, what="the payments and the relay")

    # --- what is killed ---

    async def killing(self) -> None:
        """One after the other, each in the middle of a part of the payments. The next part waits until what was killed
        is back, so that however long that takes there are payments at each."""
        began = len(self.payments)
        part = (self.report.payments - began) / len(KILLS)
        for number, name in enumerate(KILLS):
            await self.allow(began + part * (number + 1))
            middle = began + part * (number + 0.5)
            await eventually(partial(self._are_made, middle), timeout_s=_PATIENCE_S, what=f"{middle:.0f} payments")
            await getattr(self, f"_kill_{name}")()
            self.report.kills[name] = self.report.kills.get(name, 0) + 1
            sys.stderr.write(f"{len(self.payments):>6} payments: {name} was killed\n")
        await self.allow(self.report.payments)

    async def _are_made(self, number: float) -> bool:
        return len(self.payments) >= number

    async def leader(self) -> int | None:
        """The port of the worker process that leads."""
        for port, worker in self.workers.items():
            with suppress(httpx2.TransportError):
                text = (await self.http.get(f"http://127.0.0.1:{port}/metrics")).text if worker.running else ""
                if re.search(r'^paysaga_relay_leader\{sink="broker"\} 1', text, re.MULTILINE):
                    return port
        return None

    async def _kill_leader(self) -> None:
        port = await eventually(self.leader, timeout_s=_PATIENCE_S, what="a leader")
        await self.workers[port].kill()
        killed = time.monotonic()
        await eventually(self.leader, timeout_s=_PATIENCE_S, what="the next leader")
        self.report.led_again_s = max(self.report.led_again_s, round(time.monotonic() - killed, 2))
        await self.workers[port].start()
        await eventually(partial(self._answers, port), timeout_s=_PATIENCE_S, what="the worker")

    async def _answers(self, port: int) -> bool:
        with suppress(httpx2.TransportError):
            return (await self.http.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200
        return False

    async def _kill_postgres(self) -> None:
        await kill_child(self.paysaga.stack, "postgres")

    async def _kill_broker(self) -> None:
        await self.server.kill()

    async def _kill_consumer(self) -> None:
        assert self._consumer is not None, "started"
        self._consumer.kill()
        await self._consumer.wait()
        await self.start_consumer()

    # --- the consumer ---

    @property
    def totals(self) -> Path:
        return self.folder / "totals.db"

    async def start_consumer(self) -> None:
        words = ("--url", self.server.url, "--database", str(self.totals), "--name", _CONSUMER, "--again-after", "2")
        with (self.folder / "consumer.log").open("ab") as log:
            self._consumer = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "examples.consumer.consumer", *words), stdout=log, stderr=log
            )

    async def consumed(self) -> tuple[int, str]:
        """The consumer's count and sum, once it has read everything and was stopped."""
        with suppress(AssertionError):  # then it has counted less, which is said by whoever asks
            await eventually(self._all_counted, timeout_s=_PATIENCE_S)
        while True:
            await eventually(self._all_read, timeout_s=_PATIENCE_S, what="the consumer")
            assert self._consumer is not None, "started"
            self._consumer.terminate()
            if await self._consumer.wait() != 0:
                self.report.problems.append("the consumer did not leave as it should")
            if await self._all_read():
                return self._counted()
            await self.start_consumer()  # what it had been given and not taken is there again

    async def _listens(self) -> bool:
        """The broker knows the consumer: RabbitMQ keeps nothing for one that it does not know."""
        with suppress(Exception):  # of three clients
            return await self.server.unread(_CONSUMER) >= 0
        return False

    async def _all_counted(self) -> bool:
        return self._counted()[0] >= self.report.payments

    async def _all_read(self) -> bool:
        with suppress(Exception):  # of three clients
            return await self.server.unread(_CONSUMER) == 0
        return False

    def _counted(self) -> tuple[int, str]:
        database = sqlite3.connect(self.totals)
        found = database.execute("SELECT payments, amount FROM total").fetchone()
        database.close()
        return found or (0, "0")

    async def close(self) -> None:
        if self._consumer is not None and self._consumer.returncode is None:
            self._consumer.kill()
            await self._consumer.wait()
        await asyncio.gather(*(worker.stop() for worker in self.workers.values()))
        await self.http.aclose()

    # --- the whole of it ---

    async def run(self) -> None:
        since = datetime.now(UTC) - timedelta(minutes=1)
        began = time.monotonic()
        self.report.without_broker = max(1, self.report.payments // 20)
        await self.allow(self.report.without_broker)
        await self.pay(self.report.without_broker)
        await self.ended()
        await asyncio.gather(*(worker.start() for worker in self.workers.values()), self.start_consumer())
        await eventually(self.leader, timeout_s=_PATIENCE_S, what="a leader")
        await eventually(self._listens, timeout_s=_PATIENCE_S, what="the consumer")
        await self.paysaga.worker.stop()  # it was there before the broker, and knows of none
        await replay(self.paysaga.database, Caller("chaos"), since, datetime.now(UTC))
        await asyncio.gather(self.pay(self.report.payments), self.killing())
        await self.ended()
        self.report.took_s = round(time.monotonic() - began, 1)
        await self._compare()

    async def _compare(self) -> None:
        problems = self.report.problems
        self.report.counted, amount = await self.consumed()
        if (self.report.counted, amount) != (self.report.payments, f"{self.report.payments * 500}.00"):
            problems.append(f"the consumer has counted {self.report.counted} payments of {amount} together")
        written = await self.paysaga.sql(
            "SELECT id, type, object_id FROM outbox WHERE tenant_id = $1 ORDER BY seq", self.shop.tenant
        )
        found = await self.server.read(self.shop.tenant)
        copies = Counter(event["id"] for event in found)
        self.report.events, self.report.in_broker = len(written), len(copies)
        self.report.copies = len(found) - len(copies)
        problems += [f"missing: {row['id']} {row['type']}" for row in written if row["id"] not in copies]
        told = {(row["object_id"], row["type"]) for row in written}
        for payment_id in self.payments:
            for step in ("payment.created", "payment.succeeded"):
                if (payment_id, step) not in told:
                    problems.append(f"{payment_id}: nothing tells of {step}")
        problems += [f"out of order: {event['id']} {event['type']}" for event in out_of_order(found)]
        await self.paysaga.database.close()  # its connections may have died with the server; it makes new ones
        problems += [str(violation) for violation in await audit_database(self.paysaga.database)]


async def measure(folder: Path, report: Report) -> None:
    settings = {"worker_schedules": True, "sweep_every_s": 5.0, "sweep_after_s": 5.0, "stripe_rate_per_s": 10_000.0}
    async with EmbeddedStack(free_settings(folder / "servers"), pieces=SERVERS) as stack:
        await make_template(stack)
        async with (
            BROKERS[report.broker](stack) as server,
            Deployment(stack, folder, "chaos", **settings, events_url=None) as paysaga,
        ):
            shop = await paysaga.shop("chaos")
            chaos = Chaos(paysaga, server, shop, report)
            try:
                await chaos.run()
            finally:
                await chaos.close()


def main() -> int:
    words = argparse.ArgumentParser(prog="make chaos-events", description="Payments while everything is killed.")
    words.add_argument("--payments", type=int, default=2000)
    words.add_argument("--broker", choices=sorted(BROKERS), default="nats")
    given = words.parse_args()
    report = Report(given.broker, given.payments)
    with tempfile.TemporaryDirectory(prefix="ps-chaos-", ignore_cleanup_errors=True) as folder:
        try:
            asyncio.run(measure(Path(folder), report))
        except AssertionError as error:
            report.problems.append(f"broken off: {error}")
            for log in sorted(Path(folder).glob("chaos/*.log")):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-2000:]}\n")
    report.problems = [*report.problems[:20], *([] if len(report.problems) <= 20 else ["…"])]
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
