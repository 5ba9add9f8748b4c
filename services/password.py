"""Passwords of operators: scrypt (RFC 7914), whose cost is stored with each hash, off the event loop."""

import asyncio
import base64
import hashlib
import hmac
import secrets

from domain.errors import Unavailable
from domain.login import as_hashed

_R, _P = 8, 3
_WAITING_MAX = 16
"""Hashes that wait while one is computed: each is a tenth of a second's work and more, and payments need the processor
as well."""


class PasswordHasher:
    """Hashes as `scrypt$n$r$p$salt$hash`, the last two in base64. `n`: the cost of new ones, a power of two."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._of_nobody = self._written(secrets.token_bytes(16), secrets.token_bytes(32))

    async def hash(self, password: str) -> str:
        """Raises Unavailable `overloaded`."""
        salt = secrets.token_bytes(16)
        return self._written(salt, await self._scrypt(password, salt, (self._n, _R, _P)))

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether it is the password of a hash. Without one it takes as long, and is False. Raises Unavailable
        `overloaded`."""
        _, n, r, p, salt, expected = (stored or self._of_nobody).split("$")
        found = await self._scrypt(password, base64.b64decode(salt), (int(n), int(r), int(p)))
        return hmac.compare_digest(found, base64.b64decode(expected)) and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made at another cost than new ones are."""
        return not stored.startswith(f"scrypt${self._n}${_R}${_P}$")

    def _written(self, salt: bytes, found: bytes) -> str:
        return "$".join(
            ("scrypt", str(self._n), str(_R), str(_P), *(base64.b64encode(b).decode() for b in (salt, found)))
        )

    async def _scrypt(self, password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
        if self._waiting > _WAITING_MAX:
            raise Unavailable("Too many people log in at once; try again.", code="overloaded")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(_scrypt, as_hashed(password).encode(), salt, cost)
        finally:
            self._waiting -= 1


def _scrypt(password: bytes, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    memory = 128 * r * (n + p + 2) + 1024 * 1024
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=32)
