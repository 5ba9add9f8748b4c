"""Headers of every answer: it is kept by nobody on the way, is what it says it is, and is no page that others frame."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
"""Pages say themselves what they load, and the files of `/docs` how long they are kept."""
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
"""Of answers over TLS: a browser asks this host over TLS alone for a year (RFC 6797)."""
_KEPT = "/docs/"


class AnswerHeaders:
    """ASGI middleware: adds what an answer does not say itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        always = () if scope["path"].startswith(_KEPT) else ALWAYS
        if scope["scheme"] == "https":
            always = (*always, STRICT_TRANSPORT)

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(header for header in always if header[0] not in said)]
            await send(message)

        await self._app(scope, receive, completed)
