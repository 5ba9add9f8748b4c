"""Reading a request: strict JSON, a bounded body, and nothing that looks like card data anywhere."""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from domain.errors import BadRequest, PaysagaError, Unprocessable

DEPTH_MAX = 16
_DIGITS_MAX = 40
_CARD = re.compile(r"(?<![0-9A-Za-z_])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z_])", re.ASCII)
_CARD_FIELDS = frozenset({"cvc", "cvv", "cvv2", "cvc2", "card_number", "cardnumber", "pan", "security_code"})


class UnsupportedMediaType(PaysagaError):
    code, status = "unsupported_media_type", 415


class StrictRequest(Request):
    """A request whose JSON is read by the rules of I-JSON (RFC 7493): UTF-8, no repeated member, no NaN."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json


class StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            if self.body_field is not None:
                media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if media_type != "application/json":
                    raise UnsupportedMediaType("The body must be application/json.")
                if not await request.body():
                    raise BadRequest("The body is empty.", code="malformed_json")
            return await handle(request)

        return strict


def read_json(body: bytes) -> Any:
    """Raises BadRequest `malformed_json`; Unprocessable `card_data_forbidden`, `text_invalid`."""
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_constant, parse_int=_int)
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
    if len(text) > _DIGITS_MAX:
        raise ValueError("a number has too many digits")
    return int(text)


def _inspect(value: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise BadRequest("The body is nested too deeply.", code="malformed_json")
    if isinstance(value, dict):
        for name, member in value.items():
            if name.lower() in _CARD_FIELDS:
                raise Unprocessable("Card data is never accepted here; send a token.", code="card_data_forbidden")
            _inspect_text(name)
            _inspect(member, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _inspect(item, depth + 1)
    elif isinstance(value, (str, int)):
        _inspect_text(str(value))


def _inspect_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unprocessable("The text has a character that cannot be stored.", code="text_invalid")
    for match in _CARD.finditer(text):
        if _luhn(match[0]):
            raise Unprocessable("Card data is never accepted here; send a token.", code="card_data_forbidden")


def _luhn(text: str) -> bool:
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


class BodyLimit:
    """413 before a body is in memory, whether its length is declared or not."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._bytes_max:
            await self._refuse(scope, receive, send)
            return
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._bytes_max:
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
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem(413, "body_too_large", f"The body is larger than {self._bytes_max} bytes.")
        await response(scope, receive, send)


class _TooLarge(Exception):  # noqa: N818 - never leaves this file
    pass
