"""Certificates made on the spot, and servers that speak TLS in front of those that the tests share."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trustme

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""PostgreSQL's protocol, 55.2.11: the client asks for TLS, and the server says `S`."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


class Files:
    """An authority, and what it signs, as files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self.authority = trustme.CA()
        self.ca = folder / f"{name}-ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, host: str, *, name: str | None = None) -> tuple[Path, Path]:
        """A certificate and its key; `name`: of its files."""
        issued = self.authority.issue_cert(host)
        stem = f"{self._name}-{name or host}"
        certificate, key = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key

    def server(self, host: str, *alpn: str) -> ssl.SSLContext:
        """A server's context that asks for a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(host).configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@asynccontextmanager
async def before_temporal(files: Files, port: int) -> AsyncIterator[int]:
    """mTLS before a Temporal without: the port on which it is spoken. HTTP/2 passes through as it is."""
    context = files.server("localhost", "h2")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _joined((reader, writer), lambda: asyncio.open_connection("127.0.0.1", port))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


@asynccontextmanager
async def before_postgres(files: Files, socket: Path) -> AsyncIterator[int]:
    """PostgreSQL's own negotiation, before a server without OpenSSL: the port on which it is spoken. A client that
    does not ask for TLS is refused, as `hostssl` lines alone would."""
    context = files.server("localhost")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) == _SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                await _joined((reader, writer), lambda: asyncio.open_unix_connection(str(socket)))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def _joined(client: Streams, connect: Connect) -> None:
    try:
        server = await connect()
        await asyncio.gather(_copied(client[0], server[1]), _copied(server[0], client[1]))
    finally:
        client[1].close()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
