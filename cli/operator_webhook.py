"""Operator webhook: TODO docstring."""

from db import webhook
from db.core.database import Database
from embedded.errors import StackError


async def replay_webhook(database: Database, inbox_id: str, by: str) -> str:
    """A dead event goes back to where the sweeper finds it."""
    if not inbox_id.isprintable() or not await database.run(lambda c: webhook.replay(c, inbox_id, by)):
        raise StackError(f"There is no dead event {inbox_id}: `paysaga webhooks dead` lists them.")
    return f"{inbox_id} is delivered again at the next sweep: `paysaga sweep` does it now."
