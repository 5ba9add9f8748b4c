"""NATS with JetStream from a wheel: the broker that events are published to, with a folder that outlives it."""

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from embedded.home import Home
from embedded.ports import free_port
from embedded.probes import http_ok
from embedded.supervisor import Child

USER = "paysaga"

# `always`: what was acknowledged is on the disk. By default the server flushes every two minutes.
_CONFIG = """\
host: {host}
port: {port}
http: "{host}:{monitor_port}"
server_name: paysaga
jetstream {{
    store_dir: {store}
    sync_interval: always
    max_mem: 64MB
    max_file: 10GB
}}
authorization {{
    user: {user}
    password: {password}
}}
"""


@dataclass(frozen=True)
class Nats:
    """One server: its folder, its port and the password of its one user."""

    home: Home
    port: int
    host: str = "127.0.0.1"
    monitor_port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """With the password."""
        return f"nats://{USER}:{self.home.broker_password()}@{self.address}"

    def child(self) -> Child:
        """The server as a child of the supervisor."""
        return Child(
            name="broker",
            title="NATS",
            argv=(_program(), "--config", str(self._write_config())),
            env={},
            ready=partial(http_ok, f"http://{self.host}:{self.monitor_port}/healthz?js-enabled-only=true"),
            detail=self.address,
        )

    def _write_config(self) -> Path:
        return self.home.write_private(
            "nats.conf",
            _CONFIG.format(
                host=self.host,
                port=self.port,
                monitor_port=self.monitor_port,
                store=f'"{self.home.broker_data}"',
                user=USER,
                password=self.home.broker_password(),
            ),
        )


def _program() -> str:
    """The wheel puts `nats-server` beside the interpreter of the venv."""
    return str(Path(sys.executable).with_name("nats-server"))
