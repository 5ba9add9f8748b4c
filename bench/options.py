"""The options of a run."""

from dataclasses import dataclass
from typing import Literal

from bench import results
from bench.plan import Shape, SubjectName

SHAPES: tuple[Shape, ...] = ("one", "orders", "declined", "capture", "refund", "replay", "get")

PspKind = Literal["cheap", "sandbox"]


@dataclass(frozen=True)
class Options:
    """`concurrency` ascending; the shapes are measured at its middle one. `seconds`: of each measured window;
    `counted`: requests of each kind whose statements and events are counted; `processes` serve the API; `temporal`: the
    address of another server than the stack's own."""

    seconds: float
    rounds: int
    concurrency: tuple[int, ...]
    psp: PspKind
    psp_s: float
    subjects: tuple[SubjectName, ...]
    counted: int
    shapes: tuple[Shape, ...] = SHAPES
    processes: int = 1
    temporal: str | None = None

    @property
    def middle(self) -> int:
        return self.concurrency[len(self.concurrency) // 2]


@dataclass(frozen=True)
class Lane:
    """One thing that is measured, once in every round."""

    subject: SubjectName
    shape: Shape
    concurrency: int


@dataclass(frozen=True)
class Group:
    """Lanes that are compared with each other: a round of them is measured without a pause. `kind`: as in a report's
    lines."""

    kind: str
    title: str
    lanes: tuple[Lane, ...]


def groups_of(options: Options) -> list[Group]:
    """Each concurrency with all subjects, then the shapes of requests through HTTP."""
    found = [
        Group(results.SUBJECTS, f"{many} at once", tuple(Lane(subject, "one", many) for subject in options.subjects))
        for many in options.concurrency
    ]
    if "http" in options.subjects and options.shapes:
        lanes = tuple(Lane("http", shape, options.middle) for shape in options.shapes)
        found.append(Group(results.SHAPES, f"kinds of requests, {options.middle} at once", lanes))
    return found
