"""Alive, ready, cut off: 503 with Retry-After, and never an answer that claims what is not stored."""

import secrets
import tempfile
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psutil  # type: ignore[import-untyped]
from pydantic import SecretStr

from embedded.stack import EmbeddedStack
from tests.api.problem import refused
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.link import Link


async def test_alive_and_ready(paysaga: Deployment) -> None:
    assert (await paysaga.http.get("/healthz")).json() == {"status": "ok"}
    assert (await paysaga.http.get("/readyz")).json() == {"status": "ready"}
    metrics = await paysaga.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "paysaga_psp_calls" in metrics.text


async def test_one_process_has_no_parent_and_no_child(paysaga: Deployment) -> None:
    assert paysaga.settings.api_processes == 1
    api = psutil.Process(paysaga.api.pid)
    assert api.children() == []
    assert [c.laddr.port for c in api.net_connections("tcp") if c.status == psutil.CONN_LISTEN] == [
        paysaga.settings.api_port
    ]


async def test_the_database_is_cut_off_and_comes_back(servers: EmbeddedStack, tmp_path: Path) -> None:
    """503 for whatever needs it, alive all the same, and everything works once it is back."""
    name = f"dark{secrets.token_hex(4)}"
    (socket,) = (path for path in servers.postgres.socket.glob(".s.PGSQL.*") if path.is_socket())
    # Directly in /tmp: the path of a Unix socket is short.
    with tempfile.TemporaryDirectory(prefix="paysaga-", dir="/tmp") as folder:
        url = servers.postgres.url(name, "paysaga").replace(quote(str(servers.postgres.socket)), quote(folder))
        async with (
            Link.to_socket(socket, Path(folder)) as link,
            Deployment(servers, tmp_path, name, database_url=SecretStr(url)) as paysaga,
        ):
            shop = await paysaga.shop("dark")
            checkout, key = shop.checkout(), str(uuid4())
            assert (await shop.get("/v1/merchants")).status_code == 200
            link.cut()
            refused(await shop.pay(checkout, key=key), 503, "unavailable")
            refused(await shop.get("/v1/merchants"), 503, "unavailable")
            refused(await shop.get("/readyz"), 503, "unavailable")
            assert (await shop.get("/healthz")).status_code == 200
            link.mend()
            answer = await shop.pay(checkout, key=key)
            assert (answer.status_code, answer.json()["status"]) == (201, "SUCCESS"), answer.text
            assert (await paysaga.sandbox.log(checkout)).charged == [50000]


async def test_a_schema_of_another_version_is_not_ready(deploy: Deploy) -> None:
    paysaga = await deploy()
    await paysaga.sql("UPDATE alembic_version SET version_num = '0000'")
    refused(await paysaga.http.get("/readyz"), 503, "unavailable")
    await paysaga.sql("DROP TABLE alembic_version")
    assert "paysaga migrate" in refused(await paysaga.http.get("/readyz"), 503, "unavailable")["detail"]
