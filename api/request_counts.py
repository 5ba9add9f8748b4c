"""Counters of requests, by window: in the memory of this process, or in a Redis that several API hosts share.

Both are storages of the library `limits`. Its own one in memory looks at every counter at every request (3 ms where
10,000 addresses are counted), so the one here replaces it.
"""

import asyncio
import math
import time
from typing import cast

import structlog
from limits.aio.storage import RedisStorage, Storage
from limits.errors import ConfigurationError
from prometheus_client import Counter

_REDIS_WAIT_S = 0.05
"""For an answer of Redis, which takes a fifth of a millisecond; the rest is for this process, if it is busy."""
_REDIS_CONNECT_S = 1.0
_REDIS_AT_ONCE = 16
_REDIS_PAUSE_S = 1.0
"""After a failure: so long Redis is not asked."""
_LOGGED_EVERY_S = 60.0
_COUNTERS_MAX = 50_000

_LOCAL = Counter("paysaga_rate_limit_local", "Counts kept in this process because Redis did not answer")

log = structlog.get_logger("paysaga.api")


class LocalCounts(Storage):
    """Counters in memory, the oldest first: what has expired is dropped on the way, so each request costs the same
    however many there are. At `_COUNTERS_MAX` for a length of window the oldest one makes room."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._by_expiry: dict[float, dict[str, tuple[int, float]]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def add(self, key: str, expiry: float, amount: int) -> int:
        now = time.monotonic()
        counters = self._by_expiry.setdefault(expiry, {})
        oldest = next(iter(counters), None)
        if oldest is not None and (counters[oldest][1] <= now or len(counters) >= _COUNTERS_MAX):
            del counters[oldest]
            following = next(iter(counters), None)  # two for each that may be new: it shrinks
            if following is not None and counters[following][1] <= now:
                del counters[following]
        count, ends = counters.get(key, (0, now + expiry))
        counters[key] = (count + amount, ends)
        return count + amount

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        return self.add(key, expiry, amount)

    async def get(self, key: str) -> int:
        return next((counters[key][0] for counters in self._by_expiry.values() if key in counters), 0)

    async def get_expiry(self, key: str) -> float:
        ends = next((counters[key][1] for counters in self._by_expiry.values() if key in counters), None)
        return time.time() + (0 if ends is None else max(ends - time.monotonic(), 0))

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        number = sum(len(counters) for counters in self._by_expiry.values())
        self._by_expiry.clear()
        return number

    async def clear(self, key: str) -> None:
        for counters in self._by_expiry.values():
            counters.pop(key, None)


class Counts:
    """The counters of a process. With `redis_url` they are shared; while Redis does not answer, each process counts for
    itself: limits are no reason to refuse a payment, and nothing else depends on Redis."""

    def __init__(self, redis_url: str | None = None) -> None:
        """Raises ValueError where the URL or the installation does not fit."""
        self._local = LocalCounts()
        self._shared = _redis(redis_url) if redis_url else None
        self._places = asyncio.Semaphore(_REDIS_AT_ONCE)
        self._away_until_s = 0.0
        self._logged_at_s = -math.inf

    async def open(self) -> None:
        """Connect, so that the first request need not; a Redis that is away is no reason not to start."""
        if self._shared is not None:
            await self._ask(self._shared, "start", 1, 1, wait_s=_REDIS_CONNECT_S)

    async def add(self, key: str, window_s: int, amount: int = 1) -> int:
        """The counter after it was changed by `amount`; it is dropped `window_s` after its first change."""
        if self._shared is not None:
            async with self._places:
                shared = await self._ask(self._shared, key, window_s, amount, wait_s=_REDIS_WAIT_S)
            if shared is not None:
                return shared
            _LOCAL.inc()
        return self._local.add(key, window_s, amount)

    async def _ask(self, shared: Storage, key: str, window_s: int, amount: int, *, wait_s: float) -> int | None:
        """None: it does not answer, or did not a moment ago."""
        if time.monotonic() < self._away_until_s:
            return None
        try:
            async with asyncio.timeout(wait_s):
                return await shared.incr(key, window_s, amount)
        except Exception as error:  # noqa: BLE001 - whatever ails the counters, requests go on
            self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        now = time.monotonic()
        self._away_until_s = now + _REDIS_PAUSE_S
        if now - self._logged_at_s > _LOGGED_EVERY_S:
            self._logged_at_s = now
            log.warning("rate_limit_redis_away", error=type(error).__name__)


def _redis(url: str) -> Storage:
    try:
        storage = RedisStorage(
            f"async+{url}", implementation="redispy", key_prefix="paysaga", socket_connect_timeout=_REDIS_CONNECT_S
        )
    except (ConfigurationError, ValueError) as error:
        raise ValueError(
            "it is written redis://host:port, and the extra `redis` has to be installed (`make clients`)"
        ) from error
    return cast("Storage", storage)
