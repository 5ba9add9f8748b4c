"""`python -m workers`: a worker process that can take any payment over. Start as many as there are cores."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import prometheus_client
import uvloop

from config.settings import Settings
from workers.log import configure_logs
from workers.schedules import ensure_schedules
from workers.services import SettingMissing, open_services, register_search_attributes
from workers.worker import ActivitySet, payment_worker, psp_worker, running


async def main(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; then what has begun is finished, within a bound."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_services(settings, application="paysaga-worker") as services:
        await register_search_attributes(services.temporal)
        await ensure_schedules(services.temporal, settings)
        if settings.worker_metrics_port is not None:
            prometheus_client.start_http_server(settings.worker_metrics_port)
        activities = ActivitySet(services)
        workers = [payment_worker(services, activities), *(psp_worker(services, activities, p) for p in services.psps)]
        async with running(workers):
            ready = os.environ.get("PAYSAGA_READY_FILE")
            if ready:
                Path(ready).touch()  # noqa: ASYNC240 - once, at the start
            await stop.wait()


if __name__ == "__main__":
    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    try:
        uvloop.run(main(settings))
    except SettingMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(2)
