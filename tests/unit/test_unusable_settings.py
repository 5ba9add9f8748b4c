"""A server that cannot be reached, or a setting that cannot be used, is said in one sentence and soon."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from config.settings import Settings
from db.core.database import FEW, Database
from domain.errors import Unavailable
from runtime.wiring import SettingMissing, channels_of
from tests.audit.command import paysaga_command
from tests.support.programs import Program

NOBODY = "postgresql://a:b@127.0.0.1:1/x"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "url", ["garbage", "mysql://x", "postgresql:/x", "postgresql://a:b/c@host/x", "postgres://h:x"]
)
async def test_a_url_that_cannot_be_read_is_named_with_its_variable_and_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYSAGA_DATABASE_URL", url)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert url not in str(refused.value), "servers log it"
    said = await paysaga_command(dict(os.environ), "tasks")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("paysaga: PAYSAGA_DATABASE_URL is not usable: ")
    assert said.err.count("\n") == 1
    assert url not in said.err


@pytest.mark.parametrize("module", ["api", "workers"])
async def test_a_server_says_it_in_one_sentence_too(module: str, tmp_path: Path) -> None:
    err = tmp_path / "err"
    environment = os.environ | {"PAYSAGA_DATABASE_URL": "mysql://a:secret@x"}
    assert await Program(module, env=environment, out=tmp_path / "out", err=err).ended() == 2
    assert err.read_text() == "PAYSAGA_DATABASE_URL is not usable: a database URL starts with postgresql://.\n"


@pytest.mark.parametrize(
    "url", ["postgresql://a:p%40ss@db:5432/x", "postgres://a@/x?host=/run/pg", "postgresql://[::1]/x"]
)
def test_a_url_that_can_be_read_stays_as_it_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSAGA_DATABASE_URL", url)
    found = Settings().database_url
    assert found is not None
    assert found.get_secret_value() == url


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_url_is_none(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSAGA_DATABASE_URL", empty)
    assert Settings().database_url is None


def test_webhooks_never_go_to_this_machine_beside_a_live_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSAGA_WEBHOOKS_TO_LOOPBACK", "true")
    assert Settings().webhooks_to_loopback
    monkeypatch.setenv("PAYSAGA_STRIPE_API_KEY", "sk_test_x")
    assert Settings().webhooks_to_loopback
    monkeypatch.setenv("PAYSAGA_STRIPE_API_KEY", "sk_live_x")
    with pytest.raises(ValidationError, match="test keys"):
        Settings()


async def test_a_server_that_says_nothing_is_given_up_however_long_a_statement_may_take() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/x"
        database = Database(url, pool_size=FEW, timeout_s=600.0)

        async def never(_: object) -> None:
            raise AssertionError("there is no connection")

        async with asyncio.timeout(30):
            with pytest.raises(Unavailable):
                await database.read(never)
            with pytest.raises(Unavailable):
                await database.run_long(never, timeout_s=600.0)
        await database.close()


# --- other settings that cannot be used ---


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TEMPORAL_ADDRESS", "https://temporal.example:7233"),
        ("TEMPORAL_ADDRESS", "a b:1"),
        ("TEMPORAL_ADDRESS", "temporal"),
        ("BUSINESS_ZONE", "Mars"),
        ("BUSINESS_ZONE", "../etc/passwd"),
        ("BUSINESS_ZONE", ""),
        ("ENCRYPTION_KEYS", "garbage"),
        ("ENCRYPTION_KEYS", "k1:é"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_one_sentence(variable: str, value: str) -> None:
    unusable = {"PAYSAGA_DATABASE_URL": NOBODY, f"PAYSAGA_{variable}": value}
    said = await paysaga_command(os.environ | unusable, "sweep")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"paysaga: PAYSAGA_{variable} is not usable: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("where", [">/dev/full", ">&-", ">&- 2>&-"])
def test_an_output_that_cannot_be_written_is_no_bug(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSAGA_DATABASE_URL", "")
    line = f'"{sys.executable}" -m cli.main status {where}'
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


async def test_a_review_without_a_decision_names_both() -> None:
    said = await paysaga_command(os.environ | {"PAYSAGA_DATABASE_URL": NOBODY}, "payments", "review", "pay_1")
    assert said.code == 2
    assert "say --approve or --reject" in said.err


@pytest.mark.parametrize("rate", ["often", "5", "0/second", "5/second;"])
def test_a_rate_that_cannot_be_read_is_shown_as_it_should_be(rate: str) -> None:
    with pytest.raises(ValidationError, match=r"1/second|200/second"):
        Settings(api_rate_per_key=rate)


@pytest.mark.parametrize(
    "url", ["mail.example", "http://u:hunter2@mail", "smtp://u:hunter2@", "smtp://u:hunter2@mail:x"]
)
def test_a_mail_server_is_written_as_a_url_and_its_password_not_shown(url: str) -> None:
    with pytest.raises(ValidationError, match="smtps://") as refused:
        Settings(smtp_url=SecretStr(url))
    assert "hunter2" not in str(refused.value)


def test_twilio_needs_its_token() -> None:
    assert set(channels_of(Settings())) == set()
    with pytest.raises(SettingMissing, match="PAYSAGA_TWILIO_AUTH_TOKEN"):
        channels_of(Settings(twilio_account_sid="AC1", twilio_sms_from="+15005550006"))
