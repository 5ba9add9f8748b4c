"""Timers, for what happens later by itself: payments that finish, holds that expire, refunds that come back, disputes,
payouts."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from sandbox import dispute_flow, payment_flow, payouts, refunds
from sandbox.accounts import Account, Accounts, AnyAccount
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import PREFIXES, Store

log = logging.getLogger(__name__)

ACTIONS: dict[str, Callable[[Context, Doc], None]] = {
    "payment_intent.success": payment_flow.complete_processing,
    "payment_intent.failure": payment_flow.fail_processing,
    "payment_intent.expire": payment_flow.expire,
    "refund.succeeded": refunds.succeed,
    "refund.failed": refunds.fail,
    "charge.dispute": dispute_flow.open_by_card,
    "dispute.overdue": dispute_flow.overdue,
}
ACTIONS |= {f"dispute.{name}": step for name, step in dispute_flow.STEPS.items()}
ACTIONS |= {f"payout.{name}": step for name, step in payouts.STEPS.items()}


class Timers:
    """The stored timers and the task that fires them."""

    def __init__(self, store: Store, accounts: Accounts, context: Callable[[AnyAccount], Context]) -> None:
        self._store, self._accounts, self._context = store, accounts, context
        self._wake = asyncio.Event()
        self.after_fire: Callable[[], None] = lambda: None

    def wake(self) -> None:
        """A timer was set or moved."""
        self._wake.set()

    def advance(self, account: Account, seconds: float) -> None:
        """The account's clock went forward: its timers come closer, and those of its connected accounts."""
        query = "UPDATE timers SET due_at = due_at - ? WHERE account = ? OR account GLOB ?"
        self._store.db.execute(query, (seconds, account.id, f"{account.id}/*"))
        self.fire_due()

    def fire_due(self) -> None:
        """Fire everything whose time has come, each in a transaction of its own."""
        query = "SELECT seq, account, action, target FROM timers WHERE due_at <= ? ORDER BY due_at, seq"
        for seq, account_id, action, target in self._store.db.execute(query, (time.time(),)).fetchall():
            with self._store.transaction():
                self._store.db.execute("DELETE FROM timers WHERE seq = ?", (seq,))
                self._fire(self._accounts.by_id(account_id), action, target)
            self.after_fire()

    def _fire(self, account: AnyAccount, action: str, target: str) -> None:
        ctx = self._context(account)
        kind = PREFIXES[target.partition("_")[0]]
        # A control call or a cancel came first: the status check of the action refuses, and nothing is left to do.
        with suppress(ApiError):
            ACTIONS[action](ctx, ctx.load(kind, target))

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            self._wake.clear()
            self.fire_due()
            (due_at,) = self._store.db.execute("SELECT min(due_at) FROM timers").fetchone()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due_at is None else max(due_at - time.time(), 0.001)):
                    await self._wake.wait()
