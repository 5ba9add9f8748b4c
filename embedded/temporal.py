"""Temporal's development server from a wheel, with a file that outlives it.

One history shard on SQLite: a default for one machine, not a stand-in for a cluster.
"""

import asyncio
import os
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from embedded.home import Home
from embedded.ports import free_port
from embedded.probes import port_open
from embedded.supervisor import Child

_PROBE_TIMEOUT_S = 3.0
# Closed payments stay visible for operators; the server's default of one day is over before anyone asks.
_RETENTION = timedelta(days=30)

# WAL makes every workload two to three times faster; with synchronous=normal a killed server loses nothing, and after
# a power cut the sweeper starts again what PostgreSQL knows and the file does not.
_PRAGMAS = ("journal_mode=wal", "synchronous=normal")

# A sixth of the server's time goes into collecting garbage that it makes fast and does not keep; above 1 GiB it is
# collected as often as by default.
_COLLECTOR = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}

_DYNAMIC_CONFIG = (
    # A burst of one tenant (fairness key) does not starve the others.
    "matching.enableFairness=true",
    # The defaults guard a shared cluster; here they would throttle a load test before the machine is busy.
    "frontend.rps=20000",
    "frontend.namespaceRPS=20000",
    "history.rps=20000",
    "matching.rps=20000",
    # A workflow whose task fails twice is marked for the sweeper; the default of five is a minute later.
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2",
)


@dataclass(frozen=True)
class Temporal:
    """One server: its file and its ports. The ports that no one asks for are free ones: stacks run side by side."""

    database: Path
    port: int
    ui_port: int
    host: str = "127.0.0.1"
    namespace: str = "default"
    ui_codec_endpoint: str | None = None
    http_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)

    @classmethod
    def in_home(
        cls,
        home: Home,
        *,
        port: int,
        ui_port: int,
        namespace: str = "default",
        ui_codec_endpoint: str | None = None,
    ) -> "Temporal":
        """The server of a data folder. `ui_codec_endpoint`: where its UI asks for payloads in plain."""
        return cls(home.temporal_database, port, ui_port, namespace=namespace, ui_codec_endpoint=ui_codec_endpoint)

    @property
    def address(self) -> str:
        """`host:port` of the gRPC service."""
        return f"{self.host}:{self.port}"

    @property
    def ui_url(self) -> str:
        """The address of the UI."""
        return f"http://{self.host}:{self.ui_port}"

    def child(self) -> Child:
        """The server as a child of the supervisor."""
        return Child(
            name="temporal",
            title="Temporal",
            argv=(_program(), "server", "start-dev", *self._flags()),
            # TEMPORAL_* in someone's shell belongs to another cluster.
            env=_COLLECTOR | {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")},
            ready=self.is_ready,
            detail=self.address,
        )

    def _flags(self) -> list[str]:
        flags = ["--ip", self.host, "--port", str(self.port), "--ui-port", str(self.ui_port)]
        flags += ["--http-port", str(self.http_port), "--metrics-port", str(self.metrics_port)]
        flags += ["--db-filename", str(self.database), "--namespace", self.namespace]
        flags += [part for pragma in _PRAGMAS for part in ("--sqlite-pragma", pragma)]
        flags += [part for value in _DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)]
        flags += ["--log-level", "warn", "--ui-disable-news-fetch", "--disable-config-file", "--disable-config-env"]
        if self.ui_codec_endpoint:
            flags += ["--ui-codec-endpoint", self.ui_codec_endpoint]
        return flags

    async def is_ready(self) -> bool:
        """True if the server answers for its namespace and the UI is up."""
        if not (await port_open(self.host, self.port) and await port_open(self.host, self.ui_port)):
            return False
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                client = await Client.connect(self.address, namespace=self.namespace)
                if not await client.service_client.check_health(timeout=timedelta(seconds=_PROBE_TIMEOUT_S)):
                    return False
                # Answered only once the namespace is there, which is a moment after the port is.
                await client.workflow_service.update_namespace(self._keep_history())
        except (RPCError, RuntimeError, TimeoutError):
            return False
        return True

    def _keep_history(self) -> UpdateNamespaceRequest:
        retention = Duration()
        retention.FromTimedelta(_RETENTION)
        config = NamespaceConfig(workflow_execution_retention_ttl=retention)
        return UpdateNamespaceRequest(namespace=self.namespace, config=config)


def _program() -> str:
    """The wheel puts `temporal` beside the interpreter of the venv."""
    return str(Path(sys.executable).with_name("temporal"))
