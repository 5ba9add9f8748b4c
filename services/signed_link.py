"""Links that open one page in a browser, which has no API key: signed, for reading alone, and good for a day."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from db.core.keyring import Keyring
from domain.errors import Forbidden
from services.signature import is_signed, sign

LIFE = timedelta(days=1)
_PURPOSE = "signed link"


@dataclass(frozen=True)
class SignedLink:
    """The right to read `path` until a moment (seconds of Unix time), as a tenant sees it (None: as an operator)."""

    path: str
    tenant_id: str | None
    expires: int

    @classmethod
    def from_now(cls, path: str, tenant_id: str | None) -> "SignedLink":
        return cls(path, tenant_id, int((datetime.now(UTC) + LIFE).timestamp()))

    def query(self, keyring: Keyring) -> str:
        """`expires=…&signature=…`, what has to follow the path."""
        tenant = {"tenant": self.tenant_id} if self.tenant_id is not None else {}
        signature = sign(keyring, _PURPOSE, self._message)
        return urlencode(tenant | {"expires": str(self.expires), "signature": signature})

    def require(self, keyring: Keyring, signature: str) -> None:
        """Raises Forbidden `link_invalid`, or `link_expired` for one that was good."""
        if not is_signed(keyring, _PURPOSE, self._message, signature):
            raise Forbidden("The link is not one of ours, or not whole.", code="link_invalid")
        if self.expires <= datetime.now(UTC).timestamp():
            raise Forbidden("The link was good for a day, which is over.", code="link_expired")

    @property
    def _message(self) -> bytes:
        return json.dumps(["GET", self.path, self.tenant_id, self.expires]).encode()
