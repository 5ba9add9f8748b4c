"""Refusals: TODO docstring."""

from collections.abc import Iterator
from contextlib import contextmanager

from db.core.database import LockTimeout
from domain.errors import PaysagaError, Unavailable
from domain.money import MoneyError
from embedded.errors import StackError


@contextmanager
def refusals(about: str) -> Iterator[None]:
    """What the rules refuse, as one sentence about the object."""
    try:
        yield
    except Unavailable as error:
        if not isinstance(error, LockTimeout):
            raise  # the database is not there: the caller says so
        raise StackError(f"{about}: {error.detail}") from error
    except PaysagaError as error:
        raise StackError(f"{about}: {error.detail}") from error
    except MoneyError as error:
        raise StackError(f"{about}: {error}") from error
