"""JWT bearer tokens of an identity provider: each is verified by the provider's keys, and read as a principal."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import structlog
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from api.jwt_keys import JwksKeys, from_file, from_url
from config.settings import Settings
from db import tenant
from db.core.database import Database
from db.schema.base import PLATFORM_TENANT
from domain.access import Principal, granted
from domain.card_data import require_text
from domain.errors import Unauthorized, Unprocessable
from domain.ids import CLIENT_ID
from runtime.wiring import SettingMissing

BYTES_MAX = 8 * 1024
_SUBJECT_LENGTH_MAX = 200
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
"""What `typ` may say, if it is there: an access token. A token made for something else is none, whoever signed it."""


@dataclass(frozen=True)
class JwtRules:
    """The tokens that are taken, and the claims that say whose they are. Algorithms are those of the settings: what a
    token says of itself only has to be one of them."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway_s: int = 30
    life_max_s: int = 3_600
    tenant_claim: str = "tenant"
    role_claim: str = "role"
    scope_claim: str = "scope"
    seller_claim: str = "seller_account"


class _Refused(Exception):
    """The reason for which a token is not taken: for our log alone."""


class JwtVerifier:
    """Turns a token into the principal that it proves."""

    def __init__(self, rules: JwtRules, keys: JwksKeys, clock: Callable[[], float] = time.time) -> None:
        self._rules, self._keys, self._clock = rules, keys, clock
        self._registry = JWSRegistry(algorithms=list(rules.algorithms), strict_check_header=False)
        self._registry.max_header_length, self._registry.max_payload_length = BYTES_MAX, BYTES_MAX
        self._tenants: set[str] = set()

    async def principal(self, token: str, database: Database) -> Principal:
        """Raises Unauthorized `token_invalid`, which never says why: that would help whoever makes one up.
        Unavailable `token_keys_unavailable`."""
        try:
            found = self.read(await self._verified(token))
            if not await self._is_tenant(found.tenant_id, database):
                raise _Refused("there is no such tenant")
        except (_Refused, JoseError, Unprocessable, ValueError, TypeError, KeyError, RecursionError) as error:
            structlog.get_logger("paysaga.api").debug("token_refused", error=f"{type(error).__name__}: {error}")
            raise Unauthorized("The token is not valid.", code="token_invalid") from None
        return found

    async def _is_tenant(self, tenant_id: str, database: Database) -> bool:
        """Tenants never end, so one that was seen needs no second look."""
        if tenant_id not in self._tenants and await database.read(lambda c: tenant.exists(c, tenant_id)):
            self._tenants.add(tenant_id)
        return tenant_id in self._tenants

    async def _verified(self, token: str) -> dict[str, Any]:
        """The claims, once signature, header and times are good. Raises JoseError, _Refused, ValueError."""
        if len(token) > BYTES_MAX:
            raise _Refused("it is too long")
        signed = jws.extract_compact(token.encode(), registry=self._registry)
        header = signed.headers()
        self._check(header)
        key = await self._keys.find(header["kid"])
        if key is None:
            raise _Refused("its key is not known")
        if key.get("alg") not in (None, header["alg"]):
            raise _Refused("its key is of another algorithm")
        if not jws.validate_compact(signed, key, registry=self._registry):
            raise _Refused("its signature is not good")
        claims = json.loads(signed.payload)
        if not isinstance(claims, dict):
            raise _Refused("its claims are no object")
        self._check_claims(claims)
        return claims

    def _check(self, header: dict[str, Any]) -> None:
        """Refuse by the header, which needs no key: a token that is refused anyway costs the provider nothing."""
        if header.get("alg") not in self._rules.algorithms:
            raise _Refused("its algorithm is not taken")
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise _Refused("it is of another type")
        if "crit" in header or "b64" in header:
            raise _Refused("it needs an extension")
        if not isinstance(header.get("kid"), str):
            raise _Refused("it names no key")

    def _check_claims(self, claims: dict[str, Any]) -> None:
        now, rules = int(self._clock()), self._rules
        JWTClaimsRegistry(
            now=now,
            leeway=rules.leeway_s,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            sub={"essential": True},
            exp={"essential": True},
        ).validate(claims)
        if claims["exp"] - claims.get("iat", now) > rules.life_max_s + rules.leeway_s:
            raise _Refused("it lives too long")

    def read(self, claims: dict[str, Any]) -> Principal:
        """The principal of verified claims. Raises _Refused, ValueError, Unprocessable."""
        rules, subject = self._rules, claims["sub"]
        if not 0 < len(subject) <= _SUBJECT_LENGTH_MAX or not subject.isprintable():
            raise _Refused("its subject cannot be written down")
        require_text(subject)
        tenant_id, seller = claims.get(rules.tenant_claim), claims.get(rules.seller_claim)
        if not isinstance(tenant_id, str) or not tenant_id.isprintable() or tenant_id == PLATFORM_TENANT:
            raise _Refused("it names no tenant")
        if seller is not None and not (isinstance(seller, str) and CLIENT_ID.fullmatch(seller)):
            raise _Refused("it names no seller")
        return Principal(
            # No token is taken for an API key, or for a person at the terminal.
            actor=f"jwt:{subject}",
            tenant_id=tenant_id,
            scopes=granted(_role(claims.get(rules.role_claim)), _scopes(claims.get(rules.scope_claim)), seller),
            life_s=max(0.0, claims["exp"] + rules.leeway_s - self._clock()),
            seller_account=seller,
        )


def _role(claim: object) -> str | None:
    """One role: alone, or the only one of a list."""
    if isinstance(claim, list) and len(claim) == 1:
        claim = claim[0]
    if claim is not None and not isinstance(claim, str):
        raise _Refused("its role is not one word")
    return claim


def _scopes(claim: object) -> frozenset[str] | None:
    """Separated by spaces as in RFC 8693, or a list."""
    words = claim.split() if isinstance(claim, str) else claim
    if words is None:
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _Refused("its scopes are no list of words")
    return frozenset(words)


def verifier_of(settings: Settings) -> JwtVerifier | None:
    """None: only API keys are taken. Raises SettingMissing where the settings are half of what is needed."""
    url, file = settings.jwt_jwks_url, settings.jwt_jwks_file
    if not (settings.jwt_issuer or settings.jwt_audience or url or file):
        return None
    if not settings.jwt_issuer or not settings.jwt_audience or bool(url) == bool(file):
        raise SettingMissing(
            "JWT bearer tokens need PAYSAGA_JWT_ISSUER, PAYSAGA_JWT_AUDIENCE, and PAYSAGA_JWT_JWKS_URL or"
            " PAYSAGA_JWT_JWKS_FILE, one of the two."
        )
    if url and not _is_safe(url):
        raise SettingMissing("PAYSAGA_JWT_JWKS_URL is not usable: it starts with https://.")
    rules = JwtRules(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        algorithms=tuple(settings.jwt_algorithms.split(",")),
        leeway_s=settings.jwt_leeway_s,
        life_max_s=settings.jwt_life_max_s,
        tenant_claim=settings.jwt_tenant_claim,
        role_claim=settings.jwt_role_claim,
        scope_claim=settings.jwt_scope_claim,
        seller_claim=settings.jwt_seller_claim,
    )
    read = from_url(url) if url else from_file(Path(file or ""))
    return JwtVerifier(rules, JwksKeys(read, keep_s=settings.jwt_keys_keep_s))


def _is_safe(url: str) -> bool:
    """Keys that came in plain over a network would be whoever's that stands on the way."""
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    here = parts.host in ("127.0.0.1", "localhost", "::1")
    return bool(parts.host) and (parts.scheme == "https" or (parts.scheme == "http" and here))
