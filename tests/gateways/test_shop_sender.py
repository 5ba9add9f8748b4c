"""Nothing of ours is reached through a shop's URL: tried with real sockets, each of which would be accepted."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from domain.webhook_url import Target, WebhookUrlError
from gateways.shop import sender as module
from gateways.shop.sender import Sender
from gateways.shop.target import check_target, lookup
from tests.support.receiver import Got, Receiver, hang

TRANSLATED = ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"]
INSIDE = ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fe80::1", "fd00::1", "ff02::1", "224.0.0.1", *TRANSLATED]


class Doors:
    """Listens on this machine, on IPv4 and IPv6, and counts who comes."""

    def __init__(self) -> None:
        self.came = 0
        self.port = 0

    async def __aenter__(self) -> "Doors":
        self._servers = [await asyncio.start_server(self._come, "127.0.0.1", 0)]
        self.port = self._servers[0].sockets[0].getsockname()[1]
        if socket.has_ipv6:
            with suppress(OSError):  # a machine without IPv6
                self._servers.append(await asyncio.start_server(self._come, "::1", self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()

    async def _come(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        writer.close()


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    async with Doors() as made:
        yield made


def named(*answers: list[str]) -> Any:
    """A name's addresses at the first question, at the second …"""
    following: Iterator[list[str]] = iter(answers)

    async def find(_: str, __: int) -> list[str]:
        return next(following)

    return find


async def sent(url: str, find: Any = lookup, **options: bool) -> tuple[int | None, str | None]:
    sender = Sender(find=find, **options)
    try:
        answer = await sender.send(url, b"{}", {})
    finally:
        await sender.close()
    return answer.status_code, answer.error


@pytest.mark.parametrize("address", INSIDE)
async def test_an_address_is_refused(doors: Doors, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    url = f"https://{host}:{doors.port}/"
    with pytest.raises(WebhookUrlError):
        await check_target(url, loopback=False)
    _, error = await sent(url)
    assert error == "refused: its address is not a public one"
    assert doors.came == 0


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_refused(doors: Doors, address: str) -> None:
    url = f"https://shop.example:{doors.port}/"
    for found in ([address], ["8.8.8.8", address]):
        with pytest.raises(WebhookUrlError):
            await check_target(url, loopback=False, find=named(found))
        assert (await sent(url, named(found)))[1] == "refused: its address is not a public one"
    assert doors.came == 0


async def test_a_name_that_is_rebound_is_refused_at_delivery(doors: Doors) -> None:
    url, find = f"https://shop.example:{doors.port}/", named(["8.8.8.8"], ["127.0.0.1"])
    await check_target(url, loopback=False, find=find)
    assert (await sent(url, find))[1] == "refused: its address is not a public one"
    assert doors.came == 0


async def test_the_socket_looks_again(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the resolver and the look at the URL would let pass."""
    target = Target("127.0.0.1", doors.port, loopback=False)
    monkeypatch.setattr(module, "target_of", lambda *_, **__: target)
    for url in (f"https://127.0.0.1:{doors.port}/", f"http://[::1]:{doors.port}/", f"http://localhost:{doors.port}/"):
        assert (await sent(url))[1] == "refused: its address is not a public one"
    assert doors.came == 0


async def test_the_name_of_this_machine_is_refused(doors: Doors) -> None:
    for loopback in (False, True):
        url = f"https://localhost:{doors.port}/"
        with pytest.raises(WebhookUrlError):
            await check_target(url, loopback=loopback)
        assert (await sent(url, loopback=loopback))[1] == "refused: its address is not a public one"
    assert doors.came == 0


async def test_no_proxy_of_the_environment_is_used(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{doors.port}")
    async with Receiver() as receiver:
        assert await sent(receiver.url(), loopback=True) == (200, None)
    assert doors.came == 0


async def test_a_name_that_leads_nowhere_yet_can_be_registered() -> None:
    async def nowhere(_: str, __: int) -> list[str]:
        raise socket.gaierror

    assert (await check_target("https://shop.example/", loopback=False, find=nowhere)).host == "shop.example"
    assert (await sent("https://shop.example/", nowhere))[1] == "no answer: ClientConnectorDNSError"


async def test_this_machine_where_a_developer_allows_it() -> None:
    async with Receiver() as receiver:
        assert (await sent(receiver.url()))[1] == "refused: it begins with https://"
        assert receiver.got == []
        sender = Sender(loopback=True)
        answer = await sender.send(receiver.url(), b"{}", {"webhook-id": "evt_1"})
        await sender.close()
        assert (answer.status_code, answer.response, answer.error, answer.address) == (200, "thanks", None, "127.0.0.1")
        assert receiver.got[0].headers["webhook-id"] == "evt_1"
        assert "accept-encoding" not in receiver.got[0].headers


async def test_of_a_long_answer_the_beginning_is_read() -> None:
    async def endless(_: Got) -> web.StreamResponse:
        return web.Response(status=503, body=b"x" * 10_000_000, headers={"Retry-After": "120"})

    async with Receiver() as receiver:
        receiver.reply = endless
        sender = Sender(loopback=True)
        answer = await sender.send(receiver.url(), b"{}", {})
        await sender.close()
    assert answer.response == "x" * 2_048
    assert (answer.status_code, answer.retry_after_s, answer.error) == (503, 120.0, "answered 503")


async def test_all_of_it_has_one_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    async with Receiver() as receiver:
        receiver.reply = hang
        assert (await sent(receiver.url(), loopback=True))[1] == "no answer within 0.2 s"
