"""Refusals, as a person at a terminal reads them: one sentence about the object."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from db.core.database import LockTimeout
from domain.errors import NotFound, PaysagaError, Unavailable
from domain.money import MoneyError
from embedded.errors import StackError


@contextmanager
def refusals(about: str, hints: Mapping[str, str] | None = None) -> Iterator[None]:
    """Say what the rules refuse in the words of the API, with `about` before them. `hints`: code of a refusal → what
    to type instead. Raises StackError; Unavailable where the database is not there, which the caller says."""
    try:
        yield
    except Unavailable as error:
        if not isinstance(error, LockTimeout) and error.code != "decision_pending":
            raise
        raise StackError(f"{about}: {error.detail}") from error
    except NotFound:
        raise  # it names what is not there
    except PaysagaError as error:
        hint = (hints or {}).get(error.code)
        raise StackError(f"{about}: {error.detail}{f' {hint}' if hint else ''}") from error
    except MoneyError as error:
        raise StackError(f"{about}: {error}") from error
