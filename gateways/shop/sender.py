"""Sending a webhook to an address that somebody else has chosen: nothing of ours can be reached that way.

A name is resolved once, and refused if any of its addresses is not public; the socket is then opened to one of them.
The address is looked at there once more, since one that is written in a URL is never resolved. TLS and the Host header
stay on the name. There are no redirects and no proxies, and of the answer 2 KB are read.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from domain.public_address import is_public
from domain.webhook_endpoint import Answer
from domain.webhook_url import NOT_PUBLIC, WebhookUrlError, target_of
from gateways.shop.target import Lookup, lookup

TIMEOUT_S = 15.0
RESPONSE_MAX = 2_048
_RETRY_AFTER_MAX_S = 7 * 86_400.0


class AddressRefused(OSError):
    """The URL leads to an address that is not public."""

    def __init__(self) -> None:
        super().__init__(NOT_PUBLIC)


class _PublicResolver(AbstractResolver):
    """Refuses a name of which any address is not public."""

    def __init__(self, find: Lookup) -> None:
        self._find = find

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - of the interface
    ) -> list[ResolveResult]:
        addresses = await self._find(host, port)
        if not all(is_public(address) for address in addresses):
            raise AddressRefused
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def _factory(allowed: Callable[[str], bool]) -> Callable[[Any], socket.socket]:
    """Opens sockets to allowed addresses alone: every connection passes here with its concrete address."""

    def opened(info: tuple[Any, Any, Any, Any, tuple[Any, ...]]) -> socket.socket:
        family, kind, proto, _, address = info
        if not allowed(str(address[0])):
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=proto)

    return opened


_reached: ContextVar[list[str]] = ContextVar("reached")
"""Addresses that the request of this task was sent to: one, or none yet."""


class _Response(aiohttp.ClientResponse):
    """Notes where it comes from before anything of it is there: an answer may never come."""

    async def start(self, connection: Connection) -> Self:
        if connection.transport is not None:
            _reached.get().append(str(connection.transport.get_extra_info("peername")[0]))
        await super().start(connection)
        return self


class Sender:
    """Connections to shops. `loopback`: http://127.0.0.1 is sent to as well, on a machine that nobody else uses."""

    def __init__(self, *, loopback: bool = False, find: Lookup = lookup) -> None:
        self._loopback = loopback
        public = aiohttp.TCPConnector(
            resolver=_PublicResolver(find), socket_factory=_factory(is_public), use_dns_cache=False, limit=0
        )
        here = aiohttp.TCPConnector(socket_factory=_factory("127.0.0.1".__eq__), limit=0)
        self._public, self._here = _session(public), _session(here)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send it once. Never raises for what the other side is or does."""
        began, reached = perf_counter(), list[str]()
        _reached.set(reached)

        def answer(status: int | None, error: str | None, text: str | None = None, wait: float | None = None) -> Answer:
            took_ms = int((perf_counter() - began) * 1000)
            return Answer(status, error, reached[-1] if reached else None, took_ms, text, wait)

        try:
            target = target_of(url, loopback=self._loopback)
            session = self._here if target.loopback else self._public
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                text = await _beginning(response)
                wait = _retry_after(response.headers.get("Retry-After"))
                return answer(response.status, _complaint(response.status), text, wait)
        except WebhookUrlError as error:
            return answer(None, f"refused: {error}")
        except TimeoutError:
            return answer(None, f"no answer within {TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return answer(None, f"refused: {NOT_PUBLIC}" if _is_refusal(error) else f"no answer: {_name(error)}")

    async def close(self) -> None:
        await asyncio.gather(self._public.close(), self._here.close())


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        response_class=_Response,
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "paysaga-webhooks/1", "Content-Type": "application/json"},
        skip_auto_headers=("Accept-Encoding",),
    )


async def _beginning(response: aiohttp.ClientResponse) -> str:
    found = bytearray()
    while len(found) < RESPONSE_MAX:
        part = await response.content.read(RESPONSE_MAX - len(found))
        if not part:
            break
        found += part
    if not response.content.at_eof():
        response.close()  # whatever else comes is not read
    return found.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    return "redirects are not followed" if 300 <= status < 400 else f"answered {status}"


def _retry_after(value: str | None) -> float | None:
    """Of seconds; a date is ignored."""
    return min(float(value), _RETRY_AFTER_MAX_S) if value and value.isdecimal() and value.isascii() else None


def _is_refusal(error: BaseException) -> bool:
    """Whether it is ours, however the client has wrapped it."""
    seen: list[BaseException | None] = [error, error.__cause__, error.__context__, getattr(error, "os_error", None)]
    return any(isinstance(one, AddressRefused) or NOT_PUBLIC in str(one) for one in seen if one is not None)


def _name(error: BaseException) -> str:
    """The kind of error alone: its text may have addresses of ours in it."""
    return type(error).__name__
