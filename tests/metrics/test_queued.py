"""Waits: what a class of them tells, and the quantile of those that ended and those that go on."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.queued import Queued, WaitStep, age_of, arrival_class, seconds_of, wait_class, wait_statistic

NOW = 100.0


def queued(ended: tuple[float, ...] = (), since: tuple[float, ...] = (), last: float = NOW, passed: int = 0) -> Queued:
    """Of one model: waits that `ended` at `last`, and those of requests that came at `since`."""
    waits = Counter(wait_class(each) for each in ended)
    arrivals = Counter(arrival_class(each) for each in since)
    return Queued(len(since), 0.0, arrivals, (WaitStep(last, passed, waits, 0),))


@given(st.floats(0.001, 3600.0))
def test_a_class_tells_a_wait_within_a_fortieth(seconds: float) -> None:
    assert math.isclose(seconds_of(wait_class(seconds)), seconds, rel_tol=0.026)


@given(st.floats(0.0, 1e6), st.floats(0.0, 600.0))
def test_how_long_a_request_has_waited_is_known_to_an_eighth_of_a_second(at: float, waited: float) -> None:
    assert abs(age_of(arrival_class(at), at + waited) - waited) <= 0.126


def test_less_than_a_millisecond_is_no_wait() -> None:
    assert seconds_of(wait_class(0.0)) == seconds_of(wait_class(0.0009)) == 0.0


@given(st.lists(st.floats(0.001, 100.0), min_size=1, max_size=40), st.sampled_from([0.5, 0.9, 1.0]))
def test_the_quantile_is_the_wait_that_this_share_had_at_most(waits: list[float], q: float) -> None:
    known = wait_statistic([queued(tuple(waits))], q, 0.0, NOW)
    assert known is not None
    exact = sorted(waits)[math.ceil(q * len(waits)) - 1]
    assert math.isclose(known, exact, rel_tol=0.06)


def test_those_that_wait_still_count_with_their_wait_so_far() -> None:
    found = wait_statistic([queued(passed=8, since=(NOW - 40, NOW - 40))], 0.9, 0.0, NOW)
    assert found is not None
    assert abs(found - 40) <= 0.126


def test_those_that_did_not_wait_count() -> None:
    assert wait_statistic([queued((5.0,), passed=9)], 0.9, 0.0, NOW) == 0.0
    assert wait_statistic([queued((5.0, 5.0), passed=8)], 0.9, 0.0, NOW) == seconds_of(wait_class(5.0))


def test_what_ended_before_the_window_does_not_count() -> None:
    assert wait_statistic([queued((5.0,), last=60.0)], 0.9, 70.0, NOW) is None


def test_parts_are_put_together() -> None:
    slow, quick = queued((9.0,)), queued(passed=1)
    assert wait_statistic([slow, quick], 0.9, 0.0, NOW) == seconds_of(wait_class(9.0))
    assert wait_statistic([slow, quick], 0.5, 0.0, NOW) == 0.0
    mean = wait_statistic([slow, quick], None, 0.0, NOW)
    assert mean is not None
    assert math.isclose(mean, 4.5, rel_tol=0.026)
    assert wait_statistic([], 0.5, 0.0, NOW) is None
