"""Sending what is due to shops: a claim, the request outside of any transaction, and its outcome."""

from __future__ import annotations

from datetime import UTC, datetime

from db.core.database import Database
from db.core.keyring import Keyring
from db.webhook_endpoint import endpoint, sending
from db.webhook_endpoint.sending import Claimed, Lapsed, Outcome
from domain.webhook_endpoint import Answer, signed_headers
from gateways.shop.sender import Sender


async def claim(database: Database, limit: int) -> list[Claimed]:
    """Up to `limit` deliveries that are due; they are this process's for half a minute. Raises Unavailable."""
    if not limit or not await sending.is_due(database):
        return []
    return await database.run(lambda c: sending.claim(c, limit))


async def deliver(database: Database, keyring: Keyring, sender: Sender, one: Claimed) -> Outcome:
    """Send one, and write what became of it. Raises Unavailable: then it is sent again once the claim has ended."""
    if one.body is None:
        return await _ended(database, one, None)
    body = one.body.encode()
    headers = signed_headers(one.event_id, datetime.now(UTC), body, _secrets(keyring, one))
    return await _ended(database, one, await sender.send(one.url, body, headers))


async def _ended(database: Database, one: Claimed, answer: Answer | None) -> Outcome:
    try:
        if answer is None:
            return await database.run(lambda c: sending.give_up(c, one))
        return await database.run(lambda c: sending.record(c, one, answer))
    except Lapsed:
        return Outcome.LAPSED


def _secrets(keyring: Keyring, one: Claimed) -> list[str]:
    """The live ones, the newest first."""
    secrets = [endpoint.opened(keyring, one.endpoint_id, one.secret)]
    if one.old_secret is not None:
        secrets.append(endpoint.opened(keyring, one.endpoint_id, one.old_secret, old=True))
    return secrets
