"""Counters of requests, in this process and in Redis; and when a client that was turned away is told to come back."""

import asyncio
import os
import secrets
import shutil
import signal
from pathlib import Path

import pytest

from api.request_counts import Counts, LocalCounts
from api.retry_after import Backlog, retry_after
from embedded.ports import free_port
from tests.support.eventually import eventually

REDIS = shutil.which("redis-server")


def test_counters_in_memory_are_bounded() -> None:
    counts = LocalCounts()
    for number in range(60_000):
        assert counts.add(f"address/{number}", 3600, 1) == 1
    assert counts.add("address/59999", 3600, 1) == 2
    assert counts.add("address/0", 3600, 1) == 1, "the oldest have made room"
    assert sum(len(counters) for counters in counts._by_expiry.values()) <= 50_000


def test_counters_that_have_expired_are_dropped() -> None:
    counts = LocalCounts()
    for number in range(1000):
        counts.add(f"address/{number}", -1, 1)
    assert sum(len(counters) for counters in counts._by_expiry.values()) == 1


def test_retry_after_grows_with_the_crowd_and_shrinks_with_what_is_answered() -> None:
    quiet, crowd, quick = Backlog(), Backlog(), Backlog()
    for _ in range(1000):
        quick.served(100.0)
    estimates = [crowd.refused(100.0) for _ in range(20)]
    assert estimates == sorted(estimates)
    assert quiet.refused(100.0) == estimates[0] == pytest.approx(1)
    assert estimates[-1] == pytest.approx(20)
    assert [quick.refused(100.0) for _ in range(20)][-1] < 1
    assert crowd.refused(1000.0) == pytest.approx(1), "long ago is forgotten"
    assert all(retry_after(0.01) == b"1" for _ in range(20))
    assert {int(retry_after(1e9)) for _ in range(20)} == {30}
    assert len({retry_after(10) for _ in range(200)}) > 3, "they do not all come back at once"


@pytest.mark.skipif(REDIS is None, reason="needs redis-server (the Debian package of this name)")
async def test_hosts_count_together_in_redis_and_alone_without_it(tmp_path: Path) -> None:
    assert REDIS is not None
    port, key = free_port(), secrets.token_hex(4)
    process = await asyncio.create_subprocess_exec(
        *(REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    one, other = Counts(f"redis://127.0.0.1:{port}"), Counts(f"redis://127.0.0.1:{port}")

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await eventually(listens)
        await one.open()
        await other.open()
        assert [await counts.add(key, 3600) for counts in (one, other, one, other)] == [1, 2, 3, 4]
        assert await one.add(key, 3600, -1) == 3
        os.kill(process.pid, signal.SIGSTOP)
        assert [await counts.add(key, 3600) for counts in (one, other, one, other)] == [1, 1, 2, 2]
    finally:
        process.kill()
        await process.wait()
    assert [await counts.add(key, 3600) for counts in (one, other)] == [3, 3]


async def test_a_redis_that_was_never_there_is_no_reason_to_refuse() -> None:
    counts = Counts(f"redis://127.0.0.1:{free_port()}")
    await counts.open()
    assert [await counts.add("a", 3600) for _ in range(3)] == [1, 2, 3]
