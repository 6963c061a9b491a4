"""The test of a rollout: how often it is wrong, how soon it is right, and what it never does."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rollouts import CASES, EQUAL, Case, Traffic, alarmed_after
from infscale.rollouts.sequential_test import LONG_MEMORY, RequestResult, SequentialTest

ROLLOUTS = 60
WANTED = {case.name: case for case in CASES}
ERRORS = WANTED["errors 10 % -> 20 %, 10 % to the new one"]
FIRST_TOKEN = WANTED["first token 1.3 x, sigma 0.5, 10 %"]
HEAVY_TAIL = WANTED["first token 1.3 x, sigma 0.8, 10 %"]
DRIFT = WANTED["equal, latencies triple and fall, 5 % then 50 %"]
PER_TOKEN = WANTED["output tokens 1.3 x, sigma 0.5, 10 %"]


def alarms(traffic: Traffic, count: int = ROLLOUTS) -> list[int]:
    return [found for seed in range(count) if (found := alarmed_after(traffic, seed)) is not None]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_an_equal_version_is_rarely_taken_for_worse(share: float) -> None:
    """`python -m bench.rollouts` shows it for 1,000; at 5 % a count of more than 8 of 60 comes once in a thousand."""
    assert len(alarms(replace(EQUAL, share=share))) <= 8


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", [ERRORS, FIRST_TOKEN, HEAVY_TAIL, PER_TOKEN], ids=lambda case: case.name)
def test_a_worse_version_is_found_within_500_of_its_requests(case: Case) -> None:
    assert len(alarms(case.traffic)) >= 0.95 * ROLLOUTS


@pytest.mark.timeout(60)
def test_load_that_comes_and_goes_is_no_difference_between_versions() -> None:
    """Old results of a quiet time do not wait for new ones of a busy time, also where the share of these grows."""
    assert len(alarms(DRIFT.traffic)) <= 8


def test_a_version_that_always_fails_is_found_within_a_dozen() -> None:
    test, rng = SequentialTest(), random.Random(1)
    while test.alarm is None:
        test.add("new" if rng.uniform(0, 1) < 0.1 and test.requests["old"] > 60 else "old", RequestResult(False, 0.1))
        if rng.uniform(0, 1) < 0.1:
            test.add("new", RequestResult(True))
    assert test.failures["new"] <= 12
    assert test.alarm == "the new version is worse: errors"


def test_a_better_version_raises_no_alarm() -> None:
    rng = random.Random(2)
    better = replace(EQUAL, errors=0.1, failing=0.3, slower_first=0.7, slower_tokens=0.7, share=0.3)
    assert [alarmed_after(better, rng.randrange(1000)) for _ in range(20)] == [None] * 20


def test_a_tolerated_difference_is_no_alarm() -> None:
    def found(tolerance_ratio: float) -> bool:
        test, rng = SequentialTest(tolerance_ratio=tolerance_ratio), random.Random(3)
        for number in range(5_000):
            new = number % 5 == 0
            test.add("new" if new else "old", RequestResult(False, rng.lognormvariate(0, 0.3) * (1.2 if new else 1.0)))
        return test.alarm is not None

    assert found(1.0)
    assert not found(1.25)


def test_the_first_requests_of_a_new_version_may_be_slow_and_may_not_fail() -> None:
    """Its caches are cold, and an adapter has to be loaded."""

    def found(warmup_requests: int, *, fails: bool) -> bool:
        test, rng = SequentialTest(warmup_requests=warmup_requests), random.Random(6)
        for number in range(1_000):
            new = number % 5 == 0
            cold = new and test.requests["new"] < 15
            slow = RequestResult(cold and fails, rng.lognormvariate(0, 0.3) * (9 if cold else 1))
            test.add("new" if new else "old", slow)
        return test.alarm is not None

    assert found(0, fails=False)
    assert not found(20, fails=False)
    assert found(20, fails=True)


def test_only_the_named_metrics_count() -> None:
    test, rng = SequentialTest(("errors",)), random.Random(4)
    for number in range(3_000):
        new = number % 5 == 0
        test.add("new" if new else "old", RequestResult(False, rng.uniform(1, 2) * (9 if new else 1)))
    assert test.alarm is None
    assert test.evidence < 1.0


def test_without_the_old_version_nothing_is_said() -> None:
    test = SequentialTest()
    for _ in range(2 * LONG_MEMORY):
        test.add("new", RequestResult(True))
    assert (test.alarm, test.evidence) == (None, 1.0)


def test_what_the_old_version_did_before_a_switch_is_compared_with_what_the_new_one_does() -> None:
    test, rng = SequentialTest(memory=LONG_MEMORY), random.Random(5)
    for _ in range(1_000):
        test.add("old", RequestResult(False, rng.lognormvariate(0, 0.5)))
    while test.alarm is None and test.requests["new"] < 500:
        test.add("new", RequestResult(False, 1.5 * rng.lognormvariate(0, 0.5)))
    assert test.alarm == "the new version is worse: time to first token"


RESULTS = st.tuples(
    st.sampled_from(("old", "new")),
    st.builds(RequestResult, st.booleans(), st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9)),
)


@given(st.lists(RESULTS, max_size=400))
def test_it_is_deterministic_and_an_alarm_stays(results: list[tuple[str, RequestResult]]) -> None:
    first, second = SequentialTest(), SequentialTest()
    alarm: str | None = None
    for version, result in results:
        for test in (first, second):
            test.add("new" if version == "new" else "old", result)
        assert first.by_metric() == second.by_metric()
        assert alarm is None or first.alarm == alarm
        alarm = first.alarm
        assert all(value >= 0.0 for value in first.by_metric().values())
