"""The payments that this process works on, each in the place that its request was let in to.

A place is held from the request until the payment has ended or rests, whether or not the client waits so long, and
given away meanwhile while the PSP has it: that work is not ours.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

_HELD_MAX_S = 10.0
"""Another process may have taken the payment over, and does not tell of its end here."""


class Place(Protocol):
    """A place among those that work at once. `kept`: it is given back by its payment, not by its request."""

    kept: bool

    def leave(self) -> None:
        """Somebody else works on it now."""

    def come_back(self) -> None:
        """It is ours again, without waiting: it may be one too many."""

    def rest(self) -> None:
        """Give it back, after a pause if others are here and a crowd waits for it; a second time is none."""


place_of_request: ContextVar[Place | None] = ContextVar("place_of_request", default=None)


class UnderWay:
    """One per process, shared by its API and its worker. `here`: there is a worker, which takes what is started here;
    else payments are worked on elsewhere, and take turns in Temporal's queues."""

    def __init__(self, *, here: bool) -> None:
        self._here = here
        self._places: dict[str, Place] = {}

    def begin(self, payment_id: str) -> None:
        """The place of the request that runs is the payment's from now on."""
        place = place_of_request.get()
        if self._here and place is not None and not place.kept:
            place.kept = True
            self._places[payment_id] = place
            asyncio.get_running_loop().call_later(_HELD_MAX_S, self.end, payment_id)

    def started(self) -> None:
        """The payment of the request that runs has its workflow: without a worker here all that is left is waiting."""
        place = place_of_request.get()
        if not self._here and place is not None:
            place.leave()

    @contextmanager
    def at_psp(self, payment_id: str) -> Iterator[None]:
        """While the block runs the payment takes up no place."""
        place = self._places.get(payment_id)
        if place is None:
            yield
            return
        place.leave()
        try:
            yield
        finally:
            place.come_back()

    def end(self, payment_id: str) -> None:
        """The payment has ended, or rests."""
        place = self._places.pop(payment_id, None)
        if place is not None:
            place.rest()
