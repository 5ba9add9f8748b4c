"""(f) Paysaga through HTTP, as a shop asks it: payments of several kinds, and what comes after a payment."""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bench.plan import Opening, Shape
from bench.psp import DECLINED_TOKEN
from bench.subjects.subject import AMOUNT, CURRENCY, TOKEN, Subject
from bench.wire import HttpClient, Message
from config.settings import DEVELOPMENT_API_KEY
from domain.ids import payment_workflow_id, refund_workflow_id

_TIMEOUT_S = 30.0
_AT_ONCE = 20
"""Payments that are prepared side by side."""
_RATE_MAX, _CLIENT_RATE_MAX = 60, 20
"""Refunds a second in all and of one client, for each of which a settled payment is prepared."""
_KEPT = 2_000


@dataclass(frozen=True)
class Settled:
    """A payment that was paid, and the request that made it."""

    id: str
    key: str
    body: bytes


class Http(Subject):
    """A client of the API."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._settled: deque[Settled] = deque(maxlen=_KEPT)
        self._shapes: dict[Shape, Callable[[], Awaitable[str]]] = {
            "one": self._pay_for_one,
            "orders": lambda: self._pay(orders=3),
            "declined": lambda: self._pay(token=DECLINED_TOKEN),
            "capture": self._authorise_and_capture,
            "refund": self._refund,
            "replay": self._replay,
            "get": self._get,
        }

    async def open(self) -> None:
        key = {"Authorization": f"Bearer {DEVELOPMENT_API_KEY}"}
        self._client = HttpClient(self.opening.api_url, key, timeout_s=_TIMEOUT_S)
        self._stack.push_async_callback(self._client.close)

    async def prepare(self) -> None:
        """Make the settled payments that the plan asks about: one for each refund, a few for the others."""
        plan = self.plan
        if plan.shape not in ("refund", "replay", "get"):
            return
        rate = min(_RATE_MAX, _CLIENT_RATE_MAX * plan.concurrency)
        wanted = min(plan.count_max, int((plan.seconds + plan.lead_s) * rate)) + plan.concurrency
        wanted = wanted if plan.shape == "refund" else plan.concurrency
        while len(self._settled) < wanted:
            await asyncio.gather(*(self._pay_for_one() for _ in range(min(_AT_ONCE, wanted - len(self._settled)))))
        self.workflows.clear()

    async def send(self) -> str:
        try:
            return await self._shapes[self.plan.shape]()
        except (OSError, TimeoutError, ValueError) as error:
            return f"error {type(error).__name__}"

    # --- shapes ---

    async def _pay_for_one(self) -> str:
        return await self._pay(keep=True)

    async def _pay(self, *, orders: int = 1, token: str = TOKEN, keep: bool = False, capture: str = "") -> str:
        name = self._next()
        body = json.dumps(self._checkout(name, orders, token, capture)).encode()
        answer, made = await self._post("/v1/payments", body, name)
        self._count(answer, payment_workflow_id(made.get("id", "")))
        if keep and answer.status == 201 and made["status"] == "SUCCESS":
            self._settled.append(Settled(made["id"], name, body))
        return _said(answer, made)

    async def _authorise_and_capture(self) -> str:
        name = self._next()
        body = json.dumps(self._checkout(name, 1, TOKEN, "manual")).encode()
        answer, made = await self._post("/v1/payments", body, name)
        self._count(answer, payment_workflow_id(made.get("id", "")))
        if made.get("status") != "AUTHORIZED":
            return f"error {_said(answer, made)}"
        return _said(*await self._post(f"/v1/payments/{made['id']}/capture", b"{}", f"{name}-capture"))

    async def _refund(self) -> str:
        if not self._settled:
            return "error nothing is left to be refunded"
        payment = self._settled.popleft()
        answer, made = await self._post(f"/v1/payments/{payment.id}/refunds", b"{}", secrets.token_hex(12))
        if answer.status in (201, 202):
            self.workflows.append(refund_workflow_id(made["id"]))
        return _said(answer, made)

    async def _replay(self) -> str:
        self._settled.rotate(1)
        payment = self._settled[0]
        answer, made = await self._post("/v1/payments", payment.body, payment.key)
        if made.get("id") != payment.id or answer.headers.get("idempotent-replayed") != "true":
            return f"error {_said(answer, made)}, not the payment of the first request"
        return _said(answer, made)

    async def _get(self) -> str:
        self._settled.rotate(1)
        answer = await self._client.send("GET", f"/v1/payments/{self._settled[0].id}")
        return _said(answer, json.loads(answer.body))

    # --- requests ---

    async def _post(self, path: str, body: bytes, key: str) -> tuple[Message, dict[str, Any]]:
        answer = await self._client.send("POST", path, body, f"Idempotency-Key: {key}\r\n")
        return answer, json.loads(answer.body)

    def _count(self, answer: Message, workflow_id: str) -> None:
        if answer.status in (201, 202):
            self.made += 1
            self.workflows.append(workflow_id)

    def _checkout(self, name: str, orders: int, token: str, capture: str) -> dict[str, Any]:
        sellers, first = self.opening.sellers, self._sent * orders
        checkout = {
            "checkout_id": name,
            "buyer": {"id": self.plan.buyer},
            "payment_method": {"type": "card", "token": token},
            "payment_orders": [
                {
                    "payment_order_id": f"{name}-{number}",
                    "seller_account": sellers[(first + number) % len(sellers)],
                    "amount": AMOUNT,
                    "currency": CURRENCY,
                }
                for number in range(orders)
            ],
        }
        return checkout | ({"capture": capture} if capture else {})


def _said(answer: Message, body: dict[str, Any]) -> str:
    """`201 SUCCESS`, `202 EXECUTING`, `error 503 overloaded`."""
    if answer.status in (200, 201, 202):
        return f"{answer.status} {body['status']}"
    return f"error {answer.status} {body.get('code', '')}"


SUBJECT = Http
