"""Rows in columns, and names with their values, as wide as the terminal: no word, and so no id, is cut or broken."""

import re
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cli.pages.safe import safe

Words = Text
Part = str | tuple[str, str] | Words
"""Words, words with a style, or what `text` made of such."""

_GAP = 2
_UNSPACED = "\u2e80-\u312f\u31a0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
"""Chinese and Japanese, written without spaces: a line may be broken before and after each."""
_WORD = re.compile(rf"[{_UNSPACED}]\s*|(?:`[^`\n]*`|[^\s{_UNSPACED}])+\s*")
"""A command to copy, between backticks, is broken as little as an id is."""
_BLANK = re.compile(rf"\s+|(?<=[{_UNSPACED}])|(?=[{_UNSPACED}])")


def text(*parts: Part) -> Words:
    """Words as all pages show them: nothing in them is read as markup, and none of them steers the terminal."""
    made = Text()
    for part in parts:
        if isinstance(part, Text):
            made.append_text(part)
        else:
            words, style = part if isinstance(part, tuple) else (part, "")
            made.append(safe(words), style)
    return made


def whole(*parts: Part) -> Words:
    """The same on one line, however long: it is there to be copied. The terminal folds it, and nothing is cut."""
    line = text(*parts)
    line.no_wrap, line.overflow = True, "ignore"
    return line


class Typed:
    """Words among which are commands, between backticks: lines are broken at spaces, but not within a command."""

    def __init__(self, *parts: Part) -> None:
        self._words = text(*parts)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from map(whole, _wrapped(self._words, options.max_width))


class Facts:
    """`name  value`, one a line; a value that is too long for its line goes on below itself."""

    def __init__(self) -> None:
        self._rows: list[tuple[Text, Text]] = []

    def add_row(self, name: str, *value: Part) -> None:
        self._rows.append((text((name, "dim")), text(*value)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _named(self._rows, options.max_width)


class Listing:
    """A table whose columns are as wide as their words need; where the terminal is too narrow for it, each row is shown
    as its first cell with the others, named, below."""

    def __init__(self, columns: Sequence[str], *, right: Iterable[str] = ()) -> None:
        """`right`: amounts and numbers, which line up and are not broken at spaces either."""
        self._columns, self._right = columns, frozenset(right)
        self._rows: list[list[Text]] = []
        self._ruled: set[int] = set()

    def add_row(self, *cells: Part) -> None:
        assert len(cells) == len(self._columns), "a cell for each column"
        self._rows.append([text(cell) for cell in cells])

    def add_section(self) -> None:
        """A blank line before what follows."""
        self._ruled.add(len(self._rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(options.max_width)
        if widths is not None:
            yield self._table(widths)
            return
        for number, (first, *others) in enumerate(self._rows):
            if number:
                yield ""
            yield from map(whole, _wrapped(first, options.max_width))
            named = [(text((name, "dim")), cell) for name, cell in zip(self._columns[1:], others, strict=True) if cell]
            yield from _named(named, options.max_width, indent=_GAP)

    def _widths(self, room: int) -> list[int] | None:
        """Of the columns; None where the words of one row are wider than `room`."""
        least, most = [], []
        for column, name in enumerate(self._columns):
            cells = [row[column].plain for row in self._rows]
            lines = [line for cell in cells for line in cell.split("\n")]
            words = lines if name in self._right else [word for line in lines for word in _BLANK.split(line)]
            least.append(max(map(cell_len, [*words, *name.split()]), default=0))
            most.append(max(map(cell_len, [*lines, name]), default=0))
        spare = room - sum(least) - _GAP * (len(least) - 1)
        if spare < 0:
            return None
        for left, column in enumerate(sorted(range(len(least)), key=lambda c: most[c] - least[c])):
            more = min(most[column] - least[column], spare // (len(least) - left))
            least[column] += more
            spare -= more
        return least

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
        for name, width in zip(self._columns, widths, strict=True):
            table.add_column(Text(name), justify="right" if name in self._right else "left", width=width)
        for number, row in enumerate(self._rows):
            if number in self._ruled:
                table.add_row()
            table.add_row(*row)
        return table


def _named(rows: Iterable[tuple[Text, Text]], width: int, *, indent: int = 0) -> Iterator[Text]:
    rows = list(rows)
    column = max((cell_len(name.plain) for name, _ in rows), default=0) + _GAP
    for name, value in rows:
        room = width - indent - column
        before = text(" " * indent, name)
        if max((cell_len(word.rstrip()) for word in _WORD.findall(value.plain)), default=0) > room:
            # The value has a word that is longer than what is left of the line.
            if name:
                yield before
            yield from (whole(" " * (indent + _GAP), line) for line in _wrapped(value, width - indent - _GAP))
            continue
        before.pad_right(indent + column - cell_len(before.plain))
        for line in _wrapped(value, room):
            yield whole(before, line)
            before = text(" " * (indent + column))


def _wrapped(value: Text, width: int) -> Iterator[Text]:
    """Its lines, broken at spaces alone; a word that is wider is a line by itself."""
    for line in value.split("\n", allow_blank=True) or [value]:
        breaks, used = [], 0
        for word in _WORD.finditer(line.plain):
            if used and used + cell_len(word[0].rstrip()) > width:
                breaks.append(word.start())
                used = 0
            used += cell_len(word[0])
        for part in line.divide(breaks):
            part.rstrip()
            yield part
