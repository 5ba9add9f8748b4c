"""The requests that a load process can send: a payment through HTTP, and the things that it is measured against.

Each kind is an async context manager whose `send` does one of them and says in a few words how it ended.
"""

import json
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from temporalio.client import Client

from bench.noop import noop_worker, run_noop
from bench.plan import Plan
from config.settings import DEVELOPMENT_API_KEY, Settings
from domain.ids import charge_key, new_id
from domain.psp import ChargeOutcome, ChargeRequest
from gateways.registry import open_psp
from runtime.temporal import connect
from runtime.wiring import keyring_of, psp_accounts

CURRENCY = "INR"
AMOUNT = "500.00"
_AMOUNT_MINOR = 50_000
_TIMEOUT_S = 30.0


class Requests:
    """The base of all: what is opened lives as long as the block."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._stack = AsyncExitStack()
        self._sent = 0
        self._run = secrets.token_hex(3)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open(self) -> None:
        """Connect."""

    async def send(self) -> str:
        """One request; how it ended. A word that starts with `error` is a failure."""
        raise NotImplementedError

    def _next(self) -> str:
        """A name that no other request has."""
        self._sent += 1
        return f"{self.plan.name}-{self._run}-{self._sent}"


class _Http(Requests):
    async def open(self) -> None:
        _require_loopback(self.plan.url)
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                headers={"Authorization": f"Bearer {DEVELOPMENT_API_KEY}", "Content-Type": "application/json"},
            )
        )


class Payments(_Http):
    """`POST /v1/payments`, as a checkout sends it. Answers such as `201 SUCCESS`, `202 EXECUTING`, `503 overloaded`."""

    async def send(self) -> str:
        name = self._next()
        body = json.dumps(self._checkout(name))
        headers = {"Idempotency-Key": name}
        try:
            async with self._session.post(f"{self.plan.url}/v1/payments", data=body, headers=headers) as response:
                answer = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return f"error {type(error).__name__}"
        if response.status in (201, 202):
            return f"{response.status} {answer['status']}"
        return f"error {response.status} {answer.get('code', '')}"

    def _checkout(self, name: str) -> dict[str, Any]:
        plan = self.plan
        first = self._sent * plan.orders
        return {
            "checkout_id": name,
            "buyer": {"id": plan.buyer},
            "payment_method": {"type": "card", "token": plan.token},
            "payment_orders": [
                {
                    "payment_order_id": f"{name}-{number}",
                    "seller_account": plan.sellers[(first + number) % len(plan.sellers)],
                    "amount": AMOUNT,
                    "currency": CURRENCY,
                }
                for number in range(plan.orders)
            ],
        }


class Healthz(_Http):
    """`GET /healthz`: what the API's HTTP layer takes by itself."""

    async def send(self) -> str:
        async with self._session.get(f"{self.plan.url}/healthz") as response:
            await response.read()
        return str(response.status)


class PspAlone(Requests):
    """One charge through the gateway: the PSP call of a payment without the payment."""

    async def open(self) -> None:
        settings = Settings()
        _require_loopback(settings.stripe_base_url or "")
        self._psp = open_psp("stripe", psp_accounts(settings)["stripe"])
        self._stack.push_async_callback(self._psp.close)

    async def send(self) -> str:
        payment_id = new_id("pay")
        request = ChargeRequest(
            key=charge_key(payment_id, 1),
            charge_id=new_id("ch"),
            payment_id=payment_id,
            amount=_AMOUNT_MINOR,
            currency=CURRENCY,
            method="card",
            token=self.plan.token,
            description=f"{self._next()} · {AMOUNT} {CURRENCY}",
            metadata={"checkout_id": payment_id},
        )
        result = await self._psp.charge(request, timeout_s=_TIMEOUT_S)
        if result.outcome is ChargeOutcome.SUCCEEDED:
            return result.outcome.value
        return f"error {result.outcome} {result.reason or ''}"


class NoOps(Requests):
    """A workflow that does nothing, on the same server with the same client."""

    async def open(self) -> None:
        settings = Settings()
        _require_loopback(f"temporal://{settings.temporal_address}")
        self._temporal: Client = await connect(settings, keyring_of(settings))
        await self._stack.enter_async_context(noop_worker(self._temporal))

    async def send(self) -> str:
        await run_noop(self._temporal, self._next())
        return "completed"


class Commits(Requests):
    """One row and a COMMIT, each client on a connection of its own, in a database beside the application's."""

    async def open(self) -> None:
        self._idle: list[asyncpg.Connection[asyncpg.Record]] = []
        for _ in range(self.plan.concurrency):
            connection = await asyncpg.connect(self.plan.url)
            self._stack.push_async_callback(connection.close)
            self._idle.append(connection)
        await self._idle[0].execute(
            "CREATE TABLE IF NOT EXISTS line (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)"
        )

    async def send(self) -> str:
        connection = self._idle.pop()  # as many as there are clients
        try:
            await connection.fetchval("INSERT INTO line (text) VALUES ($1) RETURNING id", self._next())
        finally:
            self._idle.append(connection)
        return "committed"


REQUESTS: dict[str, Callable[[Plan], Requests]] = {
    "payments": Payments,
    "healthz": Healthz,
    "psp": PspAlone,
    "noop": NoOps,
    "commit": Commits,
}


def _require_loopback(url: str) -> None:
    """A load is sent to this machine and to no other."""
    host = urlsplit(url).hostname
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"{host} is not this machine")
