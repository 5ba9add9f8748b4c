"""Certificates made on the spot, and servers that speak TLS in front of those that the tests share."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme

from tests.support.link import Link

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""PostgreSQL's protocol, 55.2.11: the client asks for TLS, and the server says `S`."""


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
async def before_temporal(files: Files, address: str) -> AsyncIterator[int]:
    """mTLS before a Temporal without: the port on which it is spoken. HTTP/2 passes through as it is."""
    async with Link.to(address, tls=files.server("localhost", "h2")) as link:
        yield link.port


@asynccontextmanager
async def before_postgres(files: Files, socket: Path) -> AsyncIterator[int]:
    """PostgreSQL's own negotiation, before a server without OpenSSL: the port on which it is spoken. A client that
    does not ask for TLS is refused, as `hostssl` lines alone would."""
    context = files.server("localhost")

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked = await reader.readexactly(8) == _SSL_REQUEST
        if asked:
            writer.write(b"S")
            await writer.start_tls(context)
        return asked

    async with Link.to_socket(socket, welcome=welcome) as link:
        yield link.port
