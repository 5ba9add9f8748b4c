"""Twilio's messages API, as much of it as sends an SMS or a WhatsApp message and lists what was sent.

Any account SID is taken, with any token that is not `wrong`. The numbers that Twilio refuses for test credentials are
refused here as well. Messages are kept in memory; faults are planned at `/_control/twilio/faults`, for a number where
the match says `{"metadata": {"to": "+49…"}}`.
"""

import asyncio
import base64
import binascii
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Request
from starlette.types import Receive, Scope, Send

from sandbox import misbehaviour
from sandbox.connection import ClientGoneError, Connection
from sandbox.errors import ApiError, Doc
from sandbox.faults import FaultSpec, Registry
from sandbox.store import dumps

PATH = "/2010-04-01/Accounts/{sid}/Messages.json"
_FAULTS = "twilio"
_REFUSED = {
    "+15005550001": (21211, "Invalid 'To' Phone Number"),
    "+15005550002": (21612, "Cannot route to this number"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}

router = APIRouter(prefix="/_control/twilio")


class TwilioRefusal(Exception):
    """An answer that says no: the HTTP status, Twilio's code and its words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def body(self) -> Doc:
        """As Twilio answers it."""
        more = f"https://www.twilio.com/docs/errors/{self.code}"
        return {"code": self.code, "message": str(self), "more_info": more, "status": self.status}


class TwilioApi:
    """ASGI application for the messages of every account."""

    def __init__(self) -> None:
        self.faults = Registry()
        self.messages: list[Doc] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless a fault says otherwise."""
        connection = Connection(scope, receive, send)
        with suppress(ClientGoneError):
            try:
                status, body = await self._serve(connection, await connection.read_body())
            except TwilioRefusal as refusal:
                status, body = refusal.status, refusal.body
            except asyncio.CancelledError:  # the server stops while this request waits
                connection.cut()
            await connection.respond(status, {"content-type": "application/json"}, dumps(body).encode())

    async def _serve(self, connection: Connection, body: bytes) -> tuple[int, Doc]:
        scope = connection.scope
        sid = scope["path_params"]["sid"]
        if _credentials(connection) in (None, (sid, "wrong")):
            raise TwilioRefusal(401, 20003, "Authenticate")
        if scope["method"] == "GET":
            return 200, self._list(sid, _fields(scope["query_string"]))
        fields = _fields(body)
        fault = self.faults.claim(_FAULTS, "messages", set, lambda: {"to": fields.get("To", "")})
        try:
            if fault is not None:
                await misbehaviour.before(fault, connection)
        except ApiError as error:
            limited = error.status == 429
            raise TwilioRefusal(error.status, 20429 if limited else 20500, "Refused by a fault") from error
        made = self._create(sid, fields)
        if fault is not None:
            if fault.spec.kind == "http_500_after":
                fault.hit()
                raise TwilioRefusal(500, 20500, "An internal error")
            await misbehaviour.after(fault, connection)
        return 201, made

    def _create(self, sid: str, fields: dict[str, str]) -> Doc:
        to = fields.get("To", "")
        number = to.removeprefix("whatsapp:")
        if number in _REFUSED:
            raise TwilioRefusal(400, *_REFUSED[number])
        if not fields.get("Body") and not fields.get("ContentSid"):
            raise TwilioRefusal(400, 21602, "Message body is required")
        if not fields.get("From") and not fields.get("MessagingServiceSid"):
            raise TwilioRefusal(400, 21603, "A 'From' phone number is required")
        now = format_datetime(datetime.now(UTC)).replace("GMT", "+0000")
        made: Doc = {
            "sid": f"SM{secrets.token_hex(16)}",
            "account_sid": sid,
            "to": to,
            "from": fields.get("From"),
            "messaging_service_sid": fields.get("MessagingServiceSid"),
            "body": fields.get("Body", ""),
            "status": "queued",
            "error_code": None,
            "error_message": None,
            "date_created": now,
            "date_updated": now,
            "date_sent": None,
            "direction": "outbound-api",
            "num_segments": "1",
            "num_media": "0",
            "price": None,
            "price_unit": "USD",
            "api_version": "2010-04-01",
            "uri": f"/2010-04-01/Accounts/{sid}/Messages.json",
            "subresource_uris": {},
        }
        content = {key: fields[key] for key in ("ContentSid", "ContentVariables") if key in fields}
        self.messages.append(made | {"content": content})
        return made

    def _list(self, sid: str, wanted: dict[str, str]) -> Doc:
        """The newest first, in one page."""
        found = [
            {key: value for key, value in one.items() if key != "content"}
            for one in reversed(self.messages)
            if one["account_sid"] == sid and wanted.get("To", one["to"]) == one["to"]
        ][: int(wanted.get("PageSize", 50))]
        here = f"{PATH.format(sid=sid)}?{urlencode(wanted)}"
        page = {"first_page_uri": here, "uri": here, "next_page_uri": None, "previous_page_uri": None}
        return {"messages": found, "page": 0, "page_size": len(found), "start": 0, "end": len(found), **page}


def _fields(text: bytes) -> dict[str, str]:
    return {key: values[-1] for key, values in parse_qs(text.decode()).items()}


def _credentials(connection: Connection) -> tuple[str, str] | None:
    kind, _, value = connection.headers.get("authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if kind.lower() == "basic" else None


# --- control ---


def _api(request: Request) -> TwilioApi:
    found: TwilioApi = request.app.state.twilio
    return found


@router.post("/faults", status_code=201)
async def add_fault(spec: FaultSpec, request: Request) -> Doc:
    """Ask for misbehaviour in the sending of messages."""
    return _api(request).faults.add(_FAULTS, spec).view()


@router.get("/messages")
async def list_messages(request: Request, to: str) -> dict[str, list[Any]]:
    """Messages that were really sent to a number, the first one first."""
    return {"data": [one for one in _api(request).messages if one["to"] == to]}
