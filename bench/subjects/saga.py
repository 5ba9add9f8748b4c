"""(b) The saga as Temporal's samples write it, on the same server with the same client."""

from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from bench.subjects.peer import PeerLogic, PeerPayment, is_paid, open_logic
from bench.subjects.saga_workflow import SagaWorkflow
from bench.subjects.subject import Subject
from config.settings import Settings
from runtime.temporal import connect
from runtime.wiring import keyring_of

_TASK_QUEUE = "bench-saga"


class Activities:
    """The steps of the logic, each with a transaction of its own."""

    def __init__(self, logic: PeerLogic) -> None:
        self._logic = logic

    @activity.defn(name="bench_store")
    async def store(self, payment: dict[str, Any]) -> None:
        async with self._logic.pool.acquire() as connection:
            await self._logic.store(connection, PeerPayment.of(payment))

    @activity.defn(name="bench_charge")
    async def charge(self, payment: dict[str, Any]) -> bool:
        asked = PeerPayment.of(payment)
        charged = await self._logic.charge(asked)
        async with self._logic.pool.acquire() as connection:
            await self._logic.record(connection, asked, charged)
        return is_paid(charged[0])

    @activity.defn(name="bench_credit")
    async def credit(self, payment: dict[str, Any]) -> None:
        async with self._logic.pool.acquire() as connection:
            await self._logic.credit(connection, PeerPayment.of(payment))

    @activity.defn(name="bench_post")
    async def post(self, payment: dict[str, Any]) -> None:
        async with self._logic.pool.acquire() as connection:
            await self._logic.post(connection, PeerPayment.of(payment))

    @activity.defn(name="bench_complete")
    async def complete(self, payment: dict[str, Any], status: str) -> None:
        async with self._logic.pool.acquire() as connection:
            await self._logic.complete(connection, PeerPayment.of(payment), status)


class Saga(Subject):
    """Started by a client that waits for the result, with a worker of the SDK's defaults."""

    async def open(self) -> None:
        logic = await open_logic(self, self.opening)
        settings = Settings()
        self._temporal: Client = await connect(settings, keyring_of(settings))
        steps = Activities(logic)
        worker = Worker(
            self._temporal,
            task_queue=_TASK_QUEUE,
            workflows=[SagaWorkflow],
            activities=[steps.store, steps.charge, steps.credit, steps.post, steps.complete],
        )
        await self._stack.enter_async_context(worker)

    async def send(self) -> str:
        payment = PeerPayment.new(self._next(), self.plan.buyer, self._seller())
        workflow_id = f"bench:{payment.id}"
        run = SagaWorkflow.run
        status = await self._temporal.execute_workflow(run, payment.plain(), id=workflow_id, task_queue=_TASK_QUEUE)
        self.made += 1
        self.workflows.append(workflow_id)
        return status if status == "SUCCESS" else f"error {status}"


SUBJECT = Saga
