"""The queueing model of docs/scaling.md: where the answer is known, and that what the page says holds."""

import math
import re

import pytest

from bench.scaling import PAGE, Payment, Rate, closed, cores, predict, waits

PAYMENT = Payment({"api": 12.0, "temporal": 9.0, "postgres": 3.0, "load": 1.0}, psp_ms=50.0, wal_kb=15.0, commits=3.0)


def server(demand_ms: float, servers: int = 1) -> Rate:
    return lambda customers: min(customers, servers) / demand_ms


def test_one_customer_waits_for_nobody() -> None:
    assert closed(1, [server(25.0)], 50.0) == [pytest.approx(1 / 75)]
    assert closed(1, [server(15.0), server(10.0, 8)], 50.0) == [pytest.approx(1 / 75)]


def test_customers_without_a_pause_keep_one_server_busy() -> None:
    """And so many servers that nobody waits are a delay."""
    assert closed(7, [server(25.0)], 0.0)[-1] == pytest.approx(1 / 25)
    assert closed(7, [server(25.0, 7)], 50.0)[-1] == pytest.approx(7 / 75)


def test_two_customers_at_one_server() -> None:
    """Mean value analysis by hand: the second finds the first one there for a third of the time."""
    assert closed(2, [server(25.0)], 50.0)[-1] == pytest.approx(2 / (50 + 25 * (1 + 1 / 3)))


def test_two_equal_queues_are_full_by_turns() -> None:
    """Without a delay, n customers at two queues: n / (n + 1) of the rate of one."""
    assert closed(5, [server(10.0), server(10.0)], 0.0)[-1] == pytest.approx(5 / 6 / 10)


def test_many_customers_find_the_narrowest_place() -> None:
    """An API process at first, the cores where there are few of them, and else Temporal."""
    slow = Payment({**PAYMENT.cpu_ms, "api": 40.0}, 50.0, 15.0, 3.0)
    assert predict(slow, 100, cores=8, processes=1).per_s == pytest.approx(1000 / 40, rel=0.05)
    assert predict(slow, 100, cores=2, processes=4).per_s == pytest.approx(2 * 1000 / 53, rel=0.05)
    assert predict(slow, 100, cores=2, processes=4, left=1).per_s == pytest.approx(1000 / 53)
    assert predict(slow, 100, cores=64, processes=8).per_s == pytest.approx(1000 / 9, rel=0.05)


def test_the_wait_for_servers() -> None:
    """Of one (M/M/1) and of two (M/M/2), by their closed forms; and where they are too few."""
    assert waits(50, 10.0, 1) == pytest.approx(10.0)
    assert waits(100, 10.0, 2) == pytest.approx(10.0 / 3)
    assert waits(200, 10.0, 2) == math.inf


def test_cores_leave_room() -> None:
    assert cores(PAYMENT, 100) == {"api": 2, "temporal": 2, "postgres": 1}


def test_what_the_page_says_is_within_a_fifth_of_what_was_measured() -> None:
    off = [int(found) for found in re.findall(r"\| (\d+)% \|$", PAGE.read_text("utf-8"), re.MULTILINE)]
    assert len(off) == 6, "one and two processes, at three concurrencies"
    assert max(off) <= 20
