"""Operators: adding one, beginning again, and shutting one out."""

from datetime import timedelta

from db import audit_log, operator, operator_session, tenant
from db.core.database import Connection, Database
from db.operator import Operator
from domain.errors import Conflict, NotFound, Unprocessable
from domain.login import OPERATOR_ROLES, is_login_name
from services import second_factor
from services.command import Caller, check
from services.password import PasswordHasher

ONE_TIME_PASSWORD_LIFE = timedelta(days=3)
"""So long a new operator has to enrol."""


async def add(database: Database, hasher: PasswordHasher, caller: Caller, name: str, tenant_id: str, role: str) -> str:
    """Store a person who may log in to a tenant, and return a one-time password for the first login, at which they
    choose their own and set up the second factor. It is nowhere else: its hash alone is stored.

    Raises Unprocessable `name_invalid`, `role_unknown`, `text_invalid`, `card_data_forbidden`; NotFound
    `tenant_not_found`; Conflict `operator_exists`.
    """
    check(str, name, "name")
    check(str, tenant_id, "tenant")
    if not is_login_name(name):
        detail = (
            "A login name is 2 to 63 characters of a to z, 0 to 9, dot and dash, begins with a letter, and is none of "
            "those under which Paysaga itself acts."
        )
        raise Unprocessable(detail, code="name_invalid")
    if role not in OPERATOR_ROLES:
        raise Unprocessable(f"unknown role. There are: {', '.join(OPERATOR_ROLES)}.", code="role_unknown")
    password = second_factor.new_one_time_password()
    password_hash = await hasher.hash(password)

    async def work(connection: Connection) -> None:
        if not await tenant.exists(connection, tenant_id):
            raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")
        if not await operator.add(connection, name, tenant_id, role, password_hash, ONE_TIME_PASSWORD_LIFE):
            raise Conflict(f"There is an operator {name} already.", code="operator_exists")
        await audit_log.record(connection, tenant_id, caller.actor, "operator.add", name, {"role": role})

    await database.run(work)
    return password


async def reset(database: Database, hasher: PasswordHasher, caller: Caller, name: str) -> str:
    """End an operator's sessions, forget password, second factor and recovery codes, and return a one-time password, as
    `add` does. One who was disabled may log in again. Raises NotFound `operator_not_found`."""
    password = second_factor.new_one_time_password()
    password_hash = await hasher.hash(password)

    async def work(connection: Connection) -> None:
        known = await _known(connection, name)
        await operator.reset(connection, name, password_hash, ONE_TIME_PASSWORD_LIFE)
        await operator_session.end_all(connection, name)
        await audit_log.record(connection, known.tenant_id, caller.actor, "operator.reset", name, {})

    await database.run(work)
    return password


async def disable(database: Database, caller: Caller, name: str) -> bool:
    """Shut an operator out, whose sessions end with it; False: was disabled already. Raises NotFound
    `operator_not_found`."""

    async def work(connection: Connection) -> bool:
        known = await _known(connection, name)
        disabled = await operator.disable(connection, name)
        if disabled:
            await operator_session.end_all(connection, name)
            await audit_log.record(connection, known.tenant_id, caller.actor, "operator.disable", name, {})
        return disabled

    return await database.run(work)


async def _known(connection: Connection, name: str) -> Operator:
    known = await operator.find(connection, name, lock=True) if is_login_name(name) else None
    if known is None:
        raise NotFound("There is no operator of this name.", code="operator_not_found")
    return known
