"""A shop that uses Paysaga over HTTP, as a checkout frontend would."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.support.deployment import Deployment

Answer = httpx2.Response


class Shop:
    """One tenant's API key. Names of checkouts are made unique, since the sandbox's log is shared by its account."""

    def __init__(self, paysaga: "Deployment", tenant: str, secret: str) -> None:
        self.paysaga, self.tenant, self.secret = paysaga, tenant, secret
        self.headers = {"Authorization": f"Bearer {secret}"}

    def checkout(self, label: str = "checkout") -> str:
        # Letters alone: one name of digits in a thousand would look like a card number, which is refused.
        return f"{label}-{''.join(secrets.choice(ascii_lowercase) for _ in range(10))}"

    def body(self, checkout: str, token: str = "pm_card_visa", **fields: Any) -> dict[str, Any]:
        """A single order of 500.00 INR to anna; `orders`: [(seller, amount)] for several."""
        orders = fields.pop("orders", [("anna", "500.00")])
        currency = fields.pop("currency", "INR")
        kind = next((k for k in ("upi", "netbanking", "wallet") if token.startswith(f"pm_{k}")), "card")
        return {
            "checkout_id": checkout,
            "buyer": {"id": "buyer_1", "email": "buyer@example.com"},
            "payment_method": {"type": kind, "token": token},
            "payment_orders": [
                {
                    "payment_order_id": f"{checkout}-{number}",
                    "seller_account": seller,
                    "amount": amount,
                    "currency": currency,
                }
                for number, (seller, amount) in enumerate(orders, 1)
            ],
        } | fields

    async def post(
        self, path: str, body: Any = None, *, key: str | None = None, wait: float | None = None, **headers: str
    ) -> Answer:
        more = {"Idempotency-Key": key or str(uuid4())} | headers
        wait = self.paysaga.patience_s if wait is None else wait
        if wait is not None:
            more["Prefer"] = f"wait={wait:g}"
        return await self.paysaga.http.post(path, json=body, headers=self.headers | more)

    async def pay(
        self,
        checkout: str,
        token: str = "pm_card_visa",
        *,
        key: str | None = None,
        wait: float | None = None,
        **fields: Any,
    ) -> Answer:
        return await self.post("/v1/payments", self.body(checkout, token, **fields), key=key, wait=wait)

    async def paid(self, checkout: str, token: str = "pm_card_visa", **fields: Any) -> dict[str, Any]:
        """Pay and expect to be taken on (201 or 202); the payment."""
        answer = await self.pay(checkout, token, **fields)
        assert answer.status_code in (201, 202), answer.text
        payment: dict[str, Any] = answer.json()
        return payment

    async def insist(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The first answer that is not 503: of many at once, a busy machine sends some away and says when to come
        again. `ask` sends the same request each time, under the same key. Raises TimeoutError after a minute."""
        async with asyncio.timeout(60):
            while (answer := await ask()).status_code == 503:  # noqa: ASYNC110 - nothing here tells of it sooner
                await asyncio.sleep(float(answer.headers["Retry-After"]))
        return answer

    async def get(self, path: str, **parameters: Any) -> Answer:
        return await self.paysaga.http.get(path, headers=self.headers, params=parameters or None)

    async def payment(self, payment_id: str) -> dict[str, Any]:
        payment: dict[str, Any] = (await self.get(f"/v1/payments/{payment_id}")).raise_for_status().json()
        return payment

    async def explain(self, payment_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get(f"/v1/payments/{payment_id}/explain")).raise_for_status().json()
        return found

    async def until(self, payment_id: str, *statuses: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The payment once it has one of the statuses (default: an end)."""
        wanted = statuses or ("SUCCESS", "FAILED", "CANCELLED")
        path = f"/v1/payments/{payment_id}"
        return await self.shown_once("payment", payment_id, wanted, path, timeout_s=timeout_s)

    async def shown_once(
        self, table: str, object_id: str, statuses: tuple[str, ...], path: str, *, timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """What HTTP shows of an object, once it has one of the statuses. The wait is for its row: to be shown takes
        twenty times as much, of processors that the object's progress needs."""
        stored = f"SELECT FROM {table} WHERE id = $1 AND status = ANY($2)"

        async def probe() -> dict[str, Any] | None:
            if not await self.paysaga.sql(stored, object_id, statuses):
                return None
            shown: dict[str, Any] = (await self.get(path)).raise_for_status().json()
            return shown if shown["status"] in statuses else None

        return await eventually(probe, timeout_s=timeout_s, what=f"{object_id} {statuses}")

    async def reference(self, payment_id: str) -> str:
        """The PSP's object of the payment, once it is known."""
        query = "SELECT reference FROM charge WHERE payment_id = $1 ORDER BY attempt DESC LIMIT 1"

        async def probe() -> str | None:
            return next((row["reference"] for row in await self.paysaga.sql(query, payment_id)), None)

        return await eventually(probe, what=f"reference of {payment_id}")

    async def refund(
        self, payment_id: str, *, key: str | None = None, wait: float | None = None, **body: Any
    ) -> Answer:
        """All that is left, or `amount` of it; `payment_order_id` where there are several."""
        return await self.post(f"/v1/payments/{payment_id}/refunds", body, key=key, wait=wait)

    async def refunded(self, payment_id: str, **body: Any) -> dict[str, Any]:
        """Refund and expect to be taken on (201 or 202); the refund."""
        answer = await self.refund(payment_id, **body)
        assert answer.status_code in (201, 202), answer.text
        refund: dict[str, Any] = answer.json()
        return refund

    async def refund_until(self, refund_id: str, *statuses: str) -> dict[str, Any]:
        """The refund once it has one of the statuses."""
        return await self.shown_once("refund", refund_id, statuses, f"/v1/refunds/{refund_id}")

    async def dispute_until(self, payment_id: str, *statuses: str) -> dict[str, Any]:
        """The payment's latest dispute once it has one of the statuses."""
        stored = "SELECT FROM dispute WHERE payment_id = $1 AND status = ANY($2)"

        async def probe() -> dict[str, Any] | None:
            if not await self.paysaga.sql(stored, payment_id, statuses):
                return None
            disputes = (await self.explain(payment_id))["disputes"]
            return disputes[-1] if disputes and disputes[-1]["status"] in statuses else None

        return await eventually(probe, timeout_s=60, what=f"dispute of {payment_id} {statuses}")

    async def add_seller(self, seller: str, **fields: Any) -> None:
        answer = await self.paysaga.http.post(
            "/v1/merchants", json={"seller_account": seller} | fields, headers=self.headers
        )
        assert answer.status_code == 201, answer.text

    async def set_merchant(self, seller: str, **fields: Any) -> None:
        answer = await self.paysaga.http.patch(f"/v1/merchants/{seller}", json=fields, headers=self.headers)
        assert answer.status_code == 200, answer.text

    async def balances(self) -> dict[tuple[str, str], int]:
        """(account, currency) → sum of the postings, minor units, of this tenant; accounts at zero are left out."""
        rows = await self.paysaga.sql(
            "SELECT account, currency, sum(amount)::bigint AS total FROM ledger_posting WHERE tenant_id = $1"
            " GROUP BY account, currency HAVING sum(amount) <> 0",
            self.tenant,
        )
        return {(row["account"], row["currency"]): row["total"] for row in rows}

    async def kinds(self, payment_id: str) -> list[str]:
        """Kinds of the ledger transactions of a payment, in the order in which they were booked."""
        rows = await self.paysaga.sql(
            "SELECT kind FROM ledger_transaction WHERE payment_id = $1 ORDER BY seq", payment_id
        )
        return [row["kind"] for row in rows]
