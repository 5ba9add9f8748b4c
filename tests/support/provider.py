"""An identity provider: signs JWTs, and publishes the keys that verify them."""

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from joserfc.util import urlsafe_b64encode

ISSUER, AUDIENCE = "https://login.example", "paysaga"


class Provider:
    """`keys` by their kid; the last one signs unless told otherwise."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.rotate("k1")

    def rotate(self, kid: str) -> None:
        self.keys[kid] = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})

    @property
    def jwks(self) -> bytes:
        return json.dumps(KeySet(list(self.keys.values())).as_dict(private=False)).encode()

    def publish(self, path: Path) -> None:
        path.write_bytes(self.jwks)

    def settings(self, path: Path) -> dict[str, Any]:
        """Those of a Paysaga that takes its tokens; `path`: the file that it publishes its keys in."""
        self.publish(path)
        return {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks_file": str(path)}

    def token(
        self, *, key: Any = None, header: dict[str, Any] | None = None, now: float | None = None, **claims: Any
    ) -> str:
        """Good for five minutes, for the tenant `shop`; a claim or part of the header that is None is left out."""
        kid, own = list(self.keys.items())[-1]
        at = int(time.time() if now is None else now)
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": at, "exp": at + 300, "tenant": "shop"}
        said = {name: value for name, value in (usual | claims).items() if value is not None}
        top = {name: v for name, v in ({"alg": "ES256", "kid": kid} | (header or {})).items() if v is not None}
        return jwt.encode(top, said, key if key is not None else own, algorithms=[top["alg"]], default_type=None)

    def forged(self, alg: str, **claims: Any) -> str:
        """What has no signature of ours: `none` has none, `HS256` takes the public key for a shared secret."""
        kid, own = list(self.keys.items())[-1]
        signed = f"{segment({'alg': alg, 'kid': kid})}.{self.token(**claims).split('.')[1]}"
        mac = hmac.new(own.as_pem(private=False), signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{urlsafe_b64encode(mac).decode() if alg == 'HS256' else ''}"


def segment(value: object) -> str:
    """A part of a token: JSON in base64url."""
    return urlsafe_b64encode(json.dumps(value).encode()).decode()
