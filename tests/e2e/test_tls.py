"""TLS on every way: a browser to the API, the processes to PostgreSQL and, with certificates on both sides, to
Temporal. The certificates are real, and so is what refuses them."""

import asyncio
import os
import secrets
import signal
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from pydantic import SecretStr

from db.core.database import FEW, ConnectionRefused, Database, clock
from db.core.migrate import migrate
from domain.errors import Unavailable
from embedded.stack import EmbeddedStack
from runtime.temporal import connect
from runtime.tls import check_tls
from runtime.wiring import SettingMissing
from tests.support.deployment import Deployment, settings_environment
from tests.support.eventually import eventually
from tests.support.programs import Program
from tests.support.tls import Files, before_postgres, before_temporal

PLACES = 20
SILENCE_S = 4.0


Pair = tuple[Path, Path]
"""A certificate and its key."""


class Secured(NamedTuple):
    paysaga: Deployment
    files: Files
    strangers: Files
    client: Pair
    postgres_port: int


@pytest.fixture
async def secured(servers: EmbeddedStack, tmp_path: Path) -> AsyncIterator[Secured]:
    files, strangers = Files(tmp_path, "ours"), Files(tmp_path, "strange")
    server, client = files.issue("localhost"), files.issue("client")
    name = f"tls{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        postgres_port = await stack.enter_async_context(
            before_postgres(files, servers.postgres.socket / ".s.PGSQL.5432")
        )
        temporal_port = await stack.enter_async_context(before_temporal(files, str(servers.settings.temporal_address)))
        urls = {
            setting: SecretStr(_url(login, name, postgres_port, files, client))
            for setting, login in (("database_url", "paysaga"), ("database_owner_url", "postgres"))
        }
        deployment = Deployment(
            servers,
            tmp_path,
            name,
            authority=files.ca,
            temporal_address=f"localhost:{temporal_port}",
            temporal_tls_ca_path=files.ca,
            temporal_tls_cert_path=client[0],
            temporal_tls_key_path=client[1],
            api_tls_cert_path=server[0],
            api_tls_key_path=server[1],
            api_connections_max=PLACES,
            api_silence_s=SILENCE_S,
            api_processes=2,
            **urls,
        )
        yield Secured(await stack.enter_async_context(deployment), files, strangers, client, postgres_port)


def _url(login: str, database: str, port: int, files: Files, pair: Pair, *, host: str = "localhost") -> str:
    tls = f"sslmode=verify-full&sslrootcert={files.ca}&sslcert={pair[0]}&sslkey={pair[1]}"
    return f"postgresql://{login}@{host}:{port}/{database}?{tls}"


async def test_every_way_is_over_tls(secured: Secured) -> None:
    """One deployment for all of it."""
    await _a_payment_runs(secured)
    await _postgresql_is_who_it_says(secured)
    await _temporal_is_who_it_says(secured)
    await _a_handshake_that_never_comes_is_silence(secured)
    await _a_handshake_has_no_place_of_its_own(secured)
    await _neither_old_nor_plain(secured)
    await _a_renewed_certificate_is_used(secured)


async def _a_payment_runs(secured: Secured) -> None:
    shop = await secured.paysaga.shop("secure")
    payment = await shop.paid(shop.checkout())
    assert (await shop.until(payment["id"], "SUCCESS"))["status"] == "SUCCESS"
    answer = await shop.get(f"/v1/payments/{payment['id']}")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    owner_url = secured.paysaga.settings.database_owner_url
    assert owner_url is not None
    await migrate(owner_url.get_secret_value(), action="check")


async def _postgresql_is_who_it_says(secured: Secured) -> None:
    name, port, (ours, pair) = secured.paysaga.name, secured.postgres_port, (secured.files, secured.client)
    refused = {
        "is signed by nobody": _url("paysaga", name, port, secured.strangers, pair),
        "is of another host": _url("paysaga", name, port, ours, pair, host="127.0.0.1"),
    }
    for why, url in refused.items():
        with pytest.raises(ConnectionRefused, match=why):
            await _read(url)
    strange = secured.strangers.issue("client")
    for url in (
        _url("paysaga", name, port, ours, strange),
        f"postgresql://paysaga@localhost:{port}/{name}?sslmode=disable",
    ):
        with pytest.raises(Unavailable):
            await _read(url)
    # The same in a process of its own, in one sentence.
    strange_url = SecretStr(refused["is of another host"])
    settings = secured.paysaga.settings.model_copy(update={"database_url": strange_url, "api_processes": 1})
    environment = os.environ | settings_environment(settings)
    for module in (("api",), ("workers",), ("cli.main", "tasks")):
        out = secured.paysaga.folder / f"{module[0]}.refused"
        program = Program(*module, env=environment, out=out)
        assert await program.ended() in (1, 2)
        (sentence,) = out.read_text().splitlines()
        assert sentence.endswith("it is of another host than the one in its URL. See PAYSAGA_DATABASE_URL.")


async def _read(url: str) -> None:
    database = Database(url, pool_size=FEW)
    try:
        await database.read(clock)
    finally:
        await database.close()


async def _temporal_is_who_it_says(secured: Secured) -> None:
    settings = secured.paysaga.settings
    strange, port = secured.strangers.issue("client"), str(settings.temporal_address).rpartition(":")[2]
    elsewhere = f"127.0.0.1:{port}"
    refused: list[tuple[str, dict[str, Any]]] = [
        ("PAYSAGA_TEMPORAL_TLS_CA_PATH", {"temporal_tls_ca_path": secured.strangers.ca}),
        ("PAYSAGA_TEMPORAL_TLS_SERVER_NAME", {"temporal_address": elsewhere}),
        ("PAYSAGA_TEMPORAL_TLS_CERT_PATH", {"temporal_tls_cert_path": None, "temporal_tls_key_path": None}),
        (
            "PAYSAGA_TEMPORAL_TLS_CERT_PATH",
            {"temporal_tls_cert_path": strange[0], "temporal_tls_key_path": strange[1]},
        ),
    ]
    for variable, update in refused:
        with pytest.raises(SettingMissing, match=variable):
            await check_tls(settings.model_copy(update=update))
    named = settings.model_copy(update={"temporal_address": elsewhere, "temporal_tls_server_name": "localhost"})
    await check_tls(named)
    assert await (await connect(named, None)).service_client.check_health()


async def _a_handshake_that_never_comes_is_silence(secured: Secured) -> None:
    reader, writer = await _plain(secured)
    async with asyncio.timeout(30):
        assert await reader.read(-1) == b""
    writer.close()


async def _a_handshake_has_no_place_of_its_own(secured: Secured) -> None:
    silent = [await _plain(secured) for _ in range(3 * PLACES)]

    async def served() -> bool:
        """A connection that was kept may be the one that is closed for a new one, just as it is used again."""
        try:
            return (await secured.paysaga.http.get("/healthz")).status_code == 200
        except httpx2.TransportError:
            return False

    await eventually(served, timeout_s=5.0)
    with suppress(ConnectionError):
        assert await silent[0][0].read(-1) == b""
    for _, writer in silent:
        writer.close()


async def _neither_old_nor_plain(secured: Secured) -> None:
    reader, writer = await _plain(secured)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: paysaga\r\n\r\n")
    with suppress(ConnectionError):
        assert b"HTTP/" not in await reader.read(-1)
    writer.close()
    old = ssl.create_default_context(cafile=str(secured.files.ca))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(OSError):  # noqa: PT011 - whichever side ends it
        await asyncio.open_connection("localhost", secured.paysaga.settings.api_port, ssl=old)


async def _a_renewed_certificate_is_used(secured: Secured) -> None:
    paysaga, first = secured.paysaga, await _certificate(secured)
    paths = (paysaga.settings.api_tls_cert_path, paysaga.settings.api_tls_key_path)
    assert paths[0] is not None
    secured.files.issue("localhost")
    os.kill(paysaga.api.pid, signal.SIGHUP)

    async def renewed() -> bool:
        """By both processes: each takes half of the connections."""
        found = {await _certificate(secured) for _ in range(12)}
        return len(found) == 1 and first not in found

    await eventually(renewed, what="the new certificate")
    second = await _certificate(secured)
    paths[0].write_text("garbage")
    os.kill(paysaga.api.pid, signal.SIGHUP)

    async def said() -> bool:
        return (paysaga.folder / "api.log").read_text().count("certificate_refused") == 2

    await eventually(said, what="the refusal in the log")
    assert await _certificate(secured) == second


async def _certificate(secured: Secured) -> bytes:
    trust = ssl.create_default_context(cafile=str(secured.files.ca))
    _, writer = await asyncio.open_connection("localhost", secured.paysaga.settings.api_port, ssl=trust)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


async def _plain(secured: Secured) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", secured.paysaga.settings.api_port)
