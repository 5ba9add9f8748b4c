"""Paysaga's programs as processes of their own, with pids to kill.

They are forked from a server that has imported them once: of the seconds that a start takes, most are imports, and the
suite starts hundreds.
"""

import asyncio
import ctypes
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.preloaded"])

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; the fork server ends with the tests, however they end


class Program:
    """`python -m module arguments`, once started. What it prints is appended to `out` and `err`, which may be one."""

    def __init__(
        self, module: str, *arguments: str, env: Mapping[str, str], out: Path, err: Path | None = None
    ) -> None:
        become = (module, arguments, dict(env), str(out), str(err or out))
        self._process: BaseProcess = _FORKS.Process(target=_become, args=become, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None, "started above"
        return self._process.pid

    @property
    def code(self) -> int | None:
        """None while it runs; of one that was killed, minus the signal's number."""
        return self._process.exitcode

    def send(self, number: int) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    async def ended(self) -> int:
        """Its code, once it has one."""
        loop, exited = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, exited.set)
        try:
            await exited.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        code = self.code
        assert code is not None, "joined"
        return code

    def wait(self, timeout_s: float) -> int:
        """The same for tests without a loop."""
        self._process.join(timeout_s)
        assert self.code is not None, f"{self.pid} did not end within {timeout_s} s"
        return self.code


def _become(module: str, arguments: tuple[str, ...], env: dict[str, str], out: str, err: str) -> None:
    os.setsid()
    # A run of the tests in the background of a shell ignores Ctrl-C, and with it all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The API has processes of its own, which a daemon of multiprocessing's may not; it ends them, however it ends.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    # Held open by every program, the fork server would wait for their end, as they do for its own.
    os.close(multiprocessing.forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for target, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
