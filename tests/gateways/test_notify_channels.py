"""Channels say truly what became of a message: sent, declined, not sent, or unknown."""

import secrets
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import trustme

from domain.notification import ChannelName, Outgoing, SuppressionReason, Verdict
from embedded.ports import free_port
from embedded.stack import EmbeddedStack
from gateways.notify.smtp import Smtp
from gateways.notify.twilio import Account, Twilio
from tests.support.mail import MailServer

SENDER = "no-reply@shop.example"


def message(to: str, **more: Any) -> Outgoing:
    words = {"subject": "Your receipt: 5,00 €", "text": "Thank you.\n", "html": "<p>Thank you.</p>"} | more
    return Outgoing(id=f"ntf_{secrets.token_hex(8)}", to=to, sender_name="Anna & Söhne", **words)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer() as made:
        yield made


async def test_a_mail_arrives_as_it_was_written(server: MailServer) -> None:
    sent = message("buyer@example.com")
    answer = await Smtp(server.url, SENDER).send(sent, None)
    (mail,) = server.got
    assert answer.verdict is Verdict.SENT
    assert answer.provider_id == mail["Message-ID"] == f"<{sent.id}@shop.example>"
    assert mail["From"].addresses[0].display_name == "Anna & Söhne"
    assert (mail["Subject"], mail["To"]) == (sent.subject, "buyer@example.com")
    assert mail.get_body(("plain",)).get_content().split() == ["Thank", "you."]  # type: ignore[union-attr]
    assert "<p>Thank you.</p>" in mail.get_body(("html",)).get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("to", "verdict", "code", "suppress"),
    [
        ("unknown@example.com", Verdict.DECLINED, "smtp_550 5.1.1", SuppressionReason.REFUSED),
        ("blocked@example.com", Verdict.DECLINED, "smtp_554 5.7.1", None),
        ("large@example.com", Verdict.DECLINED, "smtp_552 5.2.3", None),
        ("greylisted@example.com", Verdict.FAILED, "smtp_451 4.7.1", None),
        ("lost@example.com", Verdict.UNKNOWN, "smtp_SMTPServerDisconnected", None),
        ("näh@example.com", Verdict.DECLINED, "address_invalid", SuppressionReason.INVALID),
        ("a b@example.com", Verdict.DECLINED, "address_invalid", SuppressionReason.INVALID),
        ("a@b@example.com", Verdict.DECLINED, "address_invalid", SuppressionReason.INVALID),
    ],
)
async def test_what_the_mail_server_says(
    server: MailServer, to: str, verdict: Verdict, code: str, suppress: SuppressionReason | None
) -> None:
    """No answer has the address, which the server's words do."""
    assert await Smtp(server.url, SENDER).send(message(to), None) == (verdict, code, None, suppress)


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    answer = await Smtp(f"smtp://127.0.0.1:{free_port()}", SENDER).send(message("buyer@example.com"), None)
    assert answer == (Verdict.FAILED, "smtp_SMTPConnectError", None, None)


async def test_nothing_is_sent_in_clear() -> None:
    """To a server that is not taken for this machine, and that has no TLS."""
    async with MailServer("127.0.0.2") as server:
        elsewhere = server.url.replace("smtp://", "smtp://user:secret@")
        answer = await Smtp(elsewhere, SENDER).send(message("buyer@example.com"), None)
        assert answer.verdict is Verdict.FAILED
        assert not server.got


def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_starttls_and_whose_certificate_it_is() -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with MailServer(tls=context) as server:
        trusted = await Smtp(server.url, SENDER, trust(authority)).send(message("buyer@example.com"), None)
        strange = await Smtp(server.url, SENDER, trust(trustme.CA())).send(message("buyer@example.com"), None)
        assert (trusted.verdict, strange.verdict) == (Verdict.SENT, Verdict.FAILED)
        assert len(server.got) == 1


# --- Twilio ---


class Theirs:
    """An account at the sandbox's Twilio."""

    def __init__(self, url: str) -> None:
        self.url, self.sid = url, f"AC{secrets.token_hex(16)}"
        self.number = f"+49151{secrets.randbelow(10**8):08d}"

    def open(self, channel: ChannelName = ChannelName.SMS, token: str = "token", url: str | None = None) -> Twilio:
        return Twilio(Account(self.sid, token, "+15005550006", url or self.url), channel)

    async def fault(self, kind: str) -> None:
        async with httpx2.AsyncClient(base_url=self.url) as http:
            match = {"metadata": {"to": self.number}}
            (await http.post("/_control/twilio/faults", json={"kind": kind, "match": match})).raise_for_status()

    async def sent(self, prefix: str = "") -> list[dict[str, Any]]:
        async with httpx2.AsyncClient(base_url=self.url) as http:
            found = await http.get("/_control/twilio/messages", params={"to": prefix + self.number})
            data: list[dict[str, Any]] = found.raise_for_status().json()["data"]
            return data


@pytest.fixture
def account(shared_servers: EmbeddedStack) -> Theirs:
    return Theirs(shared_servers.sandbox_url)


async def test_an_sms_is_sent(account: Theirs) -> None:
    twilio = account.open()
    answer = await twilio.send(message(account.number), None)
    (sent,) = await account.sent()
    assert answer == (Verdict.SENT, None, sent["sid"], None)
    assert (sent["body"], sent["from"]) == ("Thank you.\n", "+15005550006")
    await twilio.close()


async def test_whatsapp_has_its_own_addresses_and_templates(account: Theirs) -> None:
    twilio = account.open(ChannelName.WHATSAPP)
    await twilio.send(message(account.number, content_sid=f"HX{'0' * 32}", variables={"1": "Anna"}), None)
    (sent,) = await account.sent("whatsapp:")
    assert sent["from"] == "whatsapp:+15005550006"
    assert sent["content"] == {"ContentSid": f"HX{'0' * 32}", "ContentVariables": '{"1": "Anna"}'}
    assert sent["body"] == ""
    await twilio.close()


@pytest.mark.parametrize(
    ("number", "code", "suppress"),
    [
        ("+15005550001", "twilio_21211", SuppressionReason.INVALID),
        ("+15005550009", "twilio_21614", SuppressionReason.INVALID),
        ("+15005550004", "twilio_21610", SuppressionReason.UNSUBSCRIBED),
        ("+15005550002", "twilio_21612", None),
    ],
)
async def test_numbers_that_are_refused(
    account: Theirs, number: str, code: str, suppress: SuppressionReason | None
) -> None:
    twilio = account.open()
    assert await twilio.send(message(number), None) == (Verdict.DECLINED, code, None, suppress)
    await twilio.close()


@pytest.mark.parametrize(
    ("fault", "verdict", "sent"),
    [
        ("rate_limit", Verdict.FAILED, 0),
        ("http_500", Verdict.UNKNOWN, 0),
        ("http_500_after", Verdict.UNKNOWN, 1),
        ("cut_before", Verdict.UNKNOWN, 0),
        ("cut_after", Verdict.UNKNOWN, 1),
    ],
)
async def test_what_is_not_known_is_looked_for_and_not_sent_again(
    account: Theirs, fault: str, verdict: Verdict, sent: int
) -> None:
    twilio, wanted, began = account.open(), message(account.number), datetime.now(UTC)
    await account.fault(fault)
    assert (await twilio.send(wanted, None)).verdict is verdict
    if verdict is Verdict.UNKNOWN:
        found = await twilio.send(wanted, began)
        assert found.verdict is (Verdict.SENT if sent else Verdict.UNKNOWN)
        assert (await twilio.send(message(account.number, text="Other words"), began)).verdict is Verdict.UNKNOWN
        assert (await twilio.send(wanted, began + timedelta(hours=1))).verdict is Verdict.UNKNOWN
    assert len(await account.sent()) == sent
    await twilio.close()


async def test_what_is_ours_to_repair_was_not_sent(account: Theirs) -> None:
    nowhere, refused = account.open(url=f"http://127.0.0.1:{free_port()}"), account.open(token="wrong")
    assert await nowhere.send(message(account.number), None) == (Verdict.FAILED, "twilio_away", None, None)
    assert await refused.send(message(account.number), None) == (Verdict.FAILED, "twilio_20003", None, None)
    assert await account.sent() == []
    await nowhere.close()
    await refused.close()
