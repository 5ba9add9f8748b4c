"""Builds `.venv` from requirements.lock; `make install` runs it with a Python that is new enough.

Runs before anything is installed, so it imports the standard library alone.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
# Holds the hash of the lock that .venv was built from, so that a change of pyproject.toml alone takes two seconds.
STAMP = VENV / ".installed"

_LINE_LENGTH = 90


class InstallError(Exception):
    """One sentence for the person at the terminal."""


def install() -> None:
    """Create .venv if needed, install the lock if it changed, then this project as an editable package."""
    began_s = time.monotonic()
    if not _venv_is_usable():
        _say(f"creating .venv with {sys.executable}")
        _create_venv()
    lock_hash = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not STAMP.exists() or STAMP.read_text().strip() != lock_hash:
        _say("installing the packages of requirements.lock, each checked against its hash (slow the first time)")
        _pip_install("--require-hashes", "-r", str(LOCK))
    _say("installing paysaga itself, editable")
    _pip_install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
    STAMP.write_text(lock_hash + "\n")
    _say(f"installed in {time.monotonic() - began_s:.0f} s")


def _venv_is_usable() -> bool:
    """Whether .venv has a Python that runs, is new enough and has pip (none does after the folder was moved)."""
    code = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        python = (str(VENV / "bin" / "python"), "-c", code)
        return subprocess.run(python, capture_output=True, check=False).returncode == 0  # noqa: S603 - a list, no shell
    except OSError:
        return False


def _create_venv() -> None:
    # Debian takes both out of its Python, and the error that venv itself gives then is a page long.
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise InstallError(
            f"{sys.executable} cannot create virtual environments: install the system's package {package}, "
            f"for example with `sudo apt install {package}`."
        )
    command = (sys.executable, "-m", "venv", "--clear", str(VENV))
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a list, no shell
    if result.returncode != 0:
        last = (result.stdout + result.stderr).strip().splitlines()[-1:] or ["no message"]
        raise InstallError(f"The virtual environment {VENV} cannot be created: {last[0]}")


def _pip_install(*arguments: str) -> None:
    """Run pip with one moving line instead of its pages; on failure its own errors are the sentence."""
    process = subprocess.Popen(  # noqa: S603 - a list, no shell
        (str(VENV / "bin" / "python"), "-m", "pip", "install", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
    )
    said: list[str] = []
    packages = 0
    for line in process.stdout or ():
        said.append(line.strip())
        if line.startswith("Collecting "):
            packages += 1
            _show(f"{packages} packages, now {line.split()[1]}")
        elif line.startswith("Installing collected"):
            _show(f"unpacking {packages} packages")
    _show("")
    if process.wait() != 0:
        errors = [line for line in said if line.startswith("ERROR")] or said[-3:]
        raise InstallError("pip could not install the packages: " + " / ".join(errors[:3]))


def _say(text: str) -> None:
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()


def _show(text: str) -> None:
    """Replace the line under the cursor; a log file gets no such lines."""
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K" + (f"    {text}"[:_LINE_LENGTH] if text else ""))
        sys.stdout.flush()


def main() -> int:
    """Install; a problem is one sentence and exit code 1."""
    try:
        install()
    except InstallError as error:
        sys.stderr.write(f"paysaga: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"paysaga: the installation cannot go on: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\npaysaga: interrupted; run it again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
