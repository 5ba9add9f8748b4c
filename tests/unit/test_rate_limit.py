"""Whom a request is counted for."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.rate_limit import RateLimit
from api.request_counts import Counts
from config.settings import Settings


class Door:
    """The middleware before an application that answers with `status`."""

    def __init__(self, rate: str) -> None:
        settings = Settings(api_rate_per_address=rate)
        self._limited = RateLimit(self._application, settings, Counts())
        self.status = 200

    async def _application(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": []})

    async def ask(self, path: str = "/", address: str = "192.0.2.1", status: int = 200) -> Message:
        """The head of the answer."""
        self.status = status
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("nothing is read")

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "client": (address, 1)}
        await self._limited(scope, receive, send)
        return sent[0]


async def test_events_that_are_signed_cost_nothing() -> None:
    door = Door("2/hour")
    assert {(await door.ask("/webhooks/stripe"))["status"] for _ in range(10)} == {200}
    assert [(await door.ask("/webhooks/stripe", status=400))["status"] for _ in range(4)] == [400, 400, 429, 429]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),  # who has one has all 2⁶⁴ of its network
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
async def test_an_address_is_what_one_client_has(first: str, second: str, together: bool) -> None:
    door = Door("1/hour")
    assert (await door.ask(address=first))["status"] == 200
    assert ((await door.ask(address=second))["status"] == 429) is together


async def test_several_windows_and_none() -> None:
    door = Door("100/second;2/hour")
    headers = dict((await door.ask())["headers"])
    assert headers[b"ratelimit-policy"] == b'"address-1s";q=100;w=1, "address-3600s";q=2;w=3600'
    assert [(await door.ask())["status"] for _ in range(2)] == [200, 429]
    free = Door("0")
    assert [await free.ask() for _ in range(200)][-1]["headers"] == []
    assert (await door.ask("/healthz"))["status"] == 200
