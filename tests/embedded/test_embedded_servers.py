"""PostgreSQL and Temporal as the stack runs them, and the stack as a whole process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from config.settings import Settings
from embedded.errors import StackError
from embedded.home import Home
from embedded.running import running_environment
from embedded.stack import EmbeddedStack, free_settings, settings_environment

Eventually = Callable[[Callable[[], object]], Awaitable[None]]

SERVERS = {"postgres", "temporal"}

# `paysaga run` without the programs that are tested elsewhere.
RUN = """
import asyncio, os, sys
from pathlib import Path
from rich.console import Console
from config.settings import Settings
from embedded.run import run_stack
asyncio.run(run_stack(Settings(), Console(), pieces=set(sys.argv[1:])))
sys.stdout.flush()
os._exit(0)
"""


async def test_both_find_their_data_again(home_path: Path) -> None:
    settings = free_settings(home_path)
    workflow_id = f"payment:{uuid4()}"
    async with EmbeddedStack(settings, pieces=SERVERS) as stack:
        assert await stack.postgres.sql("SHOW fsync") == "on"
        await stack.postgres.sql("CREATE TABLE money AS SELECT 500 AS amount", database="paysaga")
        client = await Client.connect(stack.temporal.address)
        await client.start_workflow("Payment", id=workflow_id, task_queue="nobody")
        namespace = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
        assert namespace.config.workflow_execution_retention_ttl.ToTimedelta().days == 30
        keys = stack.environment()["PAYSAGA_ENCRYPTION_KEYS"]
        assert running_environment(home_path) == stack.environment()
        await stack.postgres.create_database("paysaga")  # is there
        assert await stack.postgres.sql("SELECT :'word' FROM money", database="paysaga", word="it's") == "it's"
        with pytest.raises(StackError, match=r"PostgreSQL refused psql: .*nowhere"):
            await stack.postgres.sql("SELECT 1", database="nowhere")
    assert running_environment(home_path) is None
    async with EmbeddedStack(settings, pieces=SERVERS) as stack:
        assert await stack.postgres.sql("SELECT amount FROM money", database="paysaga") == "500"
        client = await Client.connect(stack.temporal.address)
        description = await client.get_workflow_handle(workflow_id).describe()
        assert description.id == workflow_id
        assert stack.environment()["PAYSAGA_ENCRYPTION_KEYS"] == keys


async def test_a_killed_server_comes_back_with_what_it_promised(home_path: Path, eventually: Eventually) -> None:
    async with EmbeddedStack(free_settings(home_path), pieces={"postgres"}) as stack:
        await stack.postgres.sql("CREATE TABLE money AS SELECT 500 AS amount", database="paysaga")
        before = Home(home_path).read_children()[0]
        before.send(signal.SIGKILL)
        await eventually(lambda: not before.is_alive())
        async with asyncio.timeout(20):
            while not await stack.postgres.is_ready():  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.05)
        assert await stack.postgres.sql("SELECT amount FROM money", database="paysaga") == "500"


async def test_data_of_another_version_is_refused(home_path: Path) -> None:
    (home_path / "postgres").mkdir(parents=True)
    (home_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackError, match="was written by PostgreSQL 16 and this is PostgreSQL 18"):
        async with EmbeddedStack(free_settings(home_path), pieces={"postgres"}):
            pytest.fail("it started")


async def test_a_deep_folder_gets_a_short_socket(home_path: Path) -> None:
    stack = EmbeddedStack(free_settings(home_path / ("deep" * 30)), pieces={"postgres"})
    try:
        async with stack:
            assert len(str(stack.postgres.socket)) < 60
            assert await stack.postgres.sql("SELECT 1") == "1"
    finally:
        stack.postgres.socket.rmdir()


def test_settings_survive_the_way_through_the_environment(home_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = free_settings(home_path, stripe_currencies=frozenset({"INR", "USD"}), api_worker=False)
    for key, value in settings_environment(settings).items():
        monkeypatch.setenv(key, value)
    assert Settings() == settings


def test_what_has_an_address_is_not_started(home_path: Path) -> None:
    given = free_settings(home_path, database_url="postgresql://db/x", temporal_address="t:1", stripe_api_key="sk")
    assert EmbeddedStack(given).pieces == {"broker", "worker", "api"}
    told = given.model_copy(update={"events_url": SecretStr("nats://broker:4222")})
    assert EmbeddedStack(told).pieces == {"worker", "api"}
    owned = free_settings(home_path, database_url="postgresql://db/x", database_owner_url="postgresql://o@db/x")
    assert EmbeddedStack(owned).pieces == {"temporal", "sandbox", "broker", "migrations", "worker", "api"}


def test_temporals_ui_asks_the_api_of_the_same_stack(home_path: Path) -> None:
    settings = free_settings(home_path)
    flags = " ".join(EmbeddedStack(settings).temporal.child().argv)
    assert f"--ui-codec-endpoint http://127.0.0.1:{settings.api_port}/codec" in flags
    assert "--ui-codec-endpoint" not in " ".join(EmbeddedStack(settings, pieces=SERVERS).temporal.child().argv)


def start_run(home: Path, pieces: set[str]) -> subprocess.Popen[bytes]:
    env = {**os.environ, **settings_environment(free_settings(home))}
    command = [sys.executable, "-c", RUN, *pieces]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize(
    ("signum", "pieces"),
    [(signal.SIGINT, SERVERS), (signal.SIGTERM, {"postgres"}), (signal.SIGHUP, {"postgres"})],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
async def test_a_signal_leaves_no_process(
    home_path: Path,
    eventually: Eventually,
    processes_of: Callable[[Path], list[str]],
    signum: signal.Signals,
    pieces: set[str],
) -> None:
    with start_run(home_path, pieces) as run:
        await eventually(lambda: running_environment(home_path))
        children = Home(home_path).read_children()
        assert {record.name for record in children} == pieces
        run.send_signal(signum)
        output, _ = await asyncio.to_thread(run.communicate, timeout=30)
    assert run.returncode == 0, output
    assert b"Traceback" not in output
    assert not any(record.is_alive() for record in children)
    assert processes_of(home_path) == []


async def test_an_impatient_person_during_the_start(
    home_path: Path, eventually: Eventually, processes_of: Callable[[Path], list[str]]
) -> None:
    with start_run(home_path, SERVERS) as run:
        await eventually(lambda: Home(home_path).read_children())
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGINT)
        output, _ = await asyncio.to_thread(run.communicate, timeout=30)
    assert run.returncode == 0, output
    assert processes_of(home_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start stops what is left")
async def test_even_a_killed_supervisor_leaves_no_process(
    home_path: Path, eventually: Eventually, processes_of: Callable[[Path], list[str]]
) -> None:
    with start_run(home_path, SERVERS) as run:
        await eventually(lambda: running_environment(home_path))
        run.kill()
        await eventually(lambda: not processes_of(home_path))
        run.communicate()


def paysaga(*arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **{f"PAYSAGA_{key.upper()}": str(value) for key, value in variables.items()}}
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_problem_is_one_sentence_and_exit_code_1(home_path: Path) -> None:
    ports = free_settings(home_path)
    with socket.create_server(("127.0.0.1", ports.api_port)):
        taken = paysaga("run", home=home_path, api_port=ports.api_port, temporal_port=ports.temporal_port,
                        temporal_ui_port=ports.temporal_ui_port, sandbox_port=ports.sandbox_port)  # fmt: skip
    with Home(home_path).locked():
        locked = paysaga("run", home=home_path)
    unwritable = paysaga("run", home="/dev/null/paysaga")
    invalid = paysaga("run", home=home_path, api_port="many")
    expected = {
        f"Port {ports.api_port} for the API is already in use": taken,
        f"A stack (pid {os.getpid()}) already runs in": locked,
        "The data folder /dev/null/paysaga cannot be written": unwritable,
        "PAYSAGA_API_PORT is not usable": invalid,
    }
    for sentence, result in expected.items():
        assert result.returncode == 1, result
        assert result.stderr.startswith(f"paysaga: {sentence}"), result
        assert result.stderr.count("\n") == 1, result


def test_status_without_a_stack(home_path: Path) -> None:
    result = paysaga("status", home=home_path)
    assert result.returncode == 1
    assert "No stack runs in" in result.stdout
