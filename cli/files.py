"""Files that commands write: CSV and the like, or the terminal itself."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from cli import documents
from cli.pages.page import Page, said
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


def written(path: Path, lines: int) -> Page | None:
    """The sentence about a file; none about the terminal."""
    if str(path) == "-":
        return None
    return said(f"{path}: {lines} lines.", lambda: documents.written(path, lines))


async def write(
    path: Path, columns: Sequence[str], found: AsyncIterator[Sequence[T]], line: Callable[[T], str]
) -> Page | None:
    """Write a long list, page by page as it is read as CSV; `columns` are its first line."""
    lines = 0
    with opened(path) as file:
        file.write(csv_line(columns))
        async for rows in found:
            file.writelines(map(line, rows))
            lines += len(rows)
    return written(path, lines)
