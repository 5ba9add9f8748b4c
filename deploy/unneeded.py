"""Prints the installed packages that the application does not need: what the image is built without.

Runs in the image's build, where nothing of ours is installed; it needs `packaging`, which the lock has.
"""

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Of the embedded stack, but small, and commands that look for a running stack import it in a container, too.
ALSO_NEEDED = ("psutil",)


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
                raise SystemExit(
                    f"{name} is needed and not installed: the lock does not fit pyproject.toml"
                ) from missing
            found.add(name)
            for text in texts:
                next_one = Requirement(text)
                if next_one.marker is None or next_one.marker.evaluate({"extra": extra}):
                    waiting.append(next_one)
    return found


def unneeded(pyproject: Path) -> set[str]:
    """Everything that is installed and that no runtime dependency in `pyproject` leads to."""
    dependencies = tomllib.loads(pyproject.read_text())["project"]["dependencies"]
    installed: set[str] = {canonicalize_name(distribution.name) for distribution in distributions()}
    return installed - needed((*dependencies, *ALSO_NEEDED))


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}\n" for name in sorted(unneeded(Path(sys.argv[1]))))
