"""People are told of what happens, each once, over the channels that their shop wants; and their addresses stay where
they are. The workers of the tests have no channels: each test sends what is due itself, over real ones."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web

from domain.notification import ChannelName
from gateways.notify.channel import Channel
from gateways.notify.smtp import Smtp
from gateways.notify.twilio import Account, Twilio
from services import notification_sending as sending
from services import person
from services.command import Caller
from services.notify.words import Words
from tests.support.eventually import eventually
from tests.support.mail import MailServer
from tests.support.programs import Program
from tests.support.receiver import Got, Receiver
from tests.support.shop import Shop

SMS_FROM = "+15005550006"


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer() as made:
        yield made


@pytest.fixture
async def mail(server: MailServer) -> dict[ChannelName, Channel]:
    return {ChannelName.EMAIL: Smtp(server.url, "no-reply@shop.example")}


class Phone:
    """A number, and an account at the sandbox's Twilio that writes to it."""

    def __init__(self, url: str) -> None:
        self.url, self.sid = url, f"AC{secrets.token_hex(16)}"
        self.number = f"+49151{secrets.randbelow(10**8):08d}"
        twilio = Twilio(Account(self.sid, "token", SMS_FROM, url), ChannelName.SMS)
        self.channels: dict[ChannelName, Channel] = {ChannelName.SMS: twilio}

    async def _control(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        async with httpx2.AsyncClient(base_url=self.url) as http:
            answer = await http.request(method, f"/_control/twilio/{path}", **more)
            found: dict[str, Any] = answer.raise_for_status().json()
            return found

    async def fault(self, kind: str) -> None:
        await self._control("POST", "faults", json={"kind": kind, "match": {"metadata": {"to": self.number}}})

    async def sent(self) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = (await self._control("GET", "messages", params={"to": self.number}))["data"]
        return data


@pytest.fixture
async def phone(shop: Shop) -> AsyncIterator[Phone]:
    made = Phone(shop.paysaga.stack.sandbox_url)
    yield made
    await made.channels[ChannelName.SMS].close()


async def wants(shop: Shop, *told: tuple[str, str], **more: Any) -> None:
    settings = [{"type": name, "channel": channel} for name, channel in told]
    answer = await shop.paysaga.http.put(
        "/v1/notification-settings", json={"settings": settings} | more, headers=shop.headers
    )
    assert answer.status_code == 200, answer.text


async def listed(shop: Shop, **filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await shop.get("/v1/notifications", **filters)).raise_for_status().json()["data"]
    return found


async def made(shop: Shop, about: str, count: int = 1) -> list[dict[str, Any]]:
    """The notifications about something, once the fan-out has made them."""

    async def there() -> list[dict[str, Any]] | None:
        rows = await listed(shop, object_id=about)
        return rows if len(rows) == count else None

    return await eventually(there, what=f"{count} notifications about {about}")


async def send(shop: Shop, channels: dict[ChannelName, Channel], folder: Path | None = None) -> None:
    """Send what is due."""
    paysaga, words = shop.paysaga, Words(folder)
    while claimed := await sending.claim(paysaga.database, channels, 20):
        for one in claimed:
            await sending.send(paysaga.database, paysaga.keyring, words, channels, one)


async def later(shop: Shop) -> None:
    """Time passes: what waits is due, and who had claimed something is taken to be dead."""
    await shop.paysaga.sql(
        "UPDATE notification SET next_attempt_at = now(), claimed_until = now()"
        " WHERE tenant_id = $1 AND status = 'PENDING'",
        shop.tenant,
    )


async def receipt(shop: Shop, email: str | None = None, phone: str | None = None) -> dict[str, Any]:
    """A payment of a buyer who has these addresses; its one notification."""
    buyer = {"id": f"buyer_{secrets.token_hex(4)}", "email": email, "phone": phone}
    payment = await shop.paid(shop.checkout(), buyer=buyer)
    (row,) = await made(shop, payment["id"])
    return row


async def now(shop: Shop, row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.get(f"/v1/notifications/{row['id']}")).raise_for_status().json()
    return found


async def letters(shop: Shop, row: dict[str, Any]) -> list[tuple[str, str]]:
    query = "SELECT status, error_class FROM dead_letter WHERE source = 'notifications' AND ref_id = $1"
    return [(one["status"], one["error_class"]) for one in await shop.paysaga.sql(query, row["id"])]


async def test_a_buyer_gets_a_receipt_and_the_address_is_nowhere_else(
    shop: Shop, server: MailServer, mail: dict[ChannelName, Channel]
) -> None:
    await wants(shop, ("payment.succeeded", "email"), sender_name="Anna & Bo's")
    address = f"buyer+{secrets.token_hex(4)}@example.com"
    row = await receipt(shop, address)
    assert (row["status"], row["template"], row["recipient"]) == ("PENDING", "receipt", row["object_id"])
    await send(shop, mail)
    (got,) = server.to(address)
    text, html = (got.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert "₹500.00" in got["Subject"]
    assert "₹500.00" in text
    assert "Anna &amp; Bo&#39;s" in html
    assert (await now(shop, row))["status"] == "SENT"
    assert (await now(shop, row))["provider_id"] == got["Message-ID"]
    for table in ("notification", "outbox", "dead_letter", "audit_log"):
        rows = await shop.paysaga.sql(f"SELECT t::text AS said FROM {table} t WHERE tenant_id = $1", shop.tenant)
        assert not [one for one in rows if address in one["said"]]


async def test_nobody_is_told_unless_the_shop_wants_it(shop: Shop) -> None:
    await wants(shop, ("payment.failed", "email"), ("payment.succeeded", "sms"))
    quiet = await shop.paid(shop.checkout())
    declined = await shop.pay(shop.checkout(), "pm_card_visa_chargeDeclined")
    await made(shop, declined.json()["id"])  # the events before it have been fanned out as well
    assert await listed(shop, object_id=quiet["id"]) == [], "the buyer has no telephone number"


async def test_an_event_is_told_once_however_often_it_is_fanned_out(
    shop: Shop, server: MailServer, mail: dict[ChannelName, Channel]
) -> None:
    await wants(shop, ("payment.succeeded", "email"))
    address = f"once+{secrets.token_hex(4)}@example.com"
    row = await receipt(shop, address)
    await send(shop, mail)
    await shop.paysaga.sql(
        "INSERT INTO outbox_todo (sink, seq) SELECT 2, seq FROM outbox WHERE id = $1", row["event_id"]
    )

    async def over() -> bool:
        return not await shop.paysaga.sql("SELECT FROM outbox_todo WHERE sink = 2")

    await eventually(over)
    await send(shop, mail)
    assert len(server.to(address)) == 1


async def test_an_address_that_is_unknown_gets_nothing_more_until_somebody_lifts_it(
    shop: Shop, server: MailServer, mail: dict[ChannelName, Channel]
) -> None:
    await wants(shop, ("payment.succeeded", "email"))
    address = f"unknown+{secrets.token_hex(4)}@example.com"
    first = await receipt(shop, address)
    await send(shop, mail)
    failed = await now(shop, first)
    assert (failed["status"], failed["code"]) == ("FAILED", "smtp_550 5.1.1")
    assert await letters(shop, first) == [("OPEN", "smtp_550 5.1.1")]
    (by,) = (await shop.get("/v1/suppressions")).raise_for_status().json()["data"]
    assert (by["reason"], by["channel"]) == ("refused", "email")
    second = await receipt(shop, address.upper())
    await send(shop, mail)
    assert (await now(shop, second))["status"] == "SUPPRESSED"
    assert (await now(shop, second))["suppression_id"] == by["id"]
    for _ in range(2):
        lifted = await shop.post(f"/v1/suppressions/{by['id']}/lift", key=by["id"])
        assert lifted.status_code == 200, lifted.text

    (letter,) = (await shop.get("/v1/dead-letters", source="notifications")).raise_for_status().json()["data"]
    shown = (await shop.get(f"/v1/dead-letters/{letter['id']}")).raise_for_status().json()
    assert (shown["ref_id"], address in str(shown)) == (first["id"], False)
    (await shop.post(f"/v1/dead-letters/{letter['id']}/replay")).raise_for_status()
    assert await letters(shop, first) == [("REPLAYED", "smtp_550 5.1.1")]
    await send(shop, mail)
    assert (await now(shop, first))["status"] == "FAILED", "it was tried again"
    assert sorted(await letters(shop, first)) == [("OPEN", "smtp_550 5.1.1"), ("REPLAYED", "smtp_550 5.1.1")]
    assert server.to(address) == []


async def test_what_the_server_does_not_take_now_is_tried_again_and_given_up_at_last(
    shop: Shop, mail: dict[ChannelName, Channel]
) -> None:
    await wants(shop, ("payment.succeeded", "email"))
    row = await receipt(shop, f"greylisted+{secrets.token_hex(4)}@example.com")
    for attempt in range(1, 9):
        await later(shop)
        await send(shop, mail)
        assert (await now(shop, row))["attempts"] == attempt
    given_up = await now(shop, row)
    assert (given_up["status"], given_up["next_attempt_at"]) == ("FAILED", None)
    assert await letters(shop, row) == [("OPEN", "smtp_451 4.7.1")]


async def test_a_mail_that_may_have_been_sent_is_sent_again_under_the_same_name(
    shop: Shop, server: MailServer, mail: dict[ChannelName, Channel]
) -> None:
    await wants(shop, ("payment.succeeded", "email"))
    address = f"lost+{secrets.token_hex(4)}@example.com"
    row = await receipt(shop, address)
    await send(shop, mail)
    assert (await now(shop, row))["status"] == "PENDING"
    await later(shop)
    await send(shop, mail)
    assert (await now(shop, row))["status"] == "SENT"
    assert len({one["Message-ID"] for one in server.to(address)}) == 1 < len(server.to(address))


@pytest.mark.parametrize(
    ("fault", "status", "count"), [("cut_after", "SENT", 1), ("http_500", "UNKNOWN", 0), ("rate_limit", "SENT", 1)]
)
async def test_an_sms_that_may_have_been_sent_is_never_sent_again(
    shop: Shop, phone: Phone, fault: str, status: str, count: int
) -> None:
    await wants(shop, ("payment.succeeded", "sms"))
    row = await receipt(shop, phone=phone.number)
    await phone.fault(fault)
    for _ in range(3):
        await send(shop, phone.channels)
        await later(shop)
    assert (await now(shop, row))["status"] == status
    assert len(await phone.sent()) == count
    assert await letters(shop, row) == ([("OPEN", "twilio_not_found")] if status == "UNKNOWN" else [])


async def test_who_has_unsubscribed_is_suppressed(shop: Shop, phone: Phone) -> None:
    await wants(shop, ("payment.succeeded", "sms"))
    row = await receipt(shop, phone="+15005550004")
    await send(shop, phone.channels)
    assert ((await now(shop, row))["status"], await letters(shop, row)) == ("SUPPRESSED", [])
    (by,) = (await shop.get("/v1/suppressions")).raise_for_status().json()["data"]
    assert by["reason"] == "unsubscribed"


async def test_of_a_buyer_who_was_forgotten_nothing_is_sent(shop: Shop, mail: dict[ChannelName, Channel]) -> None:
    await wants(shop, ("payment.succeeded", "email"), ("payment.succeeded", "sms"))
    buyer = {"id": f"buyer_{secrets.token_hex(4)}", "email": "gone@example.com", "phone": "+4915112345678"}
    payment = await shop.paid(shop.checkout(), buyer=buyer)
    rows = await made(shop, payment["id"], 2)
    (stored,) = await shop.paysaga.sql("SELECT buyer_email, buyer_phone FROM payment WHERE id = $1", payment["id"])
    assert b"+49151" not in stored["buyer_phone"]
    paysaga = shop.paysaga
    await person.forget(paysaga.database, paysaga.keyring, Caller("olga"), shop.tenant, buyer["id"])
    (left,) = await shop.paysaga.sql("SELECT buyer_email, buyer_phone FROM payment WHERE id = $1", payment["id"])
    assert list(left.values()) == [None, None]
    await send(shop, mail)
    (mailed,) = [row for row in rows if row["channel"] == "email"]
    assert ((await now(shop, mailed))["status"], (await now(shop, mailed))["code"]) == ("SUPPRESSED", "no_address")


async def test_an_endpoint_that_is_disabled_is_told_to_the_shop(
    shop: Shop, server: MailServer, mail: dict[ChannelName, Channel]
) -> None:
    async def gone(_: Got) -> web.Response:
        return web.Response(status=410)

    await wants(shop, ("webhook_endpoint.disabled", "email"))
    address = f"ops+{secrets.token_hex(4)}@shop.example"
    contact = {"email": address, "locale": "de"}
    (
        await shop.paysaga.http.put("/v1/notification-contacts/operator", json=contact, headers=shop.headers)
    ).raise_for_status()
    async with Receiver() as receiver:
        receiver.reply = gone
        endpoint = (await shop.post("/v1/webhook-endpoints", {"url": receiver.url()})).raise_for_status().json()
        (await shop.post(f"/v1/webhook-endpoints/{endpoint['id']}/test")).raise_for_status()
        (row,) = await made(shop, endpoint["id"])
        assert (row["recipient"], row["locale"]) == ("operator", "de")
        await send(shop, mail)
    (got,) = server.to(address)
    assert "Webhook-Endpunkt" in got["Subject"]
    assert endpoint["id"] in got.get_body(("plain",)).get_content()  # type: ignore[union-attr]


# --- a worker that is killed between sending and writing ---


def environment(shop: Shop, **settings: str) -> dict[str, str]:
    return shop.paysaga.environment() | {f"PAYSAGA_{name.upper()}": value for name, value in settings.items()}


async def test_a_killed_worker_s_mail_has_the_same_name_again(
    shop: Shop, server: MailServer, mail: dict[ChannelName, Channel], tmp_path: Path
) -> None:
    await wants(shop, ("payment.succeeded", "email"))
    address = f"held+{secrets.token_hex(4)}@example.com"
    env = environment(shop, smtp_url=server.url, smtp_from="no-reply@shop.example")
    program = Program("tests.support.notifier", env=env, out=tmp_path / "log")
    row = await receipt(shop, address)
    async with asyncio.timeout(60):
        await server.held.wait()
    program.send(9)
    await program.ended()
    assert (await now(shop, row))["status"] == "PENDING"
    await send(shop, mail)
    assert len(server.to(address)) == 1, "somebody else's, until its claim ends"
    await later(shop)
    await send(shop, mail)
    assert (await now(shop, row))["status"] == "SENT"
    assert len({one["Message-ID"] for one in server.to(address)}) == 1


async def test_a_killed_worker_s_sms_is_found_and_not_sent_again(shop: Shop, phone: Phone, tmp_path: Path) -> None:
    await wants(shop, ("payment.succeeded", "sms"))
    await phone.fault("hold_after")
    twilio = {"twilio_account_sid": phone.sid, "twilio_auth_token": "token", "twilio_sms_from": SMS_FROM}
    env = environment(shop, **twilio, twilio_base_url=phone.url)
    program = Program("tests.support.notifier", env=env, out=tmp_path / "log")
    row = await receipt(shop, phone=phone.number)

    async def taken() -> bool:
        return len(await phone.sent()) == 1

    await eventually(taken)
    program.send(9)
    await program.ended()
    await later(shop)
    await send(shop, phone.channels)
    assert (await now(shop, row))["status"] == "SENT"
    assert [one["sid"] for one in await phone.sent()] == [(await now(shop, row))["provider_id"]]
    assert json.loads((tmp_path / "log").read_text() or "{}") == {}, "nothing is said of the number"
