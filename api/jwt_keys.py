"""The keys of an identity provider: its JWKS, read seldom, by one reader at a time, and kept for a bounded time."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from domain.errors import Unavailable

_FRESH_S = 300.0
"""After this the keys are read again, while the ones of before are used: a key that is withdrawn is gone by then."""
_UNKNOWN_GAP_S = 30.0
"""The least time between two readings because of a key that is not known: anybody can name one."""
_FAILED_GAP_S = 5.0
_TIMEOUT_S = 3.0
_BYTES_MAX = 256 * 1024
_RSA_LENGTH_MIN = 342
"""Of the modulus in base64url: 2,048 bits."""

Reader = Callable[[], Awaitable[bytes]]


class JwksKeys:
    """Keys by their `kid`, out of a document that `read` gets."""

    def __init__(self, read: Reader, *, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._keep_s, self._clock = read, keep_s, clock
        self._keys: Mapping[str, Key] = {}
        self._read_at = self._tried_at = -math.inf
        self._failing = False
        self._reading: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> Key | None:
        """The key of this name; None: there is none. A key that is known never waits for the provider.

        Raises Unavailable `token_keys_unavailable` where that cannot be said, because the provider's keys cannot be
        read: a client that was told 401 instead would throw a good token away.
        """
        if self._age > self._keep_s:
            self._keys = {}
            await self._again(_FAILED_GAP_S)
        elif self._age > _FRESH_S:
            self._begin(_FAILED_GAP_S)
        if kid not in self._keys:
            await self._again(_UNKNOWN_GAP_S)
        found = self._keys.get(kid)
        if found is None and self._failing:
            raise Unavailable("Tokens cannot be checked at the moment.", code="token_keys_unavailable")
        return found

    @property
    def _age(self) -> float:
        return self._clock() - self._read_at

    async def _again(self, gap_s: float) -> None:
        self._begin(gap_s)
        if self._reading is not None:
            await asyncio.shield(self._reading)  # it is everybody's, and goes on if one of them leaves

    def _begin(self, gap_s: float) -> None:
        """Read them unless that is under way, or was tried a moment ago."""
        now = self._clock()
        if self._reading is None and now - self._tried_at >= gap_s:
            self._tried_at = now
            self._reading = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                self._keys = parse(await self._read())
            self._read_at, self._failing = self._clock(), False
        except (OSError, TimeoutError, ValueError, httpx2.HTTPError) as error:
            self._failing = True
            structlog.get_logger("paysaga.api").warning("jwks_unreadable", error=f"{type(error).__name__}: {error}")
        finally:
            self._reading = None


def parse(document: bytes) -> Mapping[str, Key]:
    """The keys of a JWKS that can verify signatures; what cannot is left out: of another use, symmetric, private, too
    short, of an unknown kind or without a name. Raises ValueError where nothing is left."""
    try:
        members = json.loads(document)["keys"]
        named = [member for member in members if isinstance(member, dict) and _verifies(member)]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("it is no JWKS") from error
    keys: dict[str, Key] = {}
    for member in named:
        try:
            keys.setdefault(member["kid"], JWKRegistry.import_key(member))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if not keys:
        raise ValueError("it has no key that verifies signatures and has a kid")
    return keys


def _verifies(member: dict[str, Any]) -> bool:
    operations = member.get("key_ops")
    return (
        isinstance(member.get("kid"), str)
        and member.get("kty") in ("RSA", "EC", "OKP")
        and "d" not in member
        and member.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and (member["kty"] != "RSA" or len(str(member.get("n"))) >= _RSA_LENGTH_MIN)
    )


def from_url(url: str) -> Reader:
    """Reads of a server, at its own address: a redirect is not followed."""

    async def read() -> bytes:
        async with (
            httpx2.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"it was answered with {answer.status_code}")
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _BYTES_MAX:
                    raise ValueError("it is too large")
            return body

    return read


def from_file(path: Path) -> Reader:
    """Reads of a file: to change the keys, replace it."""

    async def read() -> bytes:
        return await asyncio.to_thread(path.read_bytes)

    return read
