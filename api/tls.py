"""TLS of the API: the certificate, which can be renewed while the process runs, and the handshake, which is bounded as
any other silence is.

uvicorn's own TLS gives a handshake a minute, and a connection counts only when it is over.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from api.connections import LINGER_S, BoundedProtocol, ConnectionLimits, bounded
from config.tls import load_pair

_log = structlog.get_logger()


class ServerCertificate:
    """The certificate (PEM, the whole chain) and its key, as TLS 1.2 and newer use them. Raises ValueError."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._files = (certificate, key)
        self.context = self._read()

    def renew(self) -> None:
        """Read the files again, for connections from now on; what cannot be used is logged, and the old one stays."""
        try:
            self.context = self._read()
        except ValueError as error:
            _log.error("certificate_refused", error=str(error))
        else:
            _log.info("certificate_renewed")

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        load_pair(context, *self._files)
        return context


class _Handshake(asyncio.Protocol):
    """A connection until TLS is agreed on. It has a place like any other, and gives it away like one that waits for a
    request.

    A loop reads from a connection as soon as it has made it, and `start_tls` is too late then for what was read: so
    the socket is given to a connection of its own, which TLS is a part of from the beginning."""

    def __init__(self, http: "_SecuredProtocol", certificate: ServerCertificate) -> None:
        self._http, self._certificate = http, certificate
        self._task: asyncio.Task[None] | None = None
        self._left = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        copy = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        transport.abort()  # closes its own file alone
        waiting, limits = self._http.waiting, self._http.limits
        if waiting.open >= limits.connections_max and not waiting.end_longest():
            copy.close()
            return
        waiting.open += 1
        waiting.add(self)
        self._http.handshake = self
        self._task = asyncio.get_running_loop().create_task(self._agree(copy, limits.silence_s))

    def end(self) -> None:
        """Close at once."""
        self.leave()
        if self._task is not None:
            self._task.cancel()

    def leave(self) -> None:
        """Give the place back."""
        if not self._left:
            self._left = True
            self._http.waiting.remove(self)
            self._http.waiting.open -= 1

    async def _agree(self, copy: socket.socket, silence_s: float) -> None:
        copy.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._http,
                copy,
                ssl=self._certificate.context,
                ssl_handshake_timeout=silence_s,
                ssl_shutdown_timeout=LINGER_S,
            )
        except OSError:
            copy.close()  # no TLS, an old one, none in time
        except asyncio.CancelledError:
            copy.close()
            raise
        finally:
            self.leave()


class _SecuredProtocol(BoundedProtocol):
    """HTTP once TLS is agreed on."""

    handshake: _Handshake

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.handshake.leave()
        super().connection_made(transport)


def secured(limits: ConnectionLimits, certificate: ServerCertificate) -> Callable[..., asyncio.Protocol]:
    """uvicorn's `http`, over TLS."""
    http = bounded(limits, _SecuredProtocol)

    def connection(**options: Any) -> asyncio.Protocol:
        return _Handshake(http(**options), certificate)

    return connection
