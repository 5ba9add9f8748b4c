"""Cursors of list pages: opaque to the client, checked on the way back in."""

import base64
import binascii
from typing import Annotated

from fastapi import Query

from domain.errors import Unprocessable

LIMIT_DEFAULT = 50
LIMIT_MAX = 200

Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="entries of a page")]


def encode(kind: str, position: str | int) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{position}".encode()).decode().rstrip("=")


def decode(kind: str, cursor: str | None) -> str | None:
    """The position behind a cursor of ours. Raises Unprocessable `cursor_invalid` for any other text."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise Unprocessable("The cursor is not one of ours.", code="cursor_invalid") from error
    found, separator, position = text.partition(":")
    if found != kind or not separator or not position or not position.isprintable():
        raise Unprocessable("The cursor is not one of ours.", code="cursor_invalid")
    return position
