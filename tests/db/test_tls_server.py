"""The same against a PostgreSQL with OpenSSL, where the machine has one: `ssl=on`, and `hostssl` lines alone.

The one that comes as a wheel is built without; tests/e2e/test_tls.py speaks TLS before it."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from db.core.database import FEW, ConnectionRefused, Database
from embedded.ports import free_port
from tests.support.eventually import eventually
from tests.support.tls import Files


def programs() -> Path | None:
    """The folder of a server's programs that were built with OpenSSL."""
    found = shutil.which("pg_config")
    if found is None:
        return None
    said = subprocess.run((found, "--bindir", "--configure"), capture_output=True, text=True, check=True).stdout
    folder, built = said.split("\n", 1)
    return Path(folder) if "openssl" in built and (Path(folder) / "postgres").exists() else None


PROGRAMS = programs()
pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="no PostgreSQL with OpenSSL is installed on this machine")


class Server(NamedTuple):
    port: int
    files: Files
    client: tuple[Path, Path]

    def url(self, *, host: str = "localhost", ca: Path | None = None, certificate: bool = True) -> str:
        own = f"&sslcert={self.client[0]}&sslkey={self.client[1]}" if certificate else ""
        tls = f"sslmode=verify-full&sslrootcert={ca or self.files.ca}{own}"
        return f"postgresql://postgres@{host}:{self.port}/postgres?{tls}"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    assert PROGRAMS is not None, "skipped otherwise"
    files, port = Files(tmp_path, "pg"), free_port()
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="paysaga-tls-"))
    own: dict[str, Any] = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    initdb = (PROGRAMS / "initdb", "-D", data, "--auth=trust", "--username=postgres", "--no-sync", "--locale=C")
    await asyncio.to_thread(lambda: subprocess.run(initdb, check=True, capture_output=True, cwd="/", **own))
    (data / "pg_hba.conf").write_text("hostssl all all localhost trust clientcert=verify-ca\n")
    certificate, key = files.issue("localhost")
    for source, name in ((certificate, "server.crt"), (key, "server.key"), (files.ca, "ca.crt")):
        (data / name).write_bytes(source.read_bytes())
        (data / name).chmod(0o600)
        os.chown(data / name, owner.pw_uid, owner.pw_gid)
    settings = ("ssl=on", "ssl_ca_file=ca.crt", "fsync=off", "unix_socket_directories=", "shared_buffers=16MB")
    options = [part for setting in settings for part in ("-c", setting)]
    command = [str(PROGRAMS / "postgres"), "-D", str(data), "-h", "localhost", "-p", str(port), *options]
    log = (tmp_path / "postgres.log").open("wb")
    process = await asyncio.to_thread(lambda: subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **own))
    made = Server(port, files, files.issue("client"))

    async def ready() -> bool:
        assert process.poll() is None, (tmp_path / "postgres.log").read_text()
        ask = (PROGRAMS / "pg_isready", "-q", "-h", "localhost", "-p", str(port))
        return (await asyncio.to_thread(subprocess.run, ask, check=False)).returncode == 0

    try:
        await eventually(ready, what="PostgreSQL")
        yield made
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        log.close()
        shutil.rmtree(folder)


async def asked(url: str) -> str:
    """The version of TLS that this connection has, as the server says it."""
    database = Database(url, pool_size=FEW)
    question = text("SELECT coalesce(version, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    try:
        return str(await database.read(lambda c: c.scalar(question)))
    finally:
        await database.close()


async def test_a_server_that_takes_tls_alone(server: Server, tmp_path: Path) -> None:
    assert await asked(server.url()) in ("TLSv1.2", "TLSv1.3")
    for url, why in (
        (server.url(ca=Files(tmp_path, "strange").ca), "is signed by nobody in sslrootcert"),
        (server.url(host="127.0.0.1"), "is of another host than the one in its URL"),
        (f"postgresql://postgres@localhost:{server.port}/postgres?sslmode=disable", "or its lack of TLS"),
        (server.url(certificate=False), "or its lack of TLS"),
    ):
        with pytest.raises(ConnectionRefused, match=why):
            await asked(url)
    migrating = os.environ | {"PAYSAGA_DATABASE_OWNER_URL": server.url(host="127.0.0.1")}
    command = (sys.executable, "-m", "db", "migrate")
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env=migrating,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "The database's certificate is not accepted: it is of another host than the one in its URL."
    ]
