"""A look at where a shop's URL leads, before it is stored."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from domain.public_address import is_public
from domain.webhook_url import NOT_PUBLIC, Target, WebhookUrlError, target_of

_RESOLVE_S = 3.0

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name. Raises OSError."""


async def lookup(host: str, port: int) -> list[str]:
    """The system's."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


async def check_target(url: str, *, loopback: bool, find: Lookup = lookup) -> Target:
    """Look at a URL and at where its name leads now; a name that leads nowhere yet is fine. Raises WebhookUrlError."""
    target = target_of(url, loopback=loopback)
    if target.loopback:
        return target
    addresses: list[str] = []
    with suppress(OSError, UnicodeError, TimeoutError):
        async with asyncio.timeout(_RESOLVE_S):
            addresses = await find(target.host, target.port)
    if not all(is_public(address) for address in addresses):
        raise WebhookUrlError(NOT_PUBLIC)
    return target
