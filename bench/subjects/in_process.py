"""(e) Paysaga without HTTP: the service that the route calls, in a process with a worker of its own."""

import hashlib

from bench.subjects.subject import AMOUNT, CURRENCY, TOKEN, Subject
from config.settings import DEVELOPMENT_API_KEY, Settings
from db import api_key
from db.core.idempotency import Request
from domain.errors import PaysagaError
from domain.ids import payment_workflow_id
from domain.status import TERMINAL
from runtime.wiring import open_runtime
from services import checkout
from services.checkout import Checkout, CheckoutOrder
from services.command import Caller
from workers.worker import payment_worker, psp_worker, running

_TASK_QUEUE = "bench-process"
_WAIT_S = 25.0


class InProcess(Subject):
    """On a task queue of its own, so that the API's worker does none of its work."""

    async def open(self) -> None:
        settings = Settings(temporal_task_queue=_TASK_QUEUE)
        self._runtime = await self._stack.enter_async_context(open_runtime(settings, application="bench-process"))
        known = await self._runtime.database.run(lambda c: api_key.find(c, DEVELOPMENT_API_KEY))
        assert known is not None, "the stack is seeded"
        self._caller = Caller(actor=known.actor, tenant_id=known.tenant_id)
        durable = (psp_worker(self._runtime, psp) for psp in self._runtime.psps)
        await self._stack.enter_async_context(running([payment_worker(self._runtime), *durable]))

    async def send(self) -> str:
        name = self._next()
        wanted = Checkout(
            checkout_id=name,
            buyer_id=self.plan.buyer,
            buyer_email=None,
            buyer_country=None,
            method="card",
            token=TOKEN,
            currency=CURRENCY,
            orders=[CheckoutOrder(f"{name}-0", self._seller(), AMOUNT)],
            capture="automatic",
            on_authorization_expiry="void",
            on_partial_failure="compensate_all",
            confirm=True,
            metadata={},
        )
        request = Request(key=name, hash=hashlib.sha256(name.encode()).digest())
        try:
            done = await checkout.create(self._runtime, self._caller, wanted, request=request, wait_s=_WAIT_S)
        except PaysagaError as error:
            return f"error {error.code}"
        self.made += 1
        self.workflows.append(payment_workflow_id(done.payment.id))
        ended = done.payment.status in TERMINAL
        return f"{201 if ended else 202} {done.payment.status}"


SUBJECT = InProcess
