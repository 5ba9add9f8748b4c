"""A look at PostgreSQL and Temporal over TLS before a process starts: a certificate that one side does not accept is a
mistake in the settings, and said in one sentence."""

from config.settings import Settings
from db.core.database import ConnectionRefused, Database, clock
from domain.errors import Unavailable
from runtime.temporal import connect, tls_of
from runtime.wiring import SettingMissing

_REFUSALS = {
    "NotValidForName": "Temporal's certificate is of another host: see PAYSAGA_TEMPORAL_ADDRESS and"
    " PAYSAGA_TEMPORAL_TLS_SERVER_NAME.",
    "InvalidCertificate": "Temporal's certificate is not accepted: see PAYSAGA_TEMPORAL_TLS_CA_PATH.",
    "Unauthenticated": "Temporal refuses PAYSAGA_TEMPORAL_API_KEY.",
    "PermissionDenied": "Temporal refuses PAYSAGA_TEMPORAL_API_KEY.",
    "after connection": "Temporal ends the connection: it asks for a certificate of ours, or does not accept it; see"
    " PAYSAGA_TEMPORAL_TLS_CERT_PATH.",
}
"""By a word in the SDK's error, which has no code of its own; the first one that is there counts."""


async def check_tls(settings: Settings) -> None:
    """Connect where TLS is asked for. Raises SettingMissing where it is refused; a server that does not answer yet is
    waited for by whoever needs it."""
    url = settings.database_url.get_secret_value() if settings.database_url is not None else ""
    if "sslmode=" in url:
        await _check_database(url)
    if tls_of(settings) or settings.temporal_api_key:
        await _check_temporal(settings)


async def _check_database(url: str) -> None:
    database = Database(url, pool_size=1)
    try:
        await database.read(clock)
    except ConnectionRefused as error:
        raise SettingMissing(f"{error.detail} See PAYSAGA_DATABASE_URL.") from error
    except Unavailable:
        pass
    finally:
        await database.close()


async def _check_temporal(settings: Settings) -> None:
    try:
        await connect(settings.model_copy(update={"temporal_metrics_port": None}), None)
    except RuntimeError as error:
        refusal = next((said for word, said in _REFUSALS.items() if word in str(error)), None)
        if refusal is not None:
            raise SettingMissing(refusal) from error
