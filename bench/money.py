"""After the load: is every payment at the PSP exactly what its owner says, and are the books in order?"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from bench import results
from config.settings import DEVELOPMENT_API_KEY
from db.audit.audit import Finding, audit_database
from db.core.database import FEW, Database
from domain.money import parse_major
from domain.status import TERMINAL, RefundStatus, Status
from embedded.errors import StackError

_PAGE = 100
_PATIENCE_S = 45.0
_TIMEOUT_S = 60.0
_AUDIT_TIMEOUT_S = 120.0
_SHOWN_MAX = 5


@dataclass(frozen=True)
class Paid:
    """A payment as its owner shows it: one status for all of its orders, their sum and what was given back of it, in
    minor units."""

    id: str
    status: str
    amount: int
    refunded: int = 0


@dataclass(frozen=True)
class PspLog:
    """The PSP's own word, by payment id: amounts that were really charged, and given back."""

    charges: Mapping[str, list[int]]
    refunds: Mapping[str, list[int]] = field(default_factory=dict)


class Books:
    """The two sides of the comparison: the API with its database, and the sandbox PSP's control API."""

    def __init__(self, api_url: str, sandbox_url: str, sandbox_key: str) -> None:
        self._api = _client(api_url, DEVELOPMENT_API_KEY)
        self._psp = _client(f"{sandbox_url}/_control", sandbox_key)

    async def close(self) -> None:
        await self._api.aclose()
        await self._psp.aclose()

    async def add_seller(self, seller: str) -> None:
        body = {"seller_account": seller, "fee": {"percent": "3", "fixed": "0"}}
        _checked(await self._api.post("/v1/merchants", json=body))

    async def delay_psp(self, delay_s: float, webhook_s: float = 0.0) -> None:
        """From now on every request to the PSP takes `delay_s` longer, and its webhooks are sent `webhook_s` later."""
        fault = {"operation": "*", "kind": "latency", "delay_s": delay_s, "times": None}
        _checked(await self._psp.post("/faults", json=fault))
        if webhook_s:
            late = {"event_type": "*", "kind": "late", "delay_s": webhook_s, "times": None}
            _checked(await self._psp.post("/webhook_faults", json=late))

    async def deliver_webhooks(self) -> int:
        """Wait until the PSP has delivered what it still had to; how many that were."""
        return int(_checked(await self._psp.post("/webhooks/flush?timeout_s=30"))["delivered"])

    async def settled(self, buyer: str) -> list[Paid]:
        """A buyer's payments, once all of them have ended; with those that are still open when patience is."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            found = await self._payments(buyer)
            if all(payment.status in TERMINAL for payment in found) or time.monotonic() > deadline_s:
                return found
            await asyncio.sleep(0.5)

    async def _payments(self, buyer: str) -> list[Paid]:
        entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
        query: dict[str, str | int] = {"limit": _PAGE}
        while True:
            answer = await self._api.get(f"/v1/transactions/{buyer}", params=query)
            page = _checked(answer)
            for entry in page["data"]:
                entries[entry["payment_id"]].append(entry)
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        return [_paid(payment_id, found) for payment_id, found in entries.items()]

    async def psp_log(self) -> PspLog:
        """Everything that the PSP charged and gave back."""
        log = _checked(await self._psp.get("/log"))
        return PspLog(_by_payment(log["charges"]), _by_payment(log["refunds"]))


def _by_payment(entries: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        found[str(entry["metadata"].get("paysaga_payment"))].append(entry["amount"])
    return found


def _client(url: str, key: str) -> httpx2.AsyncClient:
    # Loopback, never a proxy.
    return httpx2.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False
    )


def _checked(answer: httpx2.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise StackError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:200]}")
    found: dict[str, Any] = answer.json()
    return found


def _paid(payment_id: str, entries: Sequence[Mapping[str, Any]]) -> Paid:
    orders = [entry for entry in entries if entry["object"] == "payment_order"]
    back = [entry for entry in entries if entry["object"] == "refund" and entry["status"] == RefundStatus.SUCCEEDED]
    statuses = {order["status"] for order in orders}
    status = statuses.pop() if len(statuses) == 1 else "MIXED"
    return Paid(payment_id, status, _sum(orders), _sum(back))


def _sum(entries: Iterable[Mapping[str, Any]]) -> int:
    return sum(parse_major(entry["amount"], entry["currency"]) for entry in entries)


async def audit(database_url: str) -> list[Finding]:
    """The invariants of the whole database."""
    database = Database(database_url, pool_size=FEW, timeout_s=_AUDIT_TIMEOUT_S, application="bench")
    try:
        return list(await audit_database(database))
    finally:
        await database.close()


def books_of(subject: str, payments: Sequence[Paid], log: PspLog) -> results.Books:
    """The sums of both sides."""
    return results.Books(
        subject=subject,
        payments=len(payments),
        succeeded=sum(payment.status == Status.SUCCESS for payment in payments),
        charges=sum(map(len, log.charges.values())),
        taken=sum(map(sum, log.charges.values())),
        booked=sum(payment.amount for payment in payments if payment.status == Status.SUCCESS),
        refunded=sum(map(sum, log.refunds.values())),
    )


def compare(payments: Sequence[Paid], log: PspLog) -> list[str]:
    """A sentence for each payment that the PSP did not charge as the API shows it, and for each unknown charge."""
    found = []
    for payment in payments:
        taken = log.charges.get(payment.id, [])
        wanted = [payment.amount] if payment.status == Status.SUCCESS else []
        if payment.status not in TERMINAL:
            found.append(f"{payment.id} is still {payment.status}")
        elif taken != wanted:
            found.append(f"{payment.id} is {payment.status} over {payment.amount}, and the PSP charged {taken}")
        elif sum(log.refunds.get(payment.id, [])) != payment.refunded:
            given = log.refunds.get(payment.id, [])
            found.append(f"{payment.id} gave {payment.refunded} back, and the PSP {given}")
    strangers = set(log.charges) - {payment.id for payment in payments}
    found += [f"the PSP charged {payment_id}, which the API does not know" for payment_id in sorted(strangers)]
    left = len(found) - _SHOWN_MAX
    return [*found[:_SHOWN_MAX], *([f"and {left} more"] if left > 0 else [])]
