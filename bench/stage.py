"""Everything that a measurement needs running: a stack of its own, its PSP, and a load process for each subject."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import asyncpg
import psutil  # type: ignore[import-untyped]
from pydantic import SecretStr
from temporalio.client import Client

from bench.costs import CounterReader, Processes
from bench.host import Host
from bench.money import Books, Paid
from bench.options import Options
from bench.plan import Opening, SubjectName
from config.settings import SANDBOX_STRIPE_KEY, SANDBOX_WEBHOOK_SECRET, Settings
from embedded.display import Display
from embedded.errors import StackError
from embedded.ports import free_port, local_url
from embedded.probes import http_ok
from embedded.stack import EmbeddedStack, free_settings
from runtime.temporal import connect
from runtime.wiring import keyring_of

RAISED = {"stripe_rate_per_s": 10_000.0, "stripe_concurrency_max": 1_000}
"""The pacing protects the account at a real PSP; left as it is, it could be all that is measured."""

UNLIMITED = {**RAISED, "api_rate_per_key": "0", "api_rate_per_tenant": "0"}
"""The same for the one shop whose requests are measured; 0: any number."""

SELLERS = tuple(f"bench-seller-{number}" for number in range(50))
"""Many, as at a marketplace: payments to one seller wait for each other's wallet."""

PEERS: tuple[SubjectName, ...] = ("saga", "dbos", "asyncpg")
"""The subjects that have their own tables, each in a schema of its name."""

SERVERS = ("api", "worker", "temporal", "postgres", "psp")

_DATABASE = "bench"
_TEMPORAL_DATABASE = "temporal_database"
"""What another Temporal server has for itself; counted with it."""
_WEBHOOK_S = 0.3
_PSP_PATIENCE_S = 20.0
_ROOT = Path(__file__).parent.parent


def _peer_key(subject: SubjectName) -> str:
    """The account of a peer at the PSP."""
    return f"sk_test_bench_{subject}"


@dataclass
class Stage:
    """A running stack and what is needed to look at it from outside."""

    options: Options
    stack: EmbeddedStack
    books: Books
    counters: CounterReader
    temporal: Client
    psp_url: str
    hosts: Mapping[SubjectName, Host]
    processes: Processes

    @classmethod
    @asynccontextmanager
    async def started(cls, options: Options, display: Display) -> AsyncIterator[Self]:
        """Start everything. Raises StackError."""
        async with AsyncExitStack() as opened:
            folder = tempfile.TemporaryDirectory(prefix="paysaga-bench-", ignore_cleanup_errors=True)
            settings = _own_settings(Path(opened.enter_context(folder)), options)
            psp = await opened.enter_async_context(_cheap_psp(settings, options))
            stack = await opened.enter_async_context(EmbeddedStack(settings, display=display))
            psp_url, psp_pid = psp or (stack.sandbox_url, stack.pid_of("sandbox"))
            books = Books(stack.api_url, psp_url, SANDBOX_STRIPE_KEY)
            opened.push_async_callback(books.close)
            await _prepare(stack, books, psp_url, options, delay=psp is None)
            hosts = {}
            with display.step("Load processes", ", ".join(options.subjects)):
                for subject in options.subjects:
                    host = Host.started(
                        _opening(subject, stack, options.psp_s), _environment(stack), stack.home.log(f"load-{subject}")
                    )
                    hosts[subject] = await opened.enter_async_context(host)
                await asyncio.gather(*(host.opened() for host in hosts.values()))
            counters = await CounterReader.connect(stack.postgres.url("postgres"))
            opened.push_async_callback(counters.close)
            temporal = await connect(stack.settings, keyring_of(stack.settings))
            servers = {name: _pid_of(stack, name) for name in SERVERS if name != "psp"} | {"psp": psp_pid}
            if "temporal" not in stack.pieces:
                servers[_TEMPORAL_DATABASE] = _database_of(servers["temporal"])
            trees = frozenset({"postgres", _TEMPORAL_DATABASE, *(["api"] if options.processes > 1 else [])})
            processes = Processes({**servers, **{name: host.pid for name, host in hosts.items()}}, trees)
            yield cls(options, stack, books, counters, temporal, psp_url, hosts, processes)

    def cpu_since(self, before: Mapping[str, float]) -> dict[str, float]:
        """CPU seconds by process. Raises StackError where one was started anew: what was measured is void then."""
        for name in SERVERS:
            if name != "psp" and _pid_of(self.stack, name) != self.processes.pids[name]:
                raise StackError(f"{name} died under the load and was started again: the measurement is void.")
        since = {name: seconds - before[name] for name, seconds in self.processes.cpu_s().items()}
        since["temporal"] += since.pop(_TEMPORAL_DATABASE, 0.0)
        return since

    async def peer_payments(self, subject: SubjectName) -> list[Paid]:
        """A peer's payments as its tables have them."""
        connection = await asyncpg.connect(self.stack.postgres.url(_DATABASE))
        try:
            rows = await connection.fetch(f"SELECT id, status, amount FROM {subject}.payment")  # noqa: S608 - our own name
        finally:
            await connection.close()
        return [Paid(row["id"], row["status"], row["amount"]) for row in rows]

    @asynccontextmanager
    async def peer_books(self, subject: SubjectName) -> AsyncIterator[Books]:
        """The PSP's side of a peer."""
        books = Books(self.stack.api_url, self.psp_url, _peer_key(subject))
        try:
            yield books
        finally:
            await books.close()


def _pid_of(stack: EmbeddedStack, name: str) -> int:
    """Of a Temporal server that the stack did not start: whoever listens there. Raises StackError."""
    address = stack.settings.temporal_address
    if name != "temporal" or "temporal" in stack.pieces or address is None:
        return stack.pid_of(name)
    pid = _listening().get(int(address.rpartition(":")[2]))
    if pid is None:
        raise StackError(f"No process of this machine that may be looked at listens at {address}.")
    return pid


def _database_of(temporal: int) -> int:
    """The PostgreSQL that a Temporal server is connected to. Raises StackError."""
    listening = _listening()
    for port in {one.raddr.port for one in psutil.Process(temporal).net_connections("tcp") if one.raddr}:
        pid = listening.get(port)
        if pid is not None and psutil.Process(pid).name().startswith("postgres"):
            return pid
    raise StackError("The Temporal server's PostgreSQL is not on this machine: its processor time cannot be seen.")


def _listening() -> dict[int, int]:
    """The processes of this machine that listen, by port."""
    sockets = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
    return {one.laddr.port: one.pid for one in sockets if one.pid is not None}


def _own_settings(home: Path, options: Options) -> Settings:
    """Nothing of the person's own settings: no real PSP, database or cluster is ever touched, but a Temporal server
    that was named for it."""
    for name in [name for name in os.environ if name.startswith("PAYSAGA_")]:
        del os.environ[name]
    common = {"api_processes": options.processes, "temporal_address": options.temporal, **UNLIMITED}
    if options.psp == "sandbox":
        return free_settings(home / "home", **common)
    return free_settings(
        home / "home",
        stripe_api_key=SecretStr(SANDBOX_STRIPE_KEY),
        stripe_webhook_secret=SecretStr(SANDBOX_WEBHOOK_SECRET),
        stripe_base_url=local_url("127.0.0.1", free_port()),
        **common,
    )


@asynccontextmanager
async def _cheap_psp(settings: Settings, options: Options) -> AsyncIterator[tuple[str, int] | None]:
    """The address and process of a PSP that costs next to nothing; None where the sandbox is the PSP."""
    if settings.stripe_base_url is None:
        yield None
        return
    url = settings.stripe_base_url
    api = local_url(settings.api_host, settings.api_port)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.psp", "--port", url.rpartition(":")[2], "--delay-ms", str(options.psp_s * 1000)),
        *("--webhook-ms", str(_WEBHOOK_S * 1000), "--webhook-url", f"{api}/webhooks/stripe"),
        *("--webhook-secret", SANDBOX_WEBHOOK_SECRET, "--account-key", SANDBOX_STRIPE_KEY),
        cwd=_ROOT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_PSP_PATIENCE_S):
            while not await http_ok(f"{url}/healthz"):
                if process.returncode is not None:
                    raise StackError("The bench's PSP did not start.")
                await asyncio.sleep(0.05)
        yield url, process.pid
    except TimeoutError:
        raise StackError("The bench's PSP did not start.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _prepare(stack: EmbeddedStack, books: Books, psp_url: str, options: Options, *, delay: bool) -> None:
    """Sellers, the peers' database, and the time that the sandbox takes to answer and to send a webhook (`delay`)."""
    for seller in SELLERS:
        await books.add_seller(seller)
    await stack.postgres.create_database(_DATABASE)
    if not delay or not options.psp_s:
        return
    await books.delay_psp(options.psp_s, _WEBHOOK_S)
    for subject in PEERS:
        alone = Books(stack.api_url, psp_url, _peer_key(subject))
        await alone.delay_psp(options.psp_s, _WEBHOOK_S)
        await alone.close()


def _opening(subject: SubjectName, stack: EmbeddedStack, psp_s: float) -> Opening:
    return Opening(
        subject=subject,
        api_url=stack.api_url,
        database_url=stack.postgres.url(_DATABASE),
        psp_key=_peer_key(subject),
        psp_s=psp_s,
        sellers=list(SELLERS),
    )


def _environment(stack: EmbeddedStack) -> dict[str, str]:
    return {**os.environ, **stack.environment()}
