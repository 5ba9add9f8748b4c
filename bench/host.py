"""The load process of one subject, as the process that measures sees it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from bench.plan import LoadEvent, LoadResult, Opening, Plan
from embedded.errors import StackError

_ROOT = Path(__file__).parent.parent
_OPEN_S = 60.0
_GRACE_S = 60.0
"""Beyond the plan's own time, for what it prepares and for the answers that are still outstanding."""
_LINE_BYTES_MAX = 1 << 20

Listener = Callable[[LoadEvent], Awaitable[None]]


class Host:
    """A running load process; `run` gives it one plan after the other."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self._process, self._log = name, process, log

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    @asynccontextmanager
    async def started(cls, opening: Opening, environment: Mapping[str, str], log: Path) -> AsyncIterator[Self]:
        """Start the process, whose errors go to the file `log`."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.load"),
                cwd=_ROOT,
                env=dict(environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=_LINE_BYTES_MAX,
                start_new_session=True,  # Ctrl-C in the terminal is for us alone
            )
        host = cls(opening.subject, process, log)
        try:
            await host._write(opening.model_dump_json())
            yield host
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def opened(self) -> None:
        """Wait until it is connected. Raises StackError with its last words."""
        await self._until("open", _OPEN_S, None)

    async def run(self, plan: Plan, listen: Listener) -> LoadResult:
        """Run a plan; `listen` hears every line, and the load begins when it has heard `ready`.

        Raises StackError with the process's last words when it fails, or never ends.
        """
        await self._write(plan.model_dump_json())
        await self._until("ready", _GRACE_S + plan.seconds, listen)
        await self._write("")
        ended = await self._until("ended", plan.lead_s + plan.seconds + _GRACE_S, listen)
        assert ended.result is not None, "the last line has the result"
        return ended.result

    async def _write(self, line: str) -> None:
        assert self._process.stdin is not None, "piped"
        with suppress(ConnectionError):  # it is gone: its last words say why
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()

    async def _until(self, mark: str, patience_s: float, listen: Listener | None) -> LoadEvent:
        assert self._process.stdout is not None, "piped"
        try:
            async with asyncio.timeout(patience_s):
                async for line in self._process.stdout:
                    event = LoadEvent.model_validate_json(line)
                    if listen is not None:
                        await listen(event)
                    if event.mark == mark:
                        return event
        except TimeoutError:
            raise StackError(f"The load of {self.name} did not come to its end; it says: {self._last()}") from None
        raise StackError(f"The load of {self.name} failed, its last words: {self._last()}")

    def _last(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        return lines[-1][:300]
