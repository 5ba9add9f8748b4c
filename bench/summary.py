"""From what was measured and found to what is reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.costs import Counters, Histories, per
from bench.money import MoneyCheck, Paid, PspLog
from bench.plan import LoadResult, Plan
from bench.results import Cost, Loaded, Money

_ENOUGH = 10
"""Payments in the window, below which an average of it says nothing."""


@dataclass(frozen=True)
class Measured:
    """A load of payments with everything that was read before, in and after it."""

    kind: str
    plan: Plan
    result: LoadResult
    cpu_s: Mapping[str, float]
    counters: Counters
    in_window: Counters
    done_in_window: int
    busy_cores: float
    others_cores: float
    webhooks_behind: int


@dataclass(frozen=True)
class Found:
    """The facts read once all loads were over. Payments, webhooks and histories by the name of their load."""

    payments: Mapping[str, Sequence[Paid]]
    log: PspLog
    webhooks: Mapping[str, int]
    histories: Mapping[str, Histories | None]
    money: MoneyCheck


def errors_of(result: LoadResult) -> int:
    """The number of requests that ended in an error."""
    return _answers(result, "error")


def miscounted(plan: Plan, result: LoadResult, listed: int) -> list[str]:
    """Each payment that was answered is in the API's list; one whose answer was an error may be."""
    answered = result.sent - errors_of(result)
    if answered <= listed <= result.sent:
        return []
    return [f"{plan.name}: {answered} of {result.sent} payments were answered, and the API lists {listed}"]


def milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value * 1000, 3) for name, value in seconds.items()}


def loaded(m: Measured, found: Found) -> Loaded:
    """The reported form of a load."""
    result, count = m.result, max(1, m.result.sent)
    return Loaded(
        name=m.plan.name,
        kind=m.kind,
        orders=m.plan.orders,
        concurrency=m.plan.concurrency,
        payments=result.sent,
        per_s=round(result.per_s, 2),
        timing=result.timing,
        answers=result.answers,
        share_terminal=round(_answers(result, "201") / count, 4),
        share_waiting=round(_answers(result, "202") / count, 4),
        errors=errors_of(result),
        machine_busy_cores=round(m.busy_cores, 2),
        others_busy_cores=round(m.others_cores, 2),
        webhooks_behind=m.webhooks_behind,
        cost=_cost(m, found),
    )


def _answers(result: LoadResult, first_word: str) -> int:
    return sum(count for answer, count in result.answers.items() if answer.startswith(first_word))


def _cost(m: Measured, found: Found) -> Cost:
    name, count = m.plan.name, max(1, m.result.sent)
    payments, histories = found.payments[name], found.histories[name]
    cpu_ms = milliseconds(per(m.cpu_s, count))
    calls = sum(sum(found.log.requests.get(payment.id, {}).values()) for payment in payments)
    return Cost(
        cpu_ms=cpu_ms,
        cpu_total_ms=round(sum(ms for group, ms in cpu_ms.items() if group != "load"), 3),
        psp_calls=round(calls / max(1, len(payments)), 3),
        webhooks=round(found.webhooks.get(name, 0) / count, 3),
        write_transactions=round(m.counters.writes / count, 3),
        transactions=round(m.in_window.transactions / m.done_in_window, 2) if m.done_in_window >= _ENOUGH else None,
        wal_kb=round(m.counters.wal_bytes / count / 1000, 2),
        history_events=histories.events if histories else None,
        history_events_max=histories.events_max if histories else None,
        billable_actions=histories.actions if histories else None,
        billable_actions_max=histories.actions_max if histories else None,
    )


def money(check: MoneyCheck) -> Money:
    """The reported form of the check of the money."""
    return Money(
        passed=check.passed,
        payments=check.payments,
        succeeded=check.succeeded,
        charges=check.charges,
        taken=check.taken,
        booked=check.booked,
        audit_findings=[str(finding) for finding in check.findings],
        problems=check.problems,
    )
