"""Filters against bad moments: failing endpoints go for a while, hot ones spill over."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.scheduling.filters.guards import MEASURES, BoundedLoadFilter, ErrorMemoryFilter, Measure
from picker.scheduling.memory import PoolMemory
from tests.fakes.pools import FakePool, context


class Pool:
    """Three endpoints and what is remembered of them."""

    def __init__(self) -> None:
        self.pool = FakePool(3)
        self.memory = PoolMemory()
        self.memory.sync(self.pool.snapshot().endpoints)

    def answered(self, row: int, *, failed: bool, now: float, times: int = 1) -> None:
        authority = self.pool.snapshot().endpoints[row].authority
        for _ in range(times):
            self.memory.answered(authority, failed=failed, now=now)

    def kept(self, now: float, each: ErrorMemoryFilter | None = None) -> list[int]:
        decision = context(self.pool, now=now, memory=self.memory)
        return (each or ErrorMemoryFilter()).keep(decision, self.pool.rows).tolist()


def test_an_endpoint_that_fails_again_and_again_is_left_out_for_a_while() -> None:
    pool = Pool()
    pool.answered(1, failed=True, now=100.0, times=2)
    assert pool.kept(100.0) == [0, 1, 2]
    pool.answered(1, failed=True, now=101.0)
    assert pool.kept(101.0) == [0, 2]
    assert pool.kept(110.9) == [0, 2]
    assert pool.kept(111.0) == [0, 1, 2]


def test_after_the_while_one_failure_is_enough_and_one_success_forgets() -> None:
    pool = Pool()
    pool.answered(1, failed=True, now=0.0, times=3)
    pool.answered(1, failed=True, now=20.0)
    assert pool.kept(21.0) == [0, 2]
    pool.answered(1, failed=False, now=22.0)
    pool.answered(1, failed=True, now=23.0)
    assert pool.kept(23.0) == [0, 1, 2]


def test_all_stay_when_all_failed() -> None:
    pool = Pool()
    for row in range(3):
        pool.answered(row, failed=True, now=0.0, times=3)
    assert pool.kept(1.0) == [0, 1, 2]
    assert pool.kept(1.0, ErrorMemoryFilter(failures=9)) == [0, 1, 2]


def test_memory_follows_the_pool_and_forgets_who_left() -> None:
    pool = Pool()
    endpoints = pool.pool.snapshot().endpoints
    pool.answered(1, failed=True, now=0.0, times=3)
    pool.memory.served_cold(2)
    pool.memory.sync(endpoints[1:])
    assert pool.memory.cold_numbers().tolist() == [0.0, 1.0]
    decision = context(FakePool(3), now=1.0, memory=pool.memory)
    assert ErrorMemoryFilter().keep(decision, pool.pool.rows).tolist() == [0, 2]
    pool.memory.sync(())
    pool.memory.sync(endpoints)
    assert pool.kept(1.0) == [0, 1, 2]
    pool.memory.answered("192.0.2.1:1", failed=True, now=1.0)


@pytest.mark.parametrize(
    ("requests", "rows"),
    [
        # 1.25 · (11 + 1) / 3 = 5 requests each may have, this one included.
        pytest.param([5, 2, 4], [1, 2], id="this request counts"),
        pytest.param([0, 0, 0], [0, 1, 2], id="idle"),
        pytest.param([4, 4, 4], [0, 1, 2], id="equal"),
        pytest.param([30, 0, 0], [1, 2], id="hot"),
    ],
)
def test_nobody_gets_more_than_its_bounded_share(requests: list[float], rows: list[int]) -> None:
    pool = FakePool(3, in_flight_requests=requests)
    assert BoundedLoadFilter().keep(context(pool), pool.rows).tolist() == rows


def test_the_bound_counts_tokens_too() -> None:
    pool = FakePool(3, in_flight_tokens=[1250, 1251, 500])
    pool.in_flight_tokens = [1250, 1300, 450]
    assert BoundedLoadFilter(measure="tokens").keep(context(pool), pool.rows).tolist() == [0, 2]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(0, 1e7), min_size=1, max_size=8),
    st.lists(st.integers(0, 500), min_size=8, max_size=8),
    st.floats(1, 4),
    st.sampled_from(MEASURES),
)
def test_a_bound_leaves_someone_and_keeps_the_order(
    tokens: list[float], requests: list[int], factor: float, measure: Measure
) -> None:
    pool = FakePool(len(tokens), in_flight_tokens=tokens, in_flight_requests=[*map(float, requests[: len(tokens)])])
    kept = BoundedLoadFilter(factor, measure).keep(context(pool), pool.rows).tolist()
    assert kept
    assert kept == sorted(kept)
    load = tokens if measure == "tokens" else requests
    assert min(range(len(tokens)), key=lambda row: load[row]) in kept
