"""Shapes of dead letters."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.fields import In, MomentIn, Out
from db.dead_letter import Wanted
from domain.dead_letter import Count, DeadLetter, LetterStatus, Source
from domain.ids import is_id
from domain.limits import LogText, Note
from services.dead_letter.letters import Replay, Shown

LIMIT_DEFAULT = 100
LIMIT_MAX = 200
RATE_DEFAULT = 20.0
RATE_MIN = 10.0
"""So that no request takes longer than twenty seconds."""


class DeadLetterOut(Out):
    object: Literal["dead_letter"] = "dead_letter"
    id: str = Field(examples=["dl_01kb8x0000example000000000"])
    source: Source
    ref_id: str = Field(
        description="what the source calls it: an event's number, a delivery, a row of the inbox, a workflow"
    )
    object_id: str | None = Field(description="what it is about")
    error_class: str = Field(examples=["http_503"])
    error: str = Field(description="the last error")
    attempts: int = Field(description="tries since it was last given up")
    first_at: datetime
    last_at: datetime
    status: LetterStatus
    ended_at: datetime | None = Field(description="when it was tried again or discarded")
    actor: str | None = Field(description="by whom")
    reason: str | None
    links: list[str] = Field(description="what it concerns, as paths of this API")


class DeadLetterDetail(DeadLetterOut):
    payload: dict[str, Any] | None = Field(
        description="what it was to bring, without secrets and personal data; null: it is not kept any more"
    )


class DeadLetterList(Out):
    object: Literal["list"] = "list"
    data: list[DeadLetterOut]
    next_cursor: str | None


class DeadLetterCount(Out):
    source: Source
    error_class: str
    open: int
    oldest_at: datetime


class DeadLetterCounts(Out):
    object: Literal["list"] = "list"
    data: list[DeadLetterCount]


class DiscardIn(In):
    reason: Note = Field(examples=["The shop has closed, ticket 4711."])


class DeadLetterReplayIn(In):
    """Filters, which all have to match; without any, all that are open."""

    source: Source | None = Field(default=None, strict=False)
    error_class: LogText | None = None
    object_id: LogText | None = None
    since: MomentIn | None = Field(default=None, description="of the last error")
    until: MomentIn | None = None
    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="no more than so many, the oldest first")
    rate_per_s: Annotated[float, Field(ge=RATE_MIN, le=1000, strict=False)] = Field(
        default=RATE_DEFAULT, description="so many a second"
    )
    dry_run: bool = Field(default=False, description="only count them")

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            source=self.source,
            error_class=self.error_class,
            object_id=self.object_id,
            since=self.since,
            until=self.until,
        )


class DeadLetterReplayOut(Out):
    object: Literal["dead_letter_replay"] = "dead_letter_replay"
    id: str | None = Field(description="of the row in the audit log; null: they were only counted")
    matching: int = Field(description="that were open and matched")
    replayed: int
    refused: int = Field(description="that cannot be tried again now: they stay open")
    left: int = Field(description="that match and are open")
    counts: list[DeadLetterCount] = Field(description="of these, by source and cause")


_PATHS = {
    "pay": "payments",
    "po": "payments",
    "re": "refunds",
    "dp": "disputes",
    "pt": "payouts",
    "rec": "reconciliations",
    "disc": "discrepancies",
    "whe": "webhook-endpoints",
    "whd": "webhook-deliveries",
}


def links(letter: DeadLetter) -> list[str]:
    """Of the object, and of what the source calls it, where this API shows them."""
    names = [name for name in (letter.object_id, letter.ref_id) if name is not None]
    found = [(_PATHS.get(name.partition("_")[0]), name) for name in names]
    return [f"/v1/{noun}/{name}" for noun, name in found if noun is not None and is_id(name.partition("_")[0], name)]


def letter_out(letter: DeadLetter) -> DeadLetterOut:
    return DeadLetterOut(**_letter(letter))


def letter_detail(shown: Shown) -> DeadLetterDetail:
    payload = None if shown.payload is None else dict(shown.payload)
    return DeadLetterDetail(**_letter(shown.letter), payload=payload)


def counts_out(rows: list[Count]) -> DeadLetterCounts:
    return DeadLetterCounts(data=[DeadLetterCount(**row.model_dump()) for row in rows])


def replay_out(done: Replay) -> DeadLetterReplayOut:
    same = done.model_dump(include={"matching", "replayed", "refused", "left"})
    return DeadLetterReplayOut(id=done.replay_id, **same, counts=counts_out(list(done.counts)).data)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {**letter.model_dump(exclude={"tenant_id"}), "links": links(letter)}
