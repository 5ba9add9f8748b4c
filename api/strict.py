"""Reading a request: strict JSON, a bounded body, and nothing that looks like card data anywhere."""

import json
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import authenticate, authorizer_of
from api.problems import problem
from db.core import deadline
from domain.card_data import refuse_card_data, refuse_card_field, require_text
from domain.errors import BadRequest, PaysagaError, Unprocessable

DEPTH_MAX = 16
_NUMBER_LENGTH_MAX = 40
JSON_BYTES_MAX = 96 * 1024
"""Fifty orders and full metadata fit; the search for card data in it stays well below a tenth of a second."""


class UnsupportedMediaType(PaysagaError):
    code, status = "unsupported_media_type", 415


class BodyTooLarge(PaysagaError):
    code, status = "body_too_large", 413


class StrictRequest(Request):
    """A request whose JSON is read by the rules of I-JSON (RFC 7493): UTF-8, no repeated member, no NaN."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its body by these rules. `authenticated`: for those alone who have a credential. `streams`: it
    reads its body by itself, piece by piece."""

    authenticated = True
    streams = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        before = authorizer_of(self.dependant)
        has_formats = any(field.alias == "format" for field in get_flat_params(self.dependant))

        async def strict(request: Request) -> Response:
            if before is not None:
                await before(request)  # and only then is the work of reading a body done
            # JSON in answer to `format=csv` would be read as a broken file.
            if not has_formats and request.query_params.get("format", "json") != "json":
                raise Unprocessable("There is only JSON here: leave out `format`.", code="format_unavailable")
            request = StrictRequest(request.scope, request.receive)
            if self.body_field is not None:
                if before is None and self.authenticated:
                    await authenticate(request)
                media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if media_type != "application/json":
                    raise UnsupportedMediaType("The body must be application/json.")
                # Read here: FastAPI turns whatever is raised while it reads a body into a 400 without a code.
                await request.json()
            elif self.authenticated and not self.streams and request.method not in ("GET", "HEAD"):
                await request.body()  # its turn comes once the body is there, also where nobody wants one
            await deadline.check()
            return await handle(request)

        return strict


class StreamRoute(StrictRoute):
    """A route whose body does not fit into memory."""

    streams = True


class OpenRoute(StrictRoute):
    """A route that reads its body by these rules, for whoever calls."""

    authenticated = False


def read_json(body: bytes) -> Any:
    """Raises BadRequest `malformed_json`; BodyTooLarge; Unprocessable `card_data_forbidden`, `text_invalid`."""
    if len(body) > JSON_BYTES_MAX:
        raise BodyTooLarge(f"The body is larger than {JSON_BYTES_MAX} bytes.")
    if not body:
        raise BadRequest("The body is empty.", code="malformed_json")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_members,
            parse_constant=_constant,
            parse_int=_int,
            parse_float=_float,
        )
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8.", code="malformed_json") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}", code="malformed_json") from error
    _inspect(value, 0)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _int(text: str) -> int:
    _require_short(text)
    return int(text)


def _float(text: str) -> float:
    _require_short(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _require_short(number: str) -> None:
    if len(number) > _NUMBER_LENGTH_MAX:
        raise ValueError("a number has too many digits")


def _inspect(value: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise BadRequest("The body is nested too deeply.", code="malformed_json")
    if isinstance(value, dict):
        for name, member in value.items():
            require_text(name)
            refuse_card_field(name)
            _inspect(member, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _inspect(item, depth + 1)
    elif isinstance(value, str):
        require_text(value)
    elif isinstance(value, int | float):
        refuse_card_data(f"{value:.0f}")


class HeadAsGet:
    """HEAD is answered as GET, whose body the server leaves out: programs that show or watch a link ask in this way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
        await self._app(asked, receive, send)


class BodyLimit:
    """413 before a body is in memory, whether its length is declared or not. `larger`: the limits of what lies
    under paths that take more: files, which never are in memory as a whole, and events of a PSP."""

    def __init__(self, app: ASGIApp, bytes_max: int, larger: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits = (limit for path, limit in self._larger.items() if scope["path"].startswith(path))
        bytes_max = next(limits, self._bytes_max)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > bytes_max:
            await self._refuse(scope, receive, send, bytes_max)
            return
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > bytes_max:
                raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _TooLarge:
            if not started:
                await self._refuse(scope, receive, send, bytes_max)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, bytes_max: int) -> None:
        response = problem(413, "body_too_large", f"The body is larger than {bytes_max} bytes.")
        await response(scope, receive, send)


class _TooLarge(Exception):
    pass
