"""A real mail server on this machine, which refuses, loses and holds what the address's first part says."""

import asyncio
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd import smtp


class MailServer:
    """`async with MailServer() as server`: `got` has every mail that it has read to the end, taken or not."""

    def __init__(self, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.got: list[EmailMessage] = []
        self.held = asyncio.Event()
        """Set once a mail to `held@…` was read, whose client then waits for ever."""
        self._tls = tls
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"hostname": "mail.test", "enable_SMTPUTF8": False, "loop": loop}
        if self._tls is not None:
            options |= {"tls_context": self._tls, "require_starttls": True}
        self._server = await loop.create_server(lambda: smtp.SMTP(self, **options), self.host, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"smtp://{self.host}:{self._server.sockets[0].getsockname()[1]}"

    def to(self, address: str) -> list[EmailMessage]:
        return [one for one in self.got if one["To"] == address]

    # --- what aiosmtpd calls ---

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, ___: Any) -> str:  # noqa: N802
        answers = {
            "unknown": f"550 5.1.1 <{address}>: no such user",
            "blocked": f"554 5.7.1 <{address}>: relay access denied",
            "greylisted": f"451 4.7.1 <{address}>: come again later",
        }
        answer = answers.get(address.partition("@")[0].partition("+")[0])
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: Any, _: Any, envelope: Any) -> str:  # noqa: N802
        mail: EmailMessage = message_from_bytes(envelope.content, policy=policy.default)
        self.got.append(mail)
        kind = envelope.rcpt_tos[0].partition("@")[0].partition("+")[0]
        if kind == "lost" and len(self.to(envelope.rcpt_tos[0])) == 1:
            server.transport.abort()
        if kind == "held" and len(self.to(envelope.rcpt_tos[0])) == 1:
            self.held.set()
            await asyncio.Event().wait()
        return "552 5.2.3 too large" if kind == "large" else "250 2.0.0 taken"
