"""`paysaga …` as a person types it."""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import Program


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


async def paysaga_command(environment: Mapping[str, str], *arguments: str) -> Said:
    """Run it to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        program = await asyncio.to_thread(Program, "cli.main", *arguments, env=environment, out=out, err=err)
        async with asyncio.timeout(60):
            code = await program.ended()
        return Said(code, out.read_text(), err.read_text())
