"""`paysaga …` as a person types it."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


async def paysaga_command(environment: Mapping[str, str], *arguments: str) -> Said:
    """Run it to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stack.cli",
        *arguments,
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), timeout=60)
    return Said(process.returncode or 0, out.decode(), err.decode())
