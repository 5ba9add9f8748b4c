"""Statements: HTTP and the terminal refuse the same."""

import pytest

from tests.commands.conftest import both
from tests.support.shop import Shop


@pytest.mark.parametrize(("currency", "code"), [("XXQ", "currency_unknown"), ("IN", "field_invalid")])
async def test_a_currency_that_is_none(shop: Shop, currency: str, code: str) -> None:
    path = f"/v1/merchants/anna/statement?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&currency={currency}"
    period = ("--from", "2026-01-01", "--to", "2026-02-01")
    cli = ("ledger", "statement", "anna", "--tenant", shop.tenant, *period, "--currency", currency)
    (await both(shop, http=("GET", path, None), cli=cli)).refused(code)
