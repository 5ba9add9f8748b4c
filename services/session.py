"""Sessions: logging in, enrolling at the first login, and logging out."""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from db import audit_log, login_throttle, operator, operator_session
from db.core.database import Connection, Database
from db.core.keyring import Keyring
from db.operator import Credentials
from db.operator_session import Session
from db.schema.base import PLATFORM_TENANT
from domain.access import ROLES, Principal
from domain.errors import Conflict, TooManyRequests, Unauthorized, Unprocessable
from domain.login import NOBODY, OF_A_NAME, OF_AN_ADDRESS, login_name, refused_password
from services import second_factor
from services.password import PasswordHasher

_REFUSALS_TOLD_EVERY = timedelta(minutes=1)
_IPV6_NETWORK = 64
"""Bits that name a customer's network, in which every address is the customer's."""

_Proof = Callable[[Connection], Awaitable[bool]]


@dataclass(frozen=True)
class Totp:
    """The secret of a second factor that is yet to be confirmed, in base32 and as the URI that apps read."""

    secret: str
    uri: str


@dataclass(frozen=True)
class LoggedIn:
    """A new session. `token`: its bearer token, which is nowhere else; `totp`: at a first login; `recovery_codes`: once
    it is enrolled."""

    token: str
    session: Session
    totp: Totp | None = None
    recovery_codes: tuple[str, ...] = ()


def principal_of(session: Session) -> Principal:
    """The person, with what the role may do; while enrolling, that is nothing."""
    scopes = frozenset[str]() if session.enrolling else ROLES[session.role]
    return Principal(session.operator, session.tenant_id, scopes)


def network_of(address: str | None) -> str:
    """The part of an address that is counted together: all of an IPv4 address, the network of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    return str(found if found.version == 4 else ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))


class Sessions:
    """The sessions of a deployment. `life`: from the login to the end; `idle`: from the last request."""

    def __init__(
        self, database: Database, keyring: Keyring, hasher: PasswordHasher, life: timedelta, idle: timedelta
    ) -> None:
        self._database, self._keyring, self._hasher = database, keyring, hasher
        self._life, self._idle = life, idle
        (self._throttle_key, *_) = keyring.derived("login throttle")

    async def find(self, token: str) -> Session | None:
        """The session of a token, which counts as used by it; None: there is none, or it has ended. Nothing is kept in
        the process: a session that was ended, or whose operator was disabled, is refused at the next request."""
        session = await self._database.read(lambda c: operator_session.find(c, token, self._idle))
        if session is not None and session.note_due:
            await self._database.run(lambda c: operator_session.note_use(c, token))
        return session

    async def log_in(self, name: str, password: str, code: str) -> LoggedIn:
        """Open a session; with a one-time password and no code, one to enrol in. A wrong name, password and code, one
        that was used already, and a disabled operator are one refusal, which takes equally long.

        Raises Unauthorized `login_refused`; TooManyRequests `login_throttled`; Unavailable `overloaded`.
        """
        typed, network = login_name(name), network_of(audit_log.client_address.get())
        known = await self._admit(typed, network)
        right = await self._hasher.matches(password, known.password_hash if known else None)
        if known is not None and right and known.password_good and not known.disabled:
            found = await (
                self._enter(known, password, code, network) if known.enrolled else self._begin(known, network)
            )
            if found is not None:
                return found
        await self._database.run(lambda c: _told_of_refusal(c, known))
        raise Unauthorized("The name, the password or the code is not right.", code="login_refused")

    async def _admit(self, name: str | None, network: str) -> Credentials | None:
        """Count the try, before the work that it makes. Known addresses, and one-time passwords, which nobody can
        guess, do not wait because of a name: a stranger who tries it for ever shuts nobody out."""
        key = self._throttle_key
        of_address = login_throttle.bucket_of(key, network)
        of_name = login_throttle.bucket_of(key, name or "")

        async def work(connection: Connection) -> Credentials | None:
            known = await operator.credentials(connection, name or "")
            familiar = await operator_session.came_from(connection, name or "", network)
            waits = not (familiar or (known is not None and not known.enrolled))
            for kind, bucket, limit, held in (
                ("address", of_address, OF_AN_ADDRESS, True),
                ("name", of_name, OF_A_NAME, waits),
            ):
                wait_s = await login_throttle.attempt(connection, kind, bucket, limit, waits=held)
                if wait_s is not None:
                    detail = "Too many logins were tried; try again later."
                    raise TooManyRequests(detail, code="login_throttled", retry_after_s=max(1, ceil(wait_s)))
            return known

        return await self._database.run(work)

    async def _enter(self, known: Credentials, password: str, code: str, network: str) -> LoggedIn | None:
        """The session of somebody enrolled whose password was right; None: the code was not."""
        factor, proof = self._proof(known, code)
        if proof is None:
            return None
        old = known.password_hash
        new = await self._hasher.hash(password) if self._hasher.outdated(old) else old

        async def work(connection: Connection) -> LoggedIn | None:
            if not await proof(connection):
                return None
            return await self._open(connection, known, network, new, factor)

        return await self._database.run(work)

    def _proof(self, known: Credentials, code: str) -> tuple[str, _Proof | None]:
        """The kind of a second factor, and the step that uses it up; None: it is not right."""
        assert known.totp_secret is not None, "stored before an operator is enrolled"
        counter = second_factor.counter_of(self._plain(known), code)
        if counter is not None:
            return "totp", lambda c: operator.used_counter(c, known, counter)
        code_hash = second_factor.recovery_hash(code)
        if code_hash in known.recovery_codes:
            return "recovery_code", lambda c: operator.used_recovery_code(c, known, code_hash)
        return "", None

    async def _begin(self, known: Credentials, network: str) -> LoggedIn | None:
        """The session of a first login, with a new secret for the second factor; an earlier one ends."""
        secret = second_factor.new_secret()
        sealed = self._keyring.encrypt(secret, bound_to=_bound_to(known.name))

        async def work(connection: Connection) -> LoggedIn | None:
            if not await operator.begun_enrolment(connection, known, sealed):
                return None
            await operator_session.end_all(connection, known.name)
            return await self._open(connection, known, network, known.password_hash, "one_time_password")

        opened = await self._database.run(work)
        return None if opened is None else LoggedIn(opened.token, opened.session, _totp(secret, known.name))

    async def _open(
        self, connection: Connection, known: Credentials, network: str, password_hash: str, factor: str
    ) -> LoggedIn:
        """Store a session and what a login leaves behind. The operator's row is locked by then."""
        key, name, tenant_id = self._throttle_key, known.name, known.tenant_id
        await operator.logged_in(connection, name, password_hash)
        await login_throttle.succeeded(
            connection, login_throttle.bucket_of(key, network), login_throttle.bucket_of(key, name)
        )
        token = operator_session.new_token()
        enrolling = factor == "one_time_password"
        await operator_session.create(connection, name, tenant_id, token, network, self._life, enrolling=enrolling)
        await audit_log.record(connection, tenant_id, name, "session.create", name, {"factor": factor})
        session = await operator_session.find(connection, token, self._idle)
        assert session is not None, "made above"
        return LoggedIn(token, session)

    async def totp_of(self, session: Session) -> Totp:
        """The secret that a session is to enrol with, for a page that is loaded again. Raises Conflict
        `enrolled_already`."""
        known = await self._database.read(lambda c: operator.credentials(c, session.operator))
        if known is None or known.enrolled or known.totp_secret is None:
            raise _enrolled_already()
        return _totp(self._plain(known), known.name)

    async def enrol(self, token: str, session: Session, password: str, code: str) -> LoggedIn:
        """Take a password of the person's own and a code of the second factor: a new session, which may do what the
        role says, and recovery codes, which are shown this once.

        Raises Conflict `enrolled_already`; Unprocessable `password_refused`, `code_invalid`; Unauthorized
        `session_invalid`.
        """
        if not session.enrolling:
            raise _enrolled_already()
        known = await self._database.read(lambda c: operator.credentials(c, session.operator))
        if known is None or known.enrolled or known.totp_secret is None:
            raise _enrolled_already()
        refused = refused_password(password, known.name)
        counter = second_factor.counter_of(self._plain(known), code)
        if refused is None and await self._hasher.matches(password, known.password_hash):
            refused = "Choose a password of your own, not the one-time password."
        if refused is not None:
            raise Unprocessable(refused, code="password_refused")
        if counter is None:
            detail = "The code is not one that the app shows now. Is the clock of its device right?"
            raise Unprocessable(detail, code="code_invalid")
        password_hash = await self._hasher.hash(password)
        codes = second_factor.new_recovery_codes()
        network = network_of(audit_log.client_address.get())

        async def work(connection: Connection) -> LoggedIn:
            now = await operator.credentials(connection, known.name, lock=True)
            # Reset, disabled or begun anew meanwhile: this session is over.
            if now != known or not await operator_session.end(connection, token):
                raise session_invalid()
            await operator.enrol(
                connection, known.name, password_hash, counter, [second_factor.recovery_hash(one) for one in codes]
            )
            await operator_session.end_all(connection, known.name)
            await audit_log.record(connection, known.tenant_id, known.name, "operator.enrol", known.name, {})
            return await self._open(connection, known, network, password_hash, "enrolment")

        opened = await self._database.run(work)
        return LoggedIn(opened.token, opened.session, None, tuple(codes))

    async def log_out(self, token: str, session: Session) -> None:
        """End a session; twice is once."""

        async def work(connection: Connection) -> None:
            if await operator_session.end(connection, token):
                name = session.operator
                await audit_log.record(connection, session.tenant_id, name, "session.end", name, {})

        await self._database.run(work)

    def _plain(self, known: Credentials) -> str:
        assert known.totp_secret is not None, "of an operator who has begun to enrol"
        return self._keyring.decrypt(known.totp_secret, bound_to=_bound_to(known.name))


async def _told_of_refusal(connection: Connection, known: Credentials | None) -> None:
    """Write a refused login down, once a minute for each name. A name that nobody has is not written: it may be a
    password that was typed into the wrong field."""
    tenant_id, name = (known.tenant_id, known.name) if known is not None else (PLATFORM_TENANT, "unknown name")
    if not await audit_log.was_recorded(connection, "session.refuse", name, within=_REFUSALS_TOLD_EVERY):
        await audit_log.record(connection, tenant_id, NOBODY, "session.refuse", name, {})


def _totp(secret: str, name: str) -> Totp:
    return Totp(secret, second_factor.uri(secret, name))


def _bound_to(name: str) -> str:
    return f"operator:{name}:totp"


def session_invalid() -> Unauthorized:
    return Unauthorized("The session is not known or has ended: log in again.", code="session_invalid")


def _enrolled_already() -> Conflict:
    return Conflict("The password and the second factor are set up already.", code="enrolled_already")
