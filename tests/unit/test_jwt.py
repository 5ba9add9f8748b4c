"""Tokens of an identity provider: which are taken, what they say, and how its keys are read."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from api import jwt_keys
from api.access import Principals, authenticate
from api.jwt import BYTES_MAX, JwtRules, JwtVerifier, verifier_of
from api.jwt_keys import JwksKeys
from config.settings import Settings
from db.core.database import Database
from domain.access import EVERY_SCOPE, ROLES, Principal
from domain.errors import PaysagaError, Unauthorized, Unavailable
from runtime.wiring import SettingMissing
from tests.support.provider import AUDIENCE, ISSUER, Provider, segment

NOW = 1_800_000_000


class Tenants:
    """A database that has the tenant `shop`, and counts how often it is asked."""

    asked = 0

    async def read(self, work: Callable[[Any], Awaitable[bool]]) -> bool:
        self.asked += 1
        return await work(self)

    async def scalar(self, query: Any) -> str | None:
        (wanted,) = query.compile().params.values()
        return "shop" if wanted == "shop" else None


class Source:
    """Where keys are read: counts, and fails when it is told to."""

    def __init__(self, provider: Provider) -> None:
        self.provider, self.reads, self.down = provider, 0, False
        self.gate: asyncio.Event | None = None

    async def read(self) -> bytes:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise OSError("refused")
        return self.provider.jwks


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """All that verifies a token, with a clock of its own."""

    def __init__(self, **rules: Any) -> None:
        self.provider, self.clock = Provider(), Clock()
        self.source = Source(self.provider)
        self.keys = JwksKeys(self.source.read, keep_s=3_600, clock=self.clock)
        wanted = JwtRules(ISSUER, AUDIENCE, ("ES256", "RS256"), **rules)
        self.verifier = JwtVerifier(wanted, self.keys, clock=lambda: NOW)
        self.tenants = Tenants()

    async def taken(self, token: str) -> Principal:
        return await self.verifier.principal(token, cast(Database, self.tenants))

    async def of(self, **claims: Any) -> Principal:
        return await self.taken(self.provider.token(now=NOW, **claims))


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def refused(gate: Gate, token: str) -> None:
    """Each is refused in the same words."""
    with pytest.raises(Unauthorized) as refusal:
        await gate.taken(token)
    assert (refusal.value.code, refusal.value.detail) == ("token_invalid", "The token is not valid.")


# --- what a token says ---


async def test_a_token_is_its_subject_with_the_scopes_of_its_role(gate: Gate) -> None:
    who = await gate.of(role="operator")
    assert (who.actor, who.tenant_id, who.scopes, who.seller_account) == ("jwt:anna", "shop", ROLES["operator"], None)
    assert who.life_s == 300 + 30


async def test_roles_and_scopes_narrow_each_other(gate: Gate) -> None:
    few = "payments:read payouts:write openid"
    assert (await gate.of(scope=few)).scopes == {"payments:read", "payouts:write"}
    assert (await gate.of(scope=few.split())).scopes == {"payments:read", "payouts:write"}
    assert (await gate.of(role=["checkout"], scope=few)).scopes == {"payments:read"}
    assert (await gate.of(role="admin")).scopes == EVERY_SCOPE
    assert (await gate.of()).scopes == frozenset()


async def test_a_merchant_is_bound_to_the_seller_that_it_names(gate: Gate) -> None:
    who = await gate.of(role="merchant", seller_account="anna")
    assert (who.scopes, who.seller_account) == (ROLES["merchant"], "anna")
    wrong: list[dict[str, Any]] = [
        {"role": "merchant"},
        {"role": "admin", "seller_account": "anna"},
        {"scope": "payments:read", "seller_account": "anna"},
        {"role": "merchant", "seller_account": "anna bo"},
    ]
    for claims in wrong:
        await refused(gate, gate.provider.token(now=NOW, **claims))


async def test_the_names_of_claims_can_be_chosen() -> None:
    gate = Gate(tenant_claim="https://x.example/shop", role_claim="roles", scope_claim="scp", seller_claim="seller")
    claims: dict[str, Any] = {"tenant": None, "https://x.example/shop": "shop", "roles": ["merchant"], "seller": "bo"}
    who = await gate.taken(gate.provider.token(now=NOW, scp=["ledger:read"], **claims))
    assert (who.tenant_id, who.seller_account) == ("shop", "bo")
    assert who.scopes == {"ledger:read"}


async def test_a_tenant_is_looked_up_once(gate: Gate) -> None:
    for _ in range(3):
        await gate.of()
    assert gate.tenants.asked == 1


# --- what is refused ---

BAD_CLAIMS: list[dict[str, Any]] = [
    {"iss": "https://evil.example"},
    {"iss": None},
    {"iss": [ISSUER]},
    {"aud": "another-api"},
    {"aud": []},
    {"aud": None},
    {"exp": NOW - 31},
    {"exp": None},
    {"exp": "tomorrow"},
    {"exp": True},
    {"exp": 10**400},
    {"exp": NOW + 3_631, "iat": None},
    {"iat": NOW - 3_600, "exp": NOW + 60},
    {"iat": NOW + 31},
    {"iat": "now"},
    {"nbf": NOW + 31},
    {"nbf": []},
    {"sub": None},
    {"sub": ""},
    {"sub": 7},
    {"sub": "a\x00b"},
    {"sub": "x" * 201},
    {"sub": "4242 4242 4242 4242"},
    {"tenant": None},
    {"tenant": ["shop"]},
    {"tenant": "nobody"},
    {"tenant": "platform"},
    {"role": "root"},
    {"role": ["checkout", "admin"]},
    {"role": {"admin": True}},
    {"scope": 7},
    {"scope": ["payments:read", 7]},
]


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=str)
async def test_claims_that_are_refused(gate: Gate, claims: dict[str, Any]) -> None:
    await refused(gate, gate.provider.token(now=NOW, **claims))


async def test_clocks_may_differ_by_the_leeway(gate: Gate) -> None:
    for claims in ({"exp": NOW - 29}, {"iat": NOW + 29}, {"nbf": NOW + 29}, {"aud": ["x", AUDIENCE]}):
        await gate.taken(gate.provider.token(now=NOW, **claims))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"crit": ["exp"], "exp": 1},
        {"kid": None},
    ],
    ids=str,
)
async def test_headers_that_are_refused(gate: Gate, header: dict[str, Any]) -> None:
    protected = {name: v for name, v in ({"alg": "ES256", "kid": "k1"} | header).items() if v is not None}
    _, payload, signature = gate.provider.token(now=NOW).split(".")
    await refused(gate, f"{segment(protected)}.{payload}.{signature}")
    assert gate.source.reads == 0, "nothing is asked for a token that could not be taken"


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "application/at+jwt"])
async def test_types_that_are_taken(gate: Gate, typ: str) -> None:
    await gate.taken(gate.provider.token(now=NOW, header={"typ": typ}))


async def test_no_algorithm_but_those_of_the_settings(gate: Gate) -> None:
    good = gate.provider.token(now=NOW, role="admin")
    head, payload, signature = good.split(".")
    other = ECKey.generate_key("P-384", {"kid": "k1"})
    for token in (
        gate.provider.forged("HS256", now=NOW, role="admin"),
        gate.provider.forged("none", now=NOW, role="admin"),
        f"{segment({'alg': 'None', 'kid': 'k1'})}.{payload}.{signature}",
        f"{segment({'alg': ['ES256'], 'kid': 'k1'})}.{payload}.{signature}",
        f"{segment({'alg': 'RS256', 'kid': 'k1'})}.{payload}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}.{'A' * len(signature)}",
        f"{head}.{segment({'tenant': 'shop'})}.{signature}",
        gate.provider.token(now=NOW, key=other, header={"alg": "ES384"}),
        gate.provider.token(now=NOW, key=ECKey.generate_key("P-256")),
    ):
        await refused(gate, token)
    assert (await gate.taken(good)).actor == "jwt:anna"


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        "e30.e30.e30",
        "é.b.c",
        f"{'[' * 3000}.b.c",
        f"{segment([])}.e30.e30",
        f"{segment('x')}.e30.e30",
        f"{segment({'alg': 'ES256', 'kid': 'k1', 'typ': {}})}.e30.e30",
        "a." * 2 + "x" * BYTES_MAX,
    ],
    ids=lambda token: token[:12],
)
async def test_what_is_no_token(gate: Gate, token: str) -> None:
    await refused(gate, token)


async def test_claims_that_are_no_object(gate: Gate) -> None:
    for payload in (b"[]", b"7", b"", b"{", b"[" * 6000, b'{"exp":' + b"9" * 5000 + b"}"):
        header = {"alg": "ES256", "kid": "k1"}
        await refused(gate, jws.serialize_compact(header, payload, gate.provider.keys["k1"]))


async def test_rsa_and_ed25519_are_taken_where_the_settings_say_so() -> None:
    gate = Gate()
    rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
    ed = OKPKey.generate_key("Ed25519", {"kid": "ed"})
    gate.provider.keys |= {"rsa": rsa, "ed": ed}
    await gate.taken(gate.provider.token(now=NOW, key=rsa, header={"alg": "RS256", "kid": "rsa"}))
    await refused(gate, gate.provider.token(now=NOW, key=ed, header={"alg": "Ed25519", "kid": "ed"}))
    gate.verifier = JwtVerifier(JwtRules(ISSUER, AUDIENCE, ("Ed25519",)), gate.keys, clock=lambda: NOW)
    await gate.taken(gate.provider.token(now=NOW, key=ed, header={"alg": "Ed25519", "kid": "ed"}))
    await refused(gate, gate.provider.token(now=NOW, key=rsa, header={"alg": "RS256", "kid": "rsa"}))


# --- the provider's keys ---


async def test_keys_are_read_once_for_many_requests(gate: Gate) -> None:
    await asyncio.gather(*(gate.of() for _ in range(20)))
    for _ in range(5):
        await gate.of()
    assert gate.source.reads == 1


async def test_a_new_key_is_found_at_its_first_token(gate: Gate) -> None:
    await gate.of()
    gate.provider.rotate("k2")
    gate.clock.now += 31
    await asyncio.gather(*(gate.of() for _ in range(5)))
    assert gate.source.reads == 2


async def test_unknown_keys_do_not_have_the_provider_asked_each_time(gate: Gate) -> None:
    await gate.of()
    for _ in range(50):
        await refused(gate, gate.provider.token(now=NOW, header={"kid": "made-up"}))
    assert gate.source.reads == 1
    gate.clock.now += 31
    for _ in range(50):
        await refused(gate, gate.provider.token(now=NOW, header={"kid": "made-up"}))
    assert gate.source.reads == 2


async def test_a_key_that_is_withdrawn_is_refused_soon(gate: Gate) -> None:
    old = gate.provider.token(now=NOW)
    await gate.taken(old)
    gate.provider.rotate("k2")
    del gate.provider.keys["k1"]
    gate.clock.now += 301
    await gate.taken(old)  # while they are read again, nobody waits
    await asyncio.sleep(0)
    await gate.of()
    await refused(gate, old)


async def test_known_keys_never_wait_for_the_provider(gate: Gate) -> None:
    await gate.of()
    gate.clock.now += 301
    gate.source.gate = asyncio.Event()
    token = gate.provider.token(now=NOW)
    unknown = asyncio.create_task(gate.taken(gate.provider.token(now=NOW, header={"kid": "made-up"})))
    await asyncio.sleep(0)
    for _ in range(3):
        await gate.taken(token)
    assert not unknown.done()
    gate.source.gate.set()
    with pytest.raises(Unauthorized):
        await unknown
    assert gate.source.reads == 2


async def test_keys_outlive_a_provider_that_is_down_for_a_bounded_time(gate: Gate) -> None:
    await gate.of()
    gate.source.down = True
    for _ in range(11):
        gate.clock.now += 300
        await gate.of()
    gate.clock.now += 301
    for _ in range(3):
        with pytest.raises(Unavailable) as refusal:
            await gate.of()
        assert refusal.value.code == "token_keys_unavailable"
    assert gate.source.reads <= 13
    gate.source.down = False
    gate.clock.now += 6
    await gate.of()


async def test_a_provider_that_was_never_reached_is_unavailable_and_asked_seldom(gate: Gate) -> None:
    gate.source.down = True
    for _ in range(10):
        with pytest.raises(Unavailable):
            await gate.of()
    assert gate.source.reads == 1
    await refused(gate, gate.provider.token(now=NOW, header={"alg": "ES384"}, key=ECKey.generate_key("P-384")))


def test_keys_that_cannot_verify_are_left_out() -> None:
    provider = Provider()
    good = json.loads(provider.jwks)["keys"][0]
    private = ECKey.generate_key("P-256", {"kid": "private"}).as_dict(private=True)
    symmetric = OctKey.import_key(b"s" * 32, {"kid": "oct"}).as_dict(private=True)
    bad: list[Any] = [
        private,
        symmetric,
        good | {"kid": "enc", "use": "enc"},
        good | {"kid": None},
        good | {"kty": "X"},
    ]
    bad += [good | {"kid": "ops", "key_ops": ["sign"]}, {"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"}, 7]
    bad += [{"kty": "EC", "kid": "empty"}, good | {"kty": "X"}]
    assert set(jwt_keys.parse(json.dumps({"keys": [*bad, good]}).encode())) == {"k1"}
    for document in (json.dumps({"keys": bad}).encode(), b"{}", b"[]", b"", b"[" * 9000, b'{"keys": 7}'):
        with pytest.raises(ValueError, match=r"."):
            jwt_keys.parse(document)


async def test_keys_come_out_of_a_file(tmp_path: Path) -> None:
    provider = Provider()
    provider.publish(tmp_path / "jwks.json")
    keys = JwksKeys(jwt_keys.from_file(tmp_path / "jwks.json"), keep_s=60)
    assert await keys.find("k1") is not None
    lost = JwksKeys(jwt_keys.from_file(tmp_path / "none.json"), keep_s=60)
    with pytest.raises(PaysagaError):
        await lost.find("k1")


ANSWERS = {
    "/keys": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b",
    "/moved": b"HTTP/1.1 302 Found\r\nLocation: /keys\r\nContent-Length: 0\r\n\r\n",
    "/broken": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "/large": b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
    "/html": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
}


async def test_keys_come_from_a_server_and_nothing_else_does() -> None:
    provider = Provider()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        answer = ANSWERS[path]
        writer.write(answer % (len(provider.jwks), provider.jwks) if path == "/keys" else answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await JwksKeys(jwt_keys.from_url(f"{base}/keys"), keep_s=60).find("k1") is not None
        for path in ANSWERS.keys() - {"/keys"}:
            with pytest.raises(Unavailable):
                await JwksKeys(jwt_keys.from_url(base + path), keep_s=60).find("k1")
    with pytest.raises(Unavailable):
        await JwksKeys(jwt_keys.from_url(f"{base}/keys"), keep_s=60).find("k1")


# --- settings ---

COMPLETE: dict[str, Any] = {
    "jwt_issuer": ISSUER,
    "jwt_audience": AUDIENCE,
    "jwt_jwks_url": "https://login.example/keys",
}


def test_without_settings_there_are_no_tokens() -> None:
    assert verifier_of(Settings()) is None
    assert verifier_of(Settings(jwt_issuer="", jwt_jwks_file="", jwt_jwks_url="")) is None
    assert verifier_of(Settings(**COMPLETE)) is not None


async def test_without_settings_a_token_is_an_api_key_that_nobody_has() -> None:
    class Nobodys:
        async def read(self, work: object) -> None: ...

    state = SimpleNamespace(tokens=None, principals=Principals(), runtime=SimpleNamespace(database=Nobodys()))
    header = (b"authorization", f"Bearer {Provider().token()}".encode())
    scope = {"type": "http", "app": SimpleNamespace(state=state), "headers": [header], "client": None}
    with pytest.raises(Unauthorized) as refusal:
        await authenticate(Request(scope))
    assert refusal.value.code == "api_key_invalid"


@pytest.mark.parametrize(
    "changed",
    [
        {"jwt_issuer": None},
        {"jwt_audience": ""},
        {"jwt_jwks_url": None},
        {"jwt_jwks_file": "keys.json"},
        {"jwt_jwks_url": "http://login.example/keys"},
        {"jwt_jwks_url": "file:///etc/keys"},
        {"jwt_jwks_url": "https://[::1/keys"},
    ],
    ids=str,
)
def test_half_of_the_settings_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(SettingMissing, match="PAYSAGA_JWT_"):
        verifier_of(Settings(**COMPLETE | changed))


@pytest.mark.parametrize("algorithms", ["HS256", "none", "ES256,HS256", "", "RS256, ES256"])
def test_only_asymmetric_algorithms_can_be_set(algorithms: str) -> None:
    with pytest.raises(ValueError, match="jwt_algorithms"):
        Settings(jwt_algorithms=algorithms)
