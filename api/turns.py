"""Turns: the places of a process for one kind of work, and the tenants that wait for one, each in its turn.

One tenant may use all of them while it is alone. As soon as another one asks, its first request is let in at once, and
each has its share until the others have been gone for a second.
"""

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel, ConfigDict

_PRESENT_S = 1.0
"""A tenant that sends one request after the other is there between them, too."""
_WAITING_MIN = 4
_GAP_BEGIN_S, _GAP_WEIGHT = 0.1, 0.2
_RETRY_MAX_S = 60
_REST_MAX_S = 1.0
_EXPECTED_S = 0.25


class Limit(Protocol):
    """The number that may work at once; `shared` and `wanted` are what it may adapt itself to (see `runtime.pace`)."""

    limit: float
    shared: bool
    wanted: bool


class Bounds(BaseModel):
    """`places`: the most that are held at once, also by payments that are at the PSP; `tenant_max`: by one tenant;
    `waiting_max`: a tenant's requests that wait for a turn; `wait_s`: longer than that none is to wait."""

    model_config = ConfigDict(frozen=True)

    places: int
    tenant_max: int
    waiting_max: int
    wait_s: float = 5.0


class Refused(Exception):
    """There is no turn to wait for. `retry_after_s`: when there may be."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s


class Presence:
    """The tenants that are here: with a request of any kind, or without one for less than a second."""

    def __init__(self) -> None:
        self._requests: dict[str, int] = {}
        self._gone: dict[str, asyncio.TimerHandle] = {}
        self._told: list[Callable[[], None]] = []

    @property
    def count(self) -> int:
        return len(self._requests)

    def tell(self, left: Callable[[], None]) -> None:
        """`left` is called when one has left."""
        self._told.append(left)

    def came(self, tenant: str) -> None:
        timer = self._gone.pop(tenant, None)
        if timer is not None:
            timer.cancel()
        self._requests[tenant] = self._requests.get(tenant, 0) + 1

    def went(self, tenant: str) -> None:
        self._requests[tenant] -= 1
        if not self._requests[tenant]:
            self._gone[tenant] = asyncio.get_running_loop().call_later(_PRESENT_S, self._left, tenant)

    def _left(self, tenant: str) -> None:
        del self._gone[tenant], self._requests[tenant]
        for left in self._told:
            left()


@dataclass
class _Tenant:
    """`working` of the places it holds take part in the limit; the others are at the PSP."""

    name: str
    held: int = 0
    working: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    gap_s: float = _GAP_BEGIN_S
    """Between two ends of its turns while more is wanted."""
    wanted_s: float = 0.0
    """The moment since which more is wanted, or of the last end since then; 0: nothing more is."""


class Turn:
    """A place that was given to a request of a tenant. `kept`: something else than the request ends it."""

    def __init__(self, turns: "Turns", tenant: _Tenant) -> None:
        self._turns, self._tenant = turns, tenant
        self._away = self._ended = self.kept = False
        self._worked_s, self._since_s = 0.0, asyncio.get_running_loop().time()

    def leave(self) -> None:
        """It takes no part in the limit meanwhile."""
        if not self._away and not self._ended:
            self._away = True
            self._worked_s += asyncio.get_running_loop().time() - self._since_s
            self._turns.works(self._tenant, -1)

    def come_back(self) -> None:
        """Without waiting: it may be one too many."""
        if self._away and not self._ended:
            self._away = False
            self._since_s = asyncio.get_running_loop().time()
            self._turns.works(self._tenant, +1)

    def rest(self, *, always: bool = False) -> None:
        """Give it back after as long a pause as it was used for, where others are here and more of the tenant's wait
        for it (or `always`): half of the time is the others', also for what follows an answer."""
        if self._ended or not self._turns.shared or not (always or self._tenant.waiting):
            self.end()
            return
        loop = asyncio.get_running_loop()
        worked_s = self._worked_s + (0.0 if self._away else loop.time() - self._since_s)
        loop.call_later(min(worked_s, _REST_MAX_S), self.end)

    def end(self) -> None:
        """Give the place back; a second time is none."""
        if not self._ended:
            self.leave()
            self._ended = True
            self._turns.give_back(self._tenant)


class Turns:
    """Those of one kind of work. Bound to one event loop."""

    def __init__(self, bounds: Bounds, limit: Limit, presence: Presence) -> None:
        self._bounds, self._limit, self._presence = bounds, limit, presence
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._held = self._working = self._waiting = 0
        self._expected: Counter[str] = Counter()
        self._told_s: dict[str, float] = {}
        presence.tell(self._admit)

    @property
    def shared(self) -> bool:
        """Whether several tenants are here."""
        return self._presence.count > 1

    async def turn(self, tenant: str) -> Turn:
        """A place, in the tenant's turn; whoever gets one ends it. Raises Refused."""
        who = self._tenants.get(tenant) or _Tenant(tenant)
        if not who.waiting and self._has_room(who):
            self._enter(who)
            return self._let_in(who)
        self._refuse_late(who)
        turn = asyncio.get_running_loop().create_future()
        self._enter(who)
        self._want(who)
        who.waiting.append(turn)
        self._waiting += 1
        try:
            async with asyncio.timeout(2 * self._bounds.wait_s):
                await turn
        except BaseException as error:
            if turn in who.waiting:
                who.waiting.remove(turn)
                self._waiting -= 1
                self._leave(who)
            elif not turn.cancelled():
                Turn(self, who).end()
            if isinstance(error, TimeoutError):
                raise Refused(self._retry_after_s(who)) from None
            raise
        return Turn(self, who)

    def expect(self, tenant: str) -> Callable[[], None]:
        """Count a request whose body is still to be read among those that will wait, until the function that it returns
        is called. After a moment it is not counted any more: its client is slow. Raises Refused where it would not even
        wait."""
        expected = self._expected[tenant]
        self._refuse_late(self._tenants.get(tenant) or _Tenant(tenant), expected)
        self._expected[tenant] += 1
        is_over = False

        def over() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                timer.cancel()
                self._expected[tenant] -= 1
                if not self._expected[tenant]:
                    del self._expected[tenant]

        timer = asyncio.get_running_loop().call_later(_EXPECTED_S, over)
        return over

    def works(self, who: _Tenant, change: int) -> None:
        """One more or one less of those that the tenant holds takes part in the limit."""
        who.working += change
        self._working += change
        if change < 0:
            self._admit()

    def give_back(self, who: _Tenant) -> None:
        """One place less is held."""
        who.held -= 1
        self._held -= 1
        now_s = asyncio.get_running_loop().time()
        if who.wanted_s:
            who.gap_s += (min(now_s - who.wanted_s, self._bounds.wait_s) - who.gap_s) * _GAP_WEIGHT
        who.wanted_s = now_s if who.waiting else 0.0
        self._leave(who)
        self._admit()

    # --- the parts ---

    def _want(self, who: _Tenant) -> float:
        """More is wanted than there is now; the gap between two turns, as far as it shows yet."""
        now_s = asyncio.get_running_loop().time()
        who.wanted_s = who.wanted_s or now_s
        return max(who.gap_s, now_s - who.wanted_s)

    def _enter(self, who: _Tenant) -> None:
        self._tenants[who.name] = who
        self._presence.came(who.name)
        self._limit.shared = self.shared

    def _leave(self, who: _Tenant) -> None:
        if not who.held and not who.waiting:
            self._tenants.pop(who.name, None)
        self._presence.went(who.name)

    def _has_room(self, who: _Tenant) -> bool:
        """A tenant's first is let in beyond the limit, unless as many tenants as that are inside already."""
        bounds, limit = self._bounds, self._limit.limit
        present = max(1, self._presence.count)
        if who.held >= min(bounds.tenant_max, max(1, bounds.places // present)):
            return False
        if who.working == 0 and sum(t.working > 0 for t in self._tenants.values()) < max(limit, 2):
            return self._held < bounds.places or who.held == 0
        share = max(1, int(limit) // present)
        return self._held < bounds.places and self._working < int(limit) and who.working < share

    def _let_in(self, who: _Tenant) -> Turn:
        who.held += 1
        who.working += 1
        self._held += 1
        self._working += 1
        self._tenants.move_to_end(who.name)
        return Turn(self, who)

    def _admit(self) -> None:
        """Let in who waits, one of each tenant at a time, the one that has waited longest for its turn first."""
        admitted = self._waiting > 0
        while admitted:
            admitted = False
            for who in list(self._tenants.values()):
                if who.waiting and self._has_room(who):
                    self._waiting -= 1
                    turn = who.waiting.popleft()
                    if turn.done():  # its request was cancelled just now
                        self._leave(who)
                    else:
                        self._let_in(who)
                        turn.set_result(None)
                    admitted = True
        if self._waiting:
            self._limit.wanted = True

    def _refuse_late(self, who: _Tenant, expected: int = 0) -> None:
        room = max(1, int(self._limit.limit) - self._working)
        count = len(who.waiting) + max(0, expected - room)
        late = count >= _WAITING_MIN and (count + 1) * self._want(who) > self._bounds.wait_s
        if count >= self._bounds.waiting_max or late:
            raise Refused(self._retry_after_s(who))

    def _retry_after_s(self, who: _Tenant) -> int:
        """When the queue will have room, if all that were refused before this one come back when they were told to."""
        now_s = asyncio.get_running_loop().time()
        if len(self._told_s) > 10_000:
            self._told_s.clear()
        told_s = max(self._told_s.get(who.name, 0.0), now_s) + self._want(who)
        self._told_s[who.name] = told_s
        return min(_RETRY_MAX_S, max(1, math.ceil(told_s - now_s)))
