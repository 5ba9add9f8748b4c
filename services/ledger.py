"""The books: which statements somebody asks for, sealing, verifying the seal."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from db.core.database import Database
from db.core.snapshot import in_snapshot
from db.ledger import posting, seal, statement
from db.ledger.posting import BookedTransaction, Wanted
from db.ledger.seal import Sealed
from db.ledger.statement import Period
from db.ledger.verify import Verified, verify
from domain.errors import NotFound, Unprocessable
from domain.limits import CurrencyCode
from domain.seal import Head
from domain.statement import AccountBalance
from services import access
from services import merchant as merchants
from services.command import Caller, check

_PAGE = 5_000

Progress = Callable[[int, int], None]
"""(done, of how many)."""


@dataclass(frozen=True)
class StatementRequest:
    """A statement as it is asked for: of a seller from `since` on and before `until`, in one currency or in each. A
    person may have to say whose seller it is, with `tenant_id`."""

    seller: str
    since: datetime
    until: datetime
    currency: str | None = None
    tenant_id: str | None = None


async def periods(database: Database, caller: Caller, wanted: StatementRequest) -> list[Period]:
    """One for the currency that was asked for, or for each in which there is anything.

    Raises NotFound `merchant_not_found`; Conflict `merchant_ambiguous`; Unprocessable `period_invalid`,
    `currency_unknown`.
    """
    if wanted.since > wanted.until:
        raise Unprocessable("`from` is after `to`.", code="period_invalid")
    seller = await merchants.find(database, caller, wanted.seller, wanted.tenant_id)
    tenant_id, account = seller.tenant_id, seller.seller_account
    if wanted.currency is not None:
        found = [check(CurrencyCode, wanted.currency, "currency")]
    else:
        found = await database.read(lambda c: statement.currencies(c, tenant_id, account))
    return [Period(tenant_id, account, currency, wanted.since, wanted.until) for currency in found]


async def transactions(
    database: Database, caller: Caller, wanted: Wanted, *, before: int | None, limit: int
) -> list[BookedTransaction]:
    """The transactions of the caller's tenant, newest first; `before` is the `seq` that a page ended with. A merchant
    sees the lines of its own wallet."""
    own = access.accounts(caller)
    if own is not None and wanted.account is not None and wanted.account not in own:
        return []
    asked = replace(wanted, lines_of=own)
    return await database.read(lambda c: posting.page(c, caller.tenant_id, asked, before=before, limit=limit))


async def balances(database: Database, caller: Caller, account: str, at: datetime | None) -> list[AccountBalance]:
    """Of an account of the caller's tenant, by currency. Raises NotFound `account_not_found`, also for what is no
    name at all."""
    own = access.accounts(caller)
    rows = (
        await in_snapshot(database, lambda c: statement.balances(c, tenant_id=caller.tenant_id, account=account, at=at))
        if account.isprintable() and (own is None or account in own)
        else []
    )
    if not rows:
        raise NotFound("There is no such account.", code="account_not_found")
    return rows


async def seal_all(database: Database, progress: Progress) -> Sealed:
    """Seal until nothing is left, or writers hold it up. Raises LockTimeout while somebody else seals."""
    waiting = await database.read(seal.waiting)
    at, transactions, blocks = datetime.now(UTC), 0, 0
    while True:
        sealed = await database.run(lambda c: seal.seal(c, at, _PAGE))
        transactions, blocks = transactions + sealed.transactions, blocks + sealed.blocks
        progress(transactions, max(waiting, transactions))
        if not sealed.more:
            return replace(sealed, transactions=transactions, blocks=blocks)


async def verify_seal(database: Database, expected: Head | None, progress: Progress) -> Verified:
    """Compute the chain anew, as of one moment; `expected`: a head that was written down, through which it has to
    lead."""
    return await in_snapshot(database, lambda c: verify(c, expected=expected, progress=progress))
