"""Common to all routes: the runtime, the idempotency key, and how long the client will wait."""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any

import rfc8785
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from api.examples import IDEMPOTENCY_KEY
from db.core.idempotency import Request as KeyedRequest
from domain.card_data import require_text
from domain.errors import BadRequest, Unprocessable
from runtime.wiring import Runtime

WAIT_DEFAULT_S = 5.0
WAIT_MAX_S = 25.0
KEY_LENGTH_MAX = 255
KEY_PATTERN = r"^[ -~]*[!-~][ -~]*$"
"""Printable ASCII and not only blanks: what every proxy passes on unchanged. Blanks at either end are HTTP's own."""
_KEY = re.compile(KEY_PATTERN)


async def runtime(request: Request) -> Runtime:
    found: Runtime = request.app.state.runtime
    return found


RuntimeOf = Annotated[Runtime, Depends(runtime)]


KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A new one for every payment, best a UUID; the same request under the same key is safe for 30 "
        "days or more.",
        examples=[IDEMPOTENCY_KEY],
    ),
]
KeyAlias = Annotated[str | None, Header(alias="X-Idempotency-Key", include_in_schema=False)]


async def idempotency_key(key: KeyHeader = None, alias: KeyAlias = None) -> str:
    """Raises BadRequest `idempotency_key_missing`, `idempotency_key_invalid`; Unprocessable `card_data_forbidden`."""
    if key is not None and alias is not None and key != alias:
        raise BadRequest("Idempotency-Key and X-Idempotency-Key differ.", code="idempotency_key_invalid")
    found = (key if key is not None else alias or "").strip(" \t")
    if not found:
        raise BadRequest("The header Idempotency-Key is required.", code="idempotency_key_missing")
    if len(found) > KEY_LENGTH_MAX or not _KEY.fullmatch(found):
        raise BadRequest(
            f"An Idempotency-Key has 1 to {KEY_LENGTH_MAX} printable ASCII characters.", code="idempotency_key_invalid"
        )
    try:
        require_text(found)
    except Unprocessable as refused:
        # One in 50,000 random hexadecimal keys reads as a card number with a tail; a UUID never does.
        raise Unprocessable(f"{refused} An Idempotency-Key is best a UUID.", code=refused.code) from None
    return found


IdempotencyKey = Annotated[str, Depends(idempotency_key)]


_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,4})\"?", re.ASCII | re.IGNORECASE)


async def wait_s(
    prefer: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description="`wait=N` (RFC 7240): seconds to wait for an outcome, 0 to 25; 5 if it is left out",
            examples=["wait=5"],
        ),
    ] = None,
) -> float:
    """A preference that cannot be read is ignored, as RFC 7240 asks for."""
    return _preferred(prefer, WAIT_DEFAULT_S)


async def no_wait_s(
    prefer: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description="`wait=N` (RFC 7240): seconds to wait for an end, 0 to 25; 0 if it is left out",
            examples=["wait=0"],
        ),
    ] = None,
) -> float:
    """The same for what takes days as a rule."""
    return _preferred(prefer, 0.0)


def _preferred(prefer: str | None, default_s: float) -> float:
    match = _WAIT.search(prefer or "")
    return default_s if match is None else min(float(match[1]), WAIT_MAX_S)


Wait = Annotated[float, Depends(wait_s)]
NoWait = Annotated[float, Depends(no_wait_s)]


HEADERS: dict[str, Any] = {
    "Location": {"description": "where to ask again", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if the key was seen before: this is the object of then, in its present state",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
"""Of an answer to a request under a key, as OpenAPI describes them."""


def headers(location: str, *, replayed: bool) -> dict[str, str]:
    """The same as they are sent."""
    return {"Location": location} | ({"Idempotent-Replayed": "true"} if replayed else {})


def json_answer(shown: BaseModel, status: int = 200, sent: Mapping[str, str] | None = None) -> Response:
    """The answer that shows this, with the headers `sent`."""
    return Response(shown.model_dump_json(), status, sent, "application/json")


def keyed(request: Request, key: str, body: BaseModel | None) -> KeyedRequest:
    """The request under its key: the same method, path and meaning make the same hash, whatever the white space."""
    content: Any = body.model_dump(mode="json", exclude_defaults=True) if body is not None else None
    canonical = rfc8785.dumps([request.method, request.url.path, content])
    return KeyedRequest(key=key, hash=hashlib.sha256(canonical).digest())
