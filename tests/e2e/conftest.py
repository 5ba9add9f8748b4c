"""The saga's tests run twice: with cached workflows, as in production; and with each task replaying the whole history
in Temporal's strict sandbox, which finds every step that is not deterministic."""

from collections.abc import AsyncIterator

import pytest

from stack.embedded import EmbeddedStack
from tests.conftest import PATIENT
from tests.support.deployment import Deployment

VARIANTS = {
    "cached": {},
    "replayed": {"worker_max_cached_workflows": 0, "worker_strict_sandbox": True},
}


@pytest.fixture(scope="session", params=VARIANTS)
async def paysaga(
    request: pytest.FixtureRequest, servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    variant: str = request.param
    folder = tmp_path_factory.mktemp(variant)
    async with Deployment(servers, folder, f"e2e_{variant}", **VARIANTS[variant] | PATIENT) as deployment:
        # Without a cache, a task that arrives evicts another one in the middle of its local activities: that one comes
        # back after the task timeout of five seconds, which is as long as the API waits by itself.
        deployment.patience_s = 20.0 if variant == "replayed" else None
        yield deployment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`cached_only`: the test is about rows, rules or crowds, and its workflows go the ways of others."""
    items[:] = [item for item in items if not (item.get_closest_marker("cached_only") and _is_replayed(item))]


def _is_replayed(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("paysaga") == "replayed"
