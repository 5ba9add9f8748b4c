"""Processes by identity: a pid alone may by now belong to someone else, a pid with its creation time does not."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]

# psutil derives the creation time from the boot time, which moves a little when the clock is set.
_CREATE_TIME_TOLERANCE_S = 2.0


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a child, enough to find and stop it from another process."""

    name: str
    pid: int
    create_time: float
    stop_signal: int

    @classmethod
    def of(cls, name: str, pid: int, stop_signal: int = signal.SIGTERM) -> "ProcessRecord":
        """Record the living process `pid`; a process that is already gone gets a time that matches nothing."""
        try:
            create_time = float(psutil.Process(pid).create_time())
        except psutil.Error:
            create_time = 0.0
        return cls(name, pid, create_time, int(stop_signal))

    def is_alive(self) -> bool:
        """True if exactly this process still runs (a zombie does not)."""
        return self._process() is not None

    def own(self, name: str) -> "list[ProcessRecord]":
        """The processes that this one has started, each under this name."""
        process = self._process()
        try:
            started = [] if process is None else process.children()
            return [ProcessRecord(name, child.pid, child.create_time(), self.stop_signal) for child in started]
        except psutil.Error:
            return []

    def _process(self) -> Any:  # psutil is untyped
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) <= _CREATE_TIME_TOLERANCE_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def send(self, signum: int) -> None:
        """Send a signal, unless the process is gone."""
        process = self._process()
        if process is None:
            return
        try:
            process.send_signal(signum)
        except psutil.NoSuchProcess:
            return


def stop_all(records: Sequence[ProcessRecord], *, grace_s: float) -> list[ProcessRecord]:
    """Stop the processes in the given order, each politely and then by force; returns what survived even that."""
    for record in records:
        record.send(record.stop_signal)
        _wait_gone(record, grace_s)
        record.send(signal.SIGKILL)
    return [record for record in records if not _wait_gone(record, grace_s)]


def _wait_gone(record: ProcessRecord, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while record.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def listener_of(port: int) -> str | None:
    """The listener on a TCP port, as `name (pid 1)`; None where the system does not say (other users' processes)."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        return None
    return None
