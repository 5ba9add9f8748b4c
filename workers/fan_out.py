"""The fan-out: the leader of its sink makes deliveries of events, in the order in which they were written."""

import asyncio

from db.event.leader import Leader
from db.webhook_endpoint.fan_out import FAN_OUT
from domain.message import Sink
from workers.relay_metrics import SinkMetrics

_BATCH = 500
_POLL_S = 0.1
_POLL_IDLE_S = 0.5
_IDLE_AFTER_S = 5.0
_LOOK_S = 5.0


class FanOutPump:
    """Each event once, in one statement. The first endpoint makes its sink active: without one there is nothing to
    do."""

    sink = Sink.FANOUT

    async def run(self, leader: Leader, metrics: SinkMetrics) -> None:
        clock = asyncio.get_running_loop().time
        looked = had_some = clock() - _LOOK_S
        while True:
            events: int = (await leader.row(FAN_OUT, _BATCH))["events"]
            if events:
                metrics.published(events)
                had_some = clock()
            if clock() - looked >= _LOOK_S:
                looked = clock()
                await leader.reached()
                metrics.tell(await leader.backlog())
            if events < _BATCH:
                await asyncio.sleep(_POLL_S if clock() - had_some < _IDLE_AFTER_S else _POLL_IDLE_S)
