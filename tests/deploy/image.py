"""The packages of the image: what the locks install, less what the application does not lead to."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.files import ROOT

# The first is of the embedded stack, but small, and commands that look for a running stack import it in a container,
# too; the others are imported where a setting names a Redis, a broker or Twilio.
ALSO_NEEDED = ("psutil", "redis", "nats-py", "aiokafka", "aio-pika", "twilio")


def needed(requirements: Iterable[str]) -> set[str]:
    """The names of the installed packages that these requirements lead to, extras included."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                texts = requires(name) or []
            except PackageNotFoundError as missing:
                raise AssertionError(f"{name} is needed and not installed: the lock does not fit") from missing
            found.add(name)
            for text in texts:
                next_one = Requirement(text)
                if next_one.marker is None or next_one.marker.evaluate({"extra": extra}):
                    waiting.append(next_one)
    return found


def locked(name: str) -> set[str]:
    """The packages that a lock installs on this machine."""
    lines = (ROOT / name).read_text().splitlines()
    found = [Requirement(line.rstrip("\\ ")) for line in lines if re.match(r"[a-z0-9]", line)]
    return {canonicalize_name(one.name) for one in found if one.marker is None or one.marker.evaluate()}


def unneeded() -> set[str]:
    """What the image's locks have and no runtime dependency leads to."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return (locked("requirements.lock") | locked("requirements-clients.lock")) - needed((*dependencies, *ALSO_NEEDED))
