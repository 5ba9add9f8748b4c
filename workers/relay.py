"""The relay: hands the outbox's events on, in order and at least once, as long as this process leads.

Every worker process runs it; one leads each sink, the others wait, and the next one leads within half a second of its
end. It is no workflow: its state is rows, and events go out while Temporal is away.

What is done with a sink's events is its `Pump`: `BrokerPump` publishes them, `FanOutPump` makes deliveries of webhooks.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from config.settings import Settings
from db.event.leader import Leader
from domain.errors import Unavailable
from domain.message import Message, Sink
from gateways.brokers.protocol import Broker, BrokerAway
from workers.fan_out import FanOutPump
from workers.polling import BATCH, drain
from workers.relay_metrics import SinkMetrics

_STANDBY_S = 0.5
_BACKOFF_FIRST_S = 0.5
_BACKOFF_MAX_S = 30.0
_ATTEMPTS_MAX = 5
_ATTEMPT_GAP_S = 0.2

_LOG = logging.getLogger(__name__)


class Pump(Protocol):
    """The work on the events of a sink."""

    sink: Sink

    async def run(self, leader: Leader, metrics: SinkMetrics) -> None:
        """Work for as long as this process leads; lets Unavailable through, which ends the leadership."""


@asynccontextmanager
async def relaying(settings: Settings, broker: Broker | None) -> AsyncIterator[None]:
    """While the block runs, this process leads the sinks that there are, or waits to. `broker` is not connected yet."""
    rate_per_s = settings.relay_rate_per_s
    pumps: list[Pump] = [FanOutPump(rate_per_s)]
    if broker is not None:
        pumps.append(BrokerPump(broker, rate_per_s))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lead(settings, pump), name=f"relay {pump.sink.label}") for pump in pumps]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def lead(settings: Settings, pump: Pump) -> None:
    """Wait for the lead, have the pump work, and begin again when it is lost; until cancelled."""
    assert settings.database_url is not None, "a runtime is open"
    metrics = SinkMetrics(pump.sink)
    while True:
        try:
            await _lead_once(settings.database_url.get_secret_value(), pump, metrics)
        except Unavailable as error:
            _LOG.warning("relay of %s: %s", pump.sink.label, error)
        except Exception:  # noqa: BLE001 - whatever it is, events must go out again
            _LOG.exception("relay of %s", pump.sink.label)
        await asyncio.sleep(_STANDBY_S)


async def _lead_once(url: str, pump: Pump, metrics: SinkMetrics) -> None:
    leader = await Leader.connect(url, pump.sink)
    try:
        while not await leader.leads():  # noqa: ASYNC110 - asked of the database
            await asyncio.sleep(_STANDBY_S)
        _LOG.info("relay of %s: this process leads", pump.sink.label)
        with metrics.leading():
            await pump.run(leader, metrics)
    finally:
        leader.close()


class BrokerPump:
    """Publishes to a broker. While that is away nothing is taken and nothing counted: events wait in the outbox.
    `rate_per_s`: of a backlog."""

    sink = Sink.BROKER

    def __init__(self, broker: Broker, rate_per_s: float) -> None:
        self._broker, self._rate_per_s = broker, rate_per_s

    async def run(self, leader: Leader, metrics: SinkMetrics) -> None:
        wait_s = _BACKOFF_FIRST_S
        await leader.activate()
        try:
            while True:
                try:
                    await self._broker.connect()
                    wait_s = _BACKOFF_FIRST_S
                    metrics.up(True)
                    await self._drain(leader, metrics)
                except BrokerAway as error:
                    metrics.up(False)
                    _LOG.warning("relay: %s; tried again in %s s", error, wait_s)
                metrics.tell(await leader.backlog())
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _BACKOFF_MAX_S)
        finally:
            await self._broker.close()

    async def _drain(self, leader: Leader, metrics: SinkMetrics) -> None:
        """Publish what is there and what comes. Raises BrokerAway."""

        async def publish() -> int:
            batch = await leader.claim(BATCH)
            if batch:
                await self._publish(leader, batch)
            return len(batch)

        await drain(leader, metrics, publish, rate_per_s=self._rate_per_s)

    async def _publish(self, leader: Leader, batch: Sequence[Message]) -> None:
        refused = await self._broker.publish(batch)
        await leader.done([message.seq for message in batch if message.seq not in refused])
        for message in batch:
            if message.seq in refused:
                await self._alone(leader, message, refused[message.seq])

    async def _alone(self, leader: Leader, message: Message, why: str) -> None:
        """Once more and once more, then it is a person's."""
        for _ in range(1, _ATTEMPTS_MAX):
            await asyncio.sleep(_ATTEMPT_GAP_S)
            refused = await self._broker.publish([message])
            if not refused:
                await leader.done([message.seq])
                return
            why = refused[message.seq]
        _LOG.error("relay: the broker refuses event %s: %s", message.id, why)
        await leader.give_up(message.seq, "refused", why, _ATTEMPTS_MAX)
