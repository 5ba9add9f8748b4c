"""What `embedded/install.py` knows of the project by name, and which Python it takes."""

import os
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from embedded import install, interpreter
from embedded.install import _IMPORTED, _TYPES
from embedded.interpreter import quickest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", [name for names in _IMPORTED for name in names.split(", ")])
def test_what_is_compiled_for_the_start_is_there(module: str) -> None:
    """A name that is gone would end its half without a word, and every start would be slower."""
    assert find_spec(module) is not None


def test_what_only_checks_read_is_imported_by_no_program() -> None:
    module = _TYPES.replace("/", ".")
    programs = ", ".join(_IMPORTED)
    code = f"import sys; sys.modules[{module!r}] = None; import {programs}, stripe; stripe.StripeClient"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "lean"])
def test_a_package_without_its_types_is_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    monkeypatch.setattr(install, "VENV", tmp_path)
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    record = packages / "stripe-16.1.0.dist-info"
    record.mkdir(parents=True)
    if is_whole:
        (packages / _TYPES).mkdir(parents=True)
    install._forget_what_lacks_types()
    assert record.exists() is is_whole


# --- which Python ---

_KIND = f"{sys.implementation.cache_tag} {sys.abiflags} {sysconfig.get_platform()}"


def _python(folder: Path, seconds: str, *, kind: str = _KIND, code: int = 0) -> str:
    """A program that says of itself what a Python would: what it is, and how long it took. Its path."""
    folder.mkdir()
    program = folder / "python3"
    answers = f'case "$3" in *_base_executable*) echo {program} "{kind}";; *) echo {seconds};; esac'
    program.write_text(f"#!/bin/sh\n{answers}\nexit {code}\n")
    program.chmod(0o755)
    return str(program)


def test_the_quickest_python_of_the_same_kind_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = _python(tmp_path / "slow", "9.0"), _python(tmp_path / "quick", "0.000001")
    _python(tmp_path / "other", "0.0", kind="cpython-399  elsewhere")
    _python(tmp_path / "broken", "0.0", code=1)
    _python(tmp_path / "silent", "")
    monkeypatch.setenv(
        "PATH", os.pathsep.join(str(tmp_path / n) for n in ("slow", "other", "broken", "silent", "quick"))
    )
    found = quickest()
    assert found.path == quick != slow
    assert found.factor > 1


def test_one_that_is_hardly_quicker_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = _python(tmp_path / "own", "1.0"), _python(tmp_path / "other", "0.85")
    monkeypatch.setattr(sys, "executable", own)
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(other).parent), str(tmp_path / "none"))))
    assert quickest() == (own, 1.0)


def test_where_there_is_one_python_it_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setattr(interpreter, "_timed", None)
    assert quickest() == (sys.executable, 1.0)


@pytest.mark.parametrize(("named", "own"), [((), False), ((f"PYTHON={sys.executable}",), True)])
def test_the_python_that_make_is_told_is_the_one(named: tuple[str, ...], own: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS", "MFLAGS")}
    command = ("make", "--dry-run", "--always-make", ".venv/.installed", *named)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if "-m embedded.install" in line)
    assert line.endswith(" --own") is own
