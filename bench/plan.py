"""The plans that a load process reads on its standard input, and the lines of JSON that it writes on its output."""

from typing import Literal

from pydantic import BaseModel

SubjectName = Literal["noop", "saga", "dbos", "asyncpg", "process", "http", "wait"]
"""The ways in which a payment is made, and the floors under all of them; `bench.subjects.registry` has the modules."""

Shape = Literal["one", "orders", "declined", "capture", "refund", "replay", "get"]
"""The kind of request. All but `http` know `one`: a payment of one order."""


class Opening(BaseModel):
    """The first line: the subject, and where its servers are. `database_url` is that of the peers' own tables,
    `psp_key` names the account at the PSP that they charge with; `psp_s`: how long that takes for a call."""

    subject: SubjectName
    api_url: str
    database_url: str
    psp_key: str
    psp_s: float
    sellers: list[str]


class Plan(BaseModel):
    """`concurrency` clients, each of which sends its next request when the last one is answered.

    They run for `lead_s`, which is not measured, and then for `seconds`, but never beyond `count_max` requests.
    `name` is part of every id that they use.
    """

    name: str
    shape: Shape = "one"
    concurrency: int
    seconds: float
    lead_s: float
    count_max: int = 50_000

    @property
    def buyer(self) -> str:
        """The payer: one buyer per plan, so that the API's history of the buyer is the list of its payments."""
        return f"buyer-{self.name}"


class Timing(BaseModel):
    """Milliseconds of the requests that began in the measured window (of all, if none did); None without any."""

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


class LoadResult(BaseModel):
    """The outcome of a plan. `sent` and `answers` count everything, `per_s` and `timing` the measured window alone.

    `made`: payments that were taken on, those that were prepared included. `workflows`: ids of some workflows that were
    started.
    """

    sent: int
    per_s: float
    timing: Timing
    answers: dict[str, int]
    cpu_s: float
    made: int
    workflows: list[str]

    @property
    def errors(self) -> int:
        """The number of requests that ended in an error."""
        return sum(count for answer, count in self.answers.items() if answer.startswith("error"))


class LoadEvent(BaseModel):
    """One line of the load process. `open` says once that it is connected; then for each plan `ready` comes first,
    `opens` and `closes` bound the measured window, and `ended` is last."""

    mark: Literal["open", "ready", "opens", "closes", "ended"]
    result: LoadResult | None = None
