"""The two sides of the demo: a shop that pays through Paysaga's HTTP API, and the sandbox PSP as its control API steers
it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import httpx2

T = TypeVar("T")

CURRENCY = "INR"

_TIMEOUT_S = 40.0
_PATIENCE_S = 180.0
_GAP_S, _GAP_MAX_S = 0.1, 0.5
"""Between two looks: the longer it takes, the rarer. Hundreds that look ten times a second are a load of their own."""


class Unexpected(Exception):
    """Something in a story went another way than it should."""


async def eventually(probe: Callable[[], Awaitable[T | None]], what: str) -> T:
    """The first result that is true. Raises Unexpected when it takes too long."""
    deadline_s, gaps_s = time.monotonic() + _PATIENCE_S, growing_gaps_s()
    while not (result := await probe()):
        if time.monotonic() > deadline_s:
            raise Unexpected(f"not within {_PATIENCE_S:.0f} s: {what}")
        await asyncio.sleep(next(gaps_s))
    return result


def growing_gaps_s() -> Iterator[float]:
    """The waits between two looks, longer and longer."""
    gap_s = _GAP_S
    while True:
        yield gap_s
        gap_s = min(gap_s * 1.5, _GAP_MAX_S)


class Shop:
    """A checkout frontend with an API key."""

    def __init__(self, url: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        # Loopback, never a proxy.
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def _sent(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """A request, and the same again under the same key for as long as the API has too much to do."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            answer = await self._http.request(method, path, **more)
            busy = answer.status_code == 503 and answer.json()["code"] == "overloaded"
            if not busy or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(float(answer.headers["Retry-After"]))

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx2.Response:
        """Each call under a key of its own, unless one is given."""
        return await self._sent("POST", path, json=body, headers={"Idempotency-Key": key or str(uuid4())})

    async def pay(self, checkout: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
        """Send a checkout that is expected to be taken on; the payment."""
        return taken(await self.post("/v1/payments", checkout, key=key))

    async def cancel(self, payment_id: str) -> None:
        answer = await self.post(f"/v1/payments/{payment_id}/cancel")
        if not answer.is_success:
            raise Unexpected(f"cancel was refused: {reason(answer)}")

    async def payment(self, payment_id: str) -> dict[str, Any]:
        return await self.get(f"/v1/payments/{payment_id}")

    async def until(self, payment_id: str, *statuses: str) -> dict[str, Any]:
        """The payment once it has one of the statuses (default: an end)."""
        wanted = statuses or ("SUCCESS", "FAILED", "CANCELLED")

        async def probe() -> dict[str, Any] | None:
            payment = await self.payment(payment_id)
            return payment if payment["status"] in wanted else None

        return await eventually(probe, f"the payment is {' or '.join(wanted)}")

    async def reference(self, payment_id: str) -> str:
        """The PSP's object of a payment, once it is known."""

        async def probe() -> str | None:
            attempts = (await self.explain(payment_id))["attempts"]
            reference: str | None = attempts[-1]["reference"]
            return reference

        return await eventually(probe, "the PSP's reference is known")

    async def ledger(self, payment_id: str) -> list[dict[str, Any]]:
        """Every transaction that was booked for a payment."""
        answer = await self.get("/v1/ledger/transactions", payment_id=payment_id, limit=100)
        transactions: list[dict[str, Any]] = answer["data"]
        return transactions

    async def open_merchant(self, seller: str, **terms: Any) -> None:
        """Make sure that the seller is there and active, with a platform fee of 3 %."""
        terms = {"fee": {"percent": "3", "fixed": "0"}, **terms}
        answer = await self._sent("POST", "/v1/merchants", json={"seller_account": seller, **terms})
        if answer.status_code == 409:
            await self.set_merchant(seller, status="ACTIVE", **terms)
        elif not answer.is_success:
            raise Unexpected(f"merchant {seller}: {reason(answer)}")

    async def set_merchant(self, seller: str, **changes: Any) -> None:
        answer = await self._sent("PATCH", f"/v1/merchants/{seller}", json=changes)
        if not answer.is_success:
            raise Unexpected(f"merchant {seller}: {reason(answer)}")

    async def freeze(self, seller: str) -> None:
        await self.set_merchant(seller, status="FROZEN")

    async def owed(self, seller: str) -> str:
        """The debt of the seller to us, in the demo's one currency."""
        balances = (await self.get(f"/v1/wallets/{seller}"))["balances"]
        return next((str(b["owed"]) for b in balances if b["currency"] == CURRENCY), "0.00")

    async def disable_endpoint(self, endpoint_id: str) -> None:
        """Nothing more is sent there."""
        answer = await self._sent("PATCH", f"/v1/webhook-endpoints/{endpoint_id}", json={"status": "DISABLED"})
        if not answer.is_success:
            raise Unexpected(f"the webhook endpoint: {reason(answer)}")

    async def set_rules(self, rules: dict[str, Any]) -> None:
        answer = await self._sent("PUT", "/v1/risk/rules", json=rules)
        if not answer.is_success:
            raise Unexpected(f"risk rules: {reason(answer)}")

    async def review(self, payment_id: str, decision: str) -> None:
        """A person decides about a payment, once it waits for that."""
        await self.until(payment_id, "IN_REVIEW")
        await self.expect(200, f"/v1/payments/{payment_id}/review", {"decision": decision})

    async def capture(self, payment_id: str, amount: str | None = None) -> None:
        """202: it goes on, on a slow machine."""
        answer = await self.post(f"/v1/payments/{payment_id}/capture", {"amount": amount} if amount else {})
        if answer.status_code not in (200, 202):
            raise Unexpected(f"the capture was refused: {reason(answer)}")

    async def refund(self, payment_id: str, amount: str | None = None, *, status: str = "SUCCEEDED") -> dict[str, Any]:
        """Ask for a refund of `amount`, or of all that is left; the refund once it has the status."""
        answer = await self.post(f"/v1/payments/{payment_id}/refunds", {"amount": amount} if amount else {})
        if answer.status_code not in (201, 202):
            raise Unexpected(f"the refund was refused: {reason(answer)}")
        return await self.refund_until(answer.json()["id"], status)

    async def refund_until(self, refund_id: str, status: str) -> dict[str, Any]:
        """The refund once it has the status."""

        async def probe() -> dict[str, Any] | None:
            refund = await self.get(f"/v1/refunds/{refund_id}")
            return refund if refund["status"] == status else None

        return await eventually(probe, f"the refund is {status}")

    async def dispute_until(self, payment_id: str, *statuses: str) -> dict[str, Any]:
        """The payment's dispute once it has one of the statuses."""

        async def probe() -> dict[str, Any] | None:
            disputes = (await self.explain(payment_id))["disputes"]
            return disputes[-1] if disputes and disputes[-1]["status"] in statuses else None

        return await eventually(probe, f"the dispute is {' or '.join(statuses)}")

    async def answer(self, dispute: dict[str, Any], text: str) -> None:
        """Submit evidence: the sandbox's bank decides by `winning_evidence` or `losing_evidence`."""
        fields = {"uncategorized_text": text, "shipping_carrier": "India Post"}
        await self.expect(202, f"/v1/disputes/{dispute['id']}/evidence", {"fields": fields})

    async def explain(self, payment_id: str) -> dict[str, Any]:
        return await self.get(f"/v1/payments/{payment_id}/explain")

    async def task(self, payment_id: str, kind: str) -> None:
        """Return once a task of this kind is open for a person."""

        async def probe() -> bool:
            return any(task["kind"] == kind for task in (await self.explain(payment_id))["tasks"])

        await eventually(probe, f"a task {kind}")

    async def expect(self, status: int, path: str, body: Any, code: str | None = None) -> None:
        """Send it, and be answered so. Raises Unexpected."""
        answer = await self.post(path, body)
        wanted = f"{status} {code or ''}".strip()
        if answer.status_code != status or (code is not None and reason(answer) != wanted):
            raise Unexpected(f"POST {path} should be {wanted} and is {reason(answer)}")

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = await self._sent("GET", path, params=parameters or None)
        if not answer.is_success:
            raise Unexpected(f"GET {path}: {reason(answer)}")
        found: dict[str, Any] = answer.json()
        return found


def taken(answer: httpx2.Response) -> dict[str, Any]:
    """The payment of an answer that took it on. Raises Unexpected."""
    if answer.status_code not in (201, 202):
        raise Unexpected(f"the checkout was refused: {reason(answer)}")
    payment: dict[str, Any] = answer.json()
    return payment


def reason(answer: httpx2.Response) -> str:
    """`409 checkout_in_use`."""
    try:
        return f"{answer.status_code} {answer.json().get('code', '')}".strip()
    except ValueError:
        return str(answer.status_code)


class Psp:
    """One account of the sandbox PSP: told to fail, steered, and asked what really happened."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
        self._authorising = asyncio.Lock()

    async def close(self) -> None:
        await self._http.aclose()

    async def fault(self, checkout: str, kind: str, operation: str = "payment_intents.create", **more: Any) -> str:
        """Plan a fault in answering one checkout's requests; its id."""
        return await self._plan("faults", {"operation": operation, "kind": kind, **more}, checkout)

    async def webhook_fault(self, checkout: str, kind: str, event_type: str = "*", **more: Any) -> str:
        """Plan a fault in delivering one checkout's webhooks."""
        return await self._plan("webhook_faults", {"event_type": event_type, "kind": kind, **more}, checkout)

    async def _plan(self, path: str, fault: dict[str, Any], checkout: str) -> str:
        match = {"match": {"metadata": {"checkout_id": checkout}}}
        return str((await self.control("POST", f"/{path}", fault | match))["id"])

    async def struck(self, fault_id: str) -> None:
        """Return once the fault has taken effect."""
        await self.control("GET", f"/faults/{fault_id}?wait_hits=1&timeout_s=20")

    async def steer(self, intent: str, step: str) -> None:
        """Do one of authenticate, fail_authentication, complete_processing, fail_processing, force_success."""
        await self.control("POST", f"/payment_intents/{intent}/{step}")

    @asynccontextmanager
    async def holding(self, life_s: float | None) -> AsyncIterator[None]:
        """Have what is authorised in this block held for so long; None: as usual. One such block at a time."""
        async with self._authorising:
            if life_s is None:
                yield
                return
            usual = (await self.control("GET", "/account"))["authorization_life_s"]
            await self.control("PATCH", "/account", {"authorization_life_s": life_s})
            try:
                yield
            finally:
                await self.control("PATCH", "/account", {"authorization_life_s": usual})

    async def refund_by_hand(self, intent: str, amount: int) -> None:
        """Refund as somebody does in the PSP's dashboard: nothing of ours is on it. `amount` in minor units."""
        await self.by_hand("/v1/refunds", payment_intent=intent, amount=amount)

    async def by_hand(self, path: str, **fields: Any) -> dict[str, Any]:
        """A call of the PSP's own API that Paysaga knows nothing of."""
        answer = await self._http.post(path, data=fields)
        if not answer.is_success:
            raise Unexpected(f"the sandbox refused {path}: {answer.text[:200]}")
        made: dict[str, Any] = answer.json()
        return made

    async def dispute(self, intent: str, **terms: Any) -> None:
        """The buyer's bank takes the money back, or, with inquiry=True, asks."""
        await self.control("POST", f"/payment_intents/{intent}/dispute", terms)

    async def listed(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The first hundred that a list of the PSP's own API shows, newest first."""
        found: list[dict[str, Any]] = (await self.retrieved(path, limit=100, **query))["data"]
        return found

    async def retrieved(self, path: str, **query: Any) -> dict[str, Any]:
        """An object of the PSP's own API."""
        answer = await self._http.get(path, params=query)
        if not answer.is_success:
            raise Unexpected(f"the sandbox refused {path}: {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found

    async def file(self, path: str, **query: Any) -> bytes:
        """A settlement file of the sandbox, byte by byte."""
        answer = await self._http.get(f"/_control{path}", params=query)
        if not answer.is_success:
            raise Unexpected(f"the sandbox refused {path}: {answer.text[:200]}")
        return answer.content

    async def log(self, checkout: str) -> dict[str, list[dict[str, Any]]]:
        """Everything that really happened to a checkout's charge: the ground truth."""
        found: dict[str, list[dict[str, Any]]] = await self.control("GET", f"/log?metadata[checkout_id]={checkout}")
        return found

    async def control(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A call to the sandbox's control API. Raises Unexpected."""
        answer = await self._http.request(method, f"/_control{path}", json=body)
        if not answer.is_success:
            raise Unexpected(f"the sandbox refused {path}: {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found
