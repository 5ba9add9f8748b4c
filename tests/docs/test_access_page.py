"""docs/access.md says of roles and merchants what the code does."""

from pathlib import Path

from domain.access import ROLES, SCOPES
from tests.api.rules import MAY, RULES, Merchant

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "access.md").read_text()


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    lines = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"][2:]


def test_the_roles_have_these_scopes() -> None:
    rows = rows_of("Roles")
    assert {row[0]: row[1] for row in rows} == SCOPES
    shown = {row[0]: frozenset(role for role, word in zip(ROLES, row[2:], strict=True) if word) for row in rows}
    assert shown == MAY
    assert {role: frozenset(s for s, roles in MAY.items() if role in roles) for role in ROLES} == ROLES


def test_a_merchant_gets_this() -> None:
    shown = {row[0]: row[1] for row in rows_of("A merchant")}
    ruled = {" ".join(one): rule.merchant for one, rule in RULES.items() if rule.merchant is not Merchant.NO_SCOPE}
    assert shown == ruled
