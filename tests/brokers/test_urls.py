"""URLs of brokers: what cannot be used is said when a process starts, and without the password."""

import sys

import pytest
from pydantic import ValidationError

from config.settings import Settings
from config.urls import BROKERS
from gateways.brokers.registry import open_broker
from runtime.wiring import SettingMissing, broker_of


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("kafka://me:hunter2@host:9092?acks=1", "acks"),
        ("kafka://me:hunter2@host:9092/topic", "path"),
        ("kafka://me:hunter2@host:9092?sasl=GSSAPI", "sasl"),
        ("kafka://me:hunter2@host:9092?replication=many", "replication"),
        ("kafka+ssl://me:hunter2@host:9092?cafile=/nowhere.pem", "TLS"),
        ("amqps://me:hunter2@host/?cafile=/nowhere.pem", "TLS"),
        ("amqp://me:hunter2@host/?que=all", "que"),
        ("amqp://me:hunter2@host:port/", "port"),
    ],
)
def test_what_a_broker_does_not_know_is_refused(url: str, why: str) -> None:
    with pytest.raises(SettingMissing, match=f"^PAYSAGA_EVENTS_URL is not usable: .*{why}") as caught:
        broker_of(Settings(events_url=url))
    assert "hunter2" not in str(caught.value)


def test_a_scheme_that_nobody_speaks_is_refused() -> None:
    with pytest.raises(ValidationError, match="it begins with one of") as caught:
        Settings(events_url="redis://me:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", BROKERS)
def test_every_scheme_has_its_broker(scheme: str) -> None:
    assert open_broker(f"{scheme}://host:1")


@pytest.mark.parametrize(
    ("scheme", "module", "package"),
    [("nats", "nats", "nats.aio.client"), ("kafka", "kafka", "aiokafka"), ("amqp", "rabbitmq", "aio_pika")],
)
def test_an_extra_that_is_not_installed_is_named(
    scheme: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"gateways.brokers.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingMissing, match=f"needs the package {package}"):
        broker_of(Settings(events_url=f"{scheme}://host:1"))
