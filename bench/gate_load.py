"""`python -m bench.gate_load`: one tenant's crowd, in a process of its own: each client sends its next request when the
last one is answered, and comes back when it was told to.

It reads a plan from its standard input, sends until the input ends, and then says what it was answered.
"""

import asyncio
import json
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import uvloop
from pydantic import BaseModel

from bench.load import timing
from bench.plan import Timing

LoadKind = Literal["payments", "ledger", "reconciliations", "uploads", "idle", "slow"]

_TIMEOUT_S = 60.0
_REFUSED = (429, 503)
_LINES = 20_000
"""Of an uploaded file, each of about a hundred bytes."""
_SILENT_UPLOADS = 4
_START_S = 2.0
"""The clients start within it, as a crowd comes."""


class CrowdPlan(BaseModel):
    """`clients` of the tenant whose key is `key`, sending to `url`."""

    kind: LoadKind
    url: str
    key: str
    clients: int
    sellers: list[str]


class CrowdResult(BaseModel):
    """`answers`: how many of each status; `accepted`: ids of the payments that were taken on."""

    answers: dict[str, int]
    refused: Timing
    answered: Timing
    accepted: list[str]


class Crowd:
    """The clients of a plan."""

    def __init__(self, plan: CrowdPlan, session: aiohttp.ClientSession) -> None:
        self._plan, self._session = plan, session
        self._answers: Counter[str] = Counter()
        self._refused_s: list[float] = []
        self._answered_s: list[float] = []
        self._accepted: list[str] = []
        self._over = asyncio.Event()

    async def run(self) -> CrowdResult:
        """Until the standard input ends, and every request is answered."""
        kinds: dict[LoadKind, Callable[[int], Awaitable[None]]] = {
            "payments": self._pay,
            "ledger": self._read_ledger,
            "reconciliations": self._reconcile,
            "uploads": self._upload,
            "idle": self._sit,
            "slow": self._drip,
        }
        clients = [asyncio.create_task(self._client(kinds[self._plan.kind], n)) for n in range(self._plan.clients)]
        await asyncio.to_thread(sys.stdin.read)
        self._over.set()
        await asyncio.gather(*clients)
        return CrowdResult(
            answers=dict(self._answers.most_common()),
            refused=timing(self._refused_s),
            answered=timing(self._answered_s),
            accepted=self._accepted,
        )

    async def _client(self, act: Callable[[int], Awaitable[None]], number: int) -> None:
        await self._pause(random.uniform(0, _START_S))  # noqa: S311 - no secret
        while not self._over.is_set():
            try:
                await act(number)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._answers[type(error).__name__] += 1
                await self._pause(1)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    async def _send(self, method: str, path: str, **how: Any) -> tuple[int, Any]:
        """One request; a refused one comes back when it was told to, under the same key."""
        headers = {"Idempotency-Key": secrets.token_hex(12)} | how.pop("headers", {})
        while True:
            began_s = time.perf_counter()
            async with self._session.request(method, self._plan.url + path, headers=headers, **how) as response:
                content = await response.read()
            took_s = time.perf_counter() - began_s
            self._answers[str(response.status)] += 1
            if response.status not in _REFUSED:
                self._answered_s.append(took_s)
                return response.status, json.loads(content)
            self._refused_s.append(took_s)
            await self._pause(float(response.headers["Retry-After"]))
            if self._over.is_set():
                return response.status, None

    async def _pay(self, number: int) -> None:
        body = payment(self._plan.sellers[number % len(self._plan.sellers)])
        status, answer = await self._send("POST", "/v1/payments", json=body)
        if status in (201, 202):
            self._accepted.append(answer["id"])

    async def _read_ledger(self, _: int) -> None:
        cursor: str | None = ""
        while cursor is not None and not self._over.is_set():
            query = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
            _, answer = await self._send("GET", "/v1/ledger/transactions", params=query)
            cursor = answer["next_cursor"] if answer else None

    async def _reconcile(self, _: int) -> None:
        now = datetime.now(UTC)
        window = {"from": (now - timedelta(hours=2)).isoformat(), "to": now.isoformat()}
        status, _ = await self._send("POST", "/v1/reconciliations", json={"subject": "psp"} | window)
        if status == 409:  # five are under way
            await self._pause(1)

    async def _upload(self, number: int) -> None:
        where = f"/v1/reconciliations/files?kind=psp&name=crowd-{number}.csv"
        if number < _SILENT_UPLOADS:
            head = f"POST {where} HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n"
            await self._hold_open(head, "")
            return
        file = f"{secrets.token_hex(50)}\n" * _LINES
        await self._send("POST", where, data=file, headers={"Content-Type": "text/csv"})

    async def _sit(self, number: int) -> None:
        """Half of them have begun a request."""
        await self._hold_open("GET /v1/payments HTTP/1.1\r\nX-Slow: " if number % 2 else "", "", ended=False)

    async def _drip(self, _: int) -> None:
        head = "POST /v1/payments HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n"
        await self._hold_open(head, " ")

    async def _hold_open(self, head: str, drop: str, *, ended: bool = True) -> None:
        """A connection that sends `head` and then a `drop` a second, until the other side has enough."""
        url = urlsplit(self._plan.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        try:
            more = f"Host: here\r\nAuthorization: Bearer {self._plan.key}\r\n\r\n" if ended else ""
            writer.write((head + more).encode())
            gone = asyncio.create_task(reader.read(1000))
            while not self._over.is_set() and not gone.done():
                writer.write(drop.encode())
                await asyncio.wait([gone], timeout=1)
            if gone.done():
                with suppress(OSError):
                    self._answers[[*gone.result().split(b" "), b"closed"][1].decode()] += 1
                    await self._pause(1 if gone.result() else 0)
            gone.cancel()
        finally:
            writer.close()


def payment(seller: str) -> dict[str, Any]:
    """A checkout of one order."""
    return {
        "buyer": {"id": "buyer-crowd"},
        "payment_method": {"type": "card", "token": "pm_card_visa"},
        "payment_orders": [{"seller_account": seller, "amount": "500.00", "currency": "INR"}],
    }


async def main() -> None:
    plan = CrowdPlan.model_validate_json(sys.stdin.readline())
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        headers={"Authorization": f"Bearer {plan.key}"},
    )
    async with session:
        sys.stdout.write((await Crowd(plan, session).run()).model_dump_json() + "\n")


if __name__ == "__main__":
    uvloop.run(main())
