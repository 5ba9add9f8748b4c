"""A link that can be cut: what is on the other side then is simply not there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Self

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """`async with Link.to("127.0.0.1:7233") as link`: `link.address` leads there until `link.cut()`."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._open: set[asyncio.StreamWriter] = set()
        self._whole = True
        self.address = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, target: str) -> AsyncIterator[Self]:
        host, _, port = target.rpartition(":")
        link = cls(lambda: asyncio.open_connection(host, int(port)))
        server = await asyncio.start_server(link._carry, "127.0.0.1", 0)
        link.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with link._served(server):
            yield link

    @classmethod
    @contextlib.asynccontextmanager
    async def to_socket(cls, target: Path, folder: Path) -> AsyncIterator[Self]:
        """The same for a Unix socket; the address is the one of that name in `folder`."""
        link = cls(lambda: asyncio.open_unix_connection(target))
        link.address = str(folder / target.name)
        async with link._served(await asyncio.start_unix_server(link._carry, link.address)):
            yield link

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
        if not self._whole:
            writer.transport.abort()
            return
        far_reader, far_writer = await self._connect()
        self._open |= {writer, far_writer}
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        self._open -= {writer, far_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
