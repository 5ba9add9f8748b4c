"""Certificates, keys and URLs that cannot be used are refused when the settings are read, each in one sentence."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr, ValidationError

from config.settings import Settings, unusable
from runtime.temporal import tls_of
from tests.support.tls import Files


class Made(NamedTuple):
    ca: Path
    cert: Path
    key: Path
    other_key: Path
    locked: Path
    garbage: Path
    missing: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("tls")
    files = Files(folder, "x")
    (cert, key), (_, other_key) = files.issue("localhost"), files.issue("other")
    locked, garbage = folder / "locked.key", folder / "garbage.pem"
    plain = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        plain.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))
    )
    garbage.write_text("garbage")
    return Made(files.ca, cert, key, other_key, locked, garbage, folder / "missing.pem")


def refusal(**settings: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        Settings(**settings)
    (sentence,) = unusable(refused.value)
    return sentence


@pytest.mark.parametrize("side", ["api", "temporal"])
def test_a_certificate_and_its_key(side: str, made: Made) -> None:
    cert, key = f"{side}_tls_cert_path", f"{side}_tls_key_path"
    name = f"PAYSAGA_{key.upper()} is not usable: "
    for pair, why in (
        ((made.cert, made.other_key), f"the key does not belong to the certificate in {made.cert}"),
        ((made.cert, made.missing), f"{made.missing} cannot be read: No such file or directory"),
        ((made.missing, made.key), f"{made.missing} cannot be read: No such file or directory"),
        ((made.cert, made.garbage), f"{made.cert} and its key are not a certificate and a private key in PEM"),
        ((made.garbage, made.key), f"{made.garbage} and its key are not a certificate and a private key in PEM"),
        ((made.cert, None), f"{made.cert} and its key are not a certificate and a private key in PEM"),
        ((made.cert, made.locked), f"the key in {made.locked} is encrypted: one without a passphrase is needed"),
        ((None, made.key), f"PAYSAGA_{cert.upper()} is missing, the certificate that it belongs to"),
    ):
        assert refusal(**{cert: pair[0], key: pair[1]}) == f"{name}{why}."
    both = made.cert.with_name("both.pem")
    both.write_bytes(made.key.read_bytes() + made.cert.read_bytes())
    usable: list[dict[str, Any]] = [{cert: both}, {cert: made.cert, key: made.key}, {cert: "", key: ""}]
    for settings in usable:
        Settings(**settings)


def test_an_authority(made: Made) -> None:
    name = "PAYSAGA_TEMPORAL_TLS_CA_PATH is not usable: "
    assert refusal(temporal_tls_ca_path=made.garbage) == f"{name}{made.garbage} has no certificate in PEM."
    assert refusal(temporal_tls_ca_path=made.missing).startswith(f"{name}{made.missing} cannot be read")


def test_a_database_url(made: Made) -> None:
    for query, why in (
        ("sslmode=on", "its sslmode is one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslmode=verify-full", "sslmode=verify-full needs sslrootcert, the file with the authority's certificate"),
        (f"sslmode=verify-ca&sslrootcert={made.garbage}", f"{made.garbage} has no certificate in PEM"),
        (f"sslmode=require&sslkey={made.key}", "sslkey needs sslcert, the certificate that it belongs to"),
        (
            f"sslmode=require&sslcert={made.cert}&sslkey={made.other_key}",
            f"the key does not belong to the certificate in {made.cert}",
        ),
    ):
        assert (
            refusal(database_url=SecretStr(f"postgresql://a:secret@db/x?{query}"))
            == f"PAYSAGA_DATABASE_URL is not usable: {why}."
        )
    url = f"postgresql://a@db/x?sslmode=verify-full&sslrootcert={made.ca}&sslcert={made.cert}&sslkey={made.key}"
    Settings(database_url=SecretStr(url))


def test_an_api_key_is_never_sent_to_temporal_in_clear() -> None:
    """None leaves it to the SDK, which speaks TLS wherever there is a key; False would not."""
    assert tls_of(Settings(temporal_api_key=SecretStr("k"))) is None
    assert tls_of(Settings(temporal_tls=True)) is True
