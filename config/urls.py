"""The URLs of servers that are somebody else's. Empty is unset, as Compose passes it on; no message has the URL, which
may have a password."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo

from config.tls import check_database_url

BROKERS = ("nats", "tls", "kafka", "kafka+ssl", "amqp", "amqps")
"""Schemes of the brokers that `gateways.brokers.registry` opens; `tls` is NATS too, `amqp` RabbitMQ."""


def check_redis(value: SecretStr | None) -> SecretStr | None:
    """Raises ValueError."""
    if value is None or not value.get_secret_value().strip():
        return None
    if not re.fullmatch(r"rediss?://\S+:\d{1,5}(/\S*)?", value.get_secret_value()):
        raise ValueError("it is written redis://host:port or rediss://user:password@host:port")
    return value


def check_postgresql(value: SecretStr | None) -> SecretStr | None:
    """Raises ValueError."""
    if value is None or not value.get_secret_value().strip():
        return None
    scheme, separator, rest = value.get_secret_value().partition("://")
    if scheme not in ("postgresql", "postgres") or not separator:
        raise ValueError("a database URL starts with postgresql://")
    try:
        _ = urlsplit(f"//{rest}").port  # which reads it
    except ValueError:
        raise ValueError("its port is a number below 65536, and special characters are written as %40") from None
    check_database_url(value.get_secret_value())
    return value


def check_broker(value: SecretStr | None) -> SecretStr | None:
    """Raises ValueError."""
    if value is None or not value.get_secret_value().strip():
        return None
    if urlsplit(value.get_secret_value()).scheme not in BROKERS:
        raise ValueError(f"it begins with one of {', '.join(f'{name}://' for name in BROKERS)}")
    return value


def check_registry(value: SecretStr | None) -> SecretStr | None:
    """Of event schemas. Raises ValueError."""
    if value is None or not value.get_secret_value().strip():
        return None
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is written https://host or https://user:password@host/path")
    return value


def check_mail(value: SecretStr | None) -> SecretStr | None:
    """Raises ValueError."""
    if value is None or not value.get_secret_value().strip():
        return None
    try:
        parts = urlsplit(value.get_secret_value())
        written = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        written = False
    if not written:
        raise ValueError("it is written smtp://user:password@host:587 or smtps://user:password@host")
    return value


def check_loopback(value: bool, info: ValidationInfo) -> bool:
    """Of a setting that lets URLs lead to this machine. Raises ValueError where the PSP's key is a live one."""
    if value and _is_live(info):
        raise ValueError("it is for the sandbox and test keys: what listens on this machine could be reached")
    return value


def check_mailbox(value: Path | None, info: ValidationInfo) -> Path | None:
    """Of the folder with addresses in clear. Raises ValueError where the PSP's key is a live one."""
    if value is None or not str(value).strip("."):
        return None
    if _is_live(info):
        raise ValueError("it is for the sandbox and test keys: the folder has addresses in clear")
    return value


def _is_live(info: ValidationInfo) -> bool:
    key: SecretStr | None = info.data.get("stripe_api_key")
    return key is not None and not key.get_secret_value().startswith(("sk_test_", "rk_test_"))
