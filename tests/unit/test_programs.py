"""Programs that tests start end with the process that started them, however it ends."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.eventually import eventually

_STARTS = """
import os, sys
from pathlib import Path
from tests.support.programs import Program

def sandbox(number):
    flags = ("--port", "0", "--data", f"{sys.argv[1]}/{number}.sqlite")
    return Program("sandbox", *flags, env=os.environ, out=Path(sys.argv[1]) / "log").pid

print(sandbox(1), sandbox(2), flush=True)
input()
"""


async def test_programs_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    tests = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STARTS, str(tmp_path)),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert tests.stdout is not None
    pids = [int(pid) for pid in (await tests.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(psutil.pid_exists(pid) for pid in pids)
    os.kill(tests.pid, signal.SIGKILL)

    async def ended() -> bool:
        return not any(psutil.pid_exists(pid) for pid in pids)

    await eventually(ended, what=f"the end of {pids}")
    await tests.wait()
