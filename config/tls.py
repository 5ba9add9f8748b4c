"""Checks of the files that TLS is made of. Each raises ValueError with a sentence that never has a key in it."""

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class _Encrypted(Exception):
    """A key asks for its passphrase, which nobody is there to type."""


def check_pair(certificate: Path, key: Path | None) -> None:
    """Check a certificate (PEM, with those between it and its authority behind it) and its private key."""
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Load both into a context. Raises ValueError."""

    def no_passphrase() -> str:
        raise _Encrypted

    for path in (certificate, key):
        if path is not None:
            _require_readable(path)
    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except _Encrypted:
        raise ValueError(f"the key in {key or certificate} is encrypted: one without a passphrase is needed") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"the key does not belong to the certificate in {certificate}") from None
        raise ValueError(f"{certificate} and its key are not a certificate and a private key in PEM") from None


def check_authority(path: Path) -> None:
    """Check a file with the certificates of authorities (PEM)."""
    _require_readable(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"{path} has no certificate in PEM") from None


def check_database_url(url: str) -> None:
    """Check the TLS parameters of a PostgreSQL URL, which are those of libpq."""
    query = parse_qs(urlsplit(url).query)
    mode, authority, certificate, key = (
        query.get(name, [""])[-1] for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")
    )
    if mode and mode not in SSL_MODES:
        raise ValueError(f"its sslmode is one of {', '.join(SSL_MODES)}")
    if mode.startswith("verify") and not authority:
        raise ValueError(f"sslmode={mode} needs sslrootcert, the file with the authority's certificate")
    if key and not certificate:
        raise ValueError("sslkey needs sslcert, the certificate that it belongs to")
    if authority:
        check_authority(Path(authority))
    if certificate:
        check_pair(Path(certificate), Path(key) if key else None)


def _require_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
