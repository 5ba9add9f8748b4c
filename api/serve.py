"""One API process, from its checks to the end of its last request."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from api.app import create_app
from api.connections import KEEP_ALIVE_S, BoundedProtocol, ConnectionLimits, bounded
from api.tls import ServerCertificate, secured
from config.settings import Settings
from runtime.connections import check_connections
from runtime.tls import check_tls
from runtime.wiring import SettingMissing

UNUSABLE = 2
"""The exit code of a process whose settings cannot be used; what is wrong is on its standard error."""
_LOOK_AFTER_PARENT_S = 1


def serve(settings: Settings, *, parent: int | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code, `UNUSABLE` or uvicorn's own for a start that failed.

    `parent`: the process that has started several on one port; its end is the end of this one too.
    """
    try:
        asyncio.run(_check(settings))
        app = create_app(settings)
    except SettingMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return UNUSABLE

    async def end_with_parent() -> None:
        if os.getppid() != parent:
            server.should_exit = True

    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http=_protocol(settings),
        ws="none",
        log_config=None,
        access_log=False,
        # Whoever is no proxy of ours could write any address there, and uvicorn by itself believes this machine.
        proxy_headers=bool(settings.api_trusted_proxies),
        forwarded_allow_ips=settings.api_trusted_proxies,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=30,
        callback_notify=end_with_parent if parent is not None else None,
        timeout_notify=_LOOK_AFTER_PARENT_S,
    )
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has stopped
        server.run(None if parent is None else [bound(settings, shared=True)])
    return 0 if server.started else STARTUP_FAILURE


def bound(settings: Settings, *, shared: bool) -> socket.socket:
    """A socket at the settings' address, which nobody can connect to before it listens; `shared`: with others that are
    shared, too. Raises OSError."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    found = socket.socket(family)
    try:
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as one process has it
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        found.bind((settings.api_host, settings.api_port))
    except OSError:
        found.close()
        raise
    return found


async def _check(settings: Settings) -> None:
    """Raises SettingMissing."""
    await check_tls(settings)
    await check_connections(settings)


def _protocol(settings: Settings) -> type[asyncio.Protocol]:
    limits = ConnectionLimits(
        connections_max=settings.api_connections_max,
        head_bytes_max=settings.api_header_max_bytes,
        silence_s=settings.api_silence_s,
    )
    if settings.api_tls_cert_path is None:
        return cast("type[asyncio.Protocol]", bounded(limits, BoundedProtocol))
    certificate = ServerCertificate(settings.api_tls_cert_path, settings.api_tls_key_path)
    signal.signal(signal.SIGHUP, lambda *_: certificate.renew())
    # uvicorn calls it as it would a class.
    return cast("type[asyncio.Protocol]", secured(limits, certificate))
