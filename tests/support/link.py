"""A way to a server that can be cut, that may speak TLS, and of which nothing is left at its end."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Self

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Welcome = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


class Link:
    """`async with Link.to("127.0.0.1:7233") as link`: `link.address` leads there until `link.cut()`."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], welcome: Welcome | None = None) -> None:
        self._connect, self._welcome = connect, welcome
        self._open: set[asyncio.StreamWriter] = set()
        self._whole = True
        self.address = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, target: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """`tls`: of the server that it is to its clients; the target is spoken to without."""
        host, _, port = target.rpartition(":")
        async with cls(lambda: asyncio.open_connection(host, int(port)))._on_a_port(tls) as link:
            yield link

    @classmethod
    @contextlib.asynccontextmanager
    async def to_socket(
        cls, target: Path, folder: Path | None = None, *, welcome: Welcome | None = None
    ) -> AsyncIterator[Self]:
        """The same for a Unix socket. The address is the one of that name in `folder`, or a port; `welcome` speaks with
        a client first, and says whether it may pass."""
        link = cls(lambda: asyncio.open_unix_connection(target), welcome)
        if folder is None:
            async with link._on_a_port(None):
                yield link
        else:
            link.address = str(folder / target.name)
            async with link._served(await asyncio.start_unix_server(link._carry, link.address)):
                yield link

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @contextlib.asynccontextmanager
    async def _on_a_port(self, tls: ssl.SSLContext | None) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0, ssl=tls)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with self._served(server):
            yield self

    @contextlib.asynccontextmanager
    async def _served(self, server: asyncio.Server) -> AsyncIterator[None]:
        try:
            yield
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        self._whole = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = {writer}
        self._open |= pair
        try:
            if self._welcome is None or await self._welcome(reader, writer):
                far_reader, far_writer = await self._connect()
                pair.add(far_writer)
                self._open |= pair
                if self._whole:
                    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
                else:
                    writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):  # of the client while it is welcomed; a target that is not there
            pass
        finally:
            self._open -= pair
            for one in pair:
                one.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
