"""Payments and refunds that this process has written to just now: their next steps need not read them again.

What is kept here was true when it was written. Nothing depends on it: the statements that use it are guarded by what
the database has, a request to the PSP is sent under the same key with the same parameters whoever sends it, and what is
not found here is read.
"""

import asyncio
from typing import Generic, TypeVar

from db.hot.refund import OpenRefund
from db.hot.store import Stored
from db.payment.record import Payment

S = TypeVar("S")
K = TypeVar("K")

_KEPT_S = 10.0
"""Far below the time for which a request may be sent under its key."""


class _Recent(Generic[S, K]):
    """One per process, shared by its API and its worker; both run in one event loop. `S` is what is sent to the PSP,
    `K` what is known."""

    def __init__(self) -> None:
        self._to_send: dict[str, S] = {}
        self._known: dict[str, K] = {}

    def _keep(self, name: str, to_send: S, known: K) -> None:
        self._to_send[name] = to_send
        self._note(name, known)

    def _note(self, name: str, known: K) -> None:
        if name not in self._known:
            asyncio.get_running_loop().call_later(_KEPT_S, self.forget, name)
        self._known[name] = known

    def _moved(self, name: str, known: K) -> None:
        if name in self._known:
            self._known[name] = known

    def to_send(self, name: str) -> S | None:
        """For the first request to the PSP, and once: whoever asks a second time reads how it stands."""
        return self._to_send.pop(name, None)

    def known(self, name: str) -> K | None:
        """As it was written here; it may have changed since. A payment that has ended, and its orders, have not."""
        return self._known.get(name)

    def forget(self, name: str) -> None:
        self._to_send.pop(name, None)
        self._known.pop(name, None)


class RecentPayments(_Recent[Stored, Payment]):
    """By the payment's id."""

    def keep(self, stored: Stored) -> None:
        """A payment that was stored just now, and not sent to its PSP yet."""
        self._keep(stored.payment.id, stored, stored.payment)

    def note(self, row: Payment) -> None:
        """A payment that somebody in this process waits for, as it stands now."""
        self._note(row.id, row)

    def moved(self, row: Payment) -> None:
        """A payment that is kept here rests, or has ended, as it is now."""
        self._moved(row.id, row)


class RecentRefunds(_Recent[OpenRefund, OpenRefund]):
    """By the refund's id."""

    def keep(self, made: OpenRefund) -> None:
        """A refund that was stored just now, and not sent to its PSP yet."""
        self._keep(made.refund.id, made, made)

    def ended(self, made: OpenRefund) -> None:
        """A refund that was kept here has succeeded; it may still come back."""
        self._moved(made.refund.id, made)
