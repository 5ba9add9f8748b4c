"""Statements in SQL files, with named parameters, for the few that are asked so often that building them counts."""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_NAME = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_COMMENT = re.compile(r"--[^\n]*")


class Statement:
    """The SQL of one statement as PostgreSQL's driver takes it: `:name` is a parameter, `::type` a cast."""

    def __init__(self, sql: str) -> None:
        self.names: list[str] = []
        self.sql = _NAME.sub(lambda found: f"${self._number(found[1])}", _COMMENT.sub("", sql)).strip()

    def _number(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name) + 1

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the parameters. Raises KeyError for one that is missing."""
        assert len(values) == len(self.names), f"{sorted(set(values) ^ set(self.names))} is of one side alone"
        return [values[name] for name in self.names]


def load(package: str, file: str) -> Statement:
    """The statement in a file beside a module: `load(__package__, "store.sql")`."""
    return Statement(files(package).joinpath(file).read_text())
