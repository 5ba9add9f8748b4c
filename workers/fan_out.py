"""The fan-out: the leader of its sink makes deliveries and notifications of events, in the order in which they were
written."""

from db.event.fan_out import FAN_OUT
from db.event.leader import Leader
from domain.message import Sink
from workers.polling import BATCH, drain
from workers.relay_metrics import SinkMetrics


class FanOutPump:
    """Each event once, in one statement. The first endpoint, or the first tenant that wants something told, makes its
    sink active: before that there is nothing to do. `rate_per_s`: of a backlog."""

    sink = Sink.FANOUT

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s

    async def run(self, leader: Leader, metrics: SinkMetrics) -> None:
        async def fan_out() -> int:
            if not await leader.has_work():
                return 0
            events: int = (await leader.row(FAN_OUT, BATCH))["events"]
            return events

        async def tell() -> None:
            metrics.dead_letters(await leader.dead_letters())

        await drain(leader, metrics, fan_out, tell, rate_per_s=self._rate_per_s)
