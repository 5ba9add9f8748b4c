"""A Paysaga on Temporal's time-skipping server: its workflows wait for days in no time. Database, sandbox, activities
and API are the real ones, in this process; business time is the server's."""

import sysconfig
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

import api.app
from embedded.stack import EmbeddedStack
from runtime.codec import data_converter
from runtime.search_attributes import SEARCH_ATTRIBUTES
from runtime.wiring import keyring_of
from tests.support import payouts
from tests.support.deployment import Deployment
from workers.worker import psp_worker, running

TEST_SERVER = Path(sysconfig.get_path("scripts")) / "temporal-test-server"


class Skipping(Deployment):
    """Without processes of its own. Nobody tells it of events at the PSP: it looks."""

    def __init__(self, env: WorkflowEnvironment, stack: EmbeddedStack, folder: Path, **settings: Any) -> None:
        address = env.client.service_client.config.target_host
        super().__init__(stack, folder, "skipping", temporal_address=address, **settings)
        self.env = env
        self._open = AsyncExitStack()

    async def _start(self) -> None:
        self.temporal = self.env.client
        await self.sandbox.configure(**payouts.PSP, processing_delay_s=None)
        app = api.app.create_app(self.settings)
        await self.http.aclose()
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://skipping", timeout=60)
        await self._open.enter_async_context(app.router.lifespan_context(app))  # with a worker in it
        runtime = app.state.runtime
        await self._open.enter_async_context(running([psp_worker(runtime, "stripe")]))

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()
        await super().__aexit__(*error)


async def _add_search_attributes(client: Client) -> None:
    """This server cannot list them."""
    names = {key.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD for key in SEARCH_ATTRIBUTES}
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=client.namespace, search_attributes=names)
    )


async def _time_skipping(**options: Any) -> WorkflowEnvironment:
    """Its server has five seconds to be up, which is less than a busy disk may take to read the program."""
    for _ in range(3):
        with suppress(RuntimeError):
            return await WorkflowEnvironment.start_time_skipping(**options)
    return await WorkflowEnvironment.start_time_skipping(**options)


@pytest.fixture(scope="module")
async def skipping(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Skipping]:
    folder = tmp_path_factory.mktemp("skipping")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api.app, "register_search_attributes", _add_search_attributes)
        async with (
            await _time_skipping(
                test_server_existing_path=str(TEST_SERVER), data_converter=data_converter(keyring_of(servers.settings))
            ) as env,
            Skipping(env, servers, folder, **DAYS) as deployment,
        ):
            yield deployment


DAYS = {
    "payout_poll_first_s": 60.0,
    "payout_poll_max_s": 21_600.0,
    "poll_first_s": 60.0,
    "poll_max_s": 43_200.0,
    "poll_present_s": 120.0,
    "payout_rate_per_s": 1000.0,
}
"""As in production, but for the polls of payments: they are fewer here than they need to be."""
