"""`Retry-After` of a 503: an estimate of when there is room for a client that was turned away."""

import math
import random
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LATELY_S = 10.0
_RATE_MIN_PER_S = 1.0
_LONGEST_S = 30


class Backlog:
    """Requests that were turned away lately and will come again, and how many are answered meanwhile. Both fade: of
    what happened `_LATELY_S` ago a third counts."""

    def __init__(self) -> None:
        self._refused = self._served = self._at_s = 0.0

    def served(self, now_s: float) -> None:
        self._fade(now_s)
        self._served += 1

    def refused(self, now_s: float) -> float:
        """Seconds that it takes to answer everybody who was turned away, this one included."""
        self._fade(now_s)
        self._refused += 1
        return self._refused / max(self._served / _LATELY_S, _RATE_MIN_PER_S)

    def _fade(self, now_s: float) -> None:
        factor = math.exp((self._at_s - now_s) / _LATELY_S)
        self._refused, self._served, self._at_s = self._refused * factor, self._served * factor, now_s


def retry_after(estimate_s: float) -> bytes:
    """The header's value: spread, since clients that come back at the same moment are turned away again."""
    spread = random.uniform(0.5, 1.5)  # noqa: S311 - jitter
    return b"%d" % max(1, min(math.ceil(estimate_s * spread), _LONGEST_S))


class RetryAfter:
    """ASGI middleware: the header of every 503 that does not say it itself. Reading is estimated apart from the rest,
    which waits for more than a database."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._reading, self._writing = Backlog(), Backlog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        backlog = self._reading if scope["method"] in ("GET", "HEAD") else self._writing

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] != 503:
                    backlog.served(time.monotonic())
                elif all(name.lower() != b"retry-after" for name, _ in message["headers"]):
                    value = retry_after(backlog.refused(time.monotonic()))
                    message["headers"] = [*message["headers"], (b"retry-after", value)]
            await send(message)

        await self._app(scope, receive, told)
