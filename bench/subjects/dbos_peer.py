"""(c) The same logic as a workflow of DBOS, in process: it writes down in PostgreSQL where each workflow stands."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import dbos

from bench.subjects.peer import PeerLogic, PeerPayment, open_logic
from bench.subjects.subject import Subject

_DATABASE = "bench_dbos"


class DbosPeer(Subject):
    """A workflow under the payment's id, called where its end is waited for."""

    async def open(self) -> None:
        self._logic = await open_logic(self, self.opening)
        await self._create_database()
        url = self.opening.database_url.replace("/bench?", f"/{_DATABASE}?")
        config: dict[str, Any] = {
            "name": "bench",
            "system_database_url": url,
            "sys_db_pool_size": 20,
            "log_level": "ERROR",
            "application_version": "bench",
            "executor_id": "bench",
        }
        dbos.DBOS(config=config)
        self._pay = _workflow(self._logic)
        dbos.DBOS.launch()

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self.opening.database_url)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _DATABASE):
                await connection.execute(f"CREATE DATABASE {_DATABASE}")
        finally:
            await connection.close()

    async def send(self) -> str:
        payment = PeerPayment.new(self._next(), self.plan.buyer, self._seller())
        with dbos.SetWorkflowID(payment.id):
            status = await self._pay(payment.plain())
        self.made += 1
        return status if status == "SUCCESS" else f"error {status}"


def _workflow(logic: PeerLogic) -> Callable[[dict[str, Any]], Awaitable[str]]:
    """Three steps: store, charge, settle."""

    async def store(payment: dict[str, Any]) -> None:
        async with logic.pool.acquire() as connection:
            await logic.store(connection, PeerPayment.of(payment))

    async def charge(payment: dict[str, Any]) -> list[Any]:
        return list(await logic.charge(PeerPayment.of(payment)))

    async def settle(payment: dict[str, Any], charged: list[Any]) -> str:
        outcome, reference, fee = charged
        return await logic.settle(PeerPayment.of(payment), (outcome, reference, fee))

    steps = {step.__name__: dbos.DBOS.step(name=step.__name__)(step) for step in (store, charge, settle)}

    async def pay(payment: dict[str, Any]) -> str:
        await steps["store"](payment)
        status: str = await steps["settle"](payment, await steps["charge"](payment))
        return status

    found: Callable[[dict[str, Any]], Awaitable[str]] = dbos.DBOS.workflow(name="pay")(pay)
    return found


SUBJECT = DbosPeer
