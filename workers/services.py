"""The wiring: every object of a process is built here, once, from the settings."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import (
    Client,
    TLSConfig,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError

from activities.handover import Handover
from activities.start import SEARCH_ATTRIBUTES, Starter
from config.settings import SANDBOX_STRIPE_KEY, SANDBOX_WEBHOOK_SECRET, Settings
from db.database import Database
from db.keyring import Keyring
from domain.payment import Patience
from domain.payout import BankPatience
from gateways.guard import Guard
from gateways.psp import Psp
from gateways.stripe import StripePsp


class SettingMissing(Exception):
    """A setting without which this process cannot run; the message names the variable."""


@dataclass(frozen=True)
class Services:
    """What the API and the workers share. One per process and event loop."""

    settings: Settings
    database: Database
    keyring: Keyring
    psps: dict[str, Psp]
    temporal: Client
    starter: Starter
    handover: Handover

    @property
    def psp(self) -> Psp:
        """The PSP that new payments go to."""
        return self.psps["stripe"]

    def payable(self, amount: int, currency: str) -> int:
        """The most that the PSP can pay out of an amount, in minor units: some currencies it takes in larger steps."""
        steps = (amount - amount % step for step in (1, 10, 100, 1000))
        return next((part for part in steps if part <= 0 or self.psp.check_payout(part, currency) is None), 0)

    @property
    def send_for_s(self) -> float:
        """How long a request may be sent under its key: the PSP's key lifetime less our margin."""
        return max(0.0, self.psp.key_life_s - self.settings.stripe_key_margin_s)


@asynccontextmanager
async def open_services(settings: Settings, *, application: str) -> AsyncIterator[Services]:
    """Raises SettingMissing, and what the Temporal client raises when its server does not answer."""
    async with AsyncExitStack() as stack:
        database = Database(
            _required(settings.database_url, "PAYSAGA_DATABASE_URL"),
            pool_size=settings.database_pool_size,
            timeout_s=settings.database_timeout_s,
            application=application,
        )
        stack.push_async_callback(database.close)
        keyring = Keyring.parse(_required(settings.encryption_keys, "PAYSAGA_ENCRYPTION_KEYS"))
        psps: dict[str, Psp] = {"stripe": stripe_psp(settings)}
        for psp in psps.values():
            stack.push_async_callback(psp.close)
        temporal = await connect(settings)
        yield Services(
            settings=settings,
            database=database,
            keyring=keyring,
            psps=psps,
            temporal=temporal,
            starter=Starter(
                temporal,
                settings.temporal_task_queue,
                patience(settings),
                payout_patience=Patience(
                    poll_first_s=settings.payout_poll_first_s, poll_max_s=settings.payout_poll_max_s
                ),
                task_timeout_s=settings.workflow_task_timeout_s,
            ),
            handover=Handover(),
        )


def _required(value: SecretStr | None, variable: str) -> str:
    if value is None or not value.get_secret_value():
        raise SettingMissing(f"{variable} is not set; `make run` sets it for the embedded stack.")
    return value.get_secret_value()


def stripe_psp(settings: Settings) -> StripePsp:
    """Stripe; without a key of its own it is the sandbox on this machine."""
    real = settings.stripe_api_key is not None
    sandbox_url = f"http://{settings.sandbox_host}:{settings.sandbox_port}"
    secrets = settings.stripe_webhook_secret.get_secret_value() if settings.stripe_webhook_secret else ""
    return StripePsp(
        api_key=settings.stripe_api_key.get_secret_value() if settings.stripe_api_key else SANDBOX_STRIPE_KEY,
        base_url=settings.stripe_base_url or (None if real else sandbox_url),
        webhook_secrets=[s for s in secrets.split(",") if s] or ([] if real else [SANDBOX_WEBHOOK_SECRET]),
        currencies=settings.stripe_currencies,
        key_life_s=settings.stripe_key_life_s,
        return_url=settings.stripe_return_url,
        guard=Guard(
            "stripe",
            concurrency_max=settings.stripe_concurrency_max,
            rate_per_s=settings.stripe_rate_per_s,
            breaker_failures=settings.stripe_breaker_failures,
            breaker_open_s=settings.stripe_breaker_open_s,
        ),
    )


def patience(settings: Settings) -> Patience:
    return Patience(
        confirm_s=settings.confirm_deadline_s,
        action_s=settings.action_deadline_s,
        pending_s=settings.pending_deadline_s,
        authorization_s=settings.authorization_deadline_s,
        authorization_margin_s=settings.authorization_margin_s,
        evidence_warning_s=settings.evidence_warning_s,
        poll_first_s=settings.poll_first_s,
        poll_max_s=settings.poll_max_s,
    )


def payout_patience(settings: Settings) -> Patience:
    return Patience(poll_first_s=settings.payout_poll_first_s, poll_max_s=settings.payout_poll_max_s)


def bank_patience(settings: Settings) -> BankPatience:
    days = tuple(int(day) for day in settings.payout_return_look_days.split(","))
    return BankPatience(days=settings.payout_bank_days, return_look_days=days)


async def connect(settings: Settings) -> Client:
    """The Temporal client: one connection per process."""
    tls: bool | TLSConfig = settings.temporal_tls
    if settings.temporal_tls_cert_path or settings.temporal_tls_ca_path:
        tls = TLSConfig(
            server_root_ca_cert=_bytes(settings.temporal_tls_ca_path),
            client_cert=_bytes(settings.temporal_tls_cert_path),
            client_private_key=_bytes(settings.temporal_tls_key_path),
        )
    runtime = None
    if settings.temporal_metrics_port is not None:
        metrics = PrometheusConfig(bind_address=f"0.0.0.0:{settings.temporal_metrics_port}", durations_as_seconds=True)
        runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    return await Client.connect(
        settings.temporal_address or f"127.0.0.1:{settings.temporal_port}",
        namespace=settings.temporal_namespace,
        data_converter=pydantic_data_converter,
        api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        tls=tls,
        runtime=runtime,
    )


def _bytes(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None


async def register_search_attributes(client: Client) -> None:
    """Idempotent. A server that reserves this to its administrators is told apart from one where they are missing."""
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
