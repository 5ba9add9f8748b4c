"""(d) The same logic with asyncpg and nothing else: what dies in the middle stays there."""

from bench.subjects.peer import PeerPayment, open_logic
from bench.subjects.subject import Subject


class Plain(Subject):
    """Two transactions around the PSP's call."""

    async def open(self) -> None:
        self._logic = await open_logic(self, self.opening)

    async def send(self) -> str:
        payment = PeerPayment.new(self._next(), self.plan.buyer, self._seller())
        async with self._logic.pool.acquire() as connection:
            await self._logic.store(connection, payment)
        self.made += 1
        status = await self._logic.settle(payment, await self._logic.charge(payment))
        return status if status == "SUCCESS" else f"error {status}"


SUBJECT = Plain
