"""The queues of the activities: each has one, and its worker finds it."""

import pytest
from temporalio import activity

from activities.queues import Queue, on, served_on


class Steps:
    @activity.defn
    @on(Queue.OWN)
    async def book(self, step: str) -> str:
        return step

    @activity.defn(name="ask")
    @on(Queue.OWN, Queue.PSP)
    async def ask_psp(self, step: str) -> str:
        return step

    async def helper(self, step: str) -> str:
        return step


class Forgotten:
    @activity.defn
    async def book(self, step: str) -> str:
        return step


def test_an_activity_is_served_on_its_queues() -> None:
    steps = Steps()
    assert served_on(Queue.OWN, [steps]) == [steps.ask_psp, steps.book]
    assert served_on(Queue.PSP, [steps]) == [steps.ask_psp]


def test_an_activity_without_a_queue_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Forgotten\.book is an activity of no queue"):
        served_on(Queue.OWN, [Forgotten()])
