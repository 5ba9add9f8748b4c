"""The row of a reserve."""

from domain.model import Frozen


class Reserve(Frozen):
    """Funds of one seller, set aside for one refund or dispute."""

    id: str
    tenant_id: str
    source_id: str
    payment_id: str
    order_id: str
    seller_account: str
    currency: str
    amount: int
    platform_fee: int
    psp_fee: int
    pending: int
    available: int
    receivable: int
    status: str

    @property
    def covered(self) -> int:
        """All of it that was set aside, from whichever balance, in minor units."""
        return self.pending + self.available + self.receivable
