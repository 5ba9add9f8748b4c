"""Several API processes on one port.

Each opens a socket of its own there (SO_REUSEPORT), and Linux shares the connections out: of one socket that all of
them accept from, a single process takes most of a burst, and keeps them for as long as clients keep their connections.
The parent serves nothing itself. It starts again a process that dies, and stops all of them together.

uvicorn has such a parent too, which does not fit: where one process cannot start, as while Temporal is away, it stops
those that serve; at SIGHUP it starts all of them anew instead of having them read their certificate; and killed, it
leaves its processes behind.
"""

import gc
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

import structlog

from api.serve import UNUSABLE, bound, serve
from config.settings import Settings
from runtime.logs import configure_logs
from runtime.metrics import forget_gauges

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)
_FORKS = get_context("fork")
"""What is imported is shared then, and a process starts at once. The parent has no threads."""
_PAUSE_FIRST_S, _PAUSE_MAX_S = 0.5, 15.0
_STABLE_S = 30.0
"""After a life as long as this, a process is started again with the shortest pause."""

_log = structlog.get_logger("paysaga.api")


def serve_together(settings: Settings) -> int:
    """Serve by `api_processes` processes until SIGTERM or SIGINT; the exit code."""
    if sys.platform != "linux":
        print("PAYSAGA_API_PROCESSES above 1 needs Linux, whose kernel shares a port out.", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    try:
        bound(settings, shared=False).close()  # or another program's processes would share it with ours
    except OSError as error:
        where = f"{settings.api_host}:{settings.api_port} (PAYSAGA_API_HOST, PAYSAGA_API_PORT)"
        print(f"The API cannot listen at {where}: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    gc.freeze()  # or each process's collector would touch, and so copy, all of it
    return _Parent(settings).run()


@dataclass(frozen=True)
class _Serving:
    process: BaseProcess
    began_s: float


class _Parent:
    """Waits for signals, one after the other, and does nothing else: what it has to do is told by one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serving: dict[int, _Serving] = {}
        self._stopping = False
        self._pause_s = _PAUSE_FIRST_S
        self._code = 0

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        self._start_missing()
        while not self._ended():
            heard = signal.sigwait(_HEARD)
            if heard == signal.SIGCHLD:
                self._reap()
            elif heard == signal.SIGALRM:
                self._start_missing()
            elif heard == signal.SIGHUP and self._settings.api_tls_cert_path is not None:
                self._tell(signal.SIGHUP)
            else:
                self._stop()
        return 0 if self._stopping else self._code

    def _ended(self) -> bool:
        """Whether nobody serves, and it was asked for, or the last one could not start: then whoever started us hears
        of it, as of a single process."""
        return not self._serving and (self._stopping or self._code > 0)

    def _start_missing(self) -> None:
        for number in range(1, self._settings.api_processes + 1):
            if number not in self._serving and not self._stopping:
                self._start(number)

    def _start(self, number: int) -> None:
        process = _FORKS.Process(target=_serve, args=(self._settings, number, os.getpid()))
        try:
            process.start()
        except OSError as error:  # no memory, or too many processes: those that serve go on
            _log.error("api_process_not_started", number=number, error=error.strerror, again_in_s=_PAUSE_MAX_S)
            signal.setitimer(signal.ITIMER_REAL, _PAUSE_MAX_S)
            return
        self._serving[number] = _Serving(process, time.monotonic())
        _log.info("api_process_started", number=number, pid=process.pid)

    def _reap(self) -> None:
        """One signal may stand for several that have died."""
        for number, serving in list(self._serving.items()):
            code, pid = serving.process.exitcode, serving.process.pid
            if code is None or pid is None:
                continue
            del self._serving[number]
            forget_gauges(pid)
            if not self._stopping:
                self._start_again(number, pid, code, time.monotonic() - serving.began_s)

    def _start_again(self, number: int, pid: int, code: int, lived_s: float) -> None:
        """Soon, and each time a little later."""
        if lived_s > _STABLE_S:
            self._pause_s = _PAUSE_FIRST_S
        self._code = code
        _log.error("api_process_died", number=number, pid=pid, exit_code=code, again_in_s=self._pause_s)
        signal.setitimer(signal.ITIMER_REAL, self._pause_s)
        self._pause_s = min(self._pause_s * 2, _PAUSE_MAX_S)

    def _stop(self) -> None:
        """Each process ends its requests, then its worker."""
        self._stopping = True
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for serving in self._serving.values():
            if serving.process.exitcode is None and serving.process.pid is not None:
                os.kill(serving.process.pid, number)


def _serve(settings: Settings, number: int, parent: int) -> None:
    """The process with this number, from 1."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
    configure_logs(settings.log_level, settings.log_format, process=number)
    if settings.temporal_metrics_port is not None:
        own_port = settings.temporal_metrics_port + number - 1
        settings = settings.model_copy(update={"temporal_metrics_port": own_port})
    sys.exit(serve(settings, parent=parent))
