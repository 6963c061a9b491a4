"""How many requests a batch takes: learnt of pages on which requests wait and no more run, forgotten when more do."""

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from picker.scheduling.costs.batch_limits import BatchLimits
from tests.fakes.pools import FakePool

NAN = math.nan


def limits_after(*pages: tuple[float, float]) -> float:
    """The limit of one endpoint whose pages said so many waiting and running, one after the other."""
    limits = BatchLimits()
    for second, (waiting, running) in enumerate(pages):
        observe(limits, second, [waiting], [running])
    return float(limits.limits[0])


def observe(
    limits: BatchLimits, second: float, waiting: Sequence[float], running: Sequence[float], kv: float = 0.5
) -> None:
    size = len(waiting)
    pool = FakePool(size, list(waiting), list(running), kv=[kv] * size, observed_at=[second] * size)
    snapshot = pool.snapshot()
    limits.sync(snapshot.endpoints)
    limits.observe(snapshot)


def test_what_runs_while_others_wait_is_the_limit_once_it_did_not_grow() -> None:
    assert limits_after((3, 2)) == math.inf
    assert limits_after((3, 2), (1, 2)) == 2
    assert limits_after((3, 2), (5, 4)) == math.inf
    assert limits_after((0, 2), (5, 2)) == math.inf


def test_a_limit_stays_while_nothing_waits_and_ends_when_more_run() -> None:
    assert limits_after((3, 2), (1, 2), (0, 1)) == 2
    assert limits_after((3, 2), (1, 2), (0, 3)) == math.inf


def test_a_page_that_tells_nothing_changes_nothing() -> None:
    assert limits_after((3, 2), (1, 2), (NAN, NAN)) == 2
    assert limits_after((NAN, 2), (NAN, 2)) == math.inf


def test_what_waits_for_a_full_cache_says_nothing_of_the_batch() -> None:
    limits = BatchLimits()
    for second in range(3):
        observe(limits, float(second), [3.0], [2.0], kv=0.99)
    assert limits.limits.tolist() == [math.inf]


def test_the_same_page_counts_once() -> None:
    limits = BatchLimits()
    observe(limits, 1.0, [3.0], [2.0])
    observe(limits, 1.0, [3.0], [2.0])
    assert limits.limits.tolist() == [math.inf]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), min_size=1, max_size=30), st.integers(1, 8))
def test_no_limit_is_lower_than_what_a_batch_takes(loads: list[tuple[int, int]], most: int) -> None:
    """An engine that starts what it can before each scrape is never taken for a smaller one."""
    limits = BatchLimits()
    for second, (asked, _) in enumerate(loads):
        running = min(asked, most)
        observe(limits, second, [float(asked - running)], [float(running)])
        assert limits.limits[0] >= most or limits.limits[0] == math.inf
    assert np.isinf(limits.limits[0]) or limits.limits[0] == most
