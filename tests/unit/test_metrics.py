"""Metrics of several processes are told as one's."""

import subprocess
import sys

_TWO_COUNT = """
import os, sys
import api.__main__
assert "prometheus_client" not in sys.modules, "imported before it is told where to count"
from runtime.metrics import exposition, forget_gauges, shared_metrics
with shared_metrics():
    from api.deadline import _NOT_BEGUN
    from gateways.guard import _ACTIVE
    for times in (1, 2):
        pid = os.fork()
        if pid == 0:
            _NOT_BEGUN.labels("left").inc(times)
            _ACTIVE.labels("stripe").set(times)
            os._exit(0)
        os.waitpid(pid, 0)
    print(exposition().decode())
    forget_gauges(pid)
    print(exposition().decode())
"""


def test_counters_of_all_are_kept_and_gauges_of_the_living() -> None:
    """In an interpreter of its own: what the library does is decided when it is imported."""
    done = subprocess.run([sys.executable, "-c", _TWO_COUNT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, expected in (("requests_not_begun_total", ["3.0", "3.0"]), ("psp_active_calls", ["3.0", "1.0"])):
        told = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith(f"paysaga_{name}{{")]
        assert told == expected
