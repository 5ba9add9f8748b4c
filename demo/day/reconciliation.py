"""The reconciliation of the demo's day: a dry run, one that fixes what is safe, a person's decisions, the bank's
statement and the PSP's file; and whether what was found is what was planted, and nothing else."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.pages.reconciliation_log import write_report
from db.reconciliation import discrepancy as reconciliation_discrepancy
from db.reconciliation import file as reconciliation_file
from db.reconciliation import run as reconciliation
from db.schema.base import PLATFORM_TENANT
from demo.day.plants import Plant
from domain.ids import new_id
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.reconciliation import (
    BREAKS,
    NewRun,
    ReconciliationReport,
    Source,
    Subject,
)
from runtime.runs import reconciliation_input, start_reconciliation
from runtime.wiring import Runtime
from services import discrepancy
from services.command import Caller

_BY = "demo"
_ROWS_MAX = 500


@dataclass
class Reconciled:
    """The results of all runs. `rows`: discrepancy by discrepancy, as they are at the end."""

    plants: list[Plant] = field(default_factory=list)
    runs: list[tuple[str, ReconciliationReport]] = field(default_factory=list)
    rows: list[Discrepancy] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def row_of(self, plant: Plant) -> Discrepancy | None:
        return next((row for row in self.rows if plant.is_found_as(row)), None)


@dataclass(frozen=True)
class Reconciler:
    """Runs reconciliations over the demo's window, to their end."""

    runtime: Runtime
    window: tuple[datetime, datetime]

    async def run(
        self, *, apply: bool, subject: Subject = Subject.PSP, file_id: str | None = None
    ) -> ReconciliationReport:
        """One run, to its end: over the PSP's list, or over a file."""
        run_id, settings = new_id("rec"), self.runtime.settings
        source = Source.API if file_id is None else Source.FILE
        begin, end = (None, None) if subject is Subject.BANK else self.window
        new = NewRun(
            key=run_id,
            tenant_id=PLATFORM_TENANT,
            psp="stripe",
            subject=subject,
            source=source,
            file_id=file_id,
            window_from=begin,
            window_to=end,
            margin_s=settings.reconcile_margin_s,
            apply=apply,
            by=_BY,
            at=datetime.now(UTC),
        )
        await self.runtime.database.run(lambda c: reconciliation.open_run(c, new, run_id))
        inp = reconciliation_input(settings, run_id=run_id, subject=subject, source=source, apply=apply, by=_BY)
        return await (await start_reconciliation(self.runtime.temporal, inp)).result()

    async def file(self, kind: Subject, name: str, content: bytes) -> str:
        """Store a settlement file; its id."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        runtime = self.runtime
        stored, _ = await reconciliation_file.store(
            runtime.database, runtime.keyring, PLATFORM_TENANT, kind, name, _BY, chunks()
        )
        return stored

    async def report(self, run_id: str, path: Path) -> None:
        """Write a run's page, and its log beside it. What was decided since is on it, too."""
        await write_report(self.runtime.database, run_id, path)

    async def rows(self) -> list[Discrepancy]:
        """Every discrepancy that there is, the oldest first."""
        found = await self.runtime.database.read(lambda c: reconciliation_discrepancy.page(c, None, limit=_ROWS_MAX))
        return found[::-1]

    async def decide(self, plants: Sequence[Plant]) -> None:
        """As a person does: each decision with a note, in the audit log under the name of whoever made it."""
        for row in await self.rows():
            plant = next((p for p in plants if p.decision is not None and p.is_found_as(row)), None)
            if plant is None or plant.decision is None or not row.open:
                continue
            await discrepancy.resolve(
                self.runtime.database, self.runtime.workflow_client, Caller(_BY), row.id, plant.decision, plant.note
            )


def window_since(began: datetime) -> tuple[datetime, datetime]:
    """All of the demo, and what the PSP dates two days later."""
    return began - timedelta(hours=1), began + timedelta(days=4)


# --- what was planted and what was found ---


def differences(plants: Sequence[Plant], rows: Sequence[Discrepancy]) -> list[str]:
    """One sentence for each that was not found, was found twice, or is of nobody's making."""
    wrong = []
    for plant in plants:
        found = sum(plant.is_found_as(row) for row in rows)
        if found != 1:
            wrong.append(f"{plant.cls}: {plant.title} ({plant.name}) was found {found} times")
    wrong += [
        f"{row.cls}: nobody planted {row.id}: {row.reason}"
        for row in rows
        if not any(plant.is_found_as(row) for plant in plants)
    ]
    lacking = set(BREAKS) - {plant.cls for plant in plants}
    return wrong + [f"no discrepancy of the class {cls} was planted" for cls in sorted(lacking)]


def miscounted(plants: Sequence[Plant], report: ReconciliationReport) -> list[str]:
    """One sentence for each class of which a run over the PSP's lines counts more or fewer than there are."""
    planted = Counter(plant.cls for plant in plants if plant.subject is Subject.PSP)
    return [
        f"{cls}: {planted[cls]} were planted and {report.counts.get(cls, 0)} counted"
        for cls in BREAKS
        if report.counts.get(cls, 0) != planted[cls]
    ]


def unfinished(plants: Sequence[Plant], rows: Sequence[Discrepancy]) -> list[str]:
    """A sentence for each discrepancy that did not end as it should."""
    wrong = []
    for plant in plants:
        row = next((row for row in rows if plant.is_found_as(row)), None)
        if row is not None and (row.status, row.resolution) != plant.ends_as:
            status, resolution = plant.ends_as
            is_now = f"{row.status} {row.resolution or ''}".strip()
            wrong.append(f"{plant.title} should be {status} {resolution or ''} and is {is_now}")
    return wrong
