"""The result of the benchmark; as JSON it is these models, field by field."""

from pydantic import BaseModel

from bench.plan import Timing


class Cost(BaseModel):
    """Of one payment, on average; `costs.py` says how each is read. CPU in milliseconds by group of processes.

    `transactions` is None where too few payments were answered in the window to tell.
    """

    cpu_ms: dict[str, float]
    cpu_total_ms: float
    psp_calls: float
    webhooks: float
    write_transactions: float
    transactions: float | None
    wal_kb: float
    history_events: int | None = None
    history_events_max: int | None = None
    billable_actions: int | None = None
    billable_actions_max: int | None = None


class Loaded(BaseModel):
    """Payments of one kind at one concurrency, through HTTP. Shares are of all answers."""

    name: str
    kind: str
    orders: int
    concurrency: int
    payments: int
    per_s: float
    timing: Timing
    answers: dict[str, int]
    share_terminal: float
    share_waiting: float
    errors: int
    machine_busy_cores: float
    others_busy_cores: float
    webhooks_behind: int
    cost: Cost


class Reference(BaseModel):
    """One thing alone. `cpu_ms` of one: by group of processes, with `client` for the process that did it."""

    name: str
    title: str
    concurrency: int
    count: int
    per_s: float
    timing: Timing
    errors: int
    cpu_ms: dict[str, float]


class Money(BaseModel):
    """The check of the money: `passed` if every cent is where it has to be. `taken` and `booked` in minor units, by the
    PSP and by the API."""

    passed: bool
    payments: int
    succeeded: int
    charges: int
    taken: int
    booked: int
    audit_findings: list[str]
    problems: list[str]


class Report(BaseModel):
    """The whole run."""

    version: int = 1
    at: str
    took_s: float
    psp_ms: float
    seconds: float
    machine: dict[str, str | int | float]
    versions: dict[str, str]
    raised_settings: dict[str, list[float]]
    actions_are: str
    payments: list[Loaded]
    reference: list[Reference]
    money: Money
