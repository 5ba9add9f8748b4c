"""Payments that this process has stored or ended just now: their next steps need not read them again.

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
        self._to_send[row.id], self._known[row.id] = stored, row
        asyncio.get_running_loop().call_later(_KEPT_S, self.forget, row.id)

    def to_send(self, payment_id: str) -> Stored | None:
        """For the first request to the PSP, and once: whoever asks a second time reads how it stands."""
        return self._to_send.pop(payment_id, None)

    def known(self, payment_id: str) -> Payment | None:
        """As it was stored or ended here; it may have changed since."""
        return self._known.get(payment_id)

    def ended(self, row: Payment) -> None:
        """A payment that was kept here has ended so; its status and those of its orders stay."""
        if row.id in self._known:
            self._known[row.id] = row

    def forget(self, payment_id: str) -> None:
        self._to_send.pop(payment_id, None)
        self._known.pop(payment_id, None)
