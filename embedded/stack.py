"""The embedded stack: decides which pieces this machine has to run itself, starts them in order, stops them in reverse.

    async with EmbeddedStack(settings) as stack:
        stack.settings    # the same settings with every address filled in
        stack.environment()  # the same as PAYSAGA_* variables

Whatever has an address in the settings is somebody else's server and is only used.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from config.settings import DEVELOPMENT_API_KEY, SANDBOX_STRIPE_KEY, SANDBOX_WEBHOOK_SECRET, Settings
from domain.endpoint import EventScope
from embedded.display import Display, QuietDisplay
from embedded.errors import StackError
from embedded.home import Home
from embedded.nats import Nats
from embedded.ports import free_port, local_url, require_free
from embedded.postgres import Postgres
from embedded.probes import http_ok
from embedded.supervisor import Child, Supervisor
from embedded.temporal import Temporal
from gateways.stripe.events import SUBSCRIPTIONS

DATABASE = "paysaga"
APPLICATION_LOGIN = "paysaga"

SERVERS = frozenset({"postgres", "temporal", "sandbox", "broker"})
PIECES = SERVERS | {"migrations", "seed", "worker", "api"}


def free_settings(home: Path, **overrides: Any) -> Settings:
    """Settings of a stack beside all others: free ports and a folder of its own. For tests, demo and bench."""
    names = ("api_port", "temporal_port", "temporal_ui_port", "sandbox_port", "nats_port")
    ports = {name: free_port() for name in names}
    return Settings(**{"home": home, **ports, **overrides})


class EmbeddedStack:
    """The pieces of one data folder. `pieces` limits what is started; by default everything that has no address yet."""

    def __init__(
        self, settings: Settings, *, pieces: Collection[str] | None = None, display: Display | None = None
    ) -> None:
        if unknown := set(pieces or ()) - PIECES:
            raise ValueError(f"unknown pieces: {sorted(unknown)}")
        self._given = settings
        self.home = Home(settings.home)
        self.display: Display = display or QuietDisplay()
        self.pieces = self._decide(settings, PIECES if pieces is None else frozenset(pieces))
        self.postgres = Postgres.in_home(self.home)
        self.temporal = Temporal.in_home(
            self.home,
            port=settings.temporal_port,
            ui_port=settings.temporal_ui_port,
            namespace=settings.temporal_namespace,
            ui_codec_endpoint=f"{self.api_url}/codec" if "api" in self.pieces else None,
        )
        self.nats = Nats(self.home, settings.nats_port)
        self.settings = settings
        self._supervisor = Supervisor(self.home, self.display)
        self._locks = ExitStack()

    @staticmethod
    def _decide(settings: Settings, wanted: Collection[str]) -> frozenset[str]:
        """Leave out what has an address; a real database is never seeded, and migrated only by its owner."""
        theirs: set[str] = set()
        if settings.database_url:
            theirs |= {"postgres", "seed"} | (set() if settings.database_owner_url else {"migrations"})
        if settings.temporal_address:
            theirs.add("temporal")
        if settings.stripe_api_key:
            theirs.add("sandbox")
        if settings.events_url:
            theirs.add("broker")
        return frozenset(wanted) - theirs

    def pid_of(self, name: str) -> int:
        """The process of a child (`temporal`, `worker`, …) that runs now. Raises StackError."""
        return self._supervisor.pid_of(name)

    # --- life ---

    async def __aenter__(self) -> Self:
        self.home.prepare()
        # Before anything else: what the folder says about running children is another stack's until we hold the lock.
        self._locks.enter_context(self.home.locked())
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        await self._supervisor.stop_stale()
        self._require_ports()
        self.settings = self._given.model_copy(update=self._addresses())
        await _together(*(start() for start in self._servers()))
        if "migrations" in self.pieces:
            await self._supervisor.run_once(self._module("migrations", "Database schema", "db", "migrate", owner=True))
        if "seed" in self.pieces:
            await self._supervisor.run_once(
                self._module("seed", "Development key, merchants", "db", "seed", DEVELOPMENT_API_KEY, owner=True)
            )
        await _together(*(self._supervisor.start(child) for child in self._programs()))
        self.home.write_stack(self.environment())

    async def _stop(self) -> None:
        """Stop to the end, whatever happens: to be cancelled on the way only means to hurry."""
        stopping = asyncio.create_task(self._stop_children())
        cancelled: asyncio.CancelledError | None = None
        with self._locks:
            while not stopping.done():
                try:
                    await asyncio.shield(stopping)
                except asyncio.CancelledError as error:
                    cancelled = error
                    self._supervisor.hurry()
        if cancelled is not None:
            raise cancelled

    async def _stop_children(self) -> None:
        self.home.forget_stack()
        await self._supervisor.stop()

    def _require_ports(self) -> None:
        """Say which port is taken before anything is started, not in a child's log."""
        given, local = self._given, "127.0.0.1"
        if "api" in self.pieces and given.api_tls_cert_path is not None:
            raise StackError(
                "The embedded stack speaks plain HTTP on this machine: leave out PAYSAGA_API_TLS_CERT_PATH, or start"
                " the API alone with `paysaga api`."
            )
        ports = [
            ("temporal", local, given.temporal_port, "Temporal", "PAYSAGA_TEMPORAL_PORT"),
            ("temporal", local, given.temporal_ui_port, "the Temporal UI", "PAYSAGA_TEMPORAL_UI_PORT"),
            ("sandbox", given.sandbox_host, given.sandbox_port, "the sandbox", "PAYSAGA_SANDBOX_PORT"),
            ("broker", local, given.nats_port, "NATS", "PAYSAGA_NATS_PORT"),
            ("api", given.api_host, given.api_port, "the API", "PAYSAGA_API_PORT"),
        ]
        for piece, host, port, what, variable in ports:
            if piece in self.pieces:
                require_free(host, port, what=what, variable=variable)

    # --- pieces ---

    def _servers(self) -> list[Callable[[], Awaitable[None]]]:
        """The servers under the application; they do not need each other."""
        starts: dict[str, Callable[[], Awaitable[None]]] = {
            "postgres": self._start_postgres,
            "temporal": lambda: self._supervisor.start(self.temporal.child()),
            "sandbox": lambda: self._supervisor.start(self._sandbox()),
            "broker": lambda: self._supervisor.start(self.nats.child()),
        }
        return [start for piece, start in starts.items() if piece in self.pieces]

    async def _start_postgres(self) -> None:
        if self.postgres.exists:
            opened = await self.postgres.prepare()
        else:
            with self.display.step("PostgreSQL data folder", str(self.postgres.data)):
                opened = await self.postgres.prepare()
        foreign = [folder for folder in opened if not folder.is_relative_to(self.home.path)]
        if foreign:
            folders = ", ".join(map(str, foreign))
            user = self.postgres.system_user
            self.display.note(
                f"PostgreSQL does not run as root: its user {user} may now pass (chmod o+x) through {folders}"
            )
        await self._supervisor.start(self.postgres.child())
        await self.postgres.create_database(DATABASE)

    def _sandbox(self) -> Child:
        settings = self.settings
        api = local_url(settings.api_host, settings.api_port)
        address = ("--host", settings.sandbox_host, "--port", str(settings.sandbox_port))
        data = ("--data", str(self.home.sandbox_database))
        webhooks = ("--webhook-url", f"{api}/webhooks/stripe", "--webhook-secret", SANDBOX_WEBHOOK_SECRET)
        own, of_sellers = (",".join(SUBSCRIPTIONS[scope]) for scope in (EventScope.ACCOUNT, EventScope.SELLERS))
        events = ("--webhook-events", own, "--webhook-seller-events", of_sellers)
        arguments = (*address, *data, *webhooks, *events, "--account-key", SANDBOX_STRIPE_KEY)
        ready = partial(http_ok, f"{self.sandbox_url}/healthz")
        return self._module("sandbox", "Sandbox PSP", "sandbox", *arguments, ready=ready, detail=self.sandbox_url)

    def _programs(self) -> list[Child]:
        """The application itself."""
        ready = partial(http_ok, f"{self.api_url}/readyz")
        children = {
            "worker": self._module(
                "worker",
                "Worker",
                "workers",
                ready_file=self.home.run / "worker.ready",
                detail=f"task queue {self.settings.temporal_task_queue}",
            ),
            "api": self._module("api", "API", "api", ready=ready, detail=self._api_detail()),
        }
        return [child for piece, child in children.items() if piece in self.pieces]

    def _api_detail(self) -> str:
        several = self.settings.api_processes
        return self.api_url if several == 1 else f"{self.api_url}, {several} processes"

    def _module(self, name: str, title: str, module: str, *arguments: str, owner: bool = False, **more: Any) -> Child:
        """One of our own modules as a child. Only what migrates and seeds gets the address of the schema's owner."""
        env = {**os.environ, **self.environment()}
        if not owner:
            env.pop("PAYSAGA_DATABASE_OWNER_URL", None)
        return Child(name=name, title=title, argv=(sys.executable, "-m", module, *arguments), env=env, **more)

    # --- addresses ---

    @property
    def api_url(self) -> str:
        """The API as this machine reaches it."""
        return local_url(self._given.api_host, self._given.api_port)

    @property
    def sandbox_url(self) -> str:
        """The sandbox PSP as this machine reaches it."""
        return local_url(self._given.sandbox_host, self._given.sandbox_port)

    def _addresses(self) -> dict[str, Any]:
        """The addresses that the settings leave open, of the pieces that run here."""
        given = self._given
        # Also what equals a default: whoever reads stack.json may have other variables in its own environment.
        update: dict[str, Any] = {"home": self.home.path, "api_host": given.api_host, "api_port": given.api_port}
        if "postgres" in self.pieces:
            update["database_url"] = SecretStr(self.postgres.url(DATABASE, APPLICATION_LOGIN))
            update["database_owner_url"] = SecretStr(self.postgres.url(DATABASE))
        if "temporal" in self.pieces:
            update["temporal_address"] = self.temporal.address
            update["temporal_ui_url"] = given.temporal_ui_url or self.temporal.ui_url
        if "sandbox" in self.pieces:
            update["stripe_api_key"] = SecretStr(SANDBOX_STRIPE_KEY)
            update["stripe_base_url"] = self.sandbox_url
            update["sandbox_url"] = given.sandbox_url or self.sandbox_url
            update["stripe_webhook_secret"] = SecretStr(SANDBOX_WEBHOOK_SECRET)
        if "broker" in self.pieces:
            update["events_url"] = SecretStr(self.nats.url)
        if {"temporal", "seed"} <= self.pieces:
            update["codec_local_api_key"] = SecretStr(DEVELOPMENT_API_KEY)
        if given.encryption_keys is None:
            update["encryption_keys"] = SecretStr(self.home.encryption_keys())
        return update

    def environment(self) -> dict[str, str]:
        """The settings as `PAYSAGA_*` variables: every one that was set, by a person or by the pieces that run here."""
        return settings_environment(self.settings)


def settings_environment(settings: Settings) -> dict[str, str]:
    """`PAYSAGA_*` variables from which another process builds the same settings."""
    values = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
    return {f"PAYSAGA_{name.upper()}": _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    return str(value)


async def _together(*starts: Awaitable[None]) -> None:
    """Run side by side; the first failure ends the others and is raised as itself."""

    async def run(start: Awaitable[None]) -> None:
        await start

    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(run(start))
    except BaseExceptionGroup as failures:  # `except*` of Python 3.11.2, Debian's, would raise a group again
        ours = failures.subgroup(StackError)
        if ours is None:
            raise
        raise _first(ours) from None


def _first(failures: BaseExceptionGroup[StackError]) -> StackError:
    """The sentence to show: one is enough, the others are mostly its consequences."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
