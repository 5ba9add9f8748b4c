"""The connection to Temporal, and the search attributes that its server has to know."""

import contextlib
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client, TLSConfig
from temporalio.converter import DataConverter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError

from config.settings import Settings
from db.core.keyring import Keyring
from runtime.codec import data_converter
from runtime.patience import Patience
from runtime.search_attributes import SEARCH_ATTRIBUTES


async def connect(
    settings: Settings, keyring: Keyring | None, *, lazy: bool = False, patience_s: float | None = None
) -> Client:
    """The Temporal client, which encrypts what it sends: one connection per process; `lazy`: made by the first call,
    which may find nobody. `keyring`: None for a client that only lists, and neither sends nor reads a payload.
    `patience_s`: for the server's first answer, whichever call waits for it; without one every call is refused with
    RPCError DEADLINE_EXCEEDED."""
    patience = Patience(patience_s) if patience_s is not None else None
    runtime = None
    if settings.temporal_metrics_port is not None:
        metrics = PrometheusConfig(bind_address=f"0.0.0.0:{settings.temporal_metrics_port}", durations_as_seconds=True)
        runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    client = await Client.connect(
        settings.temporal_address or f"127.0.0.1:{settings.temporal_port}",
        namespace=settings.temporal_namespace,
        data_converter=data_converter(keyring) if keyring is not None else DataConverter.default,
        api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        tls=tls_of(settings),
        runtime=runtime,
        lazy=lazy,
        interceptors=[patience] if patience is not None else [],
    )
    if patience is not None:
        patience.server = client.workflow_service
    return client


def tls_of(settings: Settings) -> bool | TLSConfig | None:
    """TLS as the settings ask for it. None leaves it to the SDK: it sends no API key in clear."""
    certificate = settings.temporal_tls_cert_path
    if not (certificate or settings.temporal_tls_ca_path or settings.temporal_tls_server_name):
        return settings.temporal_tls or None
    return TLSConfig(
        server_root_ca_cert=_bytes(settings.temporal_tls_ca_path),
        domain=settings.temporal_tls_server_name,
        client_cert=_bytes(certificate),
        client_private_key=_bytes(settings.temporal_tls_key_path or certificate),
    )


def _bytes(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None


async def register_search_attributes(client: Client) -> None:
    """Register those that are missing. A server that reserves this to its administrators is told apart from one where
    they are missing."""
    listing = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = {
        key.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        for key in SEARCH_ATTRIBUTES
        if key.name not in listing.custom_attributes
    }
    if missing:
        with contextlib.suppress(RPCError):  # two workers at once; if it is refused, the first start says so
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            )
