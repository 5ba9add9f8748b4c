"""Payments that this process has written to just now: their next steps need not read them again.

What is kept here was true when it was written. Nothing depends on it: the statements that use it are guarded by what
the database has, a charge is sent under the same key with the same parameters whoever sends it, and what is not found
here is read.
"""

import asyncio

from db.hot.store import Stored
from db.payment.record import Payment

_KEPT_S = 10.0
"""Far below the time for which a charge may be sent under its key."""


class RecentPayments:
    """One per process, shared by its API and its worker; both run in one event loop."""

    def __init__(self) -> None:
        self._to_send: dict[str, Stored] = {}
        self._known: dict[str, Payment] = {}

    def keep(self, stored: Stored) -> None:
        """A payment that was stored just now, and not sent to its PSP yet."""
        row = stored.payment
        self._to_send[row.id] = stored
        self.note(row)

    def note(self, row: Payment) -> None:
        """A payment that somebody in this process waits for, as it stands now."""
        if row.id not in self._known:
            asyncio.get_running_loop().call_later(_KEPT_S, self.forget, row.id)
        self._known[row.id] = row

    def to_send(self, payment_id: str) -> Stored | None:
        """For the first request to the PSP, and once: whoever asks a second time reads how it stands."""
        return self._to_send.pop(payment_id, None)

    def known(self, payment_id: str) -> Payment | None:
        """As it was written here; it may have changed since. One that has ended has not, nor has any of its orders."""
        return self._known.get(payment_id)

    def moved(self, row: Payment) -> None:
        """A payment that is kept here rests, or has ended, as it is now."""
        if row.id in self._known:
            self._known[row.id] = row

    def forget(self, payment_id: str) -> None:
        self._to_send.pop(payment_id, None)
        self._known.pop(payment_id, None)
