"""A whole Paysaga of a test's own: an API and a worker process on shared servers, killed as real processes are."""

import asyncio
import os
import signal
import ssl
import time
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx2
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from config.settings import Settings
from db import api_key, merchant
from db.core.database import Database
from db.core.driver import reset_nothing
from db.core.keyring import Keyring
from db.core.migrate import grant_login, migrate
from domain.endpoint import EventScope
from embedded.ports import free_port
from embedded.stack import EmbeddedStack
from gateways.stripe.events import SUBSCRIPTIONS
from runtime.temporal import connect
from runtime.wiring import keyring_of
from tests.support.databases import TEMPLATE, copy_database, drop_database
from tests.support.eventually import eventually
from tests.support.programs import Program
from tests.support.sandbox import NO_TLS, SandboxAccount
from tests.support.shop import Shop

KEPT = httpx2.Limits(max_keepalive_connections=20, keepalive_expiry=60)
"""A connection stays the same one, to the same process, for as long as a test needs; the API keeps it for longer."""


class Process:
    """One of our programs, started and ended again and again."""

    def __init__(self, module: str, env: dict[str, str], log: Path) -> None:
        self.module, self.env, self._log = module, env, log
        self._program: Program | None = None

    async def start(self) -> None:
        self._program = await asyncio.to_thread(Program, self.module, env=self.env, out=self._log)

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.code is None

    @property
    def _started(self) -> Program:
        assert self._program is not None, "not started"
        return self._program

    async def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said."""
        self._started.send(signal.SIGKILL)
        await self._started.ended()

    async def stop(self) -> None:
        if not self.running:
            return
        self._started.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(15):
                await self._started.ended()
        except TimeoutError:
            await self.kill()

    def pause(self) -> None:
        self._started.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._started.send(signal.SIGCONT)


class Deployment:
    """`async with Deployment(stack, folder, name, **settings) as paysaga`: database, sandbox account and task queue of
    its own, so that several run side by side on one PostgreSQL, one Temporal and one sandbox."""

    def __init__(self, stack: EmbeddedStack, folder: Path, name: str, **overrides: Any) -> None:
        self.stack, self.name = stack, name
        self._authority: Path | None = overrides.pop("authority", None)
        """The certificate that signs the API's, where it speaks TLS."""
        self._template = overrides.pop("template", TEMPLATE)
        self.keep_database = False
        """Whether it is wanted after the end. Hundreds of them would keep PostgreSQL busy with looking after each."""
        self.tenants: set[str] = set()
        """Those that it was asked for."""
        self.patience_s: float | None = None
        """How long its shops ask the API to wait; None leaves it to the API."""
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.sandbox = SandboxAccount(stack.sandbox_url, f"sk_test_{name}")
        quick = {
            "stripe_timeout_s": 4.0,
            "poll_first_s": 0.3,
            "poll_max_s": 2.0,
            "poll_present_s": 0.0,
            "worker_schedules": False,  # six of them cost Temporal as much as ten payments
            "sweep_every_s": 3600.0,
            "sweep_after_s": 0.0,
            "login_scrypt_n": 1024,
            "api_rate_per_address": "0",  # every stranger of a test, and every buyer, has the same one
        }
        self.settings = stack.settings.model_copy(
            update={
                "api_port": free_port(),
                "temporal_task_queue": name,
                "database_url": SecretStr(stack.postgres.url(name, "paysaga")),
                "database_owner_url": SecretStr(stack.postgres.url(name)),
                "stripe_api_key": SecretStr(self.sandbox.key),
                "stripe_base_url": stack.sandbox_url,
                "stripe_webhook_secret": SecretStr("whsec_test"),
                "events_url": None,  # all share one broker: whoever looks at events says so
            }
            | quick
            | overrides
        )
        ready = {"PAYSAGA_READY_FILE": str(self.folder / "worker.ready")}
        self.api = Process("api", self.environment(), self.folder / "api.log")
        self.worker = Process("workers", self.environment() | ready, self.folder / "worker.log")
        self._ready = Path(ready["PAYSAGA_READY_FILE"])
        self.http: httpx2.AsyncClient
        self.temporal: Client
        self.database: Database
        self._owner_pool: asyncpg.Pool[asyncpg.Record]

    @property
    def keyring(self) -> Keyring:
        assert self.settings.encryption_keys is not None, "the stack makes one"
        return Keyring.parse(self.settings.encryption_keys.get_secret_value())

    def environment(self) -> dict[str, str]:
        return {**os.environ, **settings_environment(self.settings)}

    async def __aenter__(self) -> Self:
        await copy_database(self.stack.postgres, self.name, template=self._template)
        self.http = self._client()
        self.database = Database(self._url(), pool_size=4)
        self._owner_pool = await asyncpg.create_pool(
            self.stack.postgres.url(self.name), min_size=0, max_size=4, reset=reset_nothing
        )
        await self.sandbox.open()
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    def _client(self) -> httpx2.AsyncClient:
        port = self.settings.api_port
        if self._authority is None:
            return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=KEPT, verify=NO_TLS)
        trust = ssl.create_default_context(cafile=str(self._authority))
        return httpx2.AsyncClient(base_url=f"https://localhost:{port}", timeout=60, verify=trust, limits=KEPT)

    async def _start(self) -> None:
        self.temporal = await connect(self.settings, keyring_of(self.settings))
        webhooks = {
            "webhook_url": f"http://127.0.0.1:{self.settings.api_port}/webhooks/stripe",
            "webhook_secret": "whsec_test",
            "webhook_events": SUBSCRIPTIONS[EventScope.ACCOUNT],
            "webhook_seller_events": SUBSCRIPTIONS[EventScope.SELLERS],
            "webhook_retry_base_s": 0.2,
            "processing_delay_s": 0.5,
        }
        await self.sandbox.configure(**webhooks)
        await asyncio.gather(self.start_worker(), self.start_api())

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.api.stop(), self.worker.stop())
        await self.http.aclose()
        await self.sandbox.close()
        await self.database.close()
        await self._owner_pool.close()
        if not self.keep_database:
            await drop_database(self.stack.postgres, self.name)

    async def start_worker(self) -> None:
        self._ready.unlink(missing_ok=True)
        await self.worker.start()
        await eventually(self._worker_ready, what=f"worker, see {self.folder}/worker.log")

    async def _worker_ready(self) -> bool:
        assert self.worker.running, (self.folder / "worker.log").read_text()[-2000:]
        return self._ready.exists()

    async def start_api(self) -> None:
        await self.api.start()
        await eventually(self._api_ready, what=f"API, see {self.folder}/api.log")

    async def _api_ready(self) -> bool:
        assert self.api.running, (self.folder / "api.log").read_text()[-2000:]
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    def _url(self) -> str:
        assert self.settings.database_url is not None, "set above"
        return self.settings.database_url.get_secret_value()

    async def update(self, workflow_id: str, name: str, message: dict[str, Any]) -> Any:
        """What an operator does in the Temporal UI. The server refuses an update that arrives while a task of the
        workflow is lost (without a cache that happens), and the workflow one that comes in the moment between the row's
        new state and its own; a person would press the button again. None: the workflow has ended by it meanwhile."""

        pressed, refused_until = 0, time.monotonic() + 3.0

        async def press() -> tuple[Any] | None:
            nonlocal pressed
            pressed += 1
            try:
                return (await self.temporal.get_workflow_handle(workflow_id).execute_update(name, message),)
            except WorkflowUpdateFailedError as error:
                not_yet = isinstance(error.cause, ApplicationError) and error.cause.type == "NotWaiting"
                if not not_yet or time.monotonic() > refused_until:
                    raise
                return None
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and pressed > 1:
                    return (None,)  # it had been taken, and has ended the workflow
                if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                    raise
                return None

        (answer,) = await eventually(press, what=f"{name} of {workflow_id}")
        return answer

    async def sql(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """As the schema's owner, past the application."""
        return await self._owner_pool.fetch(query, *arguments)

    def connection(self) -> Any:
        """`async with paysaga.connection() as c`: to hold locks."""
        return self._owner_pool.acquire()

    async def shop(self, name: str, *, sellers: tuple[str, ...] = ("anna", "bo", "chen"), **fields: Any) -> Shop:
        """A tenant of its own with an API key and sellers (3 % platform fee unless told otherwise)."""
        secret = f"sk_test_{self.name}_{name}"
        defaults: dict[str, Any] = {"fee_percent": 3, "fee_fixed": 0}

        async def create(connection: AsyncConnection) -> None:
            await api_key.create(connection, name, "test", secret)
            for seller in sellers:
                values: Any = {"seller_account": seller, "name": seller} | defaults | fields
                await merchant.create(connection, name, values)

        await self.database.run(create)
        self.tenants.add(name)
        return Shop(self, name, secret)


async def make_template(stack: EmbeddedStack) -> None:
    """The database that every test copies."""
    await stack.postgres.create_database(TEMPLATE)
    await migrate(stack.postgres.url(TEMPLATE))
    await grant_login(stack.postgres.url(TEMPLATE), stack.postgres.url(TEMPLATE, "paysaga"))


def settings_environment(settings: Settings) -> dict[str, str]:
    """PAYSAGA_* variables that make the same settings in another process."""
    variables = {}
    for name, value in settings:
        if value is None:
            continue
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        text = ",".join(sorted(plain)) if isinstance(plain, frozenset) else str(plain)
        variables[f"PAYSAGA_{name.upper()}"] = text
    return variables
