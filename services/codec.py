"""The payloads of Temporal's histories, made readable for the people who look after payments, and who did so."""

import math
import time
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload

from db import audit_log
from db.core.database import Connection, Database
from db.core.keyring import Keyring, Undecryptable
from domain.access import Principal
from domain.errors import Unprocessable
from runtime.codec import EncryptionCodec

_NOTED_EVERY_S = 60.0
"""A page of the UI asks dozens of times: one row a minute says that somebody reads."""


class Histories:
    """The codec for people, with its entries in the audit log. One per process."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._codec = EncryptionCodec(keyring)
        self._noted: dict[str, float] = {}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypted: the inputs of messages that are typed into Temporal's UI or terminal."""
        return await self._codec.encode(payloads)

    async def decode(
        self, payloads: Sequence[Payload], who: Principal, *, namespace: str, workflow_id: str | None
    ) -> list[Payload]:
        """In plain; what was not encrypted as it is. It is written down first, once a minute for each person or key.

        Raises Unprocessable `payload_undecryptable`; Unavailable.
        """
        await self._note(who, namespace, workflow_id)
        try:
            return await self._codec.decode(payloads)
        except Undecryptable as error:
            raise Unprocessable(f"A payload cannot be decrypted: {error}.", code="payload_undecryptable") from error

    async def _note(self, who: Principal, namespace: str, workflow_id: str | None) -> None:
        now = time.monotonic()
        if self._noted.get(who.actor, -math.inf) + _NOTED_EVERY_S > now:
            return
        if len(self._noted) > 10_000:
            self._noted.clear()
        self._noted[who.actor] = now

        async def record(connection: Connection) -> None:
            detail = {"namespace": namespace}
            await audit_log.record(
                connection, who.tenant_id, who.actor, "history.read", workflow_id or namespace, detail
            )

        try:
            await self._database.run(record)
        except BaseException:
            self._noted.pop(who.actor, None)
            raise
