"""The result of the benchmark; as JSON it is these models, field by field."""

from pydantic import BaseModel

from bench.plan import Shape, SubjectName

SUBJECTS, SHAPES = "subjects", "shapes"
"""The groups of a report's lines."""


class Cell(BaseModel):
    """One measurement: a subject, a shape and a concurrency in one round. CPU in milliseconds of one payment by group
    of processes, `process` is the one that runs a subject in itself, `load` the one that only asks."""

    round: int
    sent: int
    per_s: float
    p50_ms: float | None
    p95_ms: float | None
    errors: int
    answers: dict[str, int]
    cpu_ms: dict[str, float]
    write_commits: float
    wal_kb: float
    busy_cores: float
    others_cores: float
    thrown_away: bool = False


class Line(BaseModel):
    """The medians of the rounds that were not thrown away (of all, where `disturbed`). `group`: the lanes that it was
    measured beside, and may be compared with. `cpu_total_ms`: without `load`."""

    group: str
    subject: SubjectName
    shape: Shape
    concurrency: int
    rounds: int
    disturbed: bool
    per_s: float
    per_s_least: float
    per_s_most: float
    p50_ms: float | None
    p95_ms: float | None
    errors: int
    cpu_ms: dict[str, float]
    cpu_total_ms: float
    write_commits: float
    wal_kb: float
    cells: list[Cell]


class Counted(BaseModel):
    """Of one payment, counted where nothing else went on. `commits`: all transactions, those that only read included.
    None: it has no workflow."""

    subject: SubjectName
    shape: Shape
    payments: int
    round_trips: float
    commits: float
    write_commits: float
    events: int | None = None
    events_max: int | None = None
    actions: int | None = None
    actions_max: int | None = None


class Claim(BaseModel):
    """Something that is to hold, and whether it did. `met` is None where it was not measured."""

    says: str
    value: float | None
    limit: float
    met: bool | None


class Books(BaseModel):
    """A subject's own list of its payments against the PSP's log. Amounts in minor units."""

    subject: str
    payments: int
    succeeded: int
    charges: int
    taken: int
    booked: int
    refunded: int


class Money(BaseModel):
    """The check of the money: `passed` if every cent is where it has to be. `audit_findings` are of Paysaga's books."""

    passed: bool
    books: list[Books]
    audit_findings: list[str]
    problems: list[str]


class Report(BaseModel):
    """The whole run."""

    version: int = 2
    at: str
    took_s: float
    psp: str
    psp_ms: float
    seconds: float
    rounds: int
    api_processes: int = 1
    thrown_away: int
    missing: dict[str, str]
    """Subjects that were left out → the package that is not installed."""
    machine: dict[str, str | int | float]
    versions: dict[str, str]
    raised_settings: dict[str, list[str]]
    actions_are: str
    round_trips_are: str
    idle_cores: dict[str, float]
    """Busy cores of each group while nothing is asked."""
    memory_mb: dict[str, float]
    """Peaks by group; of the load processes by subject."""
    lines: list[Line]
    counted: list[Counted]
    claims: list[Claim]
    money: Money

    def line(self, subject: SubjectName, concurrency: int) -> Line | None:
        """A subject beside the others at this concurrency, if it was measured."""
        wanted = (SUBJECTS, subject, concurrency)
        return next((x for x in self.lines if (x.group, x.subject, x.concurrency) == wanted), None)

    def shape(self, shape: Shape) -> Line | None:
        """A kind of request through HTTP beside the others, if it was measured."""
        return next((x for x in self.lines if (x.group, x.shape) == (SHAPES, shape)), None)

    def count(self, subject: SubjectName, shape: Shape = "one") -> Counted | None:
        """The counts of a subject's requests, if they were counted."""
        return next((x for x in self.counted if (x.subject, x.shape) == (subject, shape)), None)
