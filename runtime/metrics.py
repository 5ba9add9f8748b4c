"""Prometheus metrics of a process, or of several that answer as one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Of prometheus_client, which reads it when it is imported: where processes write what any of them then tells."""


@contextmanager
def shared_metrics() -> Iterator[None]:
    """While the block runs, this process and those that it starts count together. Entered before prometheus_client is
    imported; counters of a process that has died stay counted."""
    with tempfile.TemporaryDirectory(prefix="paysaga-metrics-") as folder:
        os.environ[_FOLDER] = folder
        yield


def forget_gauges(pid: int) -> None:
    """A process has died, and with it what it had under way."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def exposition() -> bytes:
    """The metrics in Prometheus's text format: of this process, or of all that count together."""
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    if _FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
