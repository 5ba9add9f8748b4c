"""The servers that all tests share, and a Paysaga on them. All of it is real, on free ports, in temporary folders."""

import os
import secrets
import shutil
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import hypothesis
import psutil  # type: ignore[import-untyped]
import pytest

from embedded.stack import EmbeddedStack
from runtime import collector
from runtime.temporal import connect
from runtime.wiring import keyring_of
from tests.support.deployment import Deployment
from tests.support.histories import replay_all
from tests.support.provider import Provider
from tests.support.servers import Background, SharedServers, own_temporal, started
from tests.support.shop import Shop

_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
_MEMORY_MIN = 6 * 2**30
_PREFIX = "ps-"

collector.begin()

# Of Temporal and NATS: threads that look for work in vain take an eighth of their time, and all cores are busy anyway.
os.environ.setdefault("GOMAXPROCS", "1")
os.environ.pop("COLUMNS", None)  # of pytest-xdist; what our programs write to a file is wider

# How long an example takes says more of the machine than of what is tested.
hypothesis.settings.register_profile("paysaga", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("paysaga")

_background = pytest.StashKey[Background]()
_failed = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """The servers' data lives in memory where there is enough of it: on some disks the hundreds of files of a new
    database take a second. The processes that tests kill lose nothing by it; a machine that fails is not simulated.

    The folder is the run's own: beside another run's, pytest would close it to PostgreSQL's user."""
    if hasattr(config, "workerinput") or "PYTEST_DEBUG_TEMPROOT" in os.environ:
        return
    enough = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_MIN
    parent = _MEMORY if enough else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX)
        if owner.isdecimal() and (int(owner) == os.getpid() or not psutil.pid_exists(int(owner))):
            shutil.rmtree(left, ignore_errors=True)  # of a run that failed or was killed
    root = parent / f"{_PREFIX}{os.getpid()}"
    root.mkdir(mode=0o711)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(root)

    def clean() -> None:
        if not config.stash.get(_failed, True):
            shutil.rmtree(root, ignore_errors=True)

    config.add_cleanup(clean)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The servers of a run of several processes live in the one that hands out the tests."""
    config: pytest.Config = node.config
    if _background not in config.stash:
        home = tempfile.mkdtemp(prefix="servers-", dir=os.environ["PYTEST_DEBUG_TEMPROOT"])
        config.stash[_background] = Background(Path(home))
        config.add_cleanup(config.stash[_background].stop)
        config.stash[_background].start()
    node.workerinput["servers"] = str(config.stash[_background].file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """No test is handed out before they are up. Raises what keeps them from it, which ends the run."""
    config: pytest.Config = node.config
    config.stash[_background].wait()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The other processes have ended, and what they did is replayed: one more test, as the summary tells it."""
    background = session.config.stash.get(_background, None)
    if background is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        try:
            background.replay()
        except Exception:  # noqa: BLE001 - whatever it is, the run has failed
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            session.config.hook.pytest_runtest_logreport(report=_failure(traceback.format_exc()))
    session.config.stash[_failed] = session.exitstatus != pytest.ExitCode.OK


def _failure(text: str) -> pytest.TestReport:
    place, name = "tests/support/histories.py", "replay_all"
    return pytest.TestReport(
        f"{place}::{name}", (place, None, name), keywords={}, outcome="failed", longrepr=text, when="call"
    )


@pytest.fixture(scope="session")
async def shared_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EmbeddedStack]:
    """PostgreSQL, Temporal and the sandbox PSP, with a migrated database to copy. At the end the histories
    that the tests made are replayed."""
    file: str | None = getattr(request.config, "workerinput", {}).get("servers")
    if file is not None:
        yield SharedServers.told_of(Path(file))
        return
    async with started(tmp_path_factory.mktemp("servers")) as stack:
        yield stack
        await replay_all(await connect(stack.settings, keyring_of(stack.settings)), tmp_path_factory.mktemp("replayed"))


_LONGEST = ("demo", "bench", "workflow", "api/test_api_fuzz", "e2e/test_payout_run", "audit/test_pages")
"""Begun last, one of these would be all that runs at the end."""

_WAITING, _BUSY = (
    ("e2e", "embedded", "unit/test_cli_start", "unit/test_programs", "unit/test_unusable_settings"),
    ("api", "audit", "reconciliation", "commands", "readme", "machine", "deploy"),
)
"""Tests that wait for what others do, as the longest ones do too, and tests that keep a processor busy, of which there
are twice as many: begun in turn, neither are alone. What needs no servers fills the gaps at the end."""


def pytest_collection_finish() -> None:
    collector.serve()  # thousands of items and all modules stay to the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path.relative_to(Path(__file__).parent).as_posix(), []).append(item)
    longest = [name for start in _LONGEST for name in files if name.startswith(start)]
    others = [name for name in files if name not in longest]
    waiting = [*longest, *(name for name in others if name.startswith(_WAITING))]
    busy = [name for name in others if name.startswith(_BUSY)]
    in_turn = chain(*zip_longest(waiting, busy[::2], busy[1::2]))
    order = dict.fromkeys([*filter(None, in_turn), *others])
    items[:] = [item for name in order for item in files[name]]


PATIENT = {"poll_factor": 6.0, "poll_max_s": 600.0}
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
def shared_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same one in each process of a run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session")
def servers(shared_servers: EmbeddedStack) -> EmbeddedStack:
    """Those that a test uses."""
    return shared_servers


@pytest.fixture(scope="module")
async def stoppable(
    shared_servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EmbeddedStack]:
    """The same, but for a Temporal that only the tests of this module use: they may stop it. To the end of the run it
    would cost as much as a hundred payments."""
    async with own_temporal(shared_servers, tmp_path_factory.mktemp("temporal")) as stack:
        yield stack
        await replay_all(await connect(stack.settings, keyring_of(stack.settings)), tmp_path_factory.mktemp("replayed"))


@pytest.fixture(scope="session")
def provider() -> Provider:
    """The identity provider whose tokens the shared Paysaga takes."""
    return Provider()


@pytest.fixture(scope="session")
async def shared(
    servers: EmbeddedStack, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """The Paysaga that most tests share; each with a tenant of its own."""
    name, folder = f"shared{secrets.token_hex(3)}", tmp_path_factory.mktemp("shared")
    tokens = provider.settings(folder / "jwks.json")
    here = {"webhooks_to_loopback": True}
    async with Deployment(servers, folder, name, **PATIENT, **tokens, **here) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def paysaga(shared: Deployment) -> Deployment:
    """The one that a test uses."""
    return shared


@pytest.fixture
async def shop(paysaga: Deployment) -> Shop:
    return await paysaga.shop(f"shop-{secrets.token_hex(5)}")
