"""Who is shed by chance, and how often."""

import random

import pytest

from picker.scheduling.admitters import ProbabilisticAdmitter
from picker.scheduling.plugin import RequestFacts
from tests.fakes.pools import NO_HEADERS, FakePool, Numbers, context

DRAWS = 2000


def admitted(each: ProbabilisticAdmitter, pool: FakePool, priority: int = -1) -> float:
    """The share of requests admitted."""
    facts = RequestFacts("m", NO_HEADERS, 0.0, 0.0, priority)
    rng = random.Random(4)
    draws = [each.admits(context(pool, facts=facts, seed=rng.getrandbits(32)), pool.rows) for _ in range(DRAWS)]
    return sum(draws) / DRAWS


@pytest.mark.parametrize(
    ("waiting", "kv", "share"),
    [
        pytest.param([0, 0], [0, 0], 1.0, id="idle"),
        # (1 / 5)^5 · 300 = 0.096
        pytest.param([1, 1], [0, 0], 0.904, id="a fifth full"),
        # Mean of 0.5 (KV 0.4 of 0.8) and 0: 0.25^5 · 300 = 0.293
        pytest.param([0, 0], [0.4, 0], 0.707, id="the larger of queue and KV cache, then the mean"),
        pytest.param([2, 2], [0, 0], 0.0, id="two fifths full"),
        pytest.param([None, None], [None, None], 0.0, id="unknown counts as full"),
        pytest.param([1e9, 1e9], [0, 0], 0.0, id="beyond every float"),
    ],
)
def test_the_chance_of_being_shed_rises_with_the_fifth_power(waiting: Numbers, kv: Numbers, share: float) -> None:
    pool = FakePool(2, waiting=waiting, kv=kv)
    assert abs(admitted(ProbabilisticAdmitter(), pool) - share) < 0.03


def test_requests_that_are_not_sheddable_always_pass() -> None:
    assert admitted(ProbabilisticAdmitter(), FakePool(1, waiting=[100]), priority=0) == 1.0


def test_thresholds_of_its_own_replace_the_pools() -> None:
    pool = FakePool(1, waiting=[5])
    assert admitted(ProbabilisticAdmitter(), pool) == 0.0
    assert admitted(ProbabilisticAdmitter(queue_depth_threshold=1e6), pool) == 1.0
    assert admitted(ProbabilisticAdmitter(queue_depth_threshold=1e6, power=1000.0, k=1e-3), pool) == 1.0
