"""The deadline that a request brings along, and whether its client is still there."""

import re
import time
from collections import deque

from anyio import CancelScope
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.core.deadline import Deadline, deadline

HEADER = "Request-Timeout"
_NOT_BEGUN = Counter("paysaga_requests_not_begun", "Requests that nobody waited for when their turn came", ["reason"])
_SECONDS = re.compile(rb"[0-9]{1,5}(?:\.[0-9]{1,3})?")


class Deadlines:
    """ASGI middleware. `Request-Timeout: N` says for how many seconds the client waits; `longest_s` is the most. One
    that cannot be read is ignored, as a preference is."""

    def __init__(self, app: ASGIApp, longest_s: float) -> None:
        self._app = app
        self._longest_s = longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = _Client(receive)
        token = deadline.set(Deadline(time.monotonic() + self._patience_s(scope), client.gone, _count))
        try:
            await self._app(scope, client.receive, send)
        finally:
            deadline.reset(token)

    def _patience_s(self, scope: Scope) -> float:
        said = next((value for name, value in scope["headers"] if name == b"request-timeout"), b"").strip()
        return min(float(said), self._longest_s) if _SECONDS.fullmatch(said) else self._longest_s


def _count(code: str) -> None:
    _NOT_BEGUN.labels(code).inc()


class _Client:
    """A request's client, as far as the server has heard from it. Looking whether it has left takes no part of a body
    away from whoever reads it afterwards."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()
        self._has_left = False

    async def receive(self) -> Message:
        return self._kept.popleft() if self._kept else await self._receive()

    async def gone(self) -> bool:
        while not self._has_left:
            message: Message | None = None
            with CancelScope() as now:
                now.cancel()
                message = await self._receive()
            if message is None:
                return False
            self._kept.append(message)
            self._has_left = message["type"] == "http.disconnect"
            if message.get("more_body", False):
                return False  # it sends
        return True
