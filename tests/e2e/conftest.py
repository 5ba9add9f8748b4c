"""The saga's tests run with cached workflows, as in production; and one test for each kind of message and of step that
it may reach, marked `uncached`, once more with each task replaying the whole history in Temporal's strict sandbox.
What the others did is replayed there at the end of the run (`tests/support/histories.py`)."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.conftest import PATIENT
from tests.support.deployment import Deployment

VARIANTS: dict[str, dict[str, Any]] = {
    "cached": {},
    "replayed": {"worker_max_cached_workflows": 0, "worker_strict_sandbox": True},
}


@pytest.fixture(scope="session")
def cached(shared: Deployment) -> Deployment:
    """The one that other tests use too: its workers cache workflows."""
    return shared


@pytest.fixture(scope="module")
async def replayed(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    settings = VARIANTS["replayed"] | PATIENT
    name = f"e2e_replayed_{secrets.token_hex(3)}"
    async with Deployment(servers, tmp_path_factory.mktemp("replayed"), name, **settings) as deployment:
        # Without a cache, a task that arrives evicts another one in the middle of its local activities: that one comes
        # back after the task timeout of five seconds, which is as long as the API waits by itself.
        deployment.patience_s = 20.0
        yield deployment


@pytest.fixture(scope="module", params=VARIANTS)
def paysaga(request: pytest.FixtureRequest) -> Deployment:
    """The second one ends with the module: idle to the end of the run it would cost more than to be started again."""
    deployment: Deployment = request.getfixturevalue(request.param)
    return deployment


@pytest.fixture(scope="module")
async def audited(paysaga: Deployment) -> AsyncIterator[None]:
    """The books of the module's tenants are in order at its end. Those of others on the same deployment need not be:
    some have money that only our books know of."""
    others = set(paysaga.tenants)
    yield
    assert [one for one in await audit_database(paysaga.database) if one.tenant_id not in others] == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`uncached`: the test runs a second time, since no other one of those brings this message at this step."""
    items[:] = [item for item in items if item.get_closest_marker("uncached") or not _is_replayed(item)]


def _is_replayed(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("paysaga") == "replayed"
