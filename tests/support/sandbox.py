"""One account of the sandbox PSP: its faults, its steering wheel and its log, which is the ground truth."""

import ssl
from typing import Any

import httpx2

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of servers without TLS: it trusts nobody. A client that is not given one reads all authorities of the
machine, 30 ms each time."""


class SandboxRefused(AssertionError):
    """The sandbox would not do it; `status` is that of its answer."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.request.method} {response.url}: {response.status_code} {response.text}")
        self.status = response.status_code


class SandboxAccount:
    """`key` is the Stripe key that names the account."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self._http: httpx2.AsyncClient

    async def open(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        self._http = httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=60, verify=NO_TLS)

    async def close(self) -> None:
        await self._http.aclose()

    async def configure(self, **settings: Any) -> None:
        await self._call("PATCH", "/_control/account", settings)

    async def fault(self, operation: str, kind: str, *, checkout: str | None = None, **more: Any) -> str:
        """Plan a fault, for one checkout if told; returns its id."""
        match = {"match": {"metadata": {"checkout_id": checkout}}} if checkout else {}
        fault = await self._call("POST", "/_control/faults", {"operation": operation, "kind": kind} | match | more)
        return str(fault["id"])

    async def struck(self, fault_id: str, hits: int = 1) -> None:
        """Wait until the fault has taken effect."""
        await self._call("GET", f"/_control/faults/{fault_id}?wait_hits={hits}&timeout_s=50")

    async def release(self, fault_id: str) -> None:
        await self._call("POST", f"/_control/faults/{fault_id}/release")

    async def clear(self, fault_id: str) -> None:
        await self._call("DELETE", f"/_control/faults/{fault_id}")

    async def webhook_fault(self, event_type: str, kind: str, *, checkout: str | None = None, **more: Any) -> str:
        match = {"match": {"metadata": {"checkout_id": checkout}}} if checkout else {}
        body = {"event_type": event_type, "kind": kind} | match | more
        return str((await self._call("POST", "/_control/webhook_faults", body))["id"])

    async def flush_webhooks(self) -> None:
        await self._call("POST", "/_control/webhooks/flush")

    async def steer(self, intent: str, step: str) -> None:
        """authenticate, fail_authentication, complete_processing, fail_processing, force_success."""
        await self._call("POST", f"/_control/payment_intents/{intent}/{step}")

    async def steer_refund(self, refund: str, step: str) -> None:
        await self._call("POST", f"/_control/refunds/{refund}/{step}")

    async def refund_by_hand(self, intent: str, amount: int) -> dict[str, Any]:
        """As somebody does in the PSP's dashboard: nothing of ours is on it. `amount` in the PSP's minor units."""
        response = await self._http.post("/v1/refunds", data={"payment_intent": intent, "amount": amount})
        if response.status_code != 200:
            raise SandboxRefused(response)
        made: dict[str, Any] = response.json()
        return made

    async def form(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Any request in the PSP's own language, past our application."""
        made: dict[str, Any] = (await self._http.post(path, data=fields)).raise_for_status().json()
        return made

    async def transfer_by_hand(self, account: str, amount: int, *, of: str | None = None) -> dict[str, Any]:
        """As somebody does in the PSP's dashboard: money to a seller's account, with nothing of ours on it; or `of` a
        payout, as if we had made it."""
        body = {"destination": account, "amount": amount, "currency": "inr"}
        ours = {"transfer_group": of, "metadata[paysaga_payout]": of} if of else {}
        made: dict[str, Any] = (await self._http.post("/v1/transfers", data=body | ours)).raise_for_status().json()
        return made

    async def reverse_by_hand(self, transfer: str) -> None:
        """As somebody does in the PSP's dashboard: what is left of it comes back."""
        (await self._http.post(f"/v1/transfers/{transfer}/reversals")).raise_for_status()

    async def capture_by_hand(self, intent: str, amount: int | None = None) -> None:
        """As somebody does in the PSP's dashboard; `amount`: a part, in the PSP's units."""
        part = {} if amount is None else {"amount_to_capture": str(amount)}
        response = await self._http.post(f"/v1/payment_intents/{intent}/capture", data=part)
        if response.status_code != 200:
            raise SandboxRefused(response)

    async def dispute(self, intent: str, **terms: Any) -> str:
        """The buyer's bank takes the money back: amount, currency, reason, inquiry, evidence_due_s. The PSP's id."""
        return str((await self._call("POST", f"/_control/payment_intents/{intent}/dispute", terms))["id"])

    async def steer_dispute(self, dispute: str, step: str) -> None:
        """win, lose, escalate, close_inquiry, reinstate."""
        await self._call("POST", f"/_control/disputes/{dispute}/{step}")

    async def advance(self, seconds: float) -> None:
        await self._call("POST", "/_control/clock/advance", {"seconds": seconds})

    async def log(self, checkout: str) -> "Log":
        """Everything that really happened to a checkout's charge."""
        found = await self._call("GET", f"/_control/log?metadata[checkout_id]={checkout}")
        return Log(found)

    async def ground_truth(self, **metadata: str) -> dict[str, Any]:
        """Everything that really happened to what carries this metadata."""
        return await self._call("GET", "/_control/log?" + "&".join(f"metadata[{k}]={v}" for k, v in metadata.items()))

    async def steer_payout(self, payout: str, step: str) -> None:
        """pay, fail, return, cancel, transit."""
        await self._call("POST", f"/_control/payouts/{payout}/{step}")

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Any call of the steering wheel: `path` after `/_control`."""
        return await self._call(method, f"/_control{path}", body)

    async def stripe(self, path: str) -> dict[str, Any]:
        """Stripe's own API, by hand."""
        found: dict[str, Any] = (await self._http.get(path)).raise_for_status().json()
        return found

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = await self._http.request(method, path, json=body)
        if response.status_code >= 400:
            raise SandboxRefused(response)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer


class Log:
    """The ground truth of one checkout."""

    def __init__(self, log: dict[str, Any]) -> None:
        self.charges: list[dict[str, Any]] = log["charges"]
        self.authorizations: list[dict[str, Any]] = log["authorizations"]
        self.refunds: list[dict[str, Any]] = log["refunds"]
        self.disputes: list[dict[str, Any]] = log["disputes"]
        self.requests: list[dict[str, Any]] = log["requests"]

    def sent(self, operation: str) -> int:
        return sum(1 for request in self.requests if request["operation"] == operation)

    @property
    def charged(self) -> list[int]:
        return [charge["amount"] for charge in self.charges]

    @property
    def refunded(self) -> list[int]:
        return [refund["amount"] for refund in self.refunds if refund["status"] == "succeeded"]
