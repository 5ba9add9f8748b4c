"""A database of its own with books that the application itself has written, and the other side's lines about them."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from db import merchant
from db.core.database import Database
from db.core.keyring import Keyring
from db.ledger import posting as ledger
from db.payment import charge as charges
from db.payment import payment, settlement
from db.payment.payment import NewOrder, NewPayment
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import fix as fixing
from db.reconciliation import match as matching
from db.reconciliation import run as runs
from db.reconciliation.file import store
from db.reconciliation.stage import position_of, stage
from db.refund import booking, creation, find
from db.refund.creation import NewRefund
from domain import ledger as books
from domain.ids import new_id
from domain.ledger import Kind, Transaction
from domain.payment import SettleStep
from domain.psp import ChargeOutcome, ChargeResult, PspFee, RefundOutcome, RefundResult
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.lines import BankLine, PspLine, PspLineKind
from domain.reconciliation.pair import Terms
from domain.reconciliation.reconciliation import LineClass, Matching, NewRun, Source, Subject
from domain.refund import BookRefundStep

DAY = datetime(2026, 3, 10, tzinfo=UTC)
NOON = DAY + timedelta(hours=12)
LATER = DAY + timedelta(days=4)
"""Past every grace of what happened on DAY."""

AMOUNT, FEE = 50_000, 1_000


RING = Keyring({"test": bytes(range(32))})
"""Under which files are kept."""


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


@dataclass
class Paid:
    """A charge of ours, and the names that the PSP has for it."""

    payment_id: str
    order_id: str
    charge_id: str
    intent: str
    txn: str

    def line(self, **changes: Any) -> PspLine:
        """What the PSP lists of it, when all is well."""
        return PspLine(
            **{
                "reference": self.txn,
                "kind": PspLineKind.CHARGE,
                "amount": AMOUNT,
                "fee": FEE,
                "currency": "INR",
                "occurred_at": NOON,
                "available_on": NOON + timedelta(days=7),
                "source_reference": f"ch_{self.intent[3:]}",
                "charge_reference": self.intent,
                "our_reference": self.charge_id,
            }
            | changes
        )


class Scenario:
    """`tenant` is the shop whose books they are."""

    def __init__(self, database: Database, owner: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.database, self._owner = database, owner
        self.tenant = "shop"

    async def sql(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._owner.fetch(query, *arguments)

    async def seller(self, tenant: str = "shop", name: str = "anna", **fields: Any) -> None:
        await self.sql("INSERT INTO tenant (id, name) VALUES ($1, $1) ON CONFLICT DO NOTHING", tenant)
        new: Any = {"seller_account": name} | fields
        await self.database.run(lambda c: merchant.create(c, tenant, new))

    # --- ours ---

    async def attempted(self, *, tenant: str | None = None, known: bool = True) -> Paid:
        """A payment that was sent to the PSP, and nothing is known of it but, if told, the PSP's name for it."""
        token = secrets.token_hex(10)
        new = NewPayment(
            id=new_id("pay"),
            tenant_id=tenant or self.tenant,
            checkout_id=None,
            buyer_id="buyer",
            currency="INR",
            psp="stripe",
            method="card",
            token=b"",
            on_partial_failure="compensate_all",
            metadata={},
            confirmed=True,
            send_for_s=3600,
            actor="test",
            orders=[NewOrder(new_id("po"), f"order-{token}", "anna", AMOUNT, 0)],
        )
        await self.database.run(lambda c: payment.create(c, new))
        row = await self.database.read(lambda c: payment.get(c, new.id))
        assert row is not None, "just stored"
        made = Paid(new.id, new.orders[0].id, row.charge.id, f"pi_{token}", f"txn_{token}")
        if known:
            pending = ChargeResult(outcome=ChargeOutcome.PENDING, reference=made.intent)
            await self.database.run(lambda c: charges.record(c, made.charge_id, pending))
        return made

    async def paid(self, *, at: datetime = NOON, fee: int | None = FEE, tenant: str | None = None) -> Paid:
        """Settled and booked at `at`; `fee` None: the PSP has not told it."""
        made = await self.attempted(tenant=tenant)
        await self.settle(made, at, fee=fee)
        return made

    async def settle(self, made: Paid, at: datetime, *, fee: int | None = FEE) -> None:
        told = None if fee is None else PspFee(reference=made.txn, amount=fee, currency="INR", available_on=at)
        result = ChargeResult(
            outcome=ChargeOutcome.SUCCEEDED, reference=made.intent, amount=AMOUNT, currency="INR", fee=told
        )
        await self.settle_with(made, result, at)

    async def settle_with(self, made: Paid, result: ChargeResult, at: datetime = NOON) -> None:
        step = SettleStep(
            payment_id=made.payment_id, order_id=made.order_id, result=result, completes=(made.order_id,), at=at
        )
        await self.database.run(lambda c: settlement.settle(c, step))

    async def refund(self, made: Paid, amount: int, *, at: datetime = NOON, reference: str | None = None) -> str:
        """Asked for, and, where the PSP's name is told, made and booked. Its id."""
        new = NewRefund(new_id("re"), made.payment_id, None, amount, None, "test", 3600, 1)
        await self.database.run(lambda c: creation.request(c, new, at))
        if reference is not None:
            await self.book_refund(new.id, reference, amount, RefundOutcome.SUCCEEDED, at)
        return new.id

    async def book_refund(
        self, refund_id: str, reference: str, amount: int, outcome: RefundOutcome, at: datetime = NOON
    ) -> None:
        result = RefundResult(outcome=outcome, reference=reference, amount=amount, currency="INR")
        step = BookRefundStep(refund_id=refund_id, result=result, at=at)
        made = await self.database.read(lambda c: find.get(c, refund_id))
        await self.database.run(lambda c: booking.book(c, made.payment_id, step, 1))

    async def post(self, kind: Kind, source: str, postings: tuple[books.Posting, ...], at: datetime = NOON) -> None:
        await self.book(Transaction(kind=kind, source_id=source, postings=postings), at)

    async def book(self, transaction: Transaction, at: datetime = NOON) -> None:
        await self.database.run(lambda c: ledger.post(c, self.tenant, [transaction], at))

    async def clearing(self) -> dict[str, int]:
        """Currency → what the ledger says that the PSP holds for us."""
        rows = await self.sql(
            "SELECT currency, sum(amount)::int AS s FROM ledger_posting"
            " WHERE account = 'psp_clearing:stripe' GROUP BY 1 HAVING sum(amount) <> 0"
        )
        return {row["currency"]: row["s"] for row in rows}

    # --- a run ---

    async def open(
        self,
        *,
        source: Source = Source.API,
        subject: Subject = Subject.PSP,
        window: tuple[datetime, datetime] | None = (DAY, DAY + timedelta(days=1)),
        margin_s: float = 3600,
        at: datetime = LATER,
        apply: bool = False,
    ) -> str:
        """A stored run; its id."""
        file_id = None
        if source is Source.FILE:
            file_id, _ = await store(
                self.database, RING, self.tenant, subject, "lines", "test", _bytes(secrets.token_bytes(9))
            )
        new = NewRun(
            key=str(uuid4()),
            tenant_id=self.tenant,
            psp="stripe",
            subject=subject,
            source=source,
            file_id=file_id,
            window_from=window[0] if window else None,
            window_to=window[1] if window else None,
            margin_s=margin_s,
            apply=apply,
            by="test",
            at=at,
        )
        return str((await self.database.run(lambda c: runs.open_run(c, new)))["id"])

    async def staged(self, run_id: str, lines: Sequence[PspLine | BankLine]) -> None:
        position = position_of(await self.database.read(lambda c: runs.get(c, run_id)))
        await self.database.run(lambda c: stage(c, run_id, lines, read=position.pages, following=None, last=True))

    async def half_read(self, *lines: PspLine) -> None:
        """A file that could not be read to its end."""
        run_id = await self.open(source=Source.FILE)
        await self.database.run(lambda c: stage(c, run_id, lines, read=0, following=None, last=False))
        await self.database.run(lambda c: runs.fail(c, run_id, "line 5001: broken", LATER))

    async def match(self, run_id: str, at: datetime = LATER) -> Matching:
        return await self.database.run_long(lambda c: matching.match(c, run_id, Terms(at)), timeout_s=60)

    async def run(self, *lines: PspLine | BankLine, at: datetime = LATER, **fields: Any) -> "Found":
        """Open, stage, match: what was found."""
        run_id = await self.open(at=at, **fields)
        await self.staged(run_id, lines)
        matched = await self.match(run_id, at)
        items = await self.database.read(lambda c: runs.items(c, None, run_id, limit=1000))
        return Found(run_id, matched, [item.model_dump(by_alias=True) for item in items])

    async def open_ones(self, status: str | None = "OPEN", tenant: str | None = None) -> list[dict[str, Any]]:
        found = await self.database.read(lambda c: discrepancies.page(c, tenant, status=status, limit=1000))
        return [row.model_dump(by_alias=True) for row in found]


@dataclass
class Found:
    run_id: str
    matched: Matching
    items: list[dict[str, Any]]

    @property
    def classes(self) -> list[str]:
        return sorted(item["class"] for item in self.items)

    @property
    def counts(self) -> dict[str, int]:
        return {cls: number for cls, number in self.matched.counts.items() if number}

    def one(self, cls: LineClass) -> dict[str, Any]:
        assert self.classes == [cls], [(item["class"], item["reason"]) for item in self.items]
        return self.items[0]


async def know_refund(scenario: Scenario, disc: dict[str, Any]) -> str:
    """A refund that was made in the PSP's dashboard becomes our record; its id."""
    _, made = await scenario.database.run(lambda c: fixing.know_refund(c, Discrepancy.model_validate(disc)))
    return made


async def _bytes(content: bytes) -> AsyncIterator[bytes]:
    yield content
