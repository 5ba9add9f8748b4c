"""HTTP/1.1 over bare asyncio, both sides, as cheap as Python can: the client and the PSP of the bench share the
processor with what is measured, and should take little of it.

One request at a time on a connection, bodies with a length or in chunks, no TLS, this machine alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

_REASONS = {200: "OK", 201: "Created", 402: "Payment Required", 404: "Not Found"}


@dataclass
class Message:
    """A request (`method`, `target`) or an answer (`status`); names of headers in lower case."""

    method: str = ""
    target: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Protocol(asyncio.Protocol):
    """A connection on which messages are read one after the other."""

    parser: httptools.HttpRequestParser | httptools.HttpResponseParser

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._message = Message()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write"), "a stream"
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if self.transport is not None:
                self.transport.abort()

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        self._message = Message()

    def on_url(self, url: bytes) -> None:
        self._message.target += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._message.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._message.body += body


# --- the server ---


class Exchange:
    """A request that waits for its answer."""

    def __init__(self, request: Message, protocol: _Protocol) -> None:
        self.request, self._protocol = request, protocol

    def answer(self, status: int, body: bytes, headers: str = "") -> None:
        """Send the answer; `headers` as they are sent, each with its line end. Nothing, where the client has gone."""
        if self._protocol.transport is None:
            return
        head = (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Else')}\r\nContent-Type: application/json\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._protocol.transport.write(head.encode() + body)


class ServerProtocol(_Protocol):
    """Hands every request to `take`, which answers it now or later."""

    def __init__(self, take: Callable[[Exchange], None]) -> None:
        super().__init__()
        self._take = take
        self.parser = httptools.HttpRequestParser(self)

    def on_message_complete(self) -> None:
        self._message.method = self.parser.get_method().decode()  # type: ignore[union-attr]
        self._take(Exchange(self._message, self))


# --- the client ---


class _ClientProtocol(_Protocol):
    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpResponseParser(self)
        self.waiting: asyncio.Future[Message] | None = None

    def on_message_complete(self) -> None:
        self._message.status = self.parser.get_status_code()  # type: ignore[union-attr]
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(self._message)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))


class HttpClient:
    """Requests to one server on this machine, on connections that are kept, as many as are needed at once.

    Raises ValueError for a server elsewhere: a load is sent to this machine and to no other.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, *, timeout_s: float = 30.0) -> None:
        where = urlsplit(url)
        require_loopback(url)
        self._host, self._port, self._timeout_s = where.hostname or "", where.port or 80, timeout_s
        fixed = {"Host": where.netloc, "Content-Type": "application/json", **(headers or {})}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._idle: deque[_ClientProtocol] = deque()
        self._all: set[_ClientProtocol] = set()

    async def send(self, method: str, target: str, body: bytes = b"", headers: str = "") -> Message:
        """One request. `headers` as they are sent, each with its line end. Raises OSError and TimeoutError."""
        protocol = await self._connection()
        waiting = protocol.waiting = asyncio.get_running_loop().create_future()
        head = f"{method} {target} HTTP/1.1\r\n{self._fixed}{headers}Content-Length: {len(body)}\r\n\r\n"
        assert protocol.transport is not None, "it is connected"
        protocol.transport.write(head.encode() + body)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer: Message = await waiting
        except BaseException:
            if protocol.transport is not None:  # its answer may still come, and is not the next one's
                protocol.transport.abort()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            protocol.transport.close()
        else:
            self._idle.append(protocol)
        return answer

    async def _connection(self) -> _ClientProtocol:
        while self._idle:
            protocol = self._idle.pop()
            if protocol.transport is not None and not protocol.transport.is_closing():
                return protocol
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(_ClientProtocol, self._host, self._port)
        self._all.add(protocol)
        return protocol

    async def close(self) -> None:
        """Close all connections."""
        for protocol in self._all:
            if protocol.transport is not None:
                protocol.transport.close()


def require_loopback(url: str) -> None:
    """Raises ValueError where the address is not this machine's."""
    host = urlsplit(url).hostname
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"{host} is not this machine")
