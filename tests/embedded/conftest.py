"""Real processes in throwaway folders."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

_PATIENCE_S = 40.0

Eventually = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def home_path() -> Iterator[Path]:
    """A data folder that does not exist yet. Directly in /tmp: pytest's own folders are too deep for a Unix socket."""
    parent = Path(tempfile.mkdtemp(prefix="paysaga-test-", dir="/tmp"))
    yield parent / "home"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def eventually() -> Eventually:
    """Wait until a condition holds, however slow this machine is; fails when it never does."""

    async def wait(condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, "did not happen in time"
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def processes_of() -> Callable[[Path], list[str]]:
    """The living processes that were started for a data folder, by their command lines."""

    def find(home: Path) -> list[str]:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            line = " ".join(process.info["cmdline"] or ())
            if str(home) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(line)
        return found

    return find
