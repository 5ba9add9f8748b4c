"""One worker process, from its checks to the end of the last task that it has begun."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import prometheus_client
import uvloop
from pydantic import ValidationError

from config.settings import Settings, unusable
from runtime import collector
from runtime.logs import configure_logs
from runtime.temporal import register_search_attributes
from runtime.tls import check_tls
from runtime.wiring import SettingMissing, broker_of, channels_of, open_runtime
from workers.deliver import delivering
from workers.notify import notifying
from workers.relay import relaying
from workers.schedules import ensure_schedules
from workers.worker import batch_worker, payment_worker, psp_worker, running

UNUSABLE = 2
"""The exit code of a process whose settings cannot be used; what is wrong is on its standard error."""


def serve() -> int:
    """Work until SIGTERM or SIGINT; the exit code."""
    try:
        settings = Settings()
    except ValidationError as error:
        print(*unusable(error), sep="\n", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    configure_logs(settings.log_level, settings.log_format)
    try:
        uvloop.run(_work(settings))
    except SettingMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return UNUSABLE
    return 0


async def _work(settings: Settings) -> None:
    """Until it is told to stop; then what has begun is finished, within a bound."""
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
            collector.serve()
            ready = os.environ.get("PAYSAGA_READY_FILE")
            if ready:
                Path(ready).touch()  # noqa: ASYNC240 - once, at the start
            await stop.wait()
