"""`python -m bench.events`: a backlog of 400,000 events that the relay hands to the broker, while payments go on.

The broker is a NATS of its own, or the one of `PAYSAGA_EVENTS_URL`. `PAYSAGA_BENCH_EVENTS` (400000) makes it another
size. The latency of payments beside the relay is compared with that before and after, in the same run. JSON at the end.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil  # type: ignore[import-untyped]
import uvloop

from bench.leaving import leave_after
from bench.wire import HttpClient
from config.settings import DEVELOPMENT_API_KEY, Settings
from db.core.database import Database
from domain.errors import Conflict
from domain.message import Sink
from embedded.stack import EmbeddedStack, free_settings
from runtime.wiring import broker_of
from services.event import Comparison, verify
from workers.relay import BrokerPump, lead

_RELAY = "--relay"
_LOOK_S = 0.1
_PAYMENTS_PER_S = 10
_QUIET_S = 20.0
_AT_ONCE_MAX = 50
_MB = 1024 * 1024
_COUNT = int(os.environ.get("PAYSAGA_BENCH_EVENTS", "400000"))

_PIECES = {"postgres", "migrations", "seed", "temporal", "sandbox", "api", "broker"}
"""No worker: the relay runs alone, and the API's own worker carries out the payments."""

_EVENTS = """
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT 'evt_' || gen_random_uuid(), 'dev', 'payment_order.success', 1, 'po_' || (n % 10000), $2::jsonb, now()
    FROM generate_series(1, $1::integer) AS n
"""
_PAYLOAD = json.dumps({"id": "po_01kafm6e8q9v7s2c4n0b8k6h3j", "status": "SUCCESS", "failure": None, "rest": "x" * 250})


@dataclass
class Report:
    """`cpu_ms`: of the relay's process, of PostgreSQL and of our own NATS, by event; PostgreSQL's with that of the
    payments. `rss_mb`: of the relay, after a quarter of the time and at the end. `payments_ms`: from request to answer,
    `quiet` before and after. `missing` is None where the broker cannot be read."""

    events: int
    drained_s: float
    per_s: float
    cpu_ms: dict[str, float]
    rss_mb: tuple[float, float]
    payments_ms: dict[str, dict[str, float]]
    missing: int | None
    repeated: int | None


async def measure(home: Path) -> Report:
    settings = free_settings(home)
    async with EmbeddedStack(settings, pieces=_PIECES) as stack:
        owner = await asyncpg.connect(stack.postgres.url("paysaga"))
        await owner.execute(
            "UPDATE event_sink SET active = true, active_since = clock_timestamp() WHERE sink = $1", int(Sink.BROKER)
        )
        for _ in range(0, _COUNT, 50_000):
            await owner.execute(_EVENTS, min(50_000, _COUNT), _PAYLOAD)
        await owner.execute("VACUUM (ANALYZE) outbox_todo; ", timeout=60)
        shop = HttpClient(stack.api_url, {"Authorization": f"Bearer {DEVELOPMENT_API_KEY}"}, timeout_s=30.0)
        await paid_until(shop, _after(5.0))  # the first ones are slower
        report = await drained(stack, owner, shop, await paid_until(shop, _after(_QUIET_S)))
        await shop.close()
        await owner.close()
        return report


def _after(seconds: float) -> Callable[[], Awaitable[bool]]:
    end = time.monotonic() + seconds

    async def over() -> bool:
        return time.monotonic() >= end

    return over


async def paid_until(shop: HttpClient, over: Callable[[], Awaitable[bool]]) -> list[float]:
    """Milliseconds of payments that come at a steady rate, however long each takes, until it is over."""
    took: list[float] = []
    places = asyncio.Semaphore(_AT_ONCE_MAX)

    async def pay() -> None:
        async with places:
            began = time.perf_counter()
            name = f"backlog-{uuid4().hex}"
            answer = await shop.send("POST", "/v1/payments", _checkout(name), f"Idempotency-Key: {name}\r\n")
            assert answer.status == 201, answer.body
            took.append((time.perf_counter() - began) * 1000)

    async with asyncio.TaskGroup() as paying:
        next_at = time.monotonic()
        while not await over():
            paying.create_task(pay())
            next_at += 1 / _PAYMENTS_PER_S
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
    return took


def _checkout(name: str) -> bytes:
    order = {"payment_order_id": name, "seller_account": "seller_anna", "amount": "500.00", "currency": "INR"}
    method = {"type": "card", "token": "pm_card_visa"}
    return json.dumps(
        {"checkout_id": name, "buyer": {"id": "b"}, "payment_method": method, "payment_orders": [order]}
    ).encode()


async def drained(stack: EmbeddedStack, owner: asyncpg.Connection, shop: HttpClient, before: list[float]) -> Report:
    """The backlog, while payments go on."""
    since = await owner.fetchval("SELECT min(at) FROM outbox")
    servers = {"postgres": psutil.Process(stack.pid_of("postgres"))}
    if "broker" in stack.pieces:
        servers["nats"] = psutil.Process(stack.pid_of("broker"))
    cpu = {name: _cpu_s(server) for name, server in servers.items()}
    memory: list[float] = []

    async with relay(stack) as process:
        began = time.monotonic()
        left_s = 0.0

        async def over() -> bool:
            nonlocal left_s
            memory.append(process.memory_info().rss / _MB)
            waiting = await owner.fetchval("SELECT count(*) FROM (SELECT FROM outbox_todo LIMIT 200) AS t")
            left_s = time.monotonic() - began
            return bool(waiting < 50)

        busy = await paid_until(shop, over)
        spent = {name: _cpu_s(one) for name, one in {"relay": process, **servers}.items()}
        while await owner.fetchval("SELECT EXISTS (SELECT FROM outbox_todo)"):  # noqa: ASYNC110 - asked of the database
            await asyncio.sleep(_LOOK_S)
    quiet = before + await paid_until(shop, _after(_QUIET_S))
    events = await owner.fetchval("SELECT count(*) FROM outbox")
    found = await compared(stack, since, await owner.fetchval("SELECT now()"))
    return Report(
        events=events,
        drained_s=round(left_s, 1),
        per_s=round(_COUNT / left_s),
        cpu_ms={name: round((spent[name] - cpu.get(name, 0)) * 1000 / _COUNT, 4) for name in spent},
        rss_mb=(round(memory[len(memory) // 4], 1), round(memory[-1], 1)),
        payments_ms={"quiet": _summary(quiet), "draining": _summary(busy)},
        missing=None if found is None else found.missing,
        repeated=None if found is None else found.repeated,
    )


async def compared(stack: EmbeddedStack, since: datetime, until: datetime) -> Comparison | None:
    """None: this broker does not keep what it was given."""
    database = Database(stack.postgres.url("paysaga"), pool_size=0)
    broker = broker_of(stack.settings)
    assert broker is not None, "it is part of the stack"
    try:
        return await verify(database, broker, since, until)
    except Conflict:
        return None
    finally:
        await database.close()


def _summary(took: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(took, n=100)
    return {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "p99": round(cuts[98], 2), "payments": len(took)}


def _cpu_s(process: psutil.Process) -> float:
    """Of a process and those under it, also of those that have ended."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    return float(total)


@asynccontextmanager
async def relay(stack: EmbeddedStack) -> AsyncIterator[psutil.Process]:
    """A process that does nothing else."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.events", _RELAY), env={**os.environ, **stack.environment()}
    )
    try:
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        await child.wait()


def main() -> int:
    if _RELAY in sys.argv:
        settings = Settings()
        broker = broker_of(settings)
        assert broker is not None, "its parent has one"
        uvloop.run(lead(settings, BrokerPump(broker, settings.relay_rate_per_s)))
        return 0
    with tempfile.TemporaryDirectory(prefix="paysaga-bench-") as folder:
        report = asyncio.run(measure(Path(folder)))
    sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n")
    return 1 if report.missing else 0


if __name__ == "__main__":
    leave_after(main)
