"""The stack that runs in the data folder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.settings import Settings
from embedded.home import Home
from embedded.ports import local_url
from embedded.processes import ProcessRecord

_SHOWN = {
    "Temporal UI": "PAYSAGA_TEMPORAL_UI_URL",
    "Temporal": "PAYSAGA_TEMPORAL_ADDRESS",
    "Sandbox PSP": "PAYSAGA_STRIPE_BASE_URL",
    "Database": "PAYSAGA_DATABASE_URL",
}


@dataclass(frozen=True)
class ProcessStatus:
    """`up_s`: since it was started, also of one that is not alive any more. Of an API of several processes there is the
    parent, `api`, and then each that serves, `api process`."""

    name: str
    pid: int
    alive: bool
    up_s: float


@dataclass(frozen=True)
class Stack:
    """Without processes where none runs; `addresses`: by name, as a person opens them."""

    home: Path
    processes: Sequence[ProcessStatus]
    addresses: Mapping[str, str]


def _serving(child: ProcessRecord) -> Sequence[ProcessRecord]:
    """The processes of an API that has several."""
    return child.own("api process") if child.name == "api" else ()


def running_stack(settings: Settings) -> Stack:
    """The stack of the settings' data folder."""
    home = Home(settings.home)
    running = home.read_stack()
    if running is None:
        return Stack(home.path, (), {})
    supervisor, environment = running
    processes = [
        ProcessStatus(record.name, record.pid, record.is_alive(), time.time() - record.create_time)
        for record in (supervisor, *(own for child in home.read_children() for own in (child, *_serving(child))))
    ]
    api = local_url(environment["PAYSAGA_API_HOST"], int(environment["PAYSAGA_API_PORT"]))
    others = {name: environment[variable] for name, variable in _SHOWN.items() if variable in environment}
    if "PAYSAGA_MAILBOX" in environment:
        others["Mailbox"] = f"{api}/mailbox"
    return Stack(home.path, processes, {"API": api, **others})
