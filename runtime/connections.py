"""The database connections that the API's processes may open, against those that PostgreSQL gives."""

from config.settings import Settings
from db.core.database import Database
from db.core.health import connections_max
from runtime.wiring import SettingMissing, connections_of


async def check_connections(settings: Settings) -> None:
    """Raises SettingMissing where the API's processes alone may open more than there are: under load, payments would
    be refused."""
    if settings.database_url is None:
        return
    database = Database(settings.database_url.get_secret_value(), pool_size=1)
    try:
        most = await connections_max(database)
    except Exception:  # noqa: BLE001 - away, not there yet, a login that is refused: whoever needs it says so
        return
    finally:
        await database.close()
    each = connections_of(settings)
    if settings.api_processes * each > most:
        raise SettingMissing(
            f"{settings.api_processes} API processes may open {each} database connections each, and PostgreSQL gives"
            f" {most} to all: lower PAYSAGA_API_PROCESSES or PAYSAGA_DATABASE_POOL_SIZE, or raise its max_connections."
        )
