"""The guard, with a clock of its own: nothing here waits."""

from collections.abc import Callable

import pytest

from gateways.guard import BURST_S, WAIT_MAX_S, Guard, Refused, Verdict


class Clock:
    """Seconds that pass only when told to; sleeping passes them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def build(clock: Clock) -> Callable[..., Guard]:
    def build(*, concurrency_max: int = 100, rate_per_s: float = 1000, breaker_failures: int = 3) -> Guard:
        return Guard(
            "test",
            concurrency_max=concurrency_max,
            rate_per_s=rate_per_s,
            breaker_failures=breaker_failures,
            breaker_open_s=10,
            clock=clock,
            sleep=clock.sleep,
        )

    return build


async def call(guard: Guard, verdict: Verdict = Verdict.ANSWERED) -> None:
    async with guard.admit() as permit:
        permit.verdict = verdict


async def refusal(guard: Guard) -> str | None:
    """The reason of a refusal; None when the call went through."""
    try:
        await call(guard)
    except Refused as refused:
        return refused.reason
    return None


async def test_bulkhead_refuses_at_once_and_frees_its_places(build: Callable[..., Guard]) -> None:
    guard = build(concurrency_max=2)
    async with guard.admit(), guard.admit():
        assert await refusal(guard) == "busy"
    assert await refusal(guard) is None


async def test_bulkhead_frees_the_place_of_a_call_that_raised(build: Callable[..., Guard]) -> None:
    guard = build(concurrency_max=1)
    with pytest.raises(RuntimeError):
        async with guard.admit():
            raise RuntimeError
    assert await refusal(guard) is None


async def test_pacer_lets_a_burst_through_then_waits_a_little_then_refuses(
    build: Callable[..., Guard], clock: Clock
) -> None:
    guard = build(rate_per_s=100)
    for _ in range(int(100 * BURST_S) + 1):
        assert await refusal(guard) is None
    assert clock.slept == []
    assert await refusal(guard) is None
    assert clock.slept == [pytest.approx(0.01)]
    # Sleeping above passed time; callers that arrive at the same moment are what gets refused.
    guard._next_at = clock.now + WAIT_MAX_S + 0.001
    assert await refusal(guard) == "busy"
    clock.now += 1
    assert await refusal(guard) is None


async def test_pacer_keeps_any_second_below_one_and_a_quarter_of_the_rate(
    build: Callable[..., Guard], clock: Clock
) -> None:
    guard = build(rate_per_s=80)
    clock.now += 60
    end, sent = clock.now + 1, 0
    while clock.now < end:
        if await refusal(guard) is None:
            sent += 1
    assert 80 <= sent <= 101


async def test_429_halves_the_rate_once_a_second_and_answers_restore_it(
    build: Callable[..., Guard], clock: Clock
) -> None:
    guard = build(rate_per_s=80)
    for _ in range(5):
        await call(guard, Verdict.THROTTLED)
    assert guard._rate == 40
    for _ in range(20):
        clock.now += 2
        await call(guard, Verdict.THROTTLED)
    assert guard._rate == 80 / 16
    for _ in range(200):
        clock.now += 1
        await call(guard)
    assert guard._rate == 80


async def test_breaker_opens_after_faults_in_a_row_only(build: Callable[..., Guard]) -> None:
    guard = build(breaker_failures=3)
    for verdict in (Verdict.FAULT, Verdict.FAULT, Verdict.ANSWERED, Verdict.FAULT, Verdict.FAULT, Verdict.NOTHING):
        await call(guard, verdict)
    assert await refusal(guard) is None
    for _ in range(3):
        await call(guard, Verdict.FAULT)
    assert await refusal(guard) == "breaker_open"


async def test_breaker_is_not_opened_by_429(build: Callable[..., Guard]) -> None:
    guard = build(breaker_failures=2)
    for _ in range(5):
        await call(guard, Verdict.THROTTLED)
    assert await refusal(guard) is None


async def opened(guard: Guard) -> Guard:
    for _ in range(3):
        await call(guard, Verdict.FAULT)
    return guard


async def test_half_open_lets_one_probe_through_and_closes_when_it_is_answered(
    build: Callable[..., Guard], clock: Clock
) -> None:
    guard = await opened(build())
    clock.now += 9.9
    assert await refusal(guard) == "breaker_open"
    clock.now += 0.2
    async with guard.admit() as probe:
        assert await refusal(guard) == "breaker_open"
        probe.verdict = Verdict.ANSWERED
    await call(guard, Verdict.FAULT)
    assert await refusal(guard) is None


async def test_half_open_opens_again_when_the_probe_fails(build: Callable[..., Guard], clock: Clock) -> None:
    guard = await opened(build())
    clock.now += 10
    await call(guard, Verdict.FAULT)
    assert await refusal(guard) == "breaker_open"
    clock.now += 10
    assert await refusal(guard) is None


async def test_a_cancelled_probe_leaves_room_for_the_next(build: Callable[..., Guard], clock: Clock) -> None:
    guard = await opened(build())
    clock.now += 10
    await call(guard, Verdict.NOTHING)
    assert await refusal(guard) is None


async def test_an_old_call_does_not_answer_for_the_probe(build: Callable[..., Guard], clock: Clock) -> None:
    guard = build()
    old = guard.admit()
    permit = await old.__aenter__()
    await opened(guard)
    clock.now += 10
    async with guard.admit() as probe:
        permit.verdict = Verdict.ANSWERED
        await old.__aexit__(None, None, None)
        assert await refusal(guard) == "breaker_open"
        probe.verdict = Verdict.FAULT
    assert await refusal(guard) == "breaker_open"


async def test_a_refused_probe_does_not_take_the_probe(build: Callable[..., Guard], clock: Clock) -> None:
    guard = await opened(build(concurrency_max=1))
    clock.now += 10
    guard._active = 1
    assert await refusal(guard) == "busy"
    guard._active = 0
    assert await refusal(guard) is None
