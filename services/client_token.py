"""Client tokens: a checkout page's right to read and confirm one payment. Signed and stored nowhere, so that none can
be stolen from a database, a backup or a history."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db.core.keyring import Keyring
from db.payment.record import Payment
from domain.errors import Unauthorized
from services.signature import is_signed, sign

PREFIX = "ct_"
_PURPOSE = "client token"


@dataclass(frozen=True)
class ClientToken:
    """The right to one payment of a tenant until a moment (`expires`, seconds of Unix time)."""

    tenant_id: str
    payment_id: str
    expires: int

    @classmethod
    def of(cls, row: Payment, life: timedelta) -> "ClientToken":
        """A payment's token. Its end counts from the payment's creation: asking again prolongs nothing."""
        return cls(row.tenant_id, row.id, int((row.created_at + life).timestamp()))

    @property
    def left_s(self) -> float:
        """Seconds for which it is good; zero or less: it has expired."""
        return self.expires - datetime.now(UTC).timestamp()

    def text(self, keyring: Keyring) -> str:
        """`ct_…`, as it is handed out. It is a secret: neither logged nor stored."""
        content = json.dumps([self.tenant_id, self.payment_id, self.expires]).encode()
        message = base64.urlsafe_b64encode(content).rstrip(b"=")
        return f"{PREFIX}{message.decode()}.{sign(keyring, _PURPOSE, message)}"

    @classmethod
    def read(cls, text: str, keyring: Keyring) -> "ClientToken":
        """The token that was handed out as `text`, which may have expired since. Raises Unauthorized
        `client_token_invalid` for what no key of the ring has signed."""
        message, _, signature = text.removeprefix(PREFIX).partition(".")
        if not is_signed(keyring, _PURPOSE, message.encode(), signature):
            raise Unauthorized("The client token is not one of ours, or not whole.", code="client_token_invalid")
        tenant_id, payment_id, expires = json.loads(base64.urlsafe_b64decode(message + "=" * (-len(message) % 4)))
        return cls(tenant_id, payment_id, expires)
