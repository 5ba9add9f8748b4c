"""`python -m bench.psp`: a PSP that costs next to nothing, for measurements of what is in front of it.

It speaks the few calls of Stripe's API that a payment, a capture, a void and a refund need, answers each after a fixed
time, and delivers signed webhooks a while later. Everything is in memory. The sandbox is the PSP to test with: this
one checks nothing. `/_control` tells what was charged, as the sandbox's does.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import uvloop

from bench.wire import Exchange, HttpClient, ServerProtocol

Object = dict[str, Any]

DECLINED_TOKEN = "pm_card_chargeDeclined"  # noqa: S105 - the name of a test card
_FEE_DAYS_S = 2 * 86_400
_FLUSH_S = 30.0
_TRIES = 3


@dataclass
class Account:
    """Everything of one API key. `answers`: by idempotency key."""

    intents: dict[str, Object] = field(default_factory=dict)
    refunds: dict[str, Object] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    log: dict[str, list[Object]] = field(default_factory=lambda: {"charges": [], "refunds": [], "requests": []})


class CheapPsp:
    """The server. `events`: the types that the endpoint is subscribed to; others are not sent."""

    def __init__(self, *, delay_s: float, webhook_url: str, secret: str, webhook_s: float, account: str) -> None:
        self._delay_s, self._webhook_s, self._secret, self._account = delay_s, webhook_s, secret, account
        self._accounts: dict[str, Account] = {}
        where = urlsplit(webhook_url)
        self._path = where.path
        self._client = HttpClient(f"{where.scheme}://{where.netloc}")
        self._numbers = iter(range(1, 1 << 60))
        self._run = f"{time.time_ns() // 1_000_000:x}"
        self._sending: set[asyncio.Task[None]] = set()
        self._due = self.delivered = 0
        self._flushes: deque[Exchange] = deque()

    async def close(self) -> None:
        """End the connections to the endpoint."""
        await self._client.close()

    def take(self, exchange: Exchange) -> None:
        """Take a request in, and answer when it is time."""
        request = exchange.request
        path = urlsplit(request.target).path
        if path == "/healthz":
            return exchange.answer(200, b"{}")
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        account = self._accounts.setdefault(key, Account())
        if path == "/_control/log":
            return exchange.answer(200, json.dumps(account.log).encode())
        if path == "/_control/webhooks/flush":
            return self._flush(exchange)
        return self._carry_out(exchange, account, path, notify=key == self._account)

    def _carry_out(self, exchange: Exchange, account: Account, path: str, *, notify: bool) -> None:
        request = exchange.request
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        idempotency = request.headers.get("idempotency-key", "")
        known = account.answers.get(idempotency)
        if known is None:
            status, thing, event = self._done(account, request.method, path.split("/")[2:], form)
            known = status, json.dumps(thing).encode()
            if idempotency:
                account.answers[idempotency] = known
            if notify and event:
                self._due += 1
                asyncio.get_running_loop().call_later(self._delay_s + self._webhook_s, self._notify, event, thing)
        asyncio.get_running_loop().call_later(self._delay_s, exchange.answer, *known)

    def _done(self, account: Account, method: str, path: list[str], form: Object) -> tuple[int, Object, str]:
        """Status, answer, and the type of the event that it is told by (empty: none)."""
        match (method, *path):
            case ("POST", "payment_intents"):
                operation, found = "payment_intents.create", self._charge(account, form)
            case ("GET", "payment_intents", name) if name in account.intents:
                operation, found = "payment_intents.retrieve", (200, account.intents[name], "")
            case ("POST", "payment_intents", name, "capture") if name in account.intents:
                operation, found = "payment_intents.capture", self._capture(account, account.intents[name], form)
            case ("POST", "payment_intents", name, "cancel") if name in account.intents:
                operation, found = "payment_intents.cancel", self._cancel(account.intents[name])
            case ("POST", "refunds"):
                operation, found = "refunds.create", self._refund(account, form)
            case ("GET", "refunds", name) if name in account.refunds:
                operation, found = "refunds.retrieve", (200, account.refunds[name], "")
            case _:
                error = {"type": "invalid_request_error", "code": "resource_missing", "message": "There is no such."}
                operation, found = "unknown", (404, {"error": error}, "")
        thing = found[1].get("error", {}).get("payment_intent") or found[1]
        account.log["requests"].append({"operation": operation, "metadata": thing.get("metadata", {})})
        return found

    # --- objects ---

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._run}{next(self._numbers):08x}"

    def _charge(self, account: Account, form: Object) -> tuple[int, Object, str]:
        amount, now = int(form["amount"]), int(time.time())
        metadata = {k[9:-1]: v for k, v in form.items() if k.startswith("metadata[")}
        declined, manual = form.get("payment_method") == DECLINED_TOKEN, form.get("capture_method") == "manual"
        intent: Object = {
            "id": self._id("pi"),
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": amount if manual and not declined else 0,
            "amount_received": 0,
            "capture_method": "manual" if manual else "automatic",
            "client_secret": None,
            "confirmation_method": "automatic",
            "created": now,
            "currency": form["currency"],
            "description": form.get("description"),
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": metadata,
            "next_action": None,
            "payment_method_types": ["card"],
            "status": "requires_payment_method" if declined else "requires_capture",
        }
        account.intents[intent["id"]] = intent
        if declined:
            error = {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline"}
            intent["last_payment_error"] = error = {**error, "message": "Your card was declined."}
            return 402, {"error": {**error, "payment_intent": dict(intent)}}, "payment_intent.payment_failed"
        intent["latest_charge"] = self._charge_object(intent, now)
        if manual:
            return 200, intent, "payment_intent.amount_capturable_updated"
        return self._capture(account, intent, form)

    def _charge_object(self, intent: Object, now: int) -> Object:
        card: Object = {"brand": "visa", "country": "IN", "fingerprint": "bench", "funding": "credit", "last4": "4242"}
        checks = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}
        if intent["capture_method"] == "manual":
            card |= {"capture_before": now + 7 * 86_400}
        return {
            "id": self._id("ch"),
            "object": "charge",
            "amount": intent["amount"],
            "captured": False,
            "created": now,
            "currency": intent["currency"],
            "outcome": {"network_status": "approved_by_network", "risk_level": "normal", "risk_score": 20},
            "paid": True,
            "payment_intent": intent["id"],
            "payment_method_details": {"type": "card", "card": {**card, "checks": checks}},
            "status": "succeeded",
        }

    def _capture(self, account: Account, intent: Object, form: Object) -> tuple[int, Object, str]:
        amount, now = int(form.get("amount_to_capture") or intent["amount"]), int(time.time())
        intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
        intent["latest_charge"] |= {
            "captured": True,
            "amount_captured": amount,
            "balance_transaction": {
                "id": self._id("txn"),
                "object": "balance_transaction",
                "amount": amount,
                "available_on": now + _FEE_DAYS_S,
                "created": now,
                "currency": intent["currency"],
                "fee": amount * 29 // 1000 + 30,
                "net": amount - amount * 29 // 1000 - 30,
                "type": "charge",
            },
        }
        account.log["charges"].append({"amount": amount, "metadata": intent["metadata"]})
        return 200, intent, "payment_intent.succeeded"

    def _cancel(self, intent: Object) -> tuple[int, Object, str]:
        intent |= {"status": "canceled", "amount_capturable": 0}
        return 200, intent, "payment_intent.canceled"

    def _refund(self, account: Account, form: Object) -> tuple[int, Object, str]:
        intent = account.intents[form["payment_intent"]]
        metadata = {k[9:-1]: v for k, v in form.items() if k.startswith("metadata[")}
        refund: Object = {
            "id": self._id("re"),
            "object": "refund",
            "amount": int(form.get("amount") or intent["amount_received"]),
            "charge": intent["latest_charge"]["id"],
            "created": int(time.time()),
            "currency": intent["currency"],
            "metadata": metadata,
            "payment_intent": intent["id"],
            "status": "succeeded",
        }
        account.refunds[refund["id"]] = refund
        account.log["refunds"].append({"amount": refund["amount"], "metadata": intent["metadata"] | metadata})
        return 200, refund, "refund.updated"

    # --- webhooks ---

    def _notify(self, event_type: str, thing: Object) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(event_type, thing))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, event_type: str, thing: Object) -> None:
        thing = thing.get("error", {}).get("payment_intent") or thing
        charge = thing.get("latest_charge")
        now = int(time.time())
        event = {
            "id": self._id("evt"),
            "object": "event",
            "created": now,
            "livemode": False,
            "type": event_type,
            "data": {"object": {**thing, "latest_charge": charge["id"]} if charge else thing},
        }
        body = json.dumps(event).encode()
        mac = hmac.new(self._secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        for _ in range(_TRIES):
            try:
                answer = await self._client.send("POST", self._path, body, f"Stripe-Signature: t={now},v1={mac}\r\n")
            except (OSError, TimeoutError):
                continue
            if answer.status < 300:
                self.delivered += 1
                break
        self._due -= 1
        while self._flushes and not self._due:
            self._answer_flush(self._flushes.popleft(), 0)

    def _flush(self, exchange: Exchange) -> None:
        """Answer once nothing is left to deliver, or patience is over; `delivered`: those that were waited for."""
        if not self._due:
            return self._answer_flush(exchange, 0)
        self._flushes.append(exchange)
        asyncio.get_running_loop().call_later(_FLUSH_S, self._give_up, exchange)
        return None

    def _give_up(self, exchange: Exchange) -> None:
        if exchange in self._flushes:
            self._flushes.remove(exchange)
            self._answer_flush(exchange, self._due)

    @staticmethod
    def _answer_flush(exchange: Exchange, left: int) -> None:
        exchange.answer(200, json.dumps({"delivered": 0, "left": left}).encode())


async def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m bench.psp")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--webhook-ms", type=float, default=300.0)
    parser.add_argument("--webhook-url", required=True)
    parser.add_argument("--webhook-secret", required=True)
    parser.add_argument("--account-key", required=True, help="events are sent for what this key did, for no other")
    given = parser.parse_args()
    psp = CheapPsp(
        delay_s=given.delay_ms / 1000,
        webhook_url=given.webhook_url,
        secret=given.webhook_secret,
        webhook_s=given.webhook_ms / 1000,
        account=given.account_key,
    )
    server = await asyncio.get_running_loop().create_server(
        partial(ServerProtocol, psp.take), "127.0.0.1", given.port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
