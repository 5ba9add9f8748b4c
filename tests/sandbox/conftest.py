"""A real sandbox process, the official Stripe library as its client, and an endpoint that receives webhooks."""

import asyncio
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
import stripe
from aiohttp import web

from tests.support.eventually import eventually
from tests.support.programs import Program

SECRET = "whsec_test"


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def of(account: str | None) -> Any:
    """The request options that choose a connected account."""
    return {"stripe_account": account} if account else {}


class Server:
    """A sandbox process on a data file; it can be killed and started again."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder, self._flags = folder, flags
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        arguments = ("--port", str(self.port), "--data", str(self._folder / "psp.db"), *self._flags)
        self.program = Program("sandbox", *arguments, env=os.environ, out=self._folder / "log")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.program.code is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError((self._folder / "log").read_text())

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.program.send(number)
        return self.program.wait(10)

    @property
    def complaints(self) -> str:
        """What the process has printed."""
        return (self._folder / "log").read_text()


@dataclass
class Psp:
    """One account of a sandbox, through the official library and through the control API."""

    server: Server
    session: aiohttp.ClientSession
    key: str = field(default_factory=lambda: f"sk_test_{secrets.token_hex(8)}")

    def __post_init__(self) -> None:
        self.v1 = self.client().v1

    def client(self, timeout_s: float = 10) -> stripe.StripeClient:
        """The official library, with retries off."""
        http = stripe.AIOHTTPClient(session=self.session, timeout=aiohttp.ClientTimeout(total=timeout_s))
        return stripe.StripeClient(
            self.key, base_addresses={"api": self.server.url}, http_client=http, max_network_retries=0
        )

    def impatient(self) -> stripe.StripeClient:
        """One that gives up where no answer comes; not before its request has arrived on a slow machine."""
        return self.client(2.0)

    async def unanswered(self, attempt: Awaitable[Any]) -> None:
        """Expect that no answer comes, and wait until the sandbox has noticed that its client left: only then is the
        request in the log, and its key free."""
        known = len((await self.log())["requests"])
        with pytest.raises(stripe.APIConnectionError):
            await attempt

        async def logged() -> bool:
            return len((await self.log())["requests"]) > known

        await eventually(logged, what="the log of a request without an answer")

    def stranger(self, key: str = "") -> "Psp":
        """Another account of the same server."""
        return Psp(self.server, self.session, key or f"sk_test_{secrets.token_hex(8)}")

    async def pay(self, method: str = "pm_card_visa", key: str | None = None, **params: Any) -> stripe.PaymentIntent:
        """Create and confirm 500.00 INR, expanded down to the balance transaction."""
        wanted: Any = {
            "amount": 50_000,
            "currency": "inr",
            "confirm": True,
            "payment_method": method,
            "return_url": "https://shop.example/back",
            "expand": ["latest_charge.balance_transaction"],
        } | params
        return await self.v1.payment_intents.create_async(wanted, {"idempotency_key": key or str(uuid4())})

    async def fund(self, amount: int = 100_000, currency: str = "usd") -> stripe.PaymentIntent:
        """A charge without a fee whose money is available at once."""
        await self.control("PATCH", "/account", {"available_delay_s": 0, "fee": {"percent": 0, "fixed": 0}})
        return await self.pay(amount=amount, currency=currency)

    async def send(
        self, destination: str = "acct_paysOut", amount: int = 10_000, key: str | None = None, **params: Any
    ) -> stripe.Transfer:
        """Transfer US dollars to a connected account."""
        wanted: Any = {"amount": amount, "currency": "usd", "destination": destination} | params
        return await self.v1.transfers.create_async(wanted, {"idempotency_key": key or str(uuid4())})

    async def pay_out(
        self, account: str | None, amount: int = 10_000, key: str | None = None, **params: Any
    ) -> stripe.Payout:
        """Pay US dollars out of a connected account, or out of the platform's own for None."""
        wanted: Any = {"amount": amount, "currency": "usd"} | params
        options: Any = {"idempotency_key": key or str(uuid4())} | of(account)
        return await self.v1.payouts.create_async(wanted, options)

    async def control(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        """A control call; any 2xx will do unless `status` is named."""
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.server.url}/_control{path}"
        async with self.session.request(method, url, json=body, headers=headers) as response:
            answer = await response.json()
            assert response.status == status if status else response.ok, answer
            return answer

    async def fault(self, kind: str, operation: str = "payment_intents.create", **spec: Any) -> str:
        """Put a fault to work; its id."""
        body = {"kind": kind, "operation": operation} | spec
        return str((await self.control("POST", "/faults", body))["id"])

    async def log(self, query: str = "") -> Any:
        """The ground truth."""
        return await self.control("GET", f"/log{query}")

    async def raw(self, method: str, path: str, text: str = "", **headers: str) -> tuple[int, Any, dict[str, str]]:
        """A request past the library: status, JSON, headers."""
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-www-form-urlencoded"} | headers
        async with self.session.request(method, self.server.url + path, data=text, headers=sent) as response:
            return response.status, await response.json(content_type=None), dict(response.headers)


@dataclass
class Endpoint:
    """Receives webhooks, verifies them as the official library does, and answers what it is told to."""

    url: str = ""
    events: list[stripe.Event] = field(default_factory=list)
    refused: int = 0
    statuses: list[int] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        """Take one delivery."""
        body, header = await request.read(), request.headers.get("Stripe-Signature", "")
        self._arrived.set()
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            try:
                event = stripe.Webhook.construct_event(body, header, SECRET)
            except stripe.SignatureVerificationError:
                self.refused += 1
                return web.Response(status=400)
            self.events.append(event)
        return web.Response(status=status)

    @property
    def types(self) -> list[str]:
        """The types that arrived, in order."""
        return [event.type for event in self.events]

    async def until(self, count: int) -> list[str]:
        """Wait until so many events have arrived; their types."""
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self._arrived.clear()
                await asyncio.wait_for(self._arrived.wait(), 10)
                await asyncio.sleep(0)
        return self.types


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The sandbox that most tests share; it must leave in peace and without complaints."""
    running = Server(tmp_path_factory.mktemp("psp"))
    yield running
    assert running.end() == 0
    assert "Traceback" not in running.complaints, running.complaints


@pytest_asyncio.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """One HTTP session for all tests."""
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def psp(server: Server, session: aiohttp.ClientSession) -> Psp:
    """An account of the test's own."""
    return Psp(server, session)


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """A webhook endpoint; `hooked` also tells the account about it."""
    received = Endpoint()
    app = web.Application()
    app.router.add_post("/hook", received.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    received.url = f"http://127.0.0.1:{port}/hook"
    yield received
    await runner.cleanup()


@pytest_asyncio.fixture
async def hooked(psp: Psp, endpoint: Endpoint) -> Psp:
    """The account, with its webhooks going to `endpoint`."""
    settings = {"webhook_url": endpoint.url, "webhook_secret": SECRET, "webhook_retry_base_s": 0.05}
    await psp.control("PATCH", "/account", settings)
    return psp


@pytest.fixture
def mortal(tmp_path: Path, session: aiohttp.ClientSession) -> Iterator[Psp]:
    """The default account of a sandbox of the test's own, which it may kill."""
    psp = Psp(Server(tmp_path, "--account-key", "sk_test_default"), session, "sk_test_default")
    yield psp
    if psp.server.program.code is None:
        psp.server.end(signal.SIGKILL)
