"""Lists as files: CSV and JSON lines, sent page by page as they are read."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from domain.statement import csv_line

T = TypeVar("T")

MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "jsonl": "application/jsonl"}

Accept = Annotated[str, Header(include_in_schema=False)]


def chosen(form: str | None, accept: str, offered: Sequence[str]) -> str:
    """The form that is asked for by name or, failing that, liked best by `Accept` (RFC 9110, 12.5.1); of those that are
    liked as much the one that is `offered` first."""
    if form is not None:
        return form
    quality = {MEDIA_TYPES[name]: 0.0 for name in offered}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in quality:
            weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
            quality[name] = _weight(weights[0]) if weights else 1.0
    return max(offered, key=lambda name: quality[MEDIA_TYPES[name]])


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


async def _as_csv(
    form: Annotated[
        Literal["json", "csv"] | None,
        Query(alias="format", description="left out, `Accept` decides", examples=["json"]),
    ] = None,
    accept: Accept = MEDIA_TYPES["json"],
) -> bool:
    return chosen(form, accept, ("json", "csv")) == "csv"


AsCsv = Annotated[bool, Depends(_as_csv)]
"""Whether a list is asked for as CSV."""


def also_csv(columns: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    """The answer of a list that is a CSV as well, for its OpenAPI description."""
    content = {MEDIA_TYPES["csv"]: {"schema": {"type": "string"}, "example": csv_line(columns)}}
    return {
        200: {
            "content": content,
            "description": "as JSON, or as CSV where `format=csv` or `Accept: text/csv` asks for it",
        }
    }


async def file(
    name: str, found: AsyncIterator[Sequence[T]], write: Callable[[T], str], columns: Sequence[str] | None
) -> Response:
    """Send a file called `name`, which ends in its form, line by line; `columns` are the first line of a CSV."""
    begun: Sequence[T] = await anext(found, [])  # before an answer is begun: what fails here is still a problem

    async def lines() -> AsyncIterator[str]:
        yield (csv_line(columns) if columns is not None else "") + "".join(map(write, begun))
        async for rows in found:
            yield "".join(map(write, rows))

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(), headers=headers, media_type=MEDIA_TYPES[name.rpartition(".")[2]])
