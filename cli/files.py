"""Files that commands write: CSV and the like, or the terminal itself."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from rich.console import RenderableType
from rich.text import Text

from domain.statement import csv_line
from embedded.errors import StackError

T = TypeVar("T")


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


async def write(
    path: Path, columns: Sequence[str] | None, found: AsyncIterator[Sequence[T]], line: Callable[[T], str]
) -> RenderableType | None:
    """Write a long list, page by page as it is read; `columns` are the first line of a CSV."""
    lines = 0
    with opened(path) as file:
        if columns is not None:
            file.write(csv_line(columns))
        async for rows in found:
            file.writelines(map(line, rows))
            lines += len(rows)
    return written(path, lines)
