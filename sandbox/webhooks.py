"""Delivery of events to each account's endpoint: signed, retried, in order, across restarts.

Events about one payment intent, transfer or payout share a lane, in which the next one waits for the first
attempt of the one before; lanes run side by side. An attempt that fails leaves its lane and comes back later, so
that a broken event never blocks the others.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from sandbox.accounts import Account, Accounts, AnyAccount
from sandbox.errors import Doc
from sandbox.faults import Fault, Registry
from sandbox.store import Store, dumps

log = logging.getLogger(__name__)

PARALLEL_MAX = 32
ATTEMPTS_MAX = 50
RETRY_GAP_MAX_S = 3600.0
LATE_DEFAULT_S, OUT_OF_ORDER_DEFAULT_S = 5.0, 2.0


def signature(payload: str, secret: str, timestamp: int) -> str:
    """The `Stripe-Signature` header of a payload."""
    mac = hmac.new(secret.encode(), f"{timestamp}.{payload}".encode(), hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


class Courier:
    """The queue of deliveries and the task that works it off."""

    def __init__(self, store: Store, accounts: Accounts, faults: Registry) -> None:
        self._store, self._accounts, self._faults = store, accounts, faults
        self._wake = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._busy_lanes: set[str] = set()
        self._session: aiohttp.ClientSession | None = None

    def enqueue(self, account: AnyAccount, event: Doc) -> int:
        """Queue an event in the caller's transaction, with whatever fault applies; how many will be delivered.

        Events of a connected account go where its platform's go.
        """
        settings, platform_id = account.settings, account.platform.id
        if not settings.webhook_url or not _subscribed(event["type"], _wanted(account)):
            return 0
        subject = event["data"]["object"]
        intent_id = subject["id"] if subject["object"] == "payment_intent" else subject.get("payment_intent")

        def metadata() -> Doc:
            intent = self._store.get("payment_intents", account.id, intent_id or "")
            own: Doc = subject.get("metadata") or {}
            return (intent["metadata"] if intent else {}) | own

        ids = {subject["id"], event["id"], intent_id}
        fault = self._faults.claim(platform_id, event["type"], lambda: ids, metadata)
        lane = intent_id or (subject["id"] if subject["object"] in ("transfer", "payout") else event["id"])
        if fault is None:
            self._add(platform_id, event["id"], lane)
            return 1
        fault.hit()
        return self._add_faulty(platform_id, event["id"], lane, fault)

    def _add_faulty(self, account_id: str, event_id: str, lane: str, fault: Fault) -> int:
        kind, delay_s = fault.spec.kind, fault.spec.delay_s
        if kind == "lost":
            self._add(account_id, event_id, lane, state="lost")
            return 0
        if kind == "doubled":
            # A lane for each copy: they arrive at the same time, not one after the other.
            for copy in range(fault.spec.copies):
                self._add(account_id, event_id, f"{event_id}/{copy}", delay_s=delay_s or 0)
        elif kind == "late":
            self._add(account_id, event_id, event_id, delay_s=LATE_DEFAULT_S if delay_s is None else delay_s)
        elif kind == "out_of_order":
            # Held until a later event of the lane was attempted, or the delay is over.
            patience_s = OUT_OF_ORDER_DEFAULT_S if delay_s is None else delay_s
            self._add(account_id, event_id, event_id, delay_s=patience_s, waits_for=lane)
        else:
            self._add(account_id, event_id, lane, bad_signature=True)
        return 1

    def _add(
        self,
        account_id: str,
        event_id: str,
        lane: str,
        *,
        state: str = "pending",
        delay_s: float = 0,
        waits_for: str | None = None,
        bad_signature: bool = False,
    ) -> None:
        self._store.db.execute(
            "INSERT INTO deliveries (account, event, lane, waits_for, bad_signature, state, due_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (account_id, event_id, lane, waits_for, bad_signature, state, time.time() + delay_s),
        )

    def resend(self, account: Account, event_id: str) -> None:
        """Deliver an event once more, past all webhook faults."""
        self._add(account.id, event_id, f"{event_id}/again/{time.monotonic_ns()}")
        self.wake()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def flush(self, account: Account, timeout_s: float) -> dict[str, int]:
        """Attempt everything that is pending now, late and held-back events too; what came of it."""
        db = self._store.db
        started_at = time.time()
        where = "account = ? AND state = 'pending'"
        seqs = [seq for (seq,) in db.execute(f"SELECT seq FROM deliveries WHERE {where}", (account.id,))]  # noqa: S608
        db.execute(
            f"UPDATE deliveries SET due_at = ? WHERE {where} AND due_at > ?",  # noqa: S608
            (started_at, account.id, started_at),
        )
        marks = ", ".join("?" * len(seqs))
        waiting = (
            f"SELECT count(*) FROM deliveries WHERE seq IN ({marks}) AND state = 'pending' "  # noqa: S608
            "AND (last_attempt_at IS NULL OR last_attempt_at < ?)"
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while db.execute(waiting, (*seqs, started_at)).fetchone()[0]:
                    self.wake()
                    await asyncio.wait(self._sending.values(), timeout=0.05) if self._sending else await asyncio.sleep(
                        0
                    )
        counts = f"SELECT state, count(*) FROM deliveries WHERE seq IN ({marks}) GROUP BY state"  # noqa: S608
        found = dict(db.execute(counts, seqs).fetchall())
        return {"delivered": found.get("delivered", 0), "pending": found.get("pending", 0)}

    async def run(self) -> None:
        """Deliver what is due until cancelled."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=PARALLEL_MAX)) as session:
            self._session = session
            try:
                while True:
                    self._wake.clear()
                    # One reading of the clock for both: what is not due in the first must count in the second.
                    now = time.time()
                    self._start_due(now)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._idle_s(now)):
                            await self._wake.wait()
            finally:
                tasks = list(self._sending.values())
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _idle_s(self, now: float) -> float | None:
        query = "SELECT min(due_at) FROM deliveries WHERE state = 'pending' AND due_at > ?"
        (due_at,) = self._store.db.execute(query, (now,)).fetchone()
        return None if due_at is None else max(due_at - time.time(), 0.001)

    def _start_due(self, now: float) -> None:
        query = """
            SELECT seq, account, event, lane, bad_signature, attempts FROM deliveries
            WHERE state = 'pending' AND due_at <= ? ORDER BY seq LIMIT 256"""
        for seq, account_id, event_id, lane, bad, attempts in self._store.db.execute(query, (now,)).fetchall():
            if len(self._sending) >= PARALLEL_MAX:
                return
            if seq in self._sending or lane in self._busy_lanes:
                continue
            self._busy_lanes.add(lane)
            bad_now = bool(bad) and attempts == 0
            self._sending[seq] = asyncio.create_task(self._deliver(seq, account_id, event_id, lane, bad_now))

    async def _deliver(self, seq: int, account_id: str, event_id: str, lane: str, bad_signature: bool) -> None:
        try:
            account = self._accounts.by_id(account_id).platform
            started_at = time.time()
            status = await self._post(account, event_id, bad_signature)
            self._record(seq, account, lane, status, started_at)
        finally:
            del self._sending[seq]
            self._busy_lanes.discard(lane)
            self.wake()

    async def _post(self, account: Account, event_id: str, bad_signature: bool) -> int | None:
        """One attempt; the endpoint's status, or None when there was no answer."""
        settings, owner = account.settings, self._store.owner("events", event_id)
        event = self._store.get("events", owner, event_id) if owner else None
        if event is None or not settings.webhook_url or self._session is None:
            return None
        payload = dumps(event)
        secret = settings.webhook_secret + ("-wrong" if bad_signature else "")
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(payload, secret, int(time.time())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        timeout = aiohttp.ClientTimeout(total=settings.webhook_timeout_s)
        try:
            async with self._session.post(
                settings.webhook_url, data=payload.encode(), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.debug("webhook %s: %r", event_id, error)
            return None

    def _record(self, seq: int, account: Account, lane: str, status: int | None, started_at: float) -> None:
        db = self._store.db
        (attempts,) = db.execute("SELECT attempts + 1 FROM deliveries WHERE seq = ?", (seq,)).fetchone()
        gap_s = min(account.settings.webhook_retry_base_s * 2 ** (attempts - 1), RETRY_GAP_MAX_S)
        delivered = status is not None and 200 <= status < 300
        state = "delivered" if delivered else "failed" if attempts >= ATTEMPTS_MAX else "pending"
        values: Sequence[Any] = (state, attempts, status, started_at, time.time() + gap_s, seq)
        db.execute(
            "UPDATE deliveries SET state = ?, attempts = ?, last_status = ?, last_attempt_at = ?, due_at = ? "
            "WHERE seq = ?",
            values,
        )
        # What was to arrive after an event of this lane has now been overtaken.
        db.execute(
            "UPDATE deliveries SET waits_for = NULL, due_at = ? WHERE waits_for = ? AND seq < ? AND state = 'pending'",
            (time.time(), lane, seq),
        )

    def view(self, account: Account, limit: int) -> list[Doc]:
        """The newest deliveries of an account, newest first."""
        query = """
            SELECT d.seq, d.event, json_extract(e.doc, '$.type'), e.payment_intent, d.state, d.attempts, d.last_status
            FROM deliveries d JOIN events e ON e.id = d.event WHERE d.account = ? ORDER BY d.seq DESC LIMIT ?"""
        names = ("seq", "event", "type", "payment_intent", "state", "attempts", "last_status")
        return [dict(zip(names, row, strict=True)) for row in self._store.db.execute(query, (account.id, limit))]


def _wanted(account: AnyAccount) -> list[str]:
    of_sellers = account.settings.webhook_seller_events
    return of_sellers if account.connected and of_sellers is not None else account.settings.webhook_events


def _subscribed(kind: str, wanted: list[str]) -> bool:
    return "*" in wanted or kind in wanted
