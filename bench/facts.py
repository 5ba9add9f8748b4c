"""The machine and the versions of a measurement: figures of two machines are compared only with these beside them."""

import asyncio
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from embedded.stack import EmbeddedStack
from runtime.temporal import connect
from workers.worker import RELEASE

_PACKAGES = ("temporalio", "fastapi", "uvicorn", "sqlalchemy", "asyncpg", "stripe", "aiohttp", "uvloop")


def machine_facts(folder: Path) -> dict[str, str | int | float]:
    """The machine, and the file system that every COMMIT has to reach."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "cpu": _cpu_model(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(folder),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


async def version_facts(stack: EmbeddedStack) -> dict[str, str]:
    """The versions of the packages and servers."""
    postgres = await stack.postgres.sql("SHOW server_version")
    packages = {name: version(name) for name in _PACKAGES}
    temporal = await (_temporal_version() if "temporal" in stack.pieces else _version_there(stack))
    return {"paysaga": RELEASE} | packages | {"postgresql": postgres.split()[0], "temporal": temporal}


async def _version_there(stack: EmbeddedStack) -> str:
    """Of a server that the stack did not start."""
    client = await connect(stack.settings, None)
    info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    return f"Server {info.server_version} at {stack.settings.temporal_address}"


async def _temporal_version() -> str:
    """`Temporal CLI 1.9, Server 1.32`, as the program says itself."""
    program = str(Path(sys.executable).with_name("temporal"))
    process = await asyncio.create_subprocess_exec(
        program, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return said.decode(errors="replace").strip().removeprefix("temporal version ") or "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the longest mount point above the folder."""
    path = folder.resolve()
    mounts = [p for p in psutil.disk_partitions(all=True) if path.is_relative_to(p.mountpoint)]
    return str(max(mounts, key=lambda p: len(p.mountpoint)).fstype) if mounts else "unknown"
