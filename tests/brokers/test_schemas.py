"""`paysaga events register`, at a registry that speaks Confluent's API, where there is one."""

import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator

import httpx2
import pytest

from domain.errors import Unavailable
from domain.event_data import TaskData
from domain.event_types import EventType, event_types
from domain.model import Frozen
from embedded.ports import free_port
from gateways.brokers.schemas import register
from tests.support.outside import schema_registry


@pytest.fixture(scope="module")
async def registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    if "PAYSAGA_TEST_REGISTRY" not in os.environ:
        pytest.skip("`make test-brokers` finds a registry")
    async with schema_registry(tmp_path_factory.mktemp("registry")) as url:
        yield url


async def test_every_schema_is_registered_once(registry: str) -> None:
    environment = {**os.environ, "PAYSAGA_EVENTS_REGISTRY": registry, "COLUMNS": "200"}
    command = (sys.executable, "-m", "cli.main", "events", "register")
    process = await create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    number = len(event_types())
    said = f"The schema registry has {number} of {number} schemas.\n"
    assert (process.returncode, out.decode(), err.decode()) == (0, said, "")
    assert len({one.id for one in await register(registry, event_types().values())}) == number
    async with httpx2.AsyncClient(base_url=registry) as client:
        subjects = (await client.get("/subjects")).json()
        assert sorted(subjects) == sorted(one.cloud_type for one in event_types().values())
        name = "com.paysaga.payment.succeeded.v1"
        assert (await client.get(f"/subjects/{name}/versions")).json() == [1]
        assert (await client.get(f"/config/{name}")).json()["compatibilityLevel"] == "FORWARD"


async def test_a_change_that_breaks_readers_is_refused(registry: str) -> None:
    class Less(Frozen):
        """Without what the first had."""

        id: int

    name = "task.example"
    (first,) = await register(registry, [EventType(name, 1, TaskData, "")])
    (again,) = await register(registry, [EventType(name, 1, TaskData, "")])
    assert first.id is not None
    assert first == again
    (broken,) = await register(registry, [EventType(name, 1, Less, "")])
    assert (broken.id, broken.refused is None) == (None, False)


async def test_a_registry_that_is_absent_is_said_without_its_password() -> None:
    with pytest.raises(Unavailable) as caught:
        await register(f"http://me:hunter2@127.0.0.1:{free_port()}", list(event_types().values())[:1])
    assert "hunter2" not in caught.value.detail
