"""Files that commands write: CSV and the like, or the terminal itself."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import RenderableType
from rich.text import Text

from embedded.errors import StackError


class Unwritable(StackError):
    """A file that cannot be written where it should be."""


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The file, to be written; `-` is the terminal. Raises Unwritable."""
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise Unwritable(f"{path} cannot be written: {error.strerror}.") from error


def written(path: Path, lines: int) -> RenderableType | None:
    """The sentence about a file; none about the terminal."""
    return None if str(path) == "-" else Text(f"{path}: {lines} lines.")
