"""The Python that `.venv` is built from: of two of one version, the one that is clearly quicker.

Pythons are not built alike. A distribution's is compiled with profiles of what it runs (PGO) and optimised as a whole
(LTO), while pyenv builds without either unless told otherwise, and its Python then takes half as long again for
everything. No field of `sysconfig` tells them apart on every system, so they are timed.

Runs before anything is installed, so it imports the standard library alone.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_CLEARLY = 0.8
"""Of the time of the one that runs this; by less, it is kept: it is what `python3` means to its user."""

_ROUNDS = 4

# What a build may lack and Paysaga needs, and what has to be alike, so that the same wheels fit.
_IDENTIFY = """
import os, ssl, sqlite3, ctypes, lzma, venv, sys, sysconfig
print(os.path.realpath(sys._base_executable), sys.implementation.cache_tag, sys.abiflags, sysconfig.get_platform())
"""

# Attributes, calls, dictionaries, strings and the memory they take: what a web application spends its time with.
_TIME = """
import json, time
def work():
    class Line:
        def __init__(self, n): self.n, self.text = n, str(n)
        def twice(self): return self.n * 2
    lines = [Line(n) for n in range(4000)]
    found = {line.text: {"n": line.twice(), "rows": [line.n]} for line in lines}
    return json.loads(json.dumps(found)), sorted(lines, key=lambda line: line.text)
times = []
for _ in range(7):
    began = time.process_time()
    work()
    times.append(time.process_time() - began)
print(min(times))
"""


class Interpreter(NamedTuple):
    """A program that is a Python, and how many times as fast as the one that runs this."""

    path: str
    factor: float = 1.0


class _Identity(NamedTuple):
    path: str
    kind: str
    """Version, ABI and platform."""


def quickest() -> Interpreter:
    """Of the Python that runs this and those on the PATH that take the same wheels. They are timed only where there are
    several: a second each."""
    own = _identify(sys.executable)
    if own is None:
        return Interpreter(sys.executable)
    alike = {found.path for name in _named() if (found := _identify(name)) and found.kind == own.kind} | {own.path}
    if len(alike) == 1:
        return Interpreter(sys.executable)
    times = dict.fromkeys(sorted(alike), float("inf"))
    for _ in range(_ROUNDS):  # in turn, since what else the machine does comes and goes
        times = {path: min(seconds, _timed(path)) for path, seconds in times.items()}
    path = min(times, key=lambda path: times[path])
    if times[path] > _CLEARLY * times[own.path]:
        return Interpreter(sys.executable)
    return Interpreter(path, times[own.path] / times[path])


def _named() -> list[str]:
    """Files on the PATH whose name says that they are a Python of this version."""
    names = ("python3", f"python3.{sys.version_info.minor}")
    places = [Path(place) / name for place in os.get_exec_path() for name in names]
    return [str(place) for place in places if place.is_file() and os.access(place, os.X_OK)]


def _identify(python: str) -> _Identity | None:
    """None: it does not run, or lacks a module. A wrapper, as pyenv's, is what it leads to."""
    path, _, kind = _output(python, _IDENTIFY).strip().partition(" ")
    return _Identity(path, kind) if kind else None


def _timed(python: str) -> float:
    """Seconds of the processor; for ever, where it fails."""
    try:
        return float(_output(python, _TIME))
    except ValueError:
        return float("inf")


def _output(python: str, code: str) -> str:
    """Empty where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell
            (python, "-I", "-c", code), capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
