"""The connection to PostgreSQL: one engine per process, one transaction per piece of work."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import asyncpg
from sqlalchemy import NullPool, func, make_url, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from db.core.driver import LOST, Driver
from db.core.statement import Statement
from domain.errors import Unavailable

T = TypeVar("T")

Connection = AsyncConnection
"""A transaction that a unit of work runs in; other rooms pass it on and never look inside."""

_TRY_AGAIN = frozenset({"40001", "40P01"})
"""serialization_failure, deadlock_detected: PostgreSQL asks for the whole transaction again."""

_ATTEMPTS_MAX = 4

_OTHER_HOST = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h."""

_NO_CONNECTION = (PoolTimeout, TimeoutError, OSError)

_LOGIN_REFUSED = "28"
"""The class of what pg_hba.conf and passwords refuse, a connection without TLS among it."""

_UNAVAILABLE_CLASSES = ("08", "53", "57", "58", "XX")
"""connection, resources (disk full, too many connections), operator intervention, system error, internal error."""

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"

FEW = 4
"""The most connections of a program that serves nobody, as a command does. Opening one takes PostgreSQL and us longer
than ten statements, so what comes one after the other shares one."""

_PATIENCE_S = 60.0
_CONNECT_MAX_S = 3.0
"""For a connection, however long a statement on it may take: a server that is there answers in milliseconds."""


class LockTimeout(Unavailable):
    """Another transaction holds the row for longer than we wait; nothing was written."""

    code = "locked"


class TooSlow(Unavailable):
    """A statement took longer than it may; nothing was written."""


def sqlalchemy_url(url: str) -> str:
    """`postgresql://…` as everyone writes it, for SQLAlchemy's asyncpg dialect."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.startswith("postgres"):
        raise ValueError("a database URL starts with postgresql://")
    return f"postgresql+asyncpg://{rest}"


_TLS_PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version")


def open_engine(url: str, *, connect_args: dict[str, Any] | None = None, **options: Any) -> AsyncEngine:
    """SQLAlchemy's engine for a URL as libpq takes it. Its dialect knows no `sslmode` and the like: asyncpg reads them,
    from a URL of their own, at each connection, so that a renewed file is used by the next one."""
    parsed = make_url(sqlalchemy_url(url))
    tls = {name: parsed.query[name] for name in _TLS_PARAMETERS if name in parsed.query}
    arguments = {**(connect_args or {}), **({"dsn": f"postgresql:///?{urlencode(tls, doseq=True)}"} if tls else {})}
    url_alone = parsed.difference_update_query(tls)
    # Errors are logged, and kept in Temporal's histories.
    return create_async_engine(url_alone, connect_args=arguments, hide_parameters=True, **options)


class ConnectionRefused(Unavailable):
    """One of the two sides does not accept the other: a certificate, or a login. Waiting does not mend it."""


def unreachable(error: Exception) -> Unavailable:
    """The reason why there is no connection. What the server or the certificate says is not passed on: it has names of
    hosts and logins, and callers of the API are told it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        wrong_host = error.verify_code in _OTHER_HOST
        why = "is of another host than the one in its URL" if wrong_host else "is signed by nobody in sslrootcert"
        return ConnectionRefused(f"The database's certificate is not accepted: it {why}.")
    if isinstance(error, ssl.SSLError):
        return ConnectionRefused(
            "The database and this program do not agree on TLS: see sslmode and sslcert in its URL."
        )
    state = sqlstate(error) if isinstance(error, DBAPIError) else getattr(error, "sqlstate", None)
    if (state or "").startswith(_LOGIN_REFUSED):
        return ConnectionRefused("The database refuses this login, or its lack of TLS: see its URL and its own log.")
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
        return ConnectionRefused("The database speaks no TLS, which sslmode asks for.")
    return Unavailable("The database does not answer.")


class Database:
    """Runs units of work. Every statement and lock wait is bounded by `timeout_s`, a connection by 3 s at most."""

    def __init__(self, url: str, *, pool_size: int = 20, timeout_s: float = 3.0, application: str = "paysaga") -> None:
        self._connect_s = min(timeout_s, _CONNECT_MAX_S)
        self._url, self._application = url, application
        self._long: AsyncEngine | None = None
        timeout_ms = int(timeout_s * 1000)
        options: dict[str, Any] = {
            "timeout": self._connect_s,
            "command_timeout": timeout_s + 1,  # only if the server itself no longer answers
            "server_settings": {
                "application_name": application,
                "statement_timeout": str(timeout_ms),
                "lock_timeout": str(timeout_ms * 2 // 3),  # below the statement's own, or that one would hide it
                "idle_in_transaction_session_timeout": str(timeout_ms * 5),
                "timezone": "UTC",
            },
        }
        self._driver = Driver(url, connect_s=self._connect_s, timeout_s=timeout_s, settings=options["server_settings"])
        self.engine = open_engine(
            url,
            connect_args=options,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout_s,
        )

    async def run_patiently(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """As `run`, for work that grows with what a seller has done: where a statement takes too long for that, all of
        it again with a minute for each."""
        try:
            return await self.run(work)
        except TooSlow:
            return await self.run_long(work, timeout_s=_PATIENCE_S)

    async def run_long(self, work: Callable[[AsyncConnection], Awaitable[T]], *, timeout_s: float) -> T:
        """As `run`, for work that takes minutes: on a connection of its own, never on one that requests wait for, and
        each statement bounded by `timeout_s`. It is not run again by itself: a caller that can repeat it does."""
        if self._long is None:
            self._long = self._long_engine()
        try:
            async with self._long.begin() as connection:
                await connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}")
                return await work(connection)
        except DBAPIError as error:
            raise _translated(error) from error
        except _NO_CONNECTION as error:
            raise unreachable(error) from error

    def _long_engine(self) -> AsyncEngine:
        """Without a pool. Only a server that no longer answers at all is given up, by TCP's own keepalive."""
        settings = {
            "application_name": f"{self._application}-long",
            "lock_timeout": "60s",
            "idle_in_transaction_session_timeout": "120s",
            "tcp_keepalives_idle": "30",
            "timezone": "UTC",
        }
        options = {"timeout": self._connect_s, "server_settings": settings}
        return open_engine(self._url, connect_args=options, poolclass=NullPool)

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in one transaction, committed when it returns and rolled back when it raises.

        A deadlock or serialization failure runs the whole of it again, so `work` does nothing but database work.
        Raises Unavailable when PostgreSQL does not answer (a lost COMMIT included: the caller tries again and finds
        the unique keys), LockTimeout when a row stays locked.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self.engine.begin() as connection:
                    return await work(connection)
            except DBAPIError as error:
                if sqlstate(error) in _TRY_AGAIN and attempt < _ATTEMPTS_MAX:
                    await _short_pause(attempt)
                    continue
                raise _translated(error) from error
            except _NO_CONNECTION as error:
                raise unreachable(error) from error

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """The first of the `rows`; None: there is none."""
        found = await self.rows(statement, **values)
        return found[0] if found else None

    async def rows(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """The rows of one statement, which is a transaction of its own, without SQLAlchemy.

        Raises as `run` does; what breaks a constraint raises the driver's own IntegrityConstraintViolationError.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._driver.rows(statement, values)
            except asyncpg.PostgresError as error:
                state = error.sqlstate or ""
                if state in _TRY_AGAIN and attempt < _ATTEMPTS_MAX:
                    await _short_pause(attempt)
                    continue
                raise _meaning(error, state, lost=False) from error
            except LOST as error:
                raise _meaning(error, "", lost=True) from error
            except _NO_CONNECTION as error:
                raise unreachable(error) from error

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """The same for work that only reads: autocommit, so that no BEGIN and COMMIT travel."""
        try:
            async with self.engine.connect() as connection:
                return await work(await connection.execution_options(isolation_level="AUTOCOMMIT"))
        except DBAPIError as error:
            raise _translated(error) from error
        except _NO_CONNECTION as error:
            raise unreachable(error) from error

    async def close(self) -> None:
        await self.engine.dispose()
        await self._driver.close()
        if self._long is not None:
            await self._long.dispose()


async def clock(connection: AsyncConnection) -> datetime:
    """The database's own time: what is compared with stored times is read from the clock that wrote them."""
    now: datetime | None = await connection.scalar(select(func.clock_timestamp()))
    assert now is not None, "clock_timestamp() has a value"
    return now


def sqlstate(error: SQLAlchemyError) -> str | None:
    """PostgreSQL's five-character code, as asyncpg carries it."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def constraint(error: SQLAlchemyError) -> str | None:
    """The name of the violated constraint or unique index, if there is one."""
    cause = getattr(getattr(error, "orig", None), "__cause__", None)
    return getattr(cause, "constraint_name", None)


def _translated(error: DBAPIError) -> Exception:
    """The meaning of an error that SQLAlchemy has wrapped."""
    state = sqlstate(error) or ""
    lost = error.connection_invalidated or (not state and isinstance(error, (OperationalError, InterfaceError)))
    return _meaning(error, state, lost=lost)


def _meaning(error: Exception, state: str, *, lost: bool) -> Exception:
    """The one place that decides what a database error means to a caller. `lost`: so is the connection."""
    if state.startswith(_LOGIN_REFUSED):
        return unreachable(error)
    if state == LOCK_NOT_AVAILABLE:
        return LockTimeout("Another request holds this object; try again.")
    if state == QUERY_CANCELED:
        return TooSlow("The database takes too long.")
    if lost or state.startswith(_UNAVAILABLE_CLASSES):
        return Unavailable("The database does not answer.")
    return error


async def _short_pause(attempt: int) -> None:
    """Before a transaction is run again, longer each time."""
    await asyncio.sleep(random.uniform(0.002, 0.02) * attempt)  # noqa: S311 - jitter
