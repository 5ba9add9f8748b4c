"""Children of the supervisor: order, last words, restarts, and nobody left behind. Dummy programs, real processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from embedded.display import Step
from embedded.errors import StackError
from embedded.home import Home
from embedded.processes import ProcessRecord
from embedded.supervisor import Child, Supervisor

Eventually = Callable[[Callable[[], object]], Awaitable[None]]

FOREVER = "import time; time.sleep(600)"
READY = "import os, pathlib; pathlib.Path(os.environ['PAYSAGA_READY_FILE']).write_text(str(os.getpid()))\n"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


class RecordingDisplay:
    """Keeps what was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def step(self, title: str, detail: str = "") -> Iterator[Step]:
        yield Step(title, detail)
        self.told.append(title)

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def home(home_path: Path) -> Home:
    home = Home(home_path)
    home.prepare()
    return home


@pytest.fixture
def display() -> RecordingDisplay:
    return RecordingDisplay()


@pytest.fixture
async def supervisor(home: Home, display: RecordingDisplay) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(home, display)
    yield supervisor
    await supervisor.stop()


def child(home: Home, name: str, code: str = READY + FOREVER, **more: Any) -> Child:
    more.setdefault("ready_file", home.run / f"{name}.ready")
    return Child(name=name, title=name.title(), argv=(sys.executable, "-c", code), env=dict(os.environ), **more)


def recorded(home: Home) -> dict[str, ProcessRecord]:
    return {record.name: record for record in home.read_children()}


async def test_children_are_written_down_and_stopped_in_reverse(
    home: Home, supervisor: Supervisor, display: RecordingDisplay
) -> None:
    await supervisor.start(child(home, "first"))
    await supervisor.start(child(home, "second"))
    records = home.read_children()
    assert [record.name for record in records] == ["first", "second"]
    assert all(record.is_alive() for record in records)
    await supervisor.stop()
    assert display.told == ["First", "Second", "Second stopped", "First stopped"]
    assert not any(record.is_alive() for record in records)
    assert home.read_children() == []


async def test_a_killed_child_is_started_again(
    home: Home, supervisor: Supervisor, display: RecordingDisplay, eventually: Eventually
) -> None:
    await supervisor.start(child(home, "worker"))
    before = recorded(home)["worker"]
    before.send(signal.SIGKILL)
    await eventually(lambda: any("is back" in line for line in display.told))
    after = recorded(home)["worker"]
    assert after.pid != before.pid
    assert after.is_alive()
    assert display.told[1] == "Worker died (killed by SIGKILL), starting it again in 0.5 s"


async def test_a_child_that_dies_while_starting_has_the_last_word(home: Home, supervisor: Supervisor) -> None:
    dying = child(home, "api", "import sys; print('early', flush=True); sys.exit('no such database.')")
    with pytest.raises(StackError, match=r"^Api stopped while starting \(exit code 1\), its last words: no such data"):
        await supervisor.start(dying)


async def test_a_child_that_is_never_ready(home: Home, supervisor: Supervisor) -> None:
    with pytest.raises(StackError, match=r"Api was not ready after 0 seconds: see .*/logs/api\.log"):
        await supervisor.start(child(home, "api", FOREVER, ready_timeout_s=0.3))
    api = recorded(home)["api"]
    await supervisor.stop()
    assert not api.is_alive()


async def test_a_missing_program(supervisor: Supervisor) -> None:
    missing = Child(name="temporal", title="Temporal", argv=("/nowhere/temporal",), env={})
    with pytest.raises(StackError, match=r"^Temporal cannot start, /nowhere/temporal is missing: run `make install`"):
        await supervisor.start(missing)


async def test_a_stubborn_child_is_killed_with_its_own_children(
    home: Home, supervisor: Supervisor, eventually: Eventually
) -> None:
    grandchild = (
        "import subprocess, sys; g = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    )
    told = "import os, pathlib; pathlib.Path(os.environ['PAYSAGA_READY_FILE'] + '.pid').write_text(str(g.pid))\n"
    await supervisor.start(child(home, "stubborn", STUBBORN + grandchild + told + READY + FOREVER, stop_timeout_s=0.2))
    records = [recorded(home)["stubborn"], ProcessRecord.of("g", int((home.run / "stubborn.ready.pid").read_text()))]
    assert all(record.is_alive() for record in records)
    await supervisor.stop()
    await eventually(lambda: not any(record.is_alive() for record in records))


async def test_in_a_hurry_nobody_is_waited_for(home: Home, supervisor: Supervisor) -> None:
    await supervisor.start(child(home, "stubborn", STUBBORN + READY + FOREVER, stop_timeout_s=600.0))
    stubborn = recorded(home)["stubborn"]
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0)
    supervisor.hurry()
    async with asyncio.timeout(5):
        await stopping
    assert not stubborn.is_alive()


async def test_a_task_has_to_end_well(home: Home, supervisor: Supervisor) -> None:
    done = home.run / "done"
    touch = f"import pathlib; pathlib.Path({str(done)!r}).touch()"
    await supervisor.run_once(child(home, "migrations", touch, ready_file=None))
    assert done.exists()
    failing = "import sys; print('nope'); sys.exit(3)"
    with pytest.raises(StackError, match=r"^Seed failed \(exit code 3\), its last words: nope\. The whole log: "):
        await supervisor.run_once(child(home, "seed", failing, ready_file=None))
    with pytest.raises(StackError, match=r"^Slow was not done after 0 seconds"):
        await supervisor.run_once(child(home, "slow", FOREVER, ready_file=None, ready_timeout_s=0.2))
    assert home.read_children() == []


async def test_what_a_killed_supervisor_left_behind_is_stopped(
    home: Home, supervisor: Supervisor, display: RecordingDisplay
) -> None:
    with subprocess.Popen([sys.executable, "-c", FOREVER]) as orphan:  # noqa: ASYNC220 - an orphan, not a child of the loop
        alive = ProcessRecord.of("worker", orphan.pid)
        gone = ProcessRecord("api", orphan.pid, alive.create_time - 50, signal.SIGTERM)
        home.write_children([gone, alive])
        await supervisor.stop_stale()
        assert orphan.wait(5) == -signal.SIGTERM
    assert display.told == [
        f"The last run was killed before it could stop its children; stopping them now: worker (pid {orphan.pid})"
    ]
    assert home.read_children() == []


async def test_children_are_private(home: Home, supervisor: Supervisor) -> None:
    """A session of their own, so Ctrl-C passes them by, and files that nobody else can read."""
    report = "import os; print(os.getsid(0) == os.getpid(), oct(os.umask(0)))"
    await supervisor.run_once(child(home, "report", report, ready_file=None))
    assert home.log("report").read_text().splitlines()[-1] == "True 0o77"
