"""Bounds of a connection: what may be sent before any of our own code runs, and how long it may take. Over sockets:
no HTTP client does any of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.conftest import Deploy
from tests.support.deployment import Deployment

SILENCE_S = 2.0
PLACES = 20
GET = b"GET /healthz HTTP/1.1\r\nHost: paysaga\r\n"
CHUNKED = b"POST /webhooks/stripe HTTP/1.1\r\nHost: paysaga\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD_MAX = 32 * 1024


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, *parts: bytes) -> None:
        """As much as the server takes: it may close in the middle."""
        try:
            for part in parts:
                self._writer.write(part)
                await self._writer.drain()
        except ConnectionError:
            pass

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        async with asyncio.timeout(30):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            return int(head[9:12]), await self._reader.readexactly(length)

    async def code(self) -> tuple[int, str]:
        """Status and `code` of the next answer, after which the connection is closed."""
        status, body = await self.answer()
        assert await self.rest() == b""
        return status, json.loads(body)["code"]

    async def rest(self) -> bytes:
        """Whatever comes until the server closes the connection."""
        try:
            async with asyncio.timeout(30):
                return await self._reader.read(-1)
        except ConnectionError:
            return b""

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(paysaga: Deployment) -> AsyncIterator[Connection]:
    connection = Connection(*await asyncio.open_connection("127.0.0.1", paysaga.settings.api_port))
    try:
        yield connection
    finally:
        connection.close()


async def test_a_connection_has_bounds(deploy: Deploy) -> None:
    paysaga = await deploy(api_connections_max=PLACES, api_silence_s=SILENCE_S)
    await asyncio.gather(
        *(_sent(paysaga, (431, "headers_too_large"), *parts) for parts in TOO_LARGE.values()),
        *(_sent(paysaga, (408, "request_timeout"), part) for part in (GET, CHUNKED, CHUNKED + b"5\r\nab")),
    )
    await _idle_between_requests(paysaga)
    await _sent(paysaga, (400, "malformed_http"), b"\x16\x03\x01")
    await _several_requests_on_one_connection(paysaga)
    await _refused_before_its_body_has_come(paysaga)
    await _the_longest_idle_gives_way(paysaga)
    await _one_who_reads_nothing_is_left(paysaga)


TOO_LARGE = {
    "one header": (GET + b"X: ", *[b"x" * 65536] * 16),
    "one header, slowly": (GET + b"X: ", *[b"x" * 4096] * 16),
    "one name": (GET, *[b"x" * 65536] * 16),
    "many headers": (GET, *[b"X: y\r\n"] * 200),
    "several headers": (GET + b"".join(b"X%d: " % n + b"x" * 8000 + b"\r\n" for n in range(5)) + b"\r\n",),
    "the first line": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: paysaga\r\n\r\n",),
    "a chunk's extension": (CHUNKED + b"5;x=", *[b"x" * 65536] * 4),
}


async def _sent(paysaga: Deployment, expected: tuple[int, str], *parts: bytes) -> None:
    async with connected(paysaga) as connection:
        await connection.send(*parts)
        assert await connection.code() == expected, parts[0][-60:]


async def _nothing_sent_is_closed(paysaga: Deployment) -> None:
    async with connected(paysaga) as connection:
        assert await connection.rest() == b""


async def _idle_between_requests(paysaga: Deployment) -> None:
    """A connection that had a request outlasts those that never had one, and its next one must come within the same
    time once it has begun."""
    async with connected(paysaga) as used:
        await used.send(GET, b"\r\n")
        assert (await used.answer())[0] == 200
        await _nothing_sent_is_closed(paysaga)
        await used.send(GET, b"\r\n")
        assert (await used.answer())[0] == 200
        await used.send(GET)
        assert await used.code() == (408, "request_timeout")


async def _several_requests_on_one_connection(paysaga: Deployment) -> None:
    """Sent at once, and one after the other, as any client may."""
    async with connected(paysaga) as connection:
        await connection.send((GET + b"\r\n") * 3)
        assert [(await connection.answer())[0] for _ in range(3)] == [200] * 3
        await connection.send(GET, b"\r\n")
        assert (await connection.answer())[0] == 200


async def _refused_before_its_body_has_come(paysaga: Deployment) -> None:
    """The body that still comes is not taken for a head, and the connection stays of use."""
    length = 1_000_000
    async with connected(paysaga) as connection:
        await connection.send(b"POST /v1/payments HTTP/1.1\r\nHost: paysaga\r\nContent-Length: %d\r\n\r\n" % length)
        assert (await connection.answer())[0] == 413
        await connection.send(b"x" * length, GET, b"\r\n")
        assert (await connection.answer())[0] == 200


async def _the_longest_idle_gives_way(paysaga: Deployment) -> None:
    idle = [
        Connection(*await asyncio.open_connection("127.0.0.1", paysaga.settings.api_port)) for _ in range(3 * PLACES)
    ]
    async with connected(paysaga) as connection:
        await connection.send(GET, b"\r\n")
        assert (await connection.answer())[0] == 200
    assert await idle[0].rest() == b""
    for connection in idle:
        connection.close()


async def _one_who_reads_nothing_is_left(paysaga: Deployment) -> None:
    """Of answers that nobody reads only so much is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", paysaga.settings.api_port, limit=1024)
    try:
        async with asyncio.timeout(30):
            while True:
                writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: paysaga\r\n\r\n" * 10)
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
    assert (await paysaga.http.get("/healthz")).status_code == 200
    assert len(await _until_closed(reader)) < 64 * 2**20


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(-1)
    except ConnectionError:
        return b""
