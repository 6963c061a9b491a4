"""What a pool's director remembers of its endpoints, and when it forgets."""

import math

import numpy as np

from infscale.metrics.sample import Life
from picker.request import Promise
from picker.scheduling.memory import PoolMemory
from tests.fakes.pools import FakePool

ROWS = np.arange(3)
ENDPOINTS = FakePool(3).snapshot().endpoints


def memory() -> PoolMemory:
    made = PoolMemory()
    made.sync(ENDPOINTS)
    return made


def test_an_endpoint_that_leaves_takes_its_past_along() -> None:
    made = memory()
    made.served_cold(0)
    made.served_cold(2)
    made.sync(ENDPOINTS[1:])
    assert made.cold_numbers().tolist() == [0.0, 2.0]
    made.sync(ENDPOINTS)
    assert made.cold_numbers().tolist() == [0.0, 0.0, 2.0]
    assert ENDPOINTS[0].authority in made


def test_failures_in_a_row_end_with_a_success() -> None:
    made, first = memory(), ENDPOINTS[0].authority
    assert made.out(ROWS, 2, 0.0) is None
    for now in (1.0, 2.0):
        made.answered(first, failed=True, now=now)
    found = [made.out(ROWS, failures, since) for failures, since in ((2, 1.0), (3, 1.0), (2, 2.0))]
    assert [each.tolist() for each in found if each is not None] == [
        [True, False, False],
        [False, False, False],
        [False, False, False],
    ]
    made.answered(first, failed=False, now=3.0)
    assert made.out(ROWS, 1, 0.0) is None
    made.answered("10.9.9.9:1", failed=True, now=4.0)
    assert made.out(ROWS, 1, 0.0) is None


def test_of_media_the_last_are_held_and_another_life_holds_none() -> None:
    made = memory()
    lives = (Life(), Life(), None)
    made.sync(ENDPOINTS, lives)
    made.sent_media(0, (1, 2), 2)
    made.sent_media(0, (1, 3), 2)
    assert made.held_media(ROWS, (1, 2, 3)).tolist() == [2.0, 0.0, 0.0]
    made.sync(ENDPOINTS, (Life(), *lives[1:]))
    assert made.held_media(ROWS, (1, 2, 3)).tolist() == [0.0, 0.0, 0.0]


def test_the_tightest_promise_binds_until_it_is_over() -> None:
    made, first = memory(), ENDPOINTS[0].authority
    loose, tight = Promise(first, 0.5), Promise(first, 0.1)
    for each in (loose, tight, Promise("10.9.9.9:1", 0.01)):
        made.keep(each)
    assert made.tightest().tolist() == [0.1, math.inf, math.inf]
    made.over(tight)
    made.over(tight)
    assert made.tightest().tolist() == [0.5, math.inf, math.inf]
