"""Mail by SMTP. Whether a mail was taken is known from the step in which the conversation ended."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import aiosmtplib

from domain.notification import Answer, Outgoing, SuppressionReason, Verdict

_STEP_S = 15.0
_OPEN_S = 30.0
"""Of connecting, TLS and login together. With the two steps before the mail and the two of the mail itself that is 90
seconds at most, which a claim outlasts."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ENHANCED = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")

Lost = (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError, TimeoutError)


class Server(NamedTuple):
    """A mail server. `implicit_tls`: TLS from the first byte; otherwise STARTTLS, which only a server on this machine
    may lack."""

    host: str
    port: int
    implicit_tls: bool
    user: str | None
    password: str | None

    @classmethod
    def of(cls, url: str) -> "Server":
        """`smtp://user:password@host:587` or `smtps://…`."""
        parts = urlsplit(url)
        tls = parts.scheme == "smtps"
        user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
        return cls(parts.hostname or "", parts.port or (465 if tls else 587), tls, user, password)


class Smtp:
    """A connection for each mail: a server that has closed an old one cannot leave a mail in doubt."""

    def __init__(self, url: str, sender: str, tls: ssl.SSLContext | None = None) -> None:
        self._server, self._sender = Server.of(url), sender
        self._tls = tls or ssl.create_default_context()

    async def send(self, message: Outgoing, begun_before: datetime | None) -> Answer:  # noqa: ARG002
        """A mail again has the same Message-ID, by which servers and readers know it."""
        try:
            mail = self._mail(message)
            whole, message_id = mail.as_bytes(policy=SMTP), str(mail["Message-ID"])
            message.to.encode("ascii")
        except (ValueError, IndexError, MessageError):  # what the library says of an address that is none
            return Answer(Verdict.DECLINED, "address_invalid", suppress=SuppressionReason.INVALID)
        client = aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.implicit_tls,
            start_tls=False,
            tls_context=self._tls,
            timeout=_STEP_S,
        )
        try:
            return await self._converse(client, whole, message.to, message_id)
        finally:
            client.close()

    async def _converse(self, client: aiosmtplib.SMTP, mail: bytes, to: str, message_id: str) -> Answer:
        """Before the last step nothing is sent; once the server has got all of it and said nothing, nobody knows."""
        steps: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: self._open(client),
            lambda: client.mail(self._sender),
            lambda: client.rcpt(to),
        )
        for step in steps:
            refused = await _step(step)
            if refused is not None:
                return refused
        try:
            await client.data(mail)
        except aiosmtplib.SMTPResponseException as error:
            return _refused(error)
        except Lost as error:
            return Answer(Verdict.UNKNOWN, f"smtp_{type(error).__name__}")
        return Answer(Verdict.SENT, provider_id=message_id)

    async def _open(self, client: aiosmtplib.SMTP) -> None:
        async with asyncio.timeout(_OPEN_S):
            await self._log_in(client)

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        await client.connect()
        if not self._server.implicit_tls:
            await client.ehlo()
            if self._server.host not in _LOOPBACK or client.supports_extension("starttls"):
                await client.starttls(tls_context=self._tls)
        if self._server.user is not None:
            await client.login(self._server.user, self._server.password or "")

    def _mail(self, message: Outgoing) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        domain = self._sender.partition("@")[2]
        mail["From"] = Address(message.sender_name, addr_spec=self._sender)
        mail["To"] = Address(addr_spec=message.to)
        mail["Subject"] = message.subject
        mail["Message-ID"] = f"<{message.id}@{domain}>"
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        return mail

    async def close(self) -> None:
        """Nothing stays open."""


async def _step(step: Callable[[], Awaitable[object]]) -> Answer | None:
    """None: the server agreed. What is refused for our own sake (login, sender, TLS) is ours to repair: it waits."""
    try:
        await step()
    except aiosmtplib.SMTPRecipientRefused as error:
        answer = _refused(error)
        ours = " 5.7." in (answer.code or "")  # a policy against us says nothing of the address (RFC 3463)
        unknown = answer.verdict is Verdict.DECLINED and not ours
        return answer._replace(suppress=SuppressionReason.REFUSED) if unknown else answer
    except aiosmtplib.SMTPResponseException as error:
        return Answer(Verdict.FAILED, _code(error))
    except (aiosmtplib.SMTPException, ssl.SSLError, *Lost) as error:
        return Answer(Verdict.FAILED, f"smtp_{type(error).__name__}")
    return None


def _refused(error: aiosmtplib.SMTPResponseException) -> Answer:
    return Answer(Verdict.DECLINED if error.code >= 500 else Verdict.FAILED, _code(error))


def _code(error: aiosmtplib.SMTPResponseException) -> str:
    """The numbers alone: the words beside them often have the address."""
    enhanced = _ENHANCED.search(error.message)
    return f"smtp_{error.code}" + (f" {enhanced[0]}" if enhanced else "")
