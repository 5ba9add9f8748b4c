"""The fan-out: the leader of its sink makes deliveries of events, in the order in which they were written."""

from db.event.leader import Leader
from db.webhook_endpoint.fan_out import FAN_OUT
from domain.message import Sink
from workers.polling import BATCH, drain
from workers.relay_metrics import SinkMetrics


class FanOutPump:
    """Each event once, in one statement. The first endpoint makes its sink active: without one there is nothing to
    do."""

    sink = Sink.FANOUT

    async def run(self, leader: Leader, metrics: SinkMetrics) -> None:
        async def fan_out() -> int:
            events: int = (await leader.row(FAN_OUT, BATCH))["events"]
            return events

        async def tell() -> None:
            metrics.dead_letters(await leader.dead_letters())

        await drain(leader, metrics, fan_out, tell)
