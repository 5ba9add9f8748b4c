"""PostgreSQL, Temporal and the sandbox PSP for a whole run of tests, of however many processes."""

import asyncio
import concurrent.futures
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import SecretStr

from config.settings import Settings
from embedded.home import Home
from embedded.ports import free_port
from embedded.postgres import Postgres
from embedded.stack import SERVERS, EmbeddedStack, free_settings
from embedded.supervisor import Child
from embedded.temporal import Temporal
from tests.support.deployment import make_template
from tests.support.keys import EVERY

T = TypeVar("T")

_REPLAYS = 2

_SETTINGS = {
    "max_connections": "1000",
    # Nobody kills this server, and its data ends with the run.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_compression": "off",
    "autovacuum": "off",
    "plan_cache_mode": "force_generic_plan",  # or each statement is planned five times on each connection
}
"""Of a PostgreSQL that is neither killed nor kept. Tests that kill one, or look at what it promises, have their own."""


_ONE_PART = ("matching.numTaskqueueReadPartitions=1", "matching.numTaskqueueWritePartitions=1")
"""Of a Temporal that begins with no tasks: in the usual four parts of a queue, polls and tasks are passed on from one
to the other. Where tasks are in those, they would never be handed out."""


class _Unkept(Postgres):
    def child(self) -> Child:
        """The last value of a setting counts."""
        child = super().child()
        return replace(child, argv=child.argv + tuple(f"--{name}={value}" for name, value in _SETTINGS.items()))


class _Undivided(Temporal):
    def child(self) -> Child:
        child = super().child()
        flags = (part for value in _ONE_PART for part in ("--dynamic-config-value", value))
        return replace(child, argv=(*child.argv, *flags))


class SharedServers(EmbeddedStack):
    """The servers of a run, in a process that did not start them."""

    @classmethod
    def told_of(cls, file: Path) -> Self:
        """Those that `Background` has written there."""
        return cls(json.loads(file.read_text()))

    def __init__(self, environment: Mapping[str, str]) -> None:
        values = {name.removeprefix("PAYSAGA_").lower(): value for name, value in environment.items()}
        super().__init__(Settings(**values), pieces=SERVERS)  # type: ignore[arg-type]

    def pid_of(self, name: str) -> int:
        return next(child.pid for child in Home(self.settings.home).read_children() if child.name == name)


@asynccontextmanager
async def started(home: Path) -> AsyncIterator[EmbeddedStack]:
    """Start them, with a migrated database to copy."""
    stack = EmbeddedStack(free_settings(home, encryption_keys=SecretStr(EVERY)), pieces=SERVERS)
    stack.postgres = _Unkept.in_home(stack.home)
    stack.temporal = _Undivided(**vars(stack.temporal))
    async with stack:
        await make_template(stack)
        yield stack


@asynccontextmanager
async def own_temporal(shared: EmbeddedStack, home: Path) -> AsyncIterator[EmbeddedStack]:
    """The shared servers with another Temporal, which can be stopped without anybody else's noticing."""
    place = {"home": home, "temporal_port": free_port(), "temporal_ui_port": free_port()}
    settings = shared.settings.model_copy(update={"temporal_address": None, "temporal_ui_url": None, **place})
    async with EmbeddedStack(settings, pieces={"temporal"}) as stack:
        stack.postgres = shared.postgres
        yield stack


@asynccontextmanager
async def own_broker(shared: EmbeddedStack, home: Path) -> AsyncIterator[EmbeddedStack]:
    """The shared servers with another broker, which can be killed without anybody else's noticing."""
    settings = shared.settings.model_copy(update={"events_url": None, "home": home, "nats_port": free_port()})
    async with EmbeddedStack(settings, pieces={"broker"}) as stack:
        stack.postgres = shared.postgres
        yield stack


class Background:
    """The same in a thread, for the process that only hands out tests; `file` leads the others there. They start while
    those import what they test."""

    def __init__(self, home: Path) -> None:
        self.file = home / "servers.json"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._home = home
        self._context = started(home)
        self._starting: concurrent.futures.Future[dict[str, str]] | None = None

    def start(self) -> None:
        self._thread.start()
        self._starting = asyncio.run_coroutine_threadsafe(self._start(), self._loop)

    async def _start(self) -> dict[str, str]:
        environment = (await self._context.__aenter__()).environment()
        self.file.write_text(json.dumps(environment))
        return environment

    def wait(self) -> dict[str, str]:
        """Until they are up; the settings that lead there. Raises what keeps them from it."""
        assert self._starting is not None, "started"
        return self._starting.result()

    def replay(self) -> None:
        """The histories that the tests of all processes made; raises where one does not fit the code."""
        self._run(self._replay())

    async def _replay(self) -> None:
        """A process for each core: they have nothing else to do any more."""
        environment = os.environ | self.wait()
        seen = self._home / "replayed"
        seen.mkdir()
        started = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.histories", str(part), str(_REPLAYS), str(seen)),
                cwd=Path(__file__).parents[2],
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            for part in range(_REPLAYS)
        ]
        outputs = await asyncio.gather(*(process.communicate() for process in started))
        for process, (output, _) in zip(started, outputs, strict=True):
            assert process.returncode == 0, output.decode()

    def stop(self) -> None:
        """Also after half a start, and twice."""
        if self._starting is not None:
            starting, self._starting = self._starting, None
            if starting.exception() is None:
                self._run(self._context.__aexit__(None, None, None))
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
