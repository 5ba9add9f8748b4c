"""The saga's tests run twice: with cached workflows, as in production; and with each task replaying the whole history
in Temporal's strict sandbox, which finds every step that is not deterministic."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from embedded.stack import EmbeddedStack
from tests.conftest import PATIENT
from tests.support.deployment import Deployment

VARIANTS: dict[str, dict[str, Any]] = {
    "cached": {},
    "replayed": {"worker_max_cached_workflows": 0, "worker_strict_sandbox": True},
}


@pytest.fixture(scope="session")
async def cached(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    settings = VARIANTS["cached"] | PATIENT
    async with Deployment(servers, tmp_path_factory.mktemp("cached"), "e2e_cached", **settings) as deployment:
        yield deployment


@pytest.fixture(scope="session")
async def replayed(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    settings = VARIANTS["replayed"] | PATIENT
    async with Deployment(servers, tmp_path_factory.mktemp("replayed"), "e2e_replayed", **settings) as deployment:
        # Without a cache, a task that arrives evicts another one in the middle of its local activities: that one comes
        # back after the task timeout of five seconds, which is as long as the API waits by itself.
        deployment.patience_s = 20.0
        yield deployment


@pytest.fixture(scope="session", params=VARIANTS)
def paysaga(request: pytest.FixtureRequest) -> Deployment:
    """Both live as long as the session. Made by this one, they would be made anew for each module."""
    deployment: Deployment = request.getfixturevalue(request.param)
    return deployment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`cached_only`: the test is about rows, rules or crowds, and its workflows go the ways of others."""
    items[:] = [item for item in items if not (item.get_closest_marker("cached_only") and _is_replayed(item))]


def _is_replayed(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("paysaga") == "replayed"
