"""Starts the load process for a plan and listens to it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from bench.plan import LoadEvent, LoadResult, Plan
from embedded.errors import StackError

_ROOT = Path(__file__).parent.parent
_READY_S = 30.0
_GRACE_S = 60.0
"""Beyond the plan's own time, for the answers that are still outstanding."""

Listener = Callable[[LoadEvent], Awaitable[None]]


async def run_load(plan: Plan, environment: Mapping[str, str], listen: Listener) -> LoadResult:
    """Run a plan in a process of its own; `listen` hears every line, and the load begins when it has heard `ready`.

    Raises StackError with the process's last words when it fails, or never ends.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        cwd=_ROOT,
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is for us alone
    )
    try:
        async with asyncio.timeout(_READY_S + plan.lead_s + plan.seconds + _GRACE_S):
            return await _listen(process, plan, listen)
    except TimeoutError:
        raise StackError(f"The load {plan.name} did not end.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listen(process: asyncio.subprocess.Process, plan: Plan, listen: Listener) -> LoadResult:
    assert process.stdin is not None, "piped"
    assert process.stdout is not None, "piped"
    with suppress(ConnectionError):  # it is gone: its last words say why
        process.stdin.write(plan.model_dump_json().encode() + b"\n")
        await process.stdin.drain()
    async for line in process.stdout:
        event = LoadEvent.model_validate_json(line)
        await listen(event)
        if event.mark == "ready":
            process.stdin.write(b"\n")
            await process.stdin.drain()
        if event.result is not None:
            return event.result
    assert process.stderr is not None, "piped"
    lines = (await process.stderr.read()).decode(errors="replace").strip().splitlines() or ["no word"]
    raise StackError(f"The load {plan.name} failed, its last words: {lines[-1][:300]}")
