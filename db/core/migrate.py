"""Bringing a database to this version of the schema, and giving the application's login its rights."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.engine import make_url

from db.core.database import open_engine, sqlalchemy_url

CONFIG_PATH = Path(__file__).parent.parent / "alembic.ini"

APPLICATION_ROLE = "paysaga_app"
"""A role without a login that holds the application's rights; the migrations grant to it."""


def _run(connection: Connection, action: str, revision: str) -> None:
    config = Config(CONFIG_PATH)
    config.attributes["connection"] = connection
    # Several hosts may start at once: one migrates, the others wait and find it done. The waits are bounded, so that
    # a migration that cannot get its lock fails instead of stopping the traffic behind it.
    connection.execute(text("SET lock_timeout = '10s'"))
    connection.execute(text("SET statement_timeout = '15min'"))
    connection.execute(text("SELECT pg_advisory_lock(hashtext('paysaga.migrate'))"))
    connection.commit()
    try:
        if action == "check":
            command.check(config)
        else:
            getattr(command, action)(config, revision)
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(hashtext('paysaga.migrate'))"))
        connection.commit()


async def migrate(owner_url: str, *, action: str = "upgrade", revision: str = "head") -> None:
    """`upgrade`, `downgrade` or `check` (raises when `db.schema` and the migrations differ)."""
    engine = open_engine(owner_url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run, action, revision)
    finally:
        await engine.dispose()


async def grant_login(owner_url: str, application_url: str) -> str:
    """Create the login of `application_url` if it is missing and make it a member of the application's role.

    Returns its name. The schema's owner itself is refused: it could switch off the rules the database enforces.
    """
    login = make_url(sqlalchemy_url(application_url))
    owner = make_url(sqlalchemy_url(owner_url))
    if not login.username or login.username == owner.username:
        raise ValueError("PAYSAGA_DATABASE_URL needs a login of its own, other than the schema's owner.")
    engine = open_engine(owner_url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('paysaga.migrate'))"))
            # An existing login gets its password alone: an owner that is no superuser may not touch its other flags.
            statement = await connection.scalar(
                text(
                    "SELECT CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = cast(:login AS text))"
                    " THEN format('ALTER ROLE %I LOGIN', cast(:login AS text))"
                    " ELSE format('CREATE ROLE %I LOGIN', cast(:login AS text)) END"
                    " || coalesce(format(' PASSWORD %L', cast(:password AS text)), '')"
                ),
                {"login": login.username, "password": login.password},
            )
            await connection.execute(text(str(statement).replace(":", r"\:")))
            grant = await connection.scalar(
                text("SELECT format('GRANT %I TO %I', cast(:role AS text), cast(:login AS text))"),
                {"role": APPLICATION_ROLE, "login": login.username},
            )
            await connection.execute(text(str(grant).replace(":", r"\:")))
    finally:
        await engine.dispose()
    return str(login.username)
