"""Operators: the people who log in. Passwords and recovery codes are hashes, the TOTP secret is encrypted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, LargeBinary, and_, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.operator import operator


@dataclass(frozen=True)
class Operator:
    """A person as `paysaga operators list` shows it. `enrolled_at` None: has yet to choose a password and to confirm
    the second factor, with a one-time password that is good until `password_ends_at`."""

    name: str
    tenant_id: str
    role: str
    created_at: datetime
    enrolled_at: datetime | None
    password_ends_at: datetime | None
    last_login_at: datetime | None
    disabled_at: datetime | None


@dataclass(frozen=True)
class Credentials:
    """The part of an operator's row that a login is compared with. `password_good`: not a one-time password whose time
    is over."""

    name: str
    tenant_id: str
    role: str
    password_hash: str
    password_good: bool
    totp_secret: bytes | None
    totp_counter: int | None
    recovery_codes: Sequence[bytes]
    enrolled: bool
    disabled: bool


async def every(connection: AsyncConnection) -> list[Operator]:
    """All of them, by tenant and name."""
    columns = (operator.c[name] for name in Operator.__dataclass_fields__)
    rows = await connection.execute(select(*columns).order_by(operator.c.tenant_id, operator.c.name))
    return [Operator(**row) for row in rows.mappings()]


async def find(connection: AsyncConnection, name: str, *, lock: bool = False) -> Operator | None:
    """The one of this name, under the row's lock if asked for."""
    columns = (operator.c[column] for column in Operator.__dataclass_fields__)
    query = select(*columns).where(operator.c.name == name)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    return None if row is None else Operator(**row)


async def credentials(connection: AsyncConnection, name: str, *, lock: bool = False) -> Credentials | None:
    """Those of the operator of this name, under the row's lock if asked for."""
    c = operator.c
    good = or_(c.password_ends_at.is_(None), c.password_ends_at > func.now())
    stored = (c.name, c.tenant_id, c.role, c.password_hash, c.totp_secret, c.totp_counter, c.recovery_codes)
    query = select(
        *stored,
        good.label("password_good"),
        c.enrolled_at.is_not(None).label("enrolled"),
        c.disabled_at.is_not(None).label("disabled"),
    ).where(c.name == name)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    return None if row is None else Credentials(**row)


async def add(
    connection: AsyncConnection, name: str, tenant_id: str, role: str, password_hash: str, life: timedelta
) -> bool:
    """Store a person with a one-time password that is good for `life`; False: the name is taken."""
    added = await connection.scalar(
        upsert(operator)
        .values(
            name=name,
            tenant_id=tenant_id,
            role=role,
            password_hash=password_hash,
            password_ends_at=func.now() + life,
        )
        .on_conflict_do_nothing()
        .returning(operator.c.name)
    )
    return added is not None


async def reset(connection: AsyncConnection, name: str, password_hash: str, life: timedelta) -> None:
    """Back to the beginning: a one-time password, no second factor, not disabled."""
    await connection.execute(
        update(operator)
        .where(operator.c.name == name)
        .values(
            password_hash=password_hash,
            password_ends_at=func.now() + life,
            totp_secret=None,
            totp_counter=None,
            recovery_codes=[],
            enrolled_at=None,
            disabled_at=None,
        )
    )


async def disable(connection: AsyncConnection, name: str) -> bool:
    """False: was disabled already, or there is none of this name."""
    result = await connection.execute(
        update(operator).where(operator.c.name == name, operator.c.disabled_at.is_(None)).values(disabled_at=func.now())
    )
    return result.rowcount == 1


async def used_counter(connection: AsyncConnection, known: Credentials, counter: int) -> bool:
    """Take a time step's code, which is good once: False if it, or that of a later step, was used already."""
    unused = or_(operator.c.totp_counter.is_(None), operator.c.totp_counter < counter)
    result = await connection.execute(update(operator).where(_as(known), unused).values(totp_counter=counter))
    return result.rowcount == 1


async def used_recovery_code(connection: AsyncConnection, known: Credentials, code_hash: bytes) -> bool:
    """Take a recovery code, which is good once: False if it is not among those that are left."""
    left = operator.c.recovery_codes
    result = await connection.execute(
        update(operator)
        .where(_as(known), left.contains(array([code_hash], type_=LargeBinary)))
        .values(recovery_codes=func.array_remove(left, cast(code_hash, LargeBinary)))
    )
    return result.rowcount == 1


async def begun_enrolment(connection: AsyncConnection, known: Credentials, totp_secret: bytes) -> bool:
    """Store the secret that a second factor is to be made of; False: enrolled meanwhile."""
    result = await connection.execute(
        update(operator).where(_as(known), operator.c.enrolled_at.is_(None)).values(totp_secret=totp_secret)
    )
    return result.rowcount == 1


async def enrol(
    connection: AsyncConnection, name: str, password_hash: str, counter: int, recovery_codes: Sequence[bytes]
) -> None:
    """Store a password of the person's own, and that the second factor was confirmed by the code of a time step."""
    await connection.execute(
        update(operator)
        .where(operator.c.name == name)
        .values(
            password_hash=password_hash,
            password_ends_at=None,
            totp_counter=counter,
            recovery_codes=cast(list(recovery_codes), ARRAY(LargeBinary)),
            enrolled_at=func.now(),
        )
    )


async def logged_in(connection: AsyncConnection, name: str, password_hash: str) -> None:
    """Note the time, and the password's hash, which may be a new one of the same."""
    await connection.execute(
        update(operator).where(operator.c.name == name).values(last_login_at=func.now(), password_hash=password_hash)
    )


def _as(known: Credentials) -> ColumnElement[bool]:
    """The row as it was compared: neither disabled nor reset meanwhile."""
    return and_(
        operator.c.name == known.name,
        operator.c.disabled_at.is_(None),
        operator.c.password_hash == known.password_hash,
    )
