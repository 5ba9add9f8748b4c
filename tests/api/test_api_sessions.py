"""People who log in: enrolment, the second factor, what a session may do, its end, and those who guess."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from domain.access import ROLES
from services.password import PasswordHasher
from tests.api.problem import refused
from tests.audit.command import paysaga_command
from tests.support.deployment import Deployment
from tests.support.people import PASSWORD, Person, added, bearer, open_again
from tests.support.shop import Answer, Shop

BY = ("--by", "root")


async def command(shop: Shop, *words: str) -> dict[str, Any]:
    said = await paysaga_command(shop.paysaga.environment(), "operators", *words, "--json")
    assert (said.code, said.err) == (0, ""), said
    made: dict[str, Any] = json.loads(said.out)
    return made


async def log_of(shop: Shop, **parameters: Any) -> list[tuple[str, str, str]]:
    rows = (await shop.get("/v1/audit-log", **parameters)).raise_for_status().json()["data"]
    return [(row["action"], row["actor"], row["object_id"]) for row in rows]


@pytest.fixture(autouse=True)
async def unthrottled(paysaga: Deployment) -> None:
    """Every test comes from one address."""
    await open_again(paysaga)


# --- a life ---


async def test_from_the_first_login_to_the_last(shop: Shop) -> None:
    name = f"olga.{secrets.token_hex(4)}"
    made = await command(shop, "add", name, "--tenant", shop.tenant, "--role", "operator", *BY)
    person = Person(shop, name, made["one_time_password"])
    begun = (await person.log_in(person.one_time)).json()
    assert (begun["stage"], begun["scopes"], begun["recovery_codes"]) == ("enrolment", [], [])
    refused(await person.http.get("/v1/payments", headers=bearer(begun["token"])), 403, "scope_missing")
    active = await person.enrolled()
    assert (active["operator"], active["tenant_id"], active["role"]) == (name, shop.tenant, "operator")
    assert (active["stage"], active["totp"], active["scopes"]) == ("active", None, sorted(ROLES["operator"]))
    assert len(set(active["recovery_codes"])) == 10
    refused(await person.me(begun["token"]), 401, "session_invalid")
    refused(await person.log_in(person.one_time), 401, "login_refused")

    token = await person.token()
    shown = (await person.me(token)).raise_for_status().json()
    assert {
        k: v for k, v in active.items() if k in shown and not k.endswith(("_at", "_until"))
    }.items() <= shown.items()
    other = await shop.paysaga.shop(f"other-{secrets.token_hex(5)}")
    theirs = await other.paid(other.checkout(), confirm=False)
    paid = await shop.paid(shop.checkout(), confirm=False)
    headers = bearer(token) | {"Idempotency-Key": secrets.token_hex(8)}
    refused(await person.http.get(f"/v1/payments/{theirs['id']}", headers=headers), 404, "payment_not_found")
    cancelled = await person.http.post(f"/v1/payments/{paid['id']}/cancel", headers=headers)
    assert cancelled.status_code in (200, 202), cancelled.text
    refused(
        await person.http.post("/v1/payouts", json={"seller_account": "anna"}, headers=headers), 403, "scope_missing"
    )
    left = await person.http.delete("/v1/sessions/current", headers=bearer(token))
    assert (left.status_code, left.content) == (204, b"")
    refused(await person.me(token), 401, "session_invalid")
    assert await log_of(shop, actor=name) == [
        ("session.end", name, name),
        ("payment.cancel", name, paid["id"]),
        ("session.create", name, name),
        ("session.create", name, name),
        ("operator.enrol", name, name),
        ("session.create", name, name),
        ("session.create", name, name),
    ]

    token = await person.token()
    assert await command(shop, "disable", name, *BY) == {"object": "operator", "name": name, "disabled_now": True}
    refused(await person.me(token), 401, "session_invalid")
    refused(await person.log_in(), 401, "login_refused")
    assert (await command(shop, "disable", name, *BY))["disabled_now"] is False
    again = Person(shop, name, (await command(shop, "reset", name, *BY))["one_time_password"])
    refused(await again.log_in(PASSWORD, person.code()), 401, "login_refused")
    assert (await again.enrolled())["stage"] == "active"
    (listed,) = [row for row in (await command(shop, "list"))["data"] if row["name"] == name]
    assert (listed["role"], listed["disabled_at"]) == ("operator", None)
    rows = [row for row in await log_of(shop, action="operator", object_id=name) if row[1] == "root"]
    assert [action for action, *_ in rows] == ["operator.reset", "operator.disable", "operator.add"]
    page = await paysaga_command(shop.paysaga.environment(), "operators", "list")
    assert name in page.out
    await _no_secret_is_written(shop, [person, again], [token])


async def _no_secret_is_written(shop: Shop, people: list[Person], tokens: list[str]) -> None:
    """Passwords, secrets, codes and tokens are in no table and in no log."""
    words = [PASSWORD, *tokens]
    for person in people:
        words += [person.one_time, person.secret, *person.recovery_codes]
    words += [word.replace("-", "") for word in words]
    tables = ("operator", "operator_session", "audit_log", "login_throttle")
    stored = [str(row) for t in tables for row in await shop.paysaga.sql(f"SELECT t::text FROM {t} t")]
    written = (shop.paysaga.folder / "api.log").read_text() + "".join(stored)
    hexadecimal = [word.encode().hex() for word in words]
    assert [word for word in [*words, *hexadecimal] if word and word in written] == []


async def test_what_the_terminal_refuses(shop: Shop) -> None:
    person = await added(shop)
    for words, sentence in (
        (("add", "Olga!", "--tenant", shop.tenant, "--role", "admin"), "A login name is"),
        (("add", "olga", "--tenant", shop.tenant, "--role", "checkout"), "unknown role"),
        (("add", "olga", "--tenant", "no-such", "--role", "admin"), "There is no tenant no-such"),
        (("add", person.name, "--tenant", shop.tenant, "--role", "admin"), "already"),
        (("reset", "no-such"), "There is no operator of this name. `paysaga operators list` shows them."),
        (("disable", "key_1"), "There is no operator of this name."),
    ):
        said = await paysaga_command(shop.paysaga.environment(), "operators", *words, *BY)
        assert (said.code, sentence in said.err) == (1, True), (words, said.err)


# --- enrolment ---


async def test_an_enrolment_asks_for_a_password_of_ones_own_and_a_code(shop: Shop) -> None:
    person = await added(shop)
    begun = (await person.log_in(person.one_time)).json()
    person.secret = begun["totp"]["secret"]
    assert f"secret={person.secret}" in begun["totp"]["uri"]

    async def enrol(password: str, code: str, token: str = begun["token"]) -> Answer:
        body = {"password": password, "code": code}
        return await person.http.post("/v1/sessions/current/enrolment", json=body, headers=bearer(token))

    for password in ("short", "x" * 200, "aaaabbbbaaaabbbb", f"{person.name} and more", person.one_time):
        refused(await enrol(password, person.code()), 422, "password_refused")
    refused(await enrol(PASSWORD, person.code(-4)), 422, "code_invalid")
    refused(
        await person.http.post("/v1/sessions/current/enrolment", json={}, headers=shop.headers), 403, "session_required"
    )
    second = (await person.log_in(person.one_time)).json()
    refused(await enrol(PASSWORD, person.code()), 401, "session_invalid")
    refused(await enrol(PASSWORD, person.code(), second["token"]), 422, "code_invalid")
    active = await person.enrolled()
    refused(await enrol(PASSWORD, person.code(), active["token"]), 409, "enrolled_already")

    late = await added(shop)
    query = "UPDATE operator SET password_ends_at = now() - interval '1 second' WHERE name = $1"
    await shop.paysaga.sql(query, late.name)
    refused(await late.log_in(late.one_time), 401, "login_refused")


# --- the second factor ---


async def test_each_code_is_good_once(shop: Shop) -> None:
    person = await added(shop)
    await person.enrolled()
    refused(await person.log_in(code=person.code()), 401, "login_refused")  # of the enrolment
    await person.fresh()
    assert (await person.log_in(code=person.code(-1))).status_code == 201, "of the step before: clocks differ"
    code = person.code()
    assert (await person.log_in(code=f"{code[:3]} {code[3:]}")).status_code == 201
    for used in (code, person.code(-1)):
        refused(await person.log_in(code=used), 401, "login_refused")
    await person.fresh()
    both = await asyncio.gather(*(person.log_in(code=person.code()) for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [201, 401]
    for stale in (person.code(-3), person.code(3), "", "000000" if code != "000000" else "000001", "١٢٣٤٥٦"):
        refused(await person.log_in(code=stale), 401, "login_refused")
    await open_again(shop.paysaga)
    recovery = person.recovery_codes[0]
    assert (await person.log_in(code=recovery.upper().replace("-", " "))).status_code == 201
    for used in (recovery, recovery[:-1]):
        refused(await person.log_in(code=used), 401, "login_refused")
    assert (await person.log_in(code=person.recovery_codes[1])).status_code == 201
    (row,) = await shop.paysaga.sql(
        "SELECT cardinality(recovery_codes) AS n FROM operator WHERE name = $1", person.name
    )
    assert row["n"] == 8


async def test_every_failure_is_one_answer(shop: Shop) -> None:
    """Also for a name that nobody has a password is hashed, and the same is written."""
    person, gone = await added(shop), await added(shop)
    await person.enrolled()
    await gone.enrolled()
    await command(shop, "disable", gone.name, *BY)
    await person.fresh()
    await open_again(shop.paysaga)
    code = person.code()
    answers = [
        await person.log_in("another password", code),
        await person.log_in(PASSWORD, person.code(7)),
        await person.log_in(PASSWORD, code, name="nobody-here"),
        await person.log_in(PASSWORD, code, name="Not A Name"),
        await gone.log_in(PASSWORD, gone.code()),
        await person.log_in("x" * 128, code),
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}
    refused(answers[0], 401, "login_refused")
    told = await log_of(shop, action="session.refuse")
    assert sorted(told) == sorted(("session.refuse", "nobody", one.name) for one in (person, gone)), "once a minute"
    unknown = await shop.paysaga.sql("SELECT tenant_id FROM audit_log WHERE object_id = 'unknown name'")
    assert {row["tenant_id"] for row in unknown} == {"platform"}


async def test_a_password_is_hashed_for_nobody_as_for_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = PasswordHasher(1024)
    stored = await hasher.hash("right")
    costs = []
    scrypt = PasswordHasher._scrypt

    async def noted(self: PasswordHasher, password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
        costs.append(cost)
        return await scrypt(self, password, salt, cost)

    monkeypatch.setattr(PasswordHasher, "_scrypt", noted)
    assert [await hasher.matches("right", one) for one in (stored, None)] == [True, False]
    assert await hasher.matches("wrong", stored) is False
    assert len(costs) == 3
    assert len(set(costs)) == 1


async def test_a_hash_of_another_cost_is_renewed(shop: Shop) -> None:
    person = await added(shop)
    await person.enrolled()
    old = await PasswordHasher(2048).hash(PASSWORD)
    await shop.paysaga.sql("UPDATE operator SET password_hash = $2 WHERE name = $1", person.name, old)
    for _ in range(2):
        await person.token()
        (row,) = await shop.paysaga.sql("SELECT password_hash FROM operator WHERE name = $1", person.name)
        assert row["password_hash"].startswith("scrypt$1024$8$3$")
        assert PASSWORD not in row["password_hash"]


# --- the end of a session ---


@pytest.mark.parametrize("moved", ["last_used_at = now() - interval '31 minutes'", "expires_at = now()"])
async def test_a_session_ends_by_itself(shop: Shop, moved: str) -> None:
    person = await added(shop)
    token = (await person.enrolled())["token"]
    query = "UPDATE operator_session SET {} WHERE operator_name = $1"
    await shop.paysaga.sql(query.format("last_used_at = now() - interval '29 minutes'"), person.name)
    before = (await person.me(token)).raise_for_status().json()
    after = (await person.me(token)).raise_for_status().json()
    left = datetime.fromisoformat(after["idle_until"]) - datetime.now(UTC)
    assert left > timedelta(minutes=25), "used"
    assert after["expires_at"] == before["expires_at"]
    await shop.paysaga.sql(query.format(moved), person.name)
    refused(await person.me(token), 401, "session_invalid")
    refused(await person.http.get("/v1/payments", headers=bearer(token)), 401, "session_invalid")


async def test_a_role_that_changes_counts_from_the_next_request(shop: Shop) -> None:
    person = await added(shop)
    token = (await person.enrolled())["token"]
    refused(await person.http.get("/v1/reviews", headers=bearer(token)), 403, "scope_missing")
    await shop.paysaga.sql("UPDATE operator SET role = 'admin' WHERE name = $1", person.name)
    assert (await person.http.get("/v1/reviews", headers=bearer(token))).status_code == 200


# --- those who guess ---


async def test_who_guesses_waits_and_shuts_nobody_out(shop: Shop) -> None:
    person, paysaga = await added(shop), shop.paysaga
    await person.enrolled()
    stranger = "UPDATE operator_session SET address = '203.0.113.7' WHERE operator_name = $1"
    await paysaga.sql(stranger, person.name)

    async def guess(count: int) -> list[Answer]:
        return await asyncio.gather(*(person.log_in("guess", "123456") for _ in range(count)))

    # An address: ten tries cost nothing; many at once are as many; each further wait is twice as long.
    assert [answer.status_code for answer in await guess(10)] == [401] * 10
    for tries, wait_s in ((15, 64), (16, 128), (40, 900)):
        await paysaga.sql("UPDATE login_throttle SET tries = $1, open_at = now() WHERE tries >= 10", tries)
        held = [answer for answer in await guess(4) if answer.status_code != 401]
        assert len(held) == 3
        for answer in held:
            refused(answer, 429, "login_throttled")
            assert wait_s // 2 < int(answer.headers["retry-after"]) <= wait_s
    refused(await person.log_in(), 429, "login_throttled")

    # A name, from an address that is new: a minute at most.
    await open_again(paysaga, "address")
    most = "UPDATE login_throttle SET tries = 500, open_at = now() WHERE kind = 'name' AND tries > 10"
    await paysaga.sql(most)
    refused(await person.log_in("guess", "1"), 401, "login_refused")
    waiting = await person.log_in()
    refused(waiting, 429, "login_throttled")
    assert 30 < int(waiting.headers["retry-after"]) <= 60
    # The address that the operator has logged in from is let in meanwhile, and so is a new enrolment.
    await paysaga.sql(stranger.replace("203.0.113.7", "127.0.0.1"), person.name)
    assert (await person.log_in()).status_code == 201
    await paysaga.sql(stranger, person.name)
    await guess(10)
    await open_again(paysaga, "address")
    await paysaga.sql(most.replace("> 10", ">= 10"))
    await guess(1)
    refused(await person.log_in(), 429, "login_throttled")
    person.one_time, person.secret = (await command(shop, "reset", person.name, *BY))["one_time_password"], ""
    await person.enrolled()
    assert (await person.log_in()).status_code == 201

    # What was tried is forgotten.
    await paysaga.sql("UPDATE login_throttle SET tries = 20, open_at = now(), tried_at = now() - interval '2 hours'")
    assert [answer.status_code for answer in await guess(4)] == [401] * 4


# --- in a browser ---


@pytest.fixture
async def browser(paysaga: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    """One that keeps cookies, and sends the origin with forms."""
    base = str(paysaga.http.base_url).rstrip("/")
    async with httpx2.AsyncClient(base_url=base, headers={"Origin": base}, follow_redirects=True) as client:
        yield client


async def test_a_browser_logs_in_without_scripts(shop: Shop, browser: httpx2.AsyncClient) -> None:
    person = await added(shop)
    form = await browser.get("/login")
    assert (form.status_code, "<script" in form.text) == (200, False)
    policy = form.headers["content-security-policy"]
    assert "form-action 'self'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert form.headers["referrer-policy"] == "same-origin", "with no-referrer a browser would send the origin null"
    first = await browser.post("/login", data={"name": person.name, "password": person.one_time, "code": ""})
    person.secret = re.sub(r"[^A-Z2-7]", "", re.findall(r"<code>(.*?)</code>", first.text)[0].replace("<br>", ""))
    answers = {"password": PASSWORD, "again": PASSWORD, "code": person.code()}
    differ = await browser.post("/login/enrolment", data=answers | {"again": "another"})
    assert (differ.status_code, "The two passwords differ." in differ.text) == (422, True)
    weak = await browser.post("/login/enrolment", data=dict.fromkeys(("password", "again"), "short") | {"code": "1"})
    assert (weak.status_code, "12 to 128" in weak.text) == (422, True)
    done = await browser.post("/login/enrolment", data=answers)
    assert (done.status_code, len(re.findall(r"<li><code>", done.text))) == (200, 10)
    shown = await browser.get("/login")
    assert person.name in shown.text
    assert "Log out" in shown.text
    assert person.name in (await browser.get("/login")).text
    refused(await browser.get("/v1/sessions/current"), 401, "api_key_missing")
    refused(await browser.get("/v1/payments"), 401, "api_key_missing")
    out = await browser.post("/logout")
    assert ("Log out" in out.text, browser.cookies.get("paysaga-session")) == (False, None)

    await person.fresh()
    refusal = await browser.post("/login", data={"name": f"{person.name}<b>", "password": "x", "code": "1"})
    assert (refusal.status_code, 'role="alert"' in refusal.text, "<b>" in refusal.text) == (401, True, False)
    back = await browser.post("/login", data={"name": person.name, "password": PASSWORD, "code": person.code()})
    assert "Log out" in back.text
    await command(shop, "disable", person.name, *BY)
    assert "Log out" not in (await browser.get("/login")).text
    assert await log_of(shop, action="session.end") == [("session.end", person.name, person.name)]


async def test_another_sites_page_can_do_nothing(shop: Shop, browser: httpx2.AsyncClient) -> None:
    person = await added(shop)
    await person.enrolled()
    await person.fresh()
    own = str(browser.base_url).rstrip("/")
    form = {"name": person.name, "password": PASSWORD, "code": person.code()}
    foreign = [
        "https://evil.example",
        "null",
        "",
        own.replace("127.0.0.1", "localhost"),
        own + "0",
        f"{own}.evil.example",
    ]
    for path in ("/login", "/login/enrolment", "/logout"):
        for origin in foreign:
            refused(await browser.post(path, data=form, headers={"Origin": origin}), 403, "origin_refused")
        del browser.headers["Origin"]
        refused(await browser.post(path, data=form), 403, "origin_refused")
        browser.headers["Origin"] = own
    made = await browser.post("/login", data=form, follow_redirects=False)
    assert made.status_code == 303
    cookie = made.headers["set-cookie"]
    assert cookie.startswith("paysaga-session=ses_")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie, "plain http on this machine"
    await person.fresh()
    named = {"Host": "pay.example", "Origin": "https://pay.example"}
    made = await browser.post("/login", data=form | {"code": person.code()}, headers=named, follow_redirects=False)
    cookie = made.headers["set-cookie"]
    assert cookie.startswith("__Host-paysaga-session=ses_")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Secure"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    too_many = await browser.post("/login", data={f"f{n}": "x" for n in range(11)})
    refused(too_many, 400, "form_invalid")
