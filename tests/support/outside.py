"""Servers that no wheel brings: Kafka, RabbitMQ and a schema registry, started as the embedded stack starts its own.

`tests/brokers/__main__.py` says where they are. Each runs in a folder and on ports of its own, and is started again
when it dies, as an operator's supervisor would.
"""

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aio_pika
from aiokafka import AIOKafkaConsumer
from cryptography.hazmat.primitives import serialization

from embedded.display import QuietDisplay
from embedded.home import Home
from embedded.nats import Nats
from embedded.ports import free_port
from embedded.probes import http_ok, port_open
from embedded.supervisor import Child, Supervisor
from gateways.brokers.kafka import PREFIX
from tests.support.broker import published
from tests.support.eventually import eventually
from tests.support.tls import Files

PASSWORD = "sesame+7/x"  # special characters, as they come
QUOTED = "sesame%2B7%2Fx"

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's. The one in /usr/sbin is a wrapper that changes the user and the folders."""

Event = dict[str, Any]


class BrokerServer:
    """A broker to be killed. `secure_url` has a login, and TLS where the server is set up for it."""

    url: str
    secure_url: str

    def __init__(self, home: Path) -> None:
        self.home = home
        self._supervisor = Supervisor(Home(home), QuietDisplay())

    async def start(self) -> None:
        Home(self.home).prepare()
        for child in self.children():
            await self._supervisor.start(child)

    async def stop(self) -> None:
        await self._supervisor.stop()

    def children(self) -> list[Child]:
        """In the order of their start; the broker is the last."""
        raise NotImplementedError

    async def events(self, tenant_id: str) -> list[Event]:
        """The events of a tenant that are stored, those of an object in their order."""
        raise NotImplementedError

    async def settled(self) -> None:
        """It may be killed: what it says that it has is there afterwards."""

    def send(self, number: signal.Signals) -> None:
        """Kill it, upon which it is started again; stop it for a while, or let it go on."""
        os.kill(self._supervisor.pid_of("broker"), number)


class NatsServer(BrokerServer):
    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._nats = Nats(Home(home), free_port())

    def children(self) -> list[Child]:
        self.url = self.secure_url = self._nats.url
        return [self._nats.child()]

    async def events(self, tenant_id: str) -> list[Event]:
        return await published(self.url, tenant_id)


_JAVA_LOG = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"

_KAFKA = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SECURE://localhost:{secure},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=\\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_paysaga="{password}";
"""


class KafkaServer(BrokerServer):
    """A node that is its own controller."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._port, self._secure = free_port(), free_port()
        self.url = f"kafka://127.0.0.1:{self._port}"
        self._config = home / "server.properties"

    async def start(self) -> None:
        Home(self.home).prepare()
        files = Files(self.home, "kafka")
        certificate, key = files.issue("localhost")
        keystore = self.home / "keystore.pem"
        keystore.write_bytes(_pkcs8(key) + certificate.read_bytes())
        self.secure_url = f"kafka+ssl://paysaga:{QUOTED}@localhost:{self._secure}?cafile={files.ca}"
        self._config.write_text(
            _KAFKA.format(
                port=self._port,
                secure=self._secure,
                controller=free_port(),
                data=self.home / "data",
                keystore=keystore,
                password=PASSWORD,
            )
        )
        tool = ("kafka.tools.StorageTool", "format", "-t", "A" * 22, "-c", str(self._config))
        await self._supervisor.run_once(self._child("format", *tool))
        await super().start()

    def children(self) -> list[Child]:
        return [self._child("broker", "kafka.Kafka", str(self._config))]

    def _child(self, name: str, *arguments: str) -> Child:
        libraries = os.environ["PAYSAGA_TEST_KAFKA"]
        quick = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", _JAVA_LOG)
        return Child(
            name=name,
            title="Kafka",
            argv=(_program("java"), *quick, "-cp", f"{libraries}/*", *arguments),
            env={"PATH": os.environ["PATH"]},
            ready=partial(port_open, "127.0.0.1", self._port),
        )

    async def events(self, tenant_id: str) -> list[Event]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.url.removeprefix("kafka://"), auto_offset_reset="earliest")
        found: list[Event] = []
        try:
            await consumer.start()
            consumer.subscribe(pattern=f"^{PREFIX}.*")
            await consumer._client.force_metadata_update()
            await consumer.getmany(timeout_ms=0)
            left = await consumer.end_offsets(list(consumer.assignment()))
            while any([await consumer.position(place) < end for place, end in left.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [json.loads(record.value) for record in records]
        finally:
            await consumer.stop()
        return [event for event in found if event["tenantid"] == tenant_id]


def _pkcs8(key: Path) -> bytes:
    """The one form of a key that Kafka reads."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(*form)


_RABBITMQ = """\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{secure}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
default_user = paysaga
default_pass = {password}
max_message_size = 1048576
log.console = true
log.console.level = warning
"""


class RabbitMqServer(BrokerServer):
    """A node, and the name server of its own that Erlang wants."""

    QUEUE = "kept"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._port, self._secure, self._names = free_port(), free_port(), free_port()
        self.url = f"amqp://paysaga:{QUOTED}@127.0.0.1:{self._port}/?queue={self.QUEUE}"
        self._read: list[Event] = []

    def children(self) -> list[Child]:
        files = Files(self.home, "rabbitmq")
        certificate, key = files.issue("localhost")
        self.secure_url = f"amqps://paysaga:{QUOTED}@localhost:{self._secure}/?queue={self.QUEUE}&cafile={files.ca}"
        config = self.home / "rabbitmq.conf"
        config.write_text(
            _RABBITMQ.format(port=self._port, secure=self._secure, certificate=certificate, key=key, password=PASSWORD)
        )
        plugins = self.home / "enabled_plugins"
        plugins.write_text("[].")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"paysaga{self._port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "logs"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RUNNING_UNDER_SYSTEMD": "true",  # else the server is a child of its shell script, which would be killed
        }
        return [
            Child(
                name="epmd",
                title="epmd",
                argv=(_program("epmd"),),
                env=environment,
                ready=partial(port_open, "127.0.0.1", self._names),
            ),
            Child(
                name="broker",
                title="RabbitMQ",
                argv=(str(RABBITMQ),),
                env=environment,
                ready=partial(port_open, "127.0.0.1", self._port),
            ),
        ]

    async def settled(self) -> None:
        """Once the server has written down that there is a queue, which takes it three seconds: killed before, it has
        lost the queue with all that it had confirmed."""

        async def written() -> bool:
            names = next((self.home / "data").glob("*/quorum/*/names.dets"))
            return self.QUEUE.encode() in names.read_bytes()

        await eventually(written, what="the queue in RabbitMQ's files")

    async def events(self, tenant_id: str) -> list[Event]:
        """Events that were read are gone from their queue, so they are kept here."""
        async with await aio_pika.connect(self.url) as connection:
            queue = await (await connection.channel()).declare_queue(self.QUEUE, passive=True)
            left = queue.declaration_result.message_count or 0
            async with queue.iterator(no_ack=True) as messages:
                while left:
                    self._read.append(json.loads((await anext(messages)).body))
                    left -= 1
        return [event for event in self._read if event["tenantid"] == tenant_id]


@asynccontextmanager
async def schema_registry(home: Path) -> AsyncIterator[str]:
    """The URL of an Apicurio, which speaks Confluent's API."""
    Home(home).prepare()
    supervisor, port = Supervisor(Home(home), QuietDisplay()), free_port()
    program = next(Path(os.environ["PAYSAGA_TEST_REGISTRY"]).glob("*-runner.jar"))
    child = Child(
        name="registry",
        title="Apicurio",
        argv=(
            *(_program("java"), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}", "-jar", str(program)),
        ),
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        ready=partial(http_ok, f"http://127.0.0.1:{port}/apis/ccompat/v7/subjects"),
    )
    try:
        await supervisor.start(child)
        yield f"http://127.0.0.1:{port}/apis/ccompat/v7"
    finally:
        await supervisor.stop()


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"tests/brokers/__main__.py looks for {name}"
    return found
