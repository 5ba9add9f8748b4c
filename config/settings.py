"""Every setting of Paysaga: `PAYSAGA_*` variables, read only where objects are wired.

What is left unset is served by the embedded stack; set it to a real address and the same code uses that instead.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from config.notifications import NotificationSettings
from config.rates import check_rate
from config.retention import RetentionSettings
from config.tls import check_authority, check_pair
from config.urls import check_broker, check_loopback, check_mailbox, check_postgresql, check_redis, check_registry

DEVELOPMENT_API_KEY = "sk_test_paysaga"
SANDBOX_STRIPE_KEY = "sk_test_sandbox"
SANDBOX_WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 - both ends of it are on this machine


class Settings(NotificationSettings, RetentionSettings):
    """One instance per process. Durations end in their unit; amounts do not occur here."""

    model_config = SettingsConfigDict(
        env_prefix="PAYSAGA_",
        env_file=None,
        extra="ignore",
        hide_input_in_errors=True,  # it may be a secret, and errors are logged
    )

    # --- the embedded stack ---
    home: Path = Field(default=Path(".paysaga"), description="data folder of the embedded stack")

    # --- HTTP API ---
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    public_url: str | None = Field(
        default=None, description="where people open this API in a browser, for the links that we print"
    )
    api_processes: int = Field(default=1, ge=1, le=64, description="that serve the API side by side, on one port")
    api_worker: bool = Field(default=True, description="the API process hosts a worker of its own (eager start)")
    api_max_body_bytes: int = 256 * 1024
    api_trusted_proxies: str = Field(
        default="",
        description="addresses or networks, comma separated, whose X-Forwarded-For names the client in the audit log",
    )
    api_header_max_bytes: int = Field(default=32 * 1024, description="of a request's first line and headers; else 431")
    api_connections_max: int = Field(
        default=2_000, description="open at once, by process; the longest idle one gives way"
    )
    api_silence_s: float = Field(
        default=10, description="for the head of a request, in the middle of a body, and of a client that does not read"
    )
    api_begin_within_s: float = Field(
        default=20, description="a request that could not be begun within this is not begun; its client may say less"
    )
    api_rate_per_key: str = Field(
        default="500/second", description="of an API key; several with `;`: 300/second;6000/minute; 0: any number"
    )
    api_rate_per_tenant: str = Field(default="1000/second", description="the same of all keys of a tenant together")
    api_rate_per_address: str = Field(
        default="100/second", description="the same of an address, without a valid credential or signature"
    )
    rate_limit_redis_url: Annotated[SecretStr | None, AfterValidator(check_redis)] = Field(
        default=None, description="redis://…, where several hosts serve the API; unset: each process counts for itself"
    )
    api_tls_cert_path: Path | None = Field(
        default=None,
        description="the API speaks TLS with this certificate (PEM, the whole chain); SIGHUP reads it anew",
    )
    api_tls_key_path: Path | None = Field(default=None, validate_default=True, description="its private key (PEM)")
    api_payments_max: int = Field(default=400, description="payments taken on at once, by process; beyond it they wait")
    api_waiting_max: int = Field(
        default=200, description="requests of one tenant that wait for their turn, by process; beyond it 503"
    )

    # --- people who log in ---
    session_life_s: float = Field(
        default=43_200, ge=60, le=43_200, description="of an operator's login; twelve hours at most"
    )
    session_idle_s: float = Field(default=1_800, ge=60, description="a login that is not used for so long ends")
    login_scrypt_n: int = Field(
        default=2**15,
        ge=2**10,
        le=2**18,
        description="the cost of operators' passwords, a power of two: 1 kB of memory each; renewed at a login",
    )

    # --- JWT bearer tokens of an identity provider (unset: only API keys are taken) ---
    jwt_issuer: str | None = Field(default=None, description="the `iss` of its tokens")
    jwt_audience: str | None = Field(default=None, description="the name of this API in `aud`")
    jwt_jwks_url: str | None = Field(
        default=None, description="where its keys (JWKS) are read: https, or http on this machine"
    )
    jwt_jwks_file: str | None = Field(default=None, description="or the file that has them")
    jwt_algorithms: str = Field(
        default="ES256,RS256",
        pattern=r"^(RS|PS|ES)(256|384|512)(,((RS|PS|ES)(256|384|512)|Ed25519))*$|^Ed25519$",
        description="signatures that are taken, comma separated: RS…, PS…, ES… with 256, 384 or 512, and Ed25519",
    )
    jwt_leeway_s: int = Field(default=30, ge=0, le=300, description="by which the two clocks may differ")
    jwt_life_max_s: int = Field(default=3_600, gt=0, description="a token that is to live longer is refused")
    jwt_keys_keep_s: float = Field(
        default=3_600, gt=0, description="so long its keys are used while they cannot be read again; then 503"
    )
    jwt_tenant_claim: str = Field(default="tenant", description="name of the claim")
    jwt_role_claim: str = Field(default="role", description="name of the claim; one of our roles")
    jwt_scope_claim: str = Field(default="scope", description="name of the claim; our scopes, as a list or with spaces")
    jwt_seller_claim: str = Field(default="seller_account", description="name of the claim, for the role merchant")

    # --- Temporal ---
    temporal_address: str | None = Field(default=None, description="host:port; unset: the embedded server")
    temporal_port: int = 7233
    temporal_ui_port: int = 8233
    temporal_ui_url: str | None = Field(default=None, description="where operators open the UI, for the links we print")
    codec_local_api_key: SecretStr | None = Field(
        default=None,
        description="the API key as which a Temporal UI on this machine decrypts; set by the embedded stack alone",
    )
    temporal_namespace: str = "default"
    temporal_task_queue: str = "paysaga"
    temporal_api_key: SecretStr | None = None
    temporal_tls: bool = Field(default=False, description="with the system's authorities; the paths below imply it")
    temporal_tls_ca_path: Path | None = Field(
        default=None, description="authorities that sign the server's certificate"
    )
    temporal_tls_server_name: str | None = Field(
        default=None, description="the name in the server's certificate, where it is not that of its address"
    )
    temporal_tls_cert_path: Path | None = Field(
        default=None, description="our certificate, where the server asks for one"
    )
    temporal_tls_key_path: Path | None = Field(default=None, validate_default=True, description="its private key (PEM)")
    worker_max_cached_workflows: int = 1000
    worker_strict_sandbox: bool = Field(
        default=False, description="run workflows in Temporal's sandbox, which finds what is not deterministic; slower"
    )
    worker_schedules: bool = Field(
        default=True, description="a worker that starts brings the schedules to what its settings say"
    )
    worker_metrics_port: int | None = Field(default=None, description="the worker's /metrics; the API serves its own")
    temporal_metrics_port: int | None = Field(
        default=None, description="metrics of Temporal's SDK; one port per process, of several of the API from it on"
    )
    # A killed worker's first task is handed over after this; local activities stay well below it.
    workflow_task_timeout_s: float = 5.0
    sticky_queue_timeout_s: float = 2.0

    # --- PostgreSQL ---
    database_url: SecretStr | None = Field(
        default=None, description="the application's login, postgresql://…; unset: the embedded server"
    )
    database_owner_url: SecretStr | None = Field(
        default=None, description="the schema's owner, used by `paysaga migrate` alone"
    )
    database_pool_size: int = Field(default=20, ge=1)
    database_timeout_s: float = 3.0
    database_report_timeout_s: float = Field(
        default=5.0, description="of one statement of a ledger page, a list or a file, on connections of their own"
    )

    # --- Stripe (unset: the sandbox) ---
    stripe_api_key: SecretStr | None = None
    stripe_base_url: str | None = None
    stripe_webhook_secret: SecretStr | None = Field(default=None, description="whsec_…; several with commas, to rotate")
    stripe_return_url: str | None = Field(
        default=None, description="where the buyer is sent back to, of payments without one"
    )
    stripe_statement_descriptor: str | None = Field(
        default=None,
        pattern=r"""^$|^[A-Za-z][^<>\\'"*]{1,21}$""",
        description="the words on the buyer's statement; of a card, after those of the Stripe account itself",
    )
    stripe_currencies: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset({"INR", "USD", "EUR", "GBP", "JPY", "KWD"}),
        description="what the PSP account settles in, comma separated",
    )
    stripe_key_life_s: float = Field(default=86_400, description="how long Stripe keeps an idempotency key")
    stripe_key_margin_s: float = Field(default=3_600, description="we stop sending this long before the key expires")
    stripe_fast_timeout_s: float = Field(default=2.5, description="HTTP timeout of the first, in-task attempt")
    stripe_look_timeout_s: float = Field(
        default=1.0, description="HTTP timeout of the question about a card that risk rules ask before the charge"
    )
    stripe_timeout_s: float = Field(default=20.0, description="HTTP timeout of every later attempt")
    stripe_rate_per_s: float = Field(default=80.0, description="requests a second; Stripe allows 100 an account")
    stripe_concurrency_max: int = 64
    stripe_breaker_failures: int = Field(default=8, description="unknown answers in a row that open the breaker")
    stripe_breaker_open_s: float = 10.0

    # --- the sandbox PSP ---
    sandbox_host: str = "127.0.0.1"
    sandbox_port: int = 8420
    sandbox_url: str | None = Field(
        default=None, description="where people open the sandbox's pages, for the start page"
    )

    # --- the life of a payment ---
    confirm_deadline_s: float = Field(default=86_400, description="an unconfirmed payment is cancelled after this")
    action_deadline_s: float = Field(default=3_600, description="the buyer's time for 3DS")
    pending_deadline_s: float = Field(default=259_200, description="the PSP's time for a pending payment")
    authorization_deadline_s: float = Field(
        default=518_400, description="an authorisation is captured or voided after this where the PSP names no time"
    )
    authorization_margin_s: float = Field(default=21_600, description="… and so long before the time that it names")
    evidence_warning_s: float = Field(
        default=172_800, description="a task is opened so long before a dispute's evidence is due"
    )
    poll_present_s: float = Field(
        default=600.0, description="so long the buyer is taken to wait at a screen (3DS, UPI, wallet, redirect) …"
    )
    poll_present_max_s: float = Field(default=15.0, description="… and the longest gap between two polls meanwhile")
    poll_first_s: float = Field(default=5.0, description="first poll of a payment, refund or dispute that waits; …")
    poll_factor: float = Field(default=2.0, ge=1, description="… each gap is so many times the one before …")
    poll_max_s: float = Field(default=3_600, description="… and never longer than this")
    unknown_patience_s: float = Field(
        default=600.0,
        gt=0,
        le=7 * 86_400,
        description="so long what the PSP answered with a stored error is looked for there; then it counts as not made",
    )
    sweep_every_s: float = 60.0
    sweep_after_s: float = Field(default=30.0, description="a payment without progress for this long is looked at")

    # --- the seal of the ledger ---
    seal_every_s: float = Field(default=3_600, description="how often what was posted since is sealed")

    # --- payouts ---
    business_zone: str = Field(default="UTC", description="the time zone of business dates, as in `Europe/Berlin`")
    payout_run_at: str = Field(
        default="04:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="when sellers are paid, each day; on a day whose clocks leave it out, as much later",
    )
    payout_rate_per_s: float = Field(
        default=20.0, gt=0, description="payouts that a run makes a second; each is two requests to the PSP"
    )
    payout_unsent_max: int = Field(
        default=40,
        ge=1,
        description="payouts of a run that may be on their way to the PSP at once",
    )
    payout_page: int = Field(default=500, ge=1, le=2000, description="wallets that a run looks at in one step")
    payout_poll_first_s: float = Field(default=60.0, description="first look at a payout on its way; the gaps double")
    payout_poll_max_s: float = 21_600.0
    payout_bank_days: int = Field(
        default=5, description="working days past the expected arrival until a person is asked about a payout"
    )
    payout_return_look_days: str = Field(
        default="2,5,10",
        pattern=r"^\d+(,\d+)*$",
        description="so many days after a payout was paid the PSP is asked whether the bank has returned it",
    )
    release_every_s: float = Field(default=900.0, description="how often pending money becomes available")

    # --- reconciliation ---
    reconcile_every_s: float = Field(default=21_600.0, description="how often the PSP's latest lines are matched")
    reconcile_at: str = Field(
        default="03:30", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="when the day before is matched, each night"
    )
    reconcile_apply: bool = Field(default=True, description="scheduled runs do what is safe by rule; else they propose")
    reconcile_margin_s: float = Field(
        default=3_600.0, description="lines so far outside a window are asked for as well"
    )
    reconcile_here_grace_s: float = Field(
        default=3_600.0, description="what the PSP lists and we have not is missing after this: webhooks may be late"
    )
    reconcile_grace_s: float = Field(
        default=172_800.0, description="what we booked and the PSP does not list is missing after this"
    )
    reconcile_bank_days: int = Field(default=5, description="working days until a payout to our bank is missing there")
    reconcile_verify_s: float = Field(default=20.0, description="so long after a fix its effect is looked for first")
    reconcile_file_max_bytes: int = Field(
        default=1024 * 1024 * 1024, description="of a settlement file or bank statement that is uploaded"
    )
    reconcile_timeout_s: float = Field(default=1_800.0, description="of one statement of the matching")

    # --- events ---
    events_url: Annotated[SecretStr | None, AfterValidator(check_broker)] = Field(
        default=None,
        description="the broker that events are published to: nats://user:password@host:port, kafka://, kafka+ssl://,"
        " amqp:// or amqps://; unset: the embedded one, or none",
    )
    events_registry: Annotated[SecretStr | None, AfterValidator(check_registry)] = Field(
        default=None,
        description="where `paysaga events register` puts the schemas of events: https://user:password@host, a registry"
        " that speaks Confluent's API",
    )
    relay_rate_per_s: float = Field(
        default=4_000,
        gt=0,
        description="so many events a second of a backlog are handed on; more would take processors from payments",
    )
    nats_port: int = Field(default=4222, description="of the embedded stack's broker")

    # --- webhooks to shops ---
    webhooks_to_loopback: Annotated[bool, AfterValidator(check_loopback)] = Field(
        default=False,
        description="shops' endpoints may be at http://127.0.0.1 too: for the embedded stack, never with a live key",
    )

    # --- notifications to people (the others are in config.notifications) ---
    mailbox: Annotated[Path | None, AfterValidator(check_mailbox)] = Field(
        default=None,
        description="a folder for what would have been sent, shown at /mailbox: for the embedded stack, never with a"
        " live key",
    )

    # --- secrets of our own ---
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="AES-256 keys of what rows and Temporal keep, `id:base64,…`; the first encrypts, all decrypt",
    )

    # --- logs ---
    log_level: str = "INFO"
    log_format: str = Field(default="json", pattern="^(json|console)$")

    @field_validator("api_rate_per_key", "api_rate_per_tenant", "api_rate_per_address")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        return check_rate(value)

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _of_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        return check_postgresql(value)

    @field_validator(
        "api_tls_cert_path",
        "api_tls_key_path",
        "temporal_tls_ca_path",
        "temporal_tls_server_name",
        "temporal_tls_cert_path",
        "temporal_tls_key_path",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value if value != "" else None

    @field_validator("temporal_tls_ca_path")
    @classmethod
    def _of_an_authority(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_authority(value)
        return value

    @field_validator("api_tls_key_path", "temporal_tls_key_path")
    @classmethod
    def _of_its_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """A certificate may be in one file with its key."""
        name = (info.field_name or "").replace("_key_", "_cert_")
        certificate: Path | None = info.data.get(name)
        if certificate is not None:
            check_pair(certificate, value)
        elif value is not None and name in info.data:
            raise ValueError(f"PAYSAGA_{name.upper()} is missing, the certificate that it belongs to")
        return value

    @field_validator("temporal_address")
    @classmethod
    def _of_a_server(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"[^\s/@]+:\d{1,5}", value):
            raise ValueError("it is written host:port, without https:// or spaces")
        return value

    @field_validator("business_zone")
    @classmethod
    def _of_the_world(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; one is written as in Europe/Berlin") from None
        return value

    @field_validator("login_scrypt_n")
    @classmethod
    def _a_power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("it is a power of two")
        return value

    @field_validator("stripe_currencies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return frozenset(c.strip().upper() for c in value.split(",") if c.strip()) if isinstance(value, str) else value


def unusable(error: ValidationError) -> Iterator[str]:
    """Sentences, each of which names a variable and says what is wrong with it, without its value."""
    for one in error.errors():
        name = "_".join(str(part) for part in one["loc"]).upper()
        yield f"PAYSAGA_{name} is not usable: {one['msg'].removeprefix('Value error, ')}."
