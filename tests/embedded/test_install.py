"""What `embedded/install.py` knows of the project by name."""

from importlib.util import find_spec

import pytest

from embedded.install import _IMPORTED


@pytest.mark.parametrize("module", [name for names in _IMPORTED for name in names.split(", ")])
def test_what_is_compiled_for_the_start_is_there(module: str) -> None:
    """A name that is gone would end its half without a word, and every start would be slower."""
    assert find_spec(module) is not None
