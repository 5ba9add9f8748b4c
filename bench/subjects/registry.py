"""The subjects by name. A module is imported when it is asked for: each process has one subject, and a peer's packages
may be missing."""

import importlib
import importlib.util

from bench.plan import Opening, SubjectName
from bench.subjects.subject import Subject

TITLES: dict[SubjectName, str] = {
    "noop": "no-op workflow",
    "saga": "saga of 5 activities",
    "dbos": "DBOS, in process",
    "asyncpg": "plain asyncpg",
    "process": "Paysaga, in process",
    "http": "Paysaga, HTTP",
    "wait": "one empty step",
}
"""In the order of the letters (a) to (g)."""

NEEDS: dict[SubjectName, str] = {"dbos": "dbos"}
"""Packages that are no part of what Paysaga is developed with: `make bench-peers` installs them."""

_MODULES: dict[SubjectName, str] = {
    "noop": "noop",
    "saga": "saga",
    "dbos": "dbos_peer",
    "asyncpg": "plain",
    "process": "in_process",
    "http": "http",
    "wait": "noop",
}


def missing(name: SubjectName) -> str | None:
    """The package that the subject needs and that is not installed."""
    package = NEEDS.get(name)
    return package if package and importlib.util.find_spec(package) is None else None


def subject_of(opening: Opening) -> Subject:
    """The subject, not yet opened."""
    found: Subject = importlib.import_module(f"bench.subjects.{_MODULES[opening.subject]}").SUBJECT(opening)
    return found
