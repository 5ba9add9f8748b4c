"""Turns and the pace: who is let in when, without servers."""

import asyncio

import pytest

from api.turns import Bounds, Presence, Refused, Turn, Turns
from runtime.pace import Fixed, Pace

BOUNDS = Bounds(places=100, tenant_max=100, waiting_max=10)


def turns(limit: float, bounds: Bounds = BOUNDS) -> Turns:
    return Turns(bounds, Fixed(limit), Presence())


class Line:
    """Requests of tenants, and the order in which they were let in."""

    def __init__(self, of: Turns) -> None:
        self._of = of
        self.served: list[str] = []
        self.inside: list[Turn] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *tenants: str) -> None:
        for name in tenants:
            self.tasks.append(asyncio.create_task(self._request(name)))
            await asyncio.sleep(0)

    async def _request(self, name: str) -> None:
        self.inside.append(await self._of.turn(name))
        self.served.append(name)

    async def end_one(self) -> None:
        self.inside.pop(0).end()
        for _ in range(3):
            await asyncio.sleep(0)


async def test_one_tenant_alone_has_all_of_it_and_shares_as_soon_as_another_comes() -> None:
    line = Line(turns(4))
    await line.come(*"aaaaaaaa")
    assert line.served == ["a"] * 4
    await line.come("b")
    assert line.served == [*"aaaab"], "its first does not wait"
    await line.come("b", "b")
    while line.inside:
        await line.end_one()
    assert "".join(line.served[5:7]) == "bb" or "".join(line.served[5:]).index("b") < 2
    assert sorted(line.served) == [*"aaaaaaaabbb"]


async def test_those_that_wait_are_let_in_one_of_each_tenant() -> None:
    line = Line(turns(2))
    await line.come(*"aaaa", *"bbbb", *"cccc")
    assert line.served == ["a", "a", "b"][: len(line.served)]
    while line.inside:
        await line.end_one()
    for start in range(len(line.served) % 3, len(line.served) - 5, 3):
        assert len(set(line.served[start : start + 4])) >= 2, line.served
    assert {name: line.served.count(name) for name in "abc"} == {"a": 4, "b": 4, "c": 4}


async def test_what_is_at_the_psp_takes_no_part_and_comes_back_without_waiting() -> None:
    line = Line(turns(1))
    await line.come("a", "a")
    assert line.served == ["a"]
    first = line.inside[0]
    first.leave()
    await asyncio.sleep(0)
    assert line.served == ["a", "a"]
    first.come_back()
    await line.come("a")
    first.end()
    first.end()
    await asyncio.sleep(0)
    assert line.served == ["a", "a"], "one is inside still"
    line.inside[1].end()
    await asyncio.sleep(0)
    assert line.served == ["a", "a", "a"]


async def test_a_full_line_is_refused_and_those_that_were_are_told_different_times() -> None:
    of = turns(1, BOUNDS.model_copy(update={"waiting_max": 2}))
    line = Line(of)
    await line.come("a", "a", "a")
    told = []
    for _ in range(50):
        with pytest.raises(Refused) as refused:
            await of.turn("a")
        told.append(refused.value.retry_after_s)
    assert told == sorted(told)
    assert told[0] == 1 < told[-1] <= 60
    with pytest.raises(Refused):
        of.expect("a")
    of.expect("b")()
    for task in line.tasks:
        task.cancel()


async def test_requests_whose_bodies_are_still_to_be_read_count_as_waiting() -> None:
    """A wave of requests is refused at the door, not after each of them was read."""
    of = turns(1, BOUNDS.model_copy(update={"waiting_max": 2}))
    arrived = [of.expect("a") for _ in range(3)]
    with pytest.raises(Refused):
        of.expect("a")
    of.expect("b")()
    arrived[0]()
    arrived[0]()
    of.expect("a")()
    line = Line(of)
    for over in arrived:
        over()
    await line.come("a", "a", "a")
    assert line.served == ["a"]
    for task in line.tasks:
        task.cancel()


async def test_who_leaves_the_line_leaves_no_hole_in_it() -> None:
    line = Line(turns(1))
    await line.come("a", "a", "a")
    line.tasks[1].cancel()
    await line.end_one()
    assert line.served == ["a", "a"]
    await line.end_one()
    await line.come("a")
    assert line.served == ["a", "a", "a"]


def test_the_pace_grows_while_it_is_wanted_and_falls_when_it_takes_long() -> None:
    pace = Pace(most=10)

    def payments(took_s: float) -> float:
        pace.wanted = True
        for _ in range(5):
            pace.started(took_s)
        return pace.limit

    assert payments(0.010) == 5
    assert payments(0.030) == 6, "alone, four times as long is still well"
    pace.shared = True
    assert payments(0.030) == 4.5
    assert payments(0.015) == 5.5
    for _ in range(20):
        payments(0.5)
    assert pace.limit == 1
    for _ in range(40):
        payments(0.011)
    assert pace.limit == 10
    pace.wanted = False
    for _ in range(5):
        pace.started(0.010)
    assert pace.limit == 10


def test_what_it_takes_now_is_learned_where_less_load_does_not_help() -> None:
    pace = Pace(most=10)
    pace.shared = True
    for took_s in [0.010] * 5 + [0.050] * 300:
        pace.wanted = True
        pace.started(took_s)
    assert pace.limit > 1
