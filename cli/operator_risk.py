"""Operator risk: TODO docstring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.refusals import refusals
from db import audit_log, risk
from db import lookup as operator
from db.core.database import Database
from domain.card_data import require_text
from domain.risk import RuleSet
from embedded.errors import StackError

# --- risk rules ---


async def set_rules(database: Database, tenant: str, path: Path, by: str) -> str:
    """Replace a tenant's rules by those of a JSON file, as a new version. Raises StackError that says what is wrong."""
    rules = _rules_of(path)

    async def work(connection: Any) -> int | None:
        if not await operator.is_tenant(connection, tenant):
            return None
        row = await risk.put_rules(connection, tenant, rules, by)
        await audit_log.record(connection, tenant, by, "risk.rules", tenant, {"version": row["version"]})
        return int(row["version"])

    version = await database.run(work)
    if version is None:
        raise StackError(f"There is no tenant {tenant}: `paysaga keys list` names them.")
    count = len(rules.rules)
    what = f"{count} rule{'s' if count != 1 else ''}" if count else "no rules: every payment is allowed"
    return f"{tenant} has version {version} of its rules, for payments from now on: {what}."


def _rules_of(path: Path) -> RuleSet:
    try:
        text = path.read_text(encoding="utf-8")
        with refusals(str(path)):
            require_text(text)
        return RuleSet.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except ValidationError as error:
        wrong = "\n".join(f"  {_place(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
        raise StackError(f"{path} is no set of rules, and nothing was changed:\n{wrong}") from error


def _place(location: Sequence[int | str]) -> str:
    """`rules[2].above`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "the file"
