"""The task queues that serve an activity, said where the activity is defined; workers find both by looking."""

import inspect
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_DEFINITION = "__temporal_activity_definition"
"""The SDK's mark of `@activity.defn`."""
_QUEUES = "__task_queues"


class Queue(StrEnum):
    OWN = "own"
    """The workflows' own queue: what our database does, and every attempt inside a workflow task."""
    PSP = "psp"
    """The queue of a PSP, with its limits: calls that are made until there is an answer."""
    BATCH = "batch"
    """What takes the database minutes: one at a time by process, the tenants in turn."""


def on(*queues: Queue) -> Callable[[F], F]:
    """Serve an activity on these queues. Stands beside `@activity.defn`."""

    def mark(method: F) -> F:
        setattr(method, _QUEUES, frozenset(queues))
        return method

    return mark


def served_on(queue: Queue, holders: Iterable[object]) -> list[Callable[..., Any]]:
    """The activities of these objects that a worker of `queue` registers. Raises TypeError for one without a queue."""
    found: list[Callable[..., Any]] = []
    for name, method in (pair for holder in holders for pair in inspect.getmembers(holder, inspect.ismethod)):
        if not hasattr(method, _DEFINITION):
            continue
        if not hasattr(method, _QUEUES):
            raise TypeError(f"{type(method.__self__).__name__}.{name} is an activity of no queue: tag it with `@on`.")
        if queue in getattr(method, _QUEUES):
            found.append(method)
    return found
