"""Bounds of a connection, kept before any of our own code runs: how many there are, how large a request's head is, how
long a client may be silent or slow.

uvicorn's HTTP protocol has none of them: a header may be of any size, and a connection that never sends a whole request
stays open for ever.
"""

import asyncio
import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar, cast

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.headers import ALWAYS, STRICT_TRANSPORT
from api.problems import problem
from api.retry_after import retry_after

_LOOK_S = 1.0
"""How often a body that takes long is looked at."""
LINGER_S = 2.0
_FULL_S = 5.0
"""Every connection has a request under way: about so long until some have ended."""
_PART_BYTES = 16 * 1024
KEEP_ALIVE_S = 75
"""For the next request on a connection that had one: longer than load balancers (60 s) and clients (5 s, uvicorn's own
as well) keep it, or one of them sends a payment at the moment at which it is closed."""


class ConnectionLimits(BaseModel):
    """Of one process. `silence_s`: seconds for the head of a request, and for a client that stops in the middle of a
    body or of reading an answer; `body_bytes_per_s`: what a body that takes longer than that must reach on average."""

    model_config = ConfigDict(frozen=True)

    connections_max: int = 2_000
    head_bytes_max: int = 32 * 1024
    headers_max: int = 100
    silence_s: float = 10.0
    body_bytes_per_s: int = 1_024


class Connection(Protocol):
    """A connection that gives its place away."""

    def end(self) -> None: ...


class Waiting:
    """The connections of a process that have no request under way, the longest one first."""

    def __init__(self) -> None:
        self._since: dict[Connection, None] = {}
        self.open = 0

    def add(self, connection: "Connection") -> None:
        self._since.pop(connection, None)
        self._since[connection] = None

    def remove(self, connection: "Connection") -> None:
        self._since.pop(connection, None)

    def end_longest(self) -> bool:
        """Make room: False if every connection has a request under way."""
        longest = next(iter(self._since), None)
        if longest is None:
            return False
        longest.end()
        return True


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 within the limits. What breaks them is answered as every error is, and the connection closed: 431 for a
    head that is too large, 408 for a client that is too slow, 503 where there is no room for a connection. Where there
    is no room, the connection that has waited longest for a request gives its place away."""

    limits: ConnectionLimits
    waiting: Waiting

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._head_bytes = self._body_bytes = self._unseen_bytes = 0
        self._ended = self._head_refused = False
        self._in_head, self._complete = True, True
        self._idle = False
        self.waiting.open += 1
        if self.waiting.open > self.limits.connections_max and not self.waiting.end_longest():
            self._refuse(503, "connections_exceeded", "Too many connections; try again.")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def end(self) -> None:
        """Close at once, whatever is under way, and give the place back."""
        self._leave()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """In small parts: a header, a trailer or a chunk's extension without an end is kept by the parser, which tells
        of it when it ends; all that can be counted are the parts that told of nothing."""
        for start in range(0, len(data), _PART_BYTES):
            if self._ended:
                return
            part = data[start : start + _PART_BYTES]
            if self._idle:
                self._await_head()
            self._unseen_bytes += len(part)
            super().data_received(part)
            if self._head_refused or self._unseen_bytes > self.limits.head_bytes_max:
                self._refuse(431, "headers_too_large", self._too_large)

    @property
    def _too_large(self) -> str:
        most = f"{self.limits.head_bytes_max} bytes or {self.limits.headers_max} fields"
        return f"The first line and the headers of the request have more than {most}."

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._body_bytes = 0
        self._head_refused = self._complete = False

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unseen_bytes = 0
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        if self._head_bytes > self.limits.head_bytes_max or len(self.headers) >= self.limits.headers_max:
            self._head_refused = True
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unseen_bytes = 0
        if self._ended:
            return
        if self._head_refused or self._head_bytes > self.limits.head_bytes_max:
            self._refuse(431, "headers_too_large", self._too_large)
            return
        self._in_head = False
        self.waiting.remove(self)
        super().on_headers_complete()
        self._began_s = self.loop.time()
        self._read_within(self.limits.silence_s, self._check_body)

    def on_body(self, body: bytes) -> None:
        self._unseen_bytes = 0
        self._body_bytes += len(body)
        if not self._ended:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._unseen_bytes = 0
        self._complete = True
        self._read_within(None)
        if self._ended:
            return
        super().on_message_complete()
        if self.cycle.response_complete:
            self._await_next()  # it was answered before its body had come

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._complete and not self.pipeline and not self._ended:
            self._await_next()

    def pause_writing(self) -> None:
        """The client does not read its answer."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.silence_s, self.end)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "malformed_http", msg)

    def _await_head(self) -> None:
        self._in_head, self._idle = True, False
        self.waiting.add(self)
        self._read_within(self.limits.silence_s, self._head_is_late)

    def _await_next(self) -> None:
        """Between two requests a connection is idle, and costs its place only as long as nobody else needs one."""
        self._in_head = self._idle = True
        self.waiting.add(self)
        self._read_within(KEEP_ALIVE_S, self.end)

    def _head_is_late(self) -> None:
        if self._complete and self._unseen_bytes == 0:
            self.end()  # nothing was asked
        else:
            self._refuse(408, "request_timeout", f"The request did not come within {self.limits.silence_s:g} s.")

    def _check_body(self) -> None:
        """Whether the body comes at the least rate. While our own side does not read, the client is not slow."""
        if self.flow.read_paused:
            self._began_s += _LOOK_S
        elapsed_s = self.loop.time() - self._began_s
        if self._body_bytes <= (elapsed_s - self.limits.silence_s) * self.limits.body_bytes_per_s:
            self._refuse(
                408, "request_timeout", f"The body came at less than {self.limits.body_bytes_per_s} bytes a second."
            )
        else:
            self._read_within(_LOOK_S, self._check_body)

    def _read_within(self, seconds: float | None, late: Callable[[], None] | None = None) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._reading = self.loop.call_later(seconds, late) if seconds is not None and late is not None else None

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer and close; without an answer where one is under way, or came before the request was whole."""
        if self._ended:
            return
        answered = not self._in_head and self.cycle is not None and self.cycle.response_started
        if not answered and not self.transport.is_closing():
            self.transport.write(_answer(problem(status, code, detail), tls=self.scheme == "https"))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._leave()
        self._close_gently()

    def _close_gently(self) -> None:
        """Closed while data of the client is unread, a connection is reset and takes the answer with it: what still
        comes is thrown away for a moment. TLS has no end of one direction; the client closes after the answer."""
        if self.transport.is_closing():
            return
        tls = not self.transport.can_write_eof()
        if not tls:
            self.transport.write_eof()
        self.flow.resume_reading()
        self._writing = self.loop.call_later(LINGER_S, self.transport.close if tls else self.transport.abort)

    def _leave(self) -> None:
        self._read_within(None)
        if self._writing is not None:
            self._writing.cancel()
        self.waiting.remove(self)
        if not self._ended:
            self._ended = True
            self.waiting.open -= 1


def _answer(response: Response, *, tls: bool) -> bytes:
    headers = [*response.raw_headers, *ALWAYS, *([STRICT_TRANSPORT] if tls else [])]
    if response.status_code == 503:
        headers.append((b"retry-after", retry_after(_FULL_S)))
    head = [STATUS_LINE[response.status_code], *(b"%s: %s\r\n" % header for header in headers)]
    return b"".join([*head, b"connection: close\r\n\r\n", bytes(response.body)])


P = TypeVar("P", bound=BoundedProtocol)


def bounded(limits: ConnectionLimits, protocol: type[P]) -> type[P]:
    """uvicorn's `http`: the protocol of one process."""
    raise_file_limit()
    return cast("type[P]", type(protocol.__name__, (protocol,), {"limits": limits, "waiting": Waiting()}))


def raise_file_limit() -> None:
    """As many open files as the system lets us have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
