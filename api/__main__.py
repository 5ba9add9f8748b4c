"""`python -m api`: one API process. Start as many as there are cores, behind a load balancer."""

import asyncio
import signal
import sys
from typing import cast

import uvicorn
from pydantic import ValidationError

from api.app import create_app
from api.connections import KEEP_ALIVE_S, BoundedProtocol, ConnectionLimits, bounded
from api.tls import ServerCertificate, secured
from config.settings import Settings, unusable
from runtime.logs import configure_logs
from runtime.tls import check_tls
from runtime.wiring import SettingMissing


def main() -> int:
    try:
        settings = Settings()
    except ValidationError as error:
        print(*unusable(error), sep="\n", file=sys.stderr)  # noqa: T201
        return 2
    configure_logs(settings.log_level, settings.log_format)
    try:
        asyncio.run(check_tls(settings))
        app = create_app(settings)
    except SettingMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    uvicorn.run(
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
    )
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
