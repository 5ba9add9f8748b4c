"""`python -m workers`: a worker process that can take any payment over. Start as many as there are cores."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import prometheus_client
import uvloop
from pydantic import ValidationError

from config.settings import Settings, unusable
from runtime.logs import configure_logs
from runtime.temporal import register_search_attributes
from runtime.tls import check_tls
from runtime.wiring import SettingMissing, broker_of, channels_of, open_runtime
from workers.deliver import delivering
from workers.notify import notifying
from workers.relay import relaying
from workers.schedules import ensure_schedules
from workers.worker import batch_worker, payment_worker, psp_worker, running


async def main(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; then what has begun is finished, within a bound."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await check_tls(settings)
    async with open_runtime(settings, application="paysaga-worker") as runtime:
        await register_search_attributes(runtime.temporal)
        if settings.worker_schedules:
            await ensure_schedules(runtime.temporal, settings)
        if settings.worker_metrics_port is not None:
            prometheus_client.start_http_server(settings.worker_metrics_port)
        broker, channels = broker_of(settings), channels_of(settings)  # what is missing is said before anything begins
        durable = (psp_worker(runtime, psp) for psp in runtime.psps)
        workers = [payment_worker(runtime), batch_worker(runtime), *durable]
        async with running(workers), relaying(settings, broker), delivering(runtime), notifying(runtime, channels):
            ready = os.environ.get("PAYSAGA_READY_FILE")
            if ready:
                Path(ready).touch()  # noqa: ASYNC240 - once, at the start
            await stop.wait()


if __name__ == "__main__":
    try:
        settings = Settings()
    except ValidationError as error:
        print(*unusable(error), sep="\n", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    configure_logs(settings.log_level, settings.log_format)
    try:
        uvloop.run(main(settings))
    except SettingMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(2)
