"""The plan that the load process reads on its standard input, and the lines of JSON that it writes on its output."""

from typing import Literal

from pydantic import BaseModel

RequestKind = Literal["payments", "healthz", "psp", "noop", "commit"]


class Plan(BaseModel):
    """`concurrency` clients, each of which sends its next request when the last one is answered.

    They run for `lead_s`, which is not measured, and then for `seconds`, but never beyond `count_max` requests.
    `name` is part of every id that they use; `url` is what they call.
    """

    request: RequestKind
    name: str
    url: str = ""
    concurrency: int
    seconds: float
    lead_s: float
    count_max: int = 50_000
    token: str = "pm_card_visa"  # noqa: S105 - the sandbox's test card
    sellers: list[str] = []
    orders: int = 1

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
    """The outcome of a plan. `sent` and `answers` count everything, `per_s` and `timing` the measured window alone."""

    sent: int
    per_s: float
    timing: Timing
    answers: dict[str, int]
    cpu_s: float


class LoadEvent(BaseModel):
    """One line of the load process. `ready` comes first, `opens` and `closes` bound the measured window, `ended` is
    last; every line tells how many requests were answered so far, and how many a second of late."""

    mark: Literal["ready", "progress", "opens", "closes", "ended"]
    done: int = 0
    per_s: float = 0.0
    result: LoadResult | None = None
