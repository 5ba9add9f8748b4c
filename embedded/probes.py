"""Probes of servers, which answer False instead of raising while one is not up."""

import asyncio

import httpx2

_TIMEOUT_S = 2.0


async def port_open(host: str, port: int) -> bool:
    """True if someone accepts connections there."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return False
    return True


async def http_ok(url: str) -> bool:
    """True if a GET answers 200."""
    try:
        # Loopback and plain HTTP: never a proxy, which trust_env would send it to, and no certificates to be read.
        async with httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, verify=False) as client:
            return (await client.get(url)).status_code == 200
    except httpx2.HTTPError:
        return False
