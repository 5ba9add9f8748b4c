"""People who log in, as operators do."""

import secrets
import time
from typing import Any

import pyotp

from services.password import PasswordHasher
from tests.support.deployment import Deployment
from tests.support.shop import Answer, Shop

PASSWORD = "a horse that staples"


class Person:
    """An operator with a password, a second factor and a clock of codes."""

    def __init__(self, shop: Shop, name: str, one_time: str) -> None:
        self.shop, self.name, self.one_time = shop, name, one_time
        self.http = shop.paysaga.http
        self.secret = ""
        self.recovery_codes: list[str] = []

    def code(self, steps: int = 0) -> str:
        """Of now, or of so many steps of 30 seconds later."""
        return pyotp.TOTP(self.secret).at(int(time.time()) + 30 * steps)

    async def fresh(self) -> None:
        """As if no code had been used yet: nobody waits 30 seconds for the next."""
        await self.shop.paysaga.sql("UPDATE operator SET totp_counter = NULL WHERE name = $1", self.name)

    async def log_in(self, password: str = PASSWORD, code: str | None = None, name: str | None = None) -> Answer:
        body = {"name": name or self.name, "password": password}
        if code is None and self.secret:
            await self.fresh()
            code = self.code()
        return await self.http.post("/v1/sessions", json=body if code is None else body | {"code": code})

    async def token(self) -> str:
        answer = await self.log_in()
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def enrolled(self) -> dict[str, Any]:
        """The first login, to its end."""
        begun = (await self.log_in(self.one_time)).raise_for_status().json()
        self.secret = begun["totp"]["secret"]
        answer = await self.http.post(
            "/v1/sessions/current/enrolment",
            json={"password": PASSWORD, "code": self.code()},
            headers=bearer(begun["token"]),
        )
        made: dict[str, Any] = answer.raise_for_status().json()
        self.recovery_codes = made["recovery_codes"]
        return made

    async def me(self, token: str) -> Answer:
        return await self.http.get("/v1/sessions/current", headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def added(shop: Shop, role: str = "finance") -> Person:
    """By the row alone, for tests that are about what follows."""
    name, one_time = f"p{secrets.token_hex(4)}", secrets.token_hex(8)
    await shop.paysaga.sql(
        "INSERT INTO operator (name, tenant_id, role, password_hash, password_ends_at)"
        " VALUES ($1, $2, $3, $4, now() + interval '1 day')",
        *(name, shop.tenant, role, await PasswordHasher(1024).hash(one_time)),
    )
    return Person(shop, name, one_time)


async def open_again(paysaga: Deployment, kinds: str = "address,name") -> None:
    """Forget who has tried: every test, and the fuzzer, comes from one address."""
    query = "UPDATE login_throttle SET tries = 0, open_at = now() WHERE kind = ANY ($1)"
    await paysaga.sql(query, kinds.split(","))
