"""Connections to a Paysaga, and who it is that asks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from config.settings import Settings
from db.core.database import FEW, ConnectionRefused, Database
from domain.errors import Unavailable
from embedded.errors import StackError
from services.command import Caller

if TYPE_CHECKING:
    from db.core.keyring import Keyring
    from runtime.wiring import Runtime

TEMPORAL_PATIENCE_S = 3.0
"""For Temporal's first answer; after it every call is quick or is refused, and the whole command is over in 5 s."""

ANYBODY = Caller(actor="a reader")
"""Whoever reads a page at this terminal: every tenant's objects can be seen, and nothing is written."""


def person(by: str) -> Caller:
    """Whoever gives a command at this terminal."""
    return Caller(actor=by)


@asynccontextmanager
async def runtime_of(settings: Settings) -> AsyncIterator["Runtime"]:
    """Database and Temporal of a Paysaga. Temporal is called when it is needed: what is only marked in the database can
    be done without it. Raises StackError with one sentence when one of them is needed and does not answer."""
    from temporalio.service import RPCError

    from runtime.wiring import SettingMissing, open_runtime

    try:
        async with open_runtime(
            settings, application="paysaga-cli", lazy=True, temporal_patience_s=TEMPORAL_PATIENCE_S
        ) as runtime:
            yield runtime
    except SettingMissing as error:
        raise StackError(str(error)) from error
    except ConnectionRefused as error:
        raise without_database(error) from error
    except Unavailable as error:
        raise StackError(f"{error.detail} Is the stack running?") from error
    except (RPCError, RuntimeError) as error:
        raise StackError("Temporal does not answer: is the stack running? See PAYSAGA_TEMPORAL_ADDRESS.") from error


@asynccontextmanager
async def database_of(settings: Settings, *, timeout_s: float = 3.0) -> AsyncIterator[Database]:
    """The database alone, for what has to work while Temporal is down. `timeout_s` bounds each statement."""
    if settings.database_url is None:
        raise StackError("No stack runs here, and PAYSAGA_DATABASE_URL is not set: start one with `make run`.")
    url = settings.database_url.get_secret_value()
    database = Database(url, pool_size=FEW, timeout_s=timeout_s, application="paysaga-cli")
    try:
        yield database
    except Unavailable as error:
        raise without_database(error) from error
    finally:
        await database.close()


def without_database(error: Unavailable) -> StackError:
    """The sentence for a person where there is no connection."""
    if isinstance(error, ConnectionRefused):
        return StackError(f"{error.detail} See PAYSAGA_DATABASE_URL.")
    return StackError("The database does not answer: is the stack running? See PAYSAGA_DATABASE_URL.")


def keyring_if_any(settings: Settings) -> "Keyring | None":
    """The keys of the settings, for what can be read without them too."""
    try:
        return keyring_of(settings)
    except StackError:
        return None


def keyring_of(settings: Settings) -> "Keyring":
    """The keys of the settings. Raises StackError."""
    from runtime import wiring

    try:
        return wiring.keyring_of(settings)
    except wiring.SettingMissing as error:
        raise StackError(str(error)) from error
