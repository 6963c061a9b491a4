import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.backoff import Backoff
from infscale.errors import ExpositionError
from infscale.periodic import (
    FetchError,
    Outcome,
    Pace,
    Rounds,
    TaskSet,
    Unreachable,
    hash_fraction,
    next_tick,
    repeat,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Failures:
    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def __call__(self, cause: str, at: float) -> None:
        self.seen.append((cause, at))


@given(now=st.floats(0, 1e7), interval=st.floats(0.01, 1e3), fraction=st.floats(0, 1, exclude_max=True))
def test_the_next_tick_is_on_the_grid_within_one_interval(now: float, interval: float, fraction: float) -> None:
    tick = next_tick(now, interval, fraction)
    assert now < tick <= now + interval * 1.001 + 1e-6
    position = tick / interval - fraction
    assert abs(position - round(position)) < 1e-4


def test_missed_ticks_are_skipped() -> None:
    assert next_tick(10.0, 1.0, 0.25) == 10.25
    assert next_tick(10.25, 1.0, 0.25) == 11.25
    assert next_tick(17.9, 1.0, 0.25) == 18.25


def test_offsets_are_stable_and_spread() -> None:
    fractions = [hash_fraction(f"default/pod-{number}") for number in range(1000)]
    assert fractions == [hash_fraction(f"default/pod-{number}") for number in range(1000)]
    assert all(0 <= fraction < 1 for fraction in fractions)
    for tenth in range(10):
        assert 60 < sum(tenth / 10 <= fraction < (tenth + 1) / 10 for fraction in fractions) < 140


def test_refusals_wait_longer_and_still_meet_the_grid() -> None:
    pace = Pace(0.5, 0.5, Backoff(2.0, 2.0, 8.0), Clock(), random.Random(1))
    assert pace.due(100.0, 0) == 100.25
    first, third, tenth = pace.due(100.0, 1), pace.due(100.0, 3), pace.due(100.0, 10)
    assert 101.0 <= first <= 102.5
    assert 104.0 <= third <= 108.5
    assert 104.0 <= tenth <= 108.5
    assert {(due - 0.25) % 0.5 for due in (first, third, tenth)} == {0.0}


def test_rounds_that_are_due_at_about_the_same_time_start_together() -> None:
    def dues(interval: float) -> list[float]:
        fractions = [hash_fraction(f"default/pod-{number}") for number in range(1000)]
        paces = [Pace(interval, each, Backoff(2.0, 2.0, 8.0), Clock(), random.Random(1)) for each in fractions]
        return [pace.due(100.0, 0) for pace in paces]

    assert len({round(due, 6) for due in dues(0.05)}) == 5
    spread = Counter(round(due, 6) for due in dues(2.0))
    assert len(spread) > 190
    assert max(spread.values()) < 20


async def fail(error: Exception) -> int:
    raise error


async def hang() -> int:
    await asyncio.Event().wait()
    return 0


async def page_of(size: int) -> int:
    return size


@pytest.mark.parametrize(
    ("observed", "cause", "outcome"),
    [
        (lambda: fail(FetchError("HTTP 500")), "HTTP 500", Outcome.FAILED),
        (lambda: fail(Unreachable("connection refused")), "connection refused", Outcome.REFUSED),
        (lambda: fail(ExpositionError("page truncated")), "page truncated", Outcome.FAILED),
        (lambda: fail(ZeroDivisionError("x")), "internal error (ZeroDivisionError)", Outcome.FAILED),
        (hang, "timed out after 0.01 s", Outcome.FAILED),
    ],
    ids=["fetch", "unreachable", "page", "bug", "timeout"],
)
async def test_failures_are_recorded_in_plain_words(
    observed: "type[Awaitable[int]]", cause: str, outcome: Outcome
) -> None:
    clock, failures = Clock(), Failures()
    rounds = Rounds("target", clock, failures)
    assert await rounds.run(lambda _started: observed(), 0.01) is outcome
    assert failures.seen == [(cause, 100.0)]
    assert (rounds.health.cause, rounds.health.failures, rounds.health.page_bytes) == (cause, 1, None)


async def test_health_counts_and_recovers() -> None:
    clock, failures = Clock(), Failures()
    rounds = Rounds("target", clock, failures)
    for _ in range(2):
        await rounds.run(lambda _started: fail(FetchError("HTTP 500")), 1.0)
    assert (rounds.health.cause, rounds.health.failures) == ("HTTP 500", 2)
    clock.now = 103.0
    assert await rounds.run(lambda _started: page_of(7), 1.0) is Outcome.DONE
    health = rounds.health
    assert (health.scrapes, health.failures, health.cause, health.page_bytes) == (3, 2, None, 7)


async def test_a_target_that_keeps_failing_is_not_logged_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "infscale.periodic")
    clock = Clock()
    rounds = Rounds("target", clock, Failures())

    async def run(seconds: float, *observed: "Callable[[], Awaitable[int]]") -> list[str]:
        caplog.clear()
        for turn in range(round(seconds / 0.5)):
            observe = observed[turn % len(observed)]
            await rounds.run(lambda _started, observe=observe: observe(), 1.0)
            clock.now += 0.5
        return [record.getMessage() for record in caplog.records]

    def broken() -> Awaitable[int]:
        return fail(ZeroDivisionError("x"))

    def refused() -> Awaitable[int]:
        return fail(Unreachable("connection refused"))

    assert await run(60, broken) == ["scrape of target failed: internal error (ZeroDivisionError)"]
    lines = await run(60, broken, refused, lambda: page_of(1))
    assert len(lines) <= 7
    lines += await run(20, lambda: page_of(1))
    assert lines[-1] == "scrape of target works again"
    assert await run(60, lambda: page_of(1)) == []


async def test_a_cancelled_scrape_is_no_failure() -> None:
    failures = Failures()
    rounds = Rounds("target", Clock(), failures)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(rounds.run(lambda _started: hang(), 5.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert failures.seen == []


async def test_rounds_repeat_until_cancelled_and_never_overlap() -> None:
    running, most, count = 0, 0, 0
    enough = asyncio.Event()

    async def step() -> Outcome:
        nonlocal running, most, count
        running, count = running + 1, count + 1
        most = max(most, running)
        await asyncio.sleep(0.003)
        running -= 1
        if count == 5:
            enough.set()
        return Outcome.DONE

    pace = Pace(0.002, 0.0, Backoff(), asyncio.get_running_loop().time, random.Random(1))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(repeat(step, pace))
        await enough.wait()
        task.cancel()
    assert most == 1


async def test_tasks_follow_what_is_wanted() -> None:
    started: list[int] = []
    stopped: list[int] = []

    async def run(value: int) -> None:
        started.append(value)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(value)

    tasks: TaskSet[str, int] = TaskSet(run)
    async with tasks:
        for wanted in ({"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, {"c": 4}):
            tasks.sync(wanted)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert started == [1, 2, 3, 4]
        assert sorted(stopped) == [1, 2, 3]
    assert sorted(stopped) == [1, 2, 3, 4]


async def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    async def forever(_: str) -> None:
        await asyncio.Event().wait()

    async def block() -> None:
        async with TaskSet[str, str](forever) as tasks:
            tasks.sync({"a": "b"})
            await asyncio.sleep(0)
            raise LookupError("own")

    with pytest.raises(LookupError, match="own"):
        await block()


async def test_a_task_that_fails_ends_the_block() -> None:
    async def fails(_: str) -> None:
        raise LookupError("task")

    async def block() -> None:
        async with TaskSet[str, str](fails) as tasks:
            tasks.sync({"a": "b"})
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert caught.value.subgroup(LookupError) is not None
