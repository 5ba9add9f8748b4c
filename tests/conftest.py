"""The servers that all tests share, and a Paysaga on them. All of it is real, on free ports, in temporary folders."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from embedded.stack import SERVERS, EmbeddedStack, free_settings
from runtime.temporal import connect
from tests.support.deployment import Deployment, make_template
from tests.support.histories import replay_all
from tests.support.shop import Shop

_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a private folder in it
_MEMORY_MIN = 6 * 2**30


def pytest_configure() -> None:
    """The servers' data lives in memory where there is enough of it: on some disks the hundreds of files of a new
    database take a second. The processes that tests kill lose nothing by it; a machine that fails is not simulated."""
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_MIN:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    """PostgreSQL, Temporal and the sandbox PSP, with a migrated database to copy. At the end the histories
    that the tests made are replayed."""
    settings = free_settings(tmp_path_factory.mktemp("servers"))
    async with EmbeddedStack(settings, pieces=SERVERS) as stack:
        await make_template(stack)
        yield stack
        await replay_all(await connect(stack.settings))


PATIENT = {"poll_max_s": 600.0}
"""Of what many tests share: disputes and authorisations that they leave open must not be looked at for ever."""

Deploy = Callable[..., Awaitable[Deployment]]


@pytest.fixture
async def deploy(servers: EmbeddedStack, tmp_path: Path) -> AsyncIterator[Deploy]:
    """`await deploy(setting=…)`: a Paysaga with settings of its own, stopped when the test ends."""
    async with AsyncExitStack() as stack:

        async def start(**overrides: Any) -> Deployment:
            name = f"t{secrets.token_hex(5)}"
            return await stack.enter_async_context(Deployment(servers, tmp_path, name, **overrides))

        yield start


@pytest.fixture(scope="session")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The Paysaga that most tests share; each with a tenant of its own."""
    async with Deployment(servers, tmp_path_factory.mktemp("shared"), "shared", **PATIENT) as deployment:
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> Shop:
    return await paysaga.shop(f"shop-{secrets.token_hex(5)}")
