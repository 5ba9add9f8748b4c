"""The running stack, as the other commands (audit, demo, payments …) find it without flags."""

import os
from pathlib import Path

from config.settings import Settings
from embedded.home import Home


def running_environment(home: Path) -> dict[str, str] | None:
    """The `PAYSAGA_*` variables of the stack that runs in this data folder now; None if none does."""
    running = Home(home).read_stack()
    return running[1] if running else None


def adopt_running_stack() -> Settings:
    """Settings of this process; what its environment leaves open or empty comes from the running stack, if any.

    The variables go into this process's environment, so that its own children have them too.
    """
    for key, value in (running_environment(Settings().home) or {}).items():
        if not os.environ.get(key):
            os.environ[key] = value
    return Settings()
