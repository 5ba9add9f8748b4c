"""Two API processes on one port: each takes payments and works on them, either may be killed, both stop in order."""

import asyncio
import copy
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psutil  # type: ignore[import-untyped]
import pytest

from db.audit.audit import audit_database
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.programs import Program
from tests.support.shop import Shop


@dataclass
class Two:
    """A shop that can choose which process its requests go to, and everything that it bought."""

    paysaga: Deployment
    shop: Shop
    stack: AsyncExitStack
    bought: list[str]

    def pids(self) -> list[int]:
        return sorted(child.pid for child in psutil.Process(self.paysaga.api.pid).children())

    async def both(self) -> list[int]:
        """The two processes, once there are two that serve."""

        async def serving() -> list[int] | None:
            listening = [pid for pid in self.pids() if self._sockets(pid, psutil.CONN_LISTEN)]
            return listening if len(listening) == 2 else None

        return await eventually(serving, what=f"two processes, see {self.paysaga.folder}/api.log")

    async def through(self, pid: int) -> Shop:
        """The shop on a connection to this process, for one request at once. The system decides whose a new one is, so
        several are tried."""

        async def connected() -> Shop | None:
            client = await self.stack.enter_async_context(self.paysaga._client())
            answer = await client.get("/healthz")
            assert answer.status_code == 200
            own = answer.extensions["network_stream"].get_extra_info("client_addr")
            if own not in self._clients(pid):
                return None
            there = copy.copy(self.paysaga)
            there.http = client
            return Shop(there, self.shop.tenant, self.shop.secret)

        return await eventually(connected, what=f"a connection to {pid}")

    def _clients(self, pid: int) -> set[tuple[str, int]]:
        """The addresses of those that are connected to a process: our own, and the PSP's with its webhooks."""
        return {tuple(socket.raddr) for socket in self._sockets(pid, psutil.CONN_ESTABLISHED)}

    def _sockets(self, pid: int, status: str) -> list[Any]:
        port = self.paysaga.settings.api_port
        found = psutil.Process(pid).net_connections(kind="tcp")
        return [socket for socket in found if socket.laddr.port == port and socket.status == status]

    def checkout(self) -> str:
        checkout = self.shop.checkout()
        self.bought.append(checkout)
        return checkout

    async def held(self) -> tuple[str, str]:
        """A checkout whose charge the PSP will hold, and the hold."""
        checkout = self.checkout()
        return checkout, await self.paysaga.sandbox.fault("payment_intents.create", "hold_before", checkout=checkout)

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = (self.paysaga.folder / "api.log").read_text().splitlines()
        return [line for text in lines if text.startswith("{") and (line := json.loads(text))["event"] == event]


@pytest.fixture
async def two(deploy: Deploy) -> AsyncIterator[Two]:
    paysaga = await deploy(api_processes=2, workflow_task_timeout_s=2.0)
    async with AsyncExitStack() as stack:
        yield Two(paysaga, await paysaga.shop("two"), stack, [])


async def test_two_processes_on_one_port(two: Two) -> None:
    """One deployment for all of it."""
    await _each_takes_payments_and_works_on_them(two)
    await _one_goes_on_with_what_the_other_took_in(two)
    await _one_is_killed_in_the_middle_of_payments(two)
    await _a_start_that_cannot_be_is_refused(two)
    await _both_end_their_requests_before_they_stop(two)
    assert await audit_database(two.paysaga.database) == []
    for checkout in two.bought:
        assert (await two.paysaga.sandbox.log(checkout)).charged == [50000]


async def _each_takes_payments_and_works_on_them(two: Two) -> None:
    for pid in await two.both():
        payment = await (await two.through(pid)).paid(two.checkout())
        assert payment["status"] == "SUCCESS"
        workflow = two.paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}")
        await workflow.result()
        history = await workflow.fetch_history()
        workers = {
            event.workflow_task_completed_event_attributes.identity.partition("@")[0] for event in history.events
        }
        assert workers - {""} == {str(pid)}
    assert {line["process"] for line in two.log("Application startup complete.")} == {1, 2}


async def _one_goes_on_with_what_the_other_took_in(two: Two) -> None:
    here, there = [await two.through(pid) for pid in await two.both()]
    payment = await here.paid(two.checkout(), confirm=False)
    assert payment["status"] == "NOT_STARTED"
    assert (await there.post(f"/v1/payments/{payment['id']}/confirm")).json()["status"] == "SUCCESS"
    assert (await here.payment(payment["id"]))["status"] == "SUCCESS"


async def _one_is_killed_in_the_middle_of_payments(two: Two) -> None:
    """Its clients lose their connections, and send the same key again; the other process takes all of it over."""
    killed, other = await two.both()
    orders = [(await two.held(), str(uuid4()), await two.through(pid)) for pid in (killed, killed, other, other)]
    # Made before: a new connection may still be one of the killed process, whose port closes after its connections.
    spared = [await two.through(other) for _ in range(2)]
    waiting = [asyncio.create_task(shop.pay(checkout, key=key, wait=30)) for (checkout, _), key, shop in orders]
    for (_, hold), _, _ in orders:
        await two.paysaga.sandbox.struck(hold)
    os.kill(killed, signal.SIGKILL)
    lost = await asyncio.gather(*waiting[:2], return_exceptions=True)
    assert [isinstance(answer, httpx2.TransportError) for answer in lost] == [True, True]
    again = [
        asyncio.create_task(shop.pay(checkout, key=key))
        for shop, ((checkout, _), key, _) in zip(spared, orders, strict=False)
    ]
    for (_, hold), _, _ in orders:
        await two.paysaga.sandbox.release(hold)
    for answer in await asyncio.gather(*again, *waiting[2:]):
        assert answer.status_code in (200, 201, 202), answer.text
        assert (await spared[0].until(answer.json()["id"]))["status"] == "SUCCESS"
    (died,) = two.log("api_process_died")
    assert (died["pid"], died["exit_code"]) == (killed, -signal.SIGKILL)
    (new,) = set(await two.both()) - {other}
    assert (await (await two.through(new)).paid(two.checkout()))["status"] == "SUCCESS"
    assert [line["pid"] for line in two.log("api_process_started") if line["number"] == died["number"]] == [killed, new]


async def _a_start_that_cannot_be_is_refused(two: Two) -> None:
    """More connections than PostgreSQL has (1,000 here), a port that is taken: one sentence that names the remedy."""
    for number, (setting, value, sentence) in enumerate(
        [
            ("PAYSAGA_DATABASE_POOL_SIZE", "600", "lower PAYSAGA_API_PROCESSES or PAYSAGA_DATABASE_POOL_SIZE"),
            ("PAYSAGA_API_PROCESSES", "3", "Address already in use"),
        ]
    ):
        said = two.paysaga.folder / f"refused-{number}"
        environment = two.paysaga.environment() | {"PAYSAGA_LOG_LEVEL": "critical", setting: value}
        if number == 0:
            environment["PAYSAGA_API_PORT"] = str(two.paysaga.settings.api_port + 1)
        assert await Program("api", env=environment, out=said).ended() == 2
        assert sentence in said.read_text()


async def _both_end_their_requests_before_they_stop(two: Two) -> None:
    """The parent alone is told. Nobody new is let in, those inside get their answers, nothing is left running."""
    pids = await two.both()
    parent = two.paysaga.api.pid
    held = [(await two.held(), await two.through(pid)) for pid in pids]
    waiting = [asyncio.create_task(shop.pay(checkout, wait=30)) for (checkout, _), shop in held]
    for (_, hold), _ in held:
        await two.paysaga.sandbox.struck(hold)
    os.kill(parent, signal.SIGTERM)

    async def refused() -> bool:
        async with two.paysaga._client() as client:
            try:
                await client.get("/healthz")
            except httpx2.TransportError:
                return True
            return False

    await eventually(refused, what="nobody new is let in")
    for (_, hold), _ in held:
        await two.paysaga.sandbox.release(hold)
    for answer in await asyncio.gather(*waiting):
        assert (answer.status_code, answer.json()["status"]) == (201, "SUCCESS"), answer.text

    async def gone() -> bool:
        return not two.paysaga.api.running and not any(map(psutil.pid_exists, pids))

    await eventually(gone, what="all processes have ended")
    assert len(two.log("api_process_died")) == 1, "the one that was killed"


@pytest.mark.parametrize(
    ("package", "variable", "others"),
    [
        ("aiokafka", {"PAYSAGA_EVENTS_URL": "kafka://127.0.0.1:9"}, {}),
        (
            "twilio.rest",
            {"PAYSAGA_TWILIO_ACCOUNT_SID": "AC1"},
            {"PAYSAGA_TWILIO_AUTH_TOKEN": "secret", "PAYSAGA_TWILIO_SMS_FROM": "+15550100"},
        ),
    ],
    ids=["kafka", "twilio"],
)
async def test_a_worker_says_in_one_sentence_what_its_settings_need(
    shared: Deployment, tmp_path: Path, package: str, variable: dict[str, str], others: dict[str, str]
) -> None:
    own = {"PAYSAGA_TEMPORAL_TASK_QUEUE": "lacking", **variable, **others}
    out, err = tmp_path / "out", tmp_path / "err"
    arguments = ("tests.support.without", package, "workers")
    worker = await asyncio.to_thread(Program, *arguments, env=shared.environment() | own, out=out, err=err)
    assert await worker.ended() == 2
    said = err.read_text()
    assert "Traceback" not in said
    sentence = said.splitlines()[-1]
    assert sentence.startswith(f"{next(iter(variable))} needs the package {package.partition('.')[0]}")
    assert "make clients" in sentence
