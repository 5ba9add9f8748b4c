"""Cursors of list pages: opaque to the client, checked on the way back in."""

import base64
import binascii
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import Query

from domain.errors import Unprocessable
from domain.ids import is_id

LIMIT_DEFAULT = 50
LIMIT_MAX = 200

Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="entries of a page")]

FileLimit = Annotated[
    int | None,
    Query(ge=1, le=LIMIT_MAX, description=f"entries of a page, {LIMIT_DEFAULT} if it is left out; a file then has all"),
]


def _is_number(text: str) -> bool:
    """A sequence number: below BIGINT's limit."""
    return text.isdigit() and len(text) < 19


def _is_account(text: str) -> bool:
    """`INR/wallet:anna:pending`"""
    return re.fullmatch(r"[A-Z]{3}/[A-Za-z0-9_:-]{1,120}", text, re.ASCII) is not None


_IS_POSITION: dict[str, Callable[[str], bool]] = {
    "audit_log": _is_number,
    "history": _is_number,
    "payment": partial(is_id, "pay"),
    "refund": partial(is_id, "re"),
    "merchant": partial(is_id, "mer"),
    "dispute": _is_number,
    "ledger": _is_number,
    "payout": _is_number,
    "payout_item": _is_number,
    "account": _is_account,
    "reconciliation": _is_number,
    "reconciliation_item": _is_number,
    "discrepancy": _is_number,
    "webhook_delivery": partial(is_id, "whd"),
    "dead_letter": partial(is_id, "dl"),
    "notification": partial(is_id, "ntf"),
    "suppression": partial(is_id, "sup"),
}
"""The form of the position with which a page of each kind ends."""


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
    found, _, position = text.partition(":")
    if found != kind or not _IS_POSITION[kind](position):
        raise Unprocessable("The cursor is not one of ours.", code="cursor_invalid")
    return position
