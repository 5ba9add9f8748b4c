"""The alarm about open discrepancies: a task for a person past the deadline, and the gauges that alerts are made of.
Both a run's end and the sweeper look, so a run that hangs or fails keeps nobody from hearing of it."""

from datetime import datetime

import structlog
from prometheus_client import Gauge

from db.core.database import Database
from db.reconciliation import discrepancy as discrepancies
from domain.reconciliation.reconciliation import BREAKS, Subject
from gateways.registry import ADAPTERS

OPEN = Gauge(
    "paysaga_discrepancies_open", "Open discrepancies", ["psp", "subject", "class"], multiprocess_mode="mostrecent"
)
OVERDUE = Gauge(
    "paysaga_discrepancies_overdue",
    "Open discrepancies past their deadline",
    ["psp", "subject", "class"],
    multiprocess_mode="mostrecent",
)

_SHOWN = [(psp, str(subject), str(cls)) for psp in ADAPTERS for subject in Subject for cls in BREAKS]
"""The labels of the gauges, all of which are set at each look: where several processes tell their metrics together, the
last one that looked is right, and it may not have seen what another one had found open."""

_NAMED = {"id", "tenant_id", "psp", "subject", "cls", "object_id", "line_reference", "reason"}

log = structlog.get_logger("paysaga.reconciliation")


async def alarm(database: Database, at: datetime) -> int:
    """Tell a person of whatever is open past its deadline, each once; how many were new. Raises Unavailable."""
    overdue = 0
    while page := await database.run(lambda c: discrepancies.alert(c, at)):
        overdue += len(page)
        for late in page:
            log.error("unmatched past its deadline", **late.model_dump(mode="json", include=_NAMED, by_alias=True))
    counts = await database.read(lambda c: discrepancies.open_counts(c, at))
    now = {(row.psp, row.subject, row.cls): row for row in counts}
    for labels in _SHOWN:
        row = now.get(labels)
        OPEN.labels(*labels).set(row.open if row else 0)
        OVERDUE.labels(*labels).set(row.overdue if row else 0)
    return overdue
