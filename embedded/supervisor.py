"""Child processes: started in order, waited for, restarted when they die, and stopped without leaving one behind."""

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from embedded.display import Display
from embedded.errors import StackError
from embedded.home import Home
from embedded.processes import ProcessRecord, stop_all

READY_FILE_VARIABLE = "PAYSAGA_READY_FILE"

_POLL_S = 0.05
_BACKOFF_FIRST_S = 0.5
_BACKOFF_MAX_S = 15.0
_STABLE_S = 30.0  # a child that lived this long starts again with the shortest backoff
_STALE_GRACE_S = 10.0
_LAUNCHER = Path(__file__).with_name("launch.py")


async def _no_probe() -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Child:
    """One program to run. `name` names its log file, `title` is what a person reads."""

    name: str
    title: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready: Callable[[], Awaitable[bool]] = _no_probe
    ready_file: Path | None = None  # if set, the child creates it when it is ready (READY_FILE_VARIABLE tells it where)
    ready_timeout_s: float = 120.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 15.0
    user: str | None = None  # run as this system user; only root may ask for it
    detail: str = ""  # an address, shown beside the title


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes]
    record: ProcessRecord
    log_from: int  # where in the log file this run begins
    began_s: float = field(default_factory=time.monotonic)


class Supervisor:
    """Runs the children of one data folder. Use it from one event loop, in the main thread.

    Exits are noticed by polling, a few dozen `waitpid` calls a second: that works the same on every platform and event
    loop, and it keeps spawning synchronous, so that no cancellation can come between a fork and its registration.
    """

    def __init__(self, home: Home, display: Display) -> None:
        self._home = home
        self._display = display
        self._running: dict[str, _Running] = {}  # in the order of the first start
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._hurried = asyncio.Event()

    # --- start ---

    async def stop_stale(self) -> None:
        """Stop what an earlier supervisor, killed before it could, has left running in this folder."""
        stale = [record for record in self._home.read_children() if record.is_alive()]
        if stale:
            names = ", ".join(f"{record.name} (pid {record.pid})" for record in stale)
            self._display.note(f"The last run was killed before it could stop its children; stopping them now: {names}")
            survivors = await asyncio.to_thread(stop_all, stale[::-1], grace_s=_STALE_GRACE_S)
            if survivors:
                pids = ", ".join(str(record.pid) for record in survivors)
                raise StackError(f"Processes of the last run cannot be stopped (pid {pids}): end them and start again.")
        self._home.write_children([])

    async def start(self, child: Child) -> None:
        """Start a child, wait until it is ready, and from then on start it again whenever it dies.

        Raises StackError with the child's last words when it stops or is not ready in time.
        """
        with self._display.step(child.title, child.detail):
            running = self._spawn(child)
            await self._wait_ready(running)
        self._keepers[child.name] = asyncio.create_task(self._keep(child), name=f"keep {child.name}")

    async def run_once(self, child: Child) -> None:
        """Run a child to its end, which has to be exit code 0 within its `ready_timeout_s`."""
        with self._display.step(child.title, child.detail) as step:
            running = self._spawn(child)
            try:
                if not await self._exited(running, child.ready_timeout_s):
                    raise StackError(self._too_slow(child, "done"))
            finally:
                await self._stop_one(child.name)
            if running.process.returncode != 0:
                raise StackError(self._last_words(running, "failed"))
            step.detail = step.detail or self._last_line(running)

    def _spawn(self, child: Child) -> _Running:
        if not Path(child.argv[0]).exists():
            raise StackError(f"{child.title} cannot start, {child.argv[0]} is missing: run `make install` again.")
        env = dict(child.env)
        launcher = (sys.executable, "-I", "-S", str(_LAUNCHER))
        tie = (str(os.getpid()), str(int(child.stop_signal)), child.user or "-")
        try:
            if child.ready_file is not None:
                child.ready_file.unlink(missing_ok=True)
                env[READY_FILE_VARIABLE] = str(child.ready_file)
            self._home.rotate_log(child.name)
            with self._home.log(child.name).open("ab") as log:
                log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: starting {child.argv[0]}\n".encode())
                log.flush()
                log_from = log.tell()
                process = subprocess.Popen(  # noqa: S603 - a list, no shell
                    (*launcher, *tie, *child.argv),
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C in the terminal goes to the whole foreground group: only the supervisor may hear it.
                    start_new_session=True,
                )
        except OSError as error:
            raise StackError(f"{child.title} cannot start: {error}.") from error
        record = ProcessRecord.of(child.name, process.pid, child.stop_signal)
        running = self._running[child.name] = _Running(child, process, record, log_from)
        self._write_children()
        return running

    async def _wait_ready(self, running: _Running) -> None:
        child = running.child
        deadline_s = time.monotonic() + child.ready_timeout_s
        while True:
            if running.process.poll() is not None:
                raise StackError(self._last_words(running, "stopped while starting"))
            if (child.ready_file is None or child.ready_file.exists()) and await child.ready():
                return
            if time.monotonic() > deadline_s:
                raise StackError(self._too_slow(child, "ready"))
            await asyncio.sleep(_POLL_S)

    # --- keep ---

    async def _keep(self, child: Child) -> None:
        """Start the child again whenever it dies; each time a little later, unless it had lived for a while."""
        backoff_s = _BACKOFF_FIRST_S
        while True:
            running = self._running[child.name]
            await self._exited(running)
            if time.monotonic() - running.began_s > _STABLE_S:
                backoff_s = _BACKOFF_FIRST_S
            died_s = time.monotonic()
            self._display.note(
                f"{child.title} died ({_how(running.process.returncode)}), starting it again in {backoff_s:g} s"
            )
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            try:
                await self._wait_ready(self._spawn(child))
            except StackError as error:
                self._display.note(str(error))
                await self._stop_one(child.name)
            else:
                self._display.note(f"{child.title} is back after {time.monotonic() - died_s:.1f} s")

    # --- stop ---

    async def stop(self) -> None:
        """Stop every child, the last one started first. Safe to call more than once."""
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        self._keepers.clear()
        for name, running in reversed(self._running.items()):
            if running.process.poll() is None:
                with self._display.step(f"{running.child.title} stopped"):
                    await self._stop_one(name)
        self._running.clear()
        self._forget_stopped()

    def pid_of(self, name: str) -> int:
        """Raises StackError for a child that does not run."""
        running = self._running.get(name)
        if running is None or running.process.poll() is not None:
            raise StackError(f"{name} does not run.")
        return running.process.pid

    def hurry(self) -> None:
        """Second Ctrl-C: no more patience with anyone."""
        self._hurried.set()

    async def _stop_one(self, name: str) -> None:
        """Ask politely, wait, then SIGKILL the child with whatever it started in its session."""
        running = self._running[name]
        process = running.process
        if process.poll() is None:
            process.send_signal(running.child.stop_signal)
            if not await self._exited(running, running.child.stop_timeout_s, stopping=True):
                # Not yet reaped, so the group is still ours; macOS says EPERM when only its zombie is left.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._forget_stopped()

    def _forget_stopped(self) -> None:
        """A full disk must not keep us from stopping the others: a record of a dead process does no harm."""
        with suppress(StackError):
            self._write_children()

    async def _exited(self, running: _Running, timeout_s: float = math.inf, *, stopping: bool = False) -> bool:
        """Wait for the exit of a child; False when the time is over, or as soon as a person is in a hurry to stop."""
        deadline_s = time.monotonic() + timeout_s
        while running.process.poll() is None:
            if time.monotonic() > deadline_s or (stopping and self._hurried.is_set()):
                return False
            await asyncio.sleep(_POLL_S)
        return True

    # --- what is told ---

    def _write_children(self) -> None:
        alive = [running.record for running in self._running.values() if running.process.poll() is None]
        try:
            self._home.write_children(alive)
        except OSError as error:
            raise StackError(f"The data folder {self._home.path} cannot be written any more: {error}.") from error

    def _last_words(self, running: _Running, what: str) -> str:
        line = self._last_line(running)
        said = f", its last words: {line.rstrip('.')}" if line else ""
        how = _how(running.process.returncode)
        return f"{running.child.title} {what} ({how}){said}. The whole log: {self._log_name(running.child)}"

    def _last_line(self, running: _Running) -> str:
        """The last thing this run of the child has said, shortened for one line on the terminal."""
        try:
            with self._home.log(running.child.name).open("rb") as log:
                log.seek(running.log_from)
                text = log.read()[-4000:].decode(errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def _too_slow(self, child: Child, what: str) -> str:
        return f"{child.title} was not {what} after {child.ready_timeout_s:.0f} seconds: see {self._log_name(child)}."

    def _log_name(self, child: Child) -> str:
        return str(self._home.log(child.name))


def _how(returncode: int | None) -> str:
    """The end of a process in words: `exit code 1`, `killed by SIGKILL`."""
    if returncode is not None and returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit code {returncode}"
