"""`python -m tests.brokers`: the tests of this folder with real servers, as far as those can be had here.

Kafka and the schema registry (Apicurio) come from Maven, by coordinates and the machine's own settings, into
`.brokers`; RabbitMQ is Debian's package. A server that is missing is fetched or installed; one that cannot be had is
said, with the reason, and its tests are left out.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.outside import RABBITMQ

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".brokers"
REGISTRY = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all"
JAVA_MIN = 17
TIMEOUT_S = 400


class NotToBeHad(Exception):
    """Why a server cannot be started here."""


def kafka() -> Path:
    """The folder of its libraries."""
    pom = ("-f", str(HERE / "pom.xml"))
    return _fetched("kafka-4.4.0", lambda to: _maven(*pom, "dependency:copy-dependencies", f"-DoutputDirectory={to}"))


def registry() -> Path:
    """The folder that it is unpacked in."""
    return _fetched("apicurio-3.0.9", _unpacked)


def _unpacked(to: Path) -> None:
    _maven("dependency:copy", f"-Dartifact={REGISTRY}", f"-DoutputDirectory={to}")
    (archive,) = to.glob("*.tar.gz")
    _run("tar", "-xzf", str(archive), "-C", str(to))
    archive.unlink()


def rabbitmq() -> Path:
    """Its program."""
    if not RABBITMQ.exists():
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise NotToBeHad("Debian's package rabbitmq-server is not installed, and only root can do that")
        # At this run level the package does not start a server of its own.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        _run("apt-get", "update", environment=environment)
        _run("apt-get", "install", "-y", "--no-install-recommends", "rabbitmq-server", environment=environment)
    if not RABBITMQ.exists():
        raise NotToBeHad(f"the package has no {RABBITMQ}")
    return RABBITMQ


def _fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """A folder of the cache; half a download never is one."""
    _need_java()
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as half:
            fetch(Path(half) / name)
            (Path(half) / name).rename(folder)
    return folder


def _need_java() -> None:
    if shutil.which("java") is None:
        raise NotToBeHad("there is no java")
    said = subprocess.run(("java", "-version"), capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', said.stderr + said.stdout)
    if version is None or int(version[1]) < JAVA_MIN:
        raise NotToBeHad(f"java is older than {JAVA_MIN}")


def _maven(*arguments: str) -> None:
    if shutil.which("mvn") is None:
        raise NotToBeHad("there is no mvn to fetch it with")
    _run("mvn", "--quiet", "--batch-mode", *arguments)


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"{command[0]} took longer than {TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
        error = next((line for line in lines if "ERROR" in line or line.startswith("E:")), lines[-1])
        raise NotToBeHad(f"{command[0]} failed: {error}")


def main(arguments: Sequence[str]) -> None:
    """Becomes pytest."""
    found: dict[str, str] = {}
    for name, find in {"kafka": kafka, "rabbitmq": rabbitmq, "registry": registry}.items():
        try:
            found[name] = str(find())
            sys.stdout.write(f"{name}: {found[name]}\n")
        except NotToBeHad as error:
            sys.stdout.write(f"{name}: left out, {error}\n")
    environment = {**os.environ, "PAYSAGA_TEST_BROKERS": " ".join(name for name in found if name != "registry")}
    variables = {"kafka": "PAYSAGA_TEST_KAFKA", "registry": "PAYSAGA_TEST_REGISTRY"}
    environment |= {variables[name]: place for name, place in found.items() if name in variables}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "pytest", str(HERE), *arguments], environment)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
