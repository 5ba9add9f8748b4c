"""What `embedded/install.py` knows of the project by name."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from embedded import install
from embedded.install import _IMPORTED, _TYPES

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
