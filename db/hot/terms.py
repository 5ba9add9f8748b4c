"""Sellers' terms, kept in memory: each statement that writes what was worked out with them checks that they hold."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from decimal import Decimal

from pydantic import TypeAdapter

from db.core.database import Database
from db.core.statement import load
from db.payment.settlement import SellerTerms
from domain.model import Frozen
from domain.money import FeeRule

_KEPT_MAX = 10_000
_TERMS = load(__package__, "terms.sql")


class Terms(Frozen):
    """Of an active seller whose tenant has no risk rules."""

    fee_percent: Decimal
    fee_fixed: Decimal
    psp_fee_payer: str
    payout_delay_days: int
    platform_fee_on_refund: str

    @property
    def fee(self) -> FeeRule:
        return FeeRule(percent=self.fee_percent, fixed=self.fee_fixed)

    @property
    def settlement(self) -> SellerTerms:
        return SellerTerms(self.psp_fee_payer, self.payout_delay_days)


_FOUND = TypeAdapter(dict[str, Terms])


class TermsCache:
    """One per process; the sellers that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Terms] = OrderedDict()

    async def of(self, database: Database, tenant_id: str, sellers: Collection[str]) -> Mapping[str, Terms] | None:
        """The terms of all these sellers; None if one is not active, or there are risk rules. Raises Unavailable."""
        missing = [seller for seller in sellers if (tenant_id, seller) not in self._kept]
        if missing:
            row = await database.one(_TERMS, tenant_id=tenant_id, sellers=missing)
            if row is None or row["has_rules"] or row["sellers"] is None:
                return None
            self._kept |= {(tenant_id, seller): terms for seller, terms in _FOUND.validate_json(row["sellers"]).items()}
            while len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        found = {seller: self._kept[tenant_id, seller] for seller in sellers if (tenant_id, seller) in self._kept}
        return found if len(found) == len(set(sellers)) else None

    def known(self, tenant_id: str, seller: str) -> Terms | None:
        """The terms of a seller, if they are here."""
        return self._kept.get((tenant_id, seller))

    def forget(self, tenant_id: str, sellers: Collection[str]) -> None:
        """They may have changed: they are read again."""
        for seller in sellers:
            self._kept.pop((tenant_id, seller), None)
