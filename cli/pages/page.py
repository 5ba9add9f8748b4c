"""A page: what a command shows a person, and the document that it prints with `--json`."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich.console import RenderableType

from cli.pages.layout import whole

Document = BaseModel | Mapping[str, object]

_ODD = re.compile(r"[^\x20-\x7e\n]")


@dataclass(frozen=True)
class Page:
    """`document` is asked for with `--json` alone: it may read more, and imports the shapes of the HTTP API."""

    shown: RenderableType
    document: Callable[[], Awaitable[Document]]


def said(sentence: str, document: Callable[[], Awaitable[Document]]) -> Page:
    """The sentence after a command; it is not folded, as it has ids to copy, and has no lines of another's making."""
    return Page(whole(sentence.replace("\n", " ")), document)


def as_text(document: Document) -> str:
    """JSON for people and programs: what would steer a terminal is escaped, other languages are not."""
    return as_line(json.dumps(to_jsonable_python(document, by_alias=True), indent=2, ensure_ascii=False))


def as_line(text: str) -> str:
    """JSON with the same escapes."""
    return _ODD.sub(lambda odd: odd[0] if odd[0].isprintable() else json.dumps(odd[0])[1:-1], text)
