"""What stages are given of a decision."""

from dataclasses import replace

import numpy as np

from infscale.memo import MemoKey
from picker.scheduling.plugin import PrefixMatch
from tests.fakes.pools import FakePool, context


def test_matched_shares_are_those_of_the_rows_asked_for_and_nobody_elses_memory() -> None:
    pool = FakePool(3)
    prefix = context(pool, matched=[0, 100, 50], total_tokens=100.0).prefix
    assert prefix.ratios(np.array([1, 0, 2])).tolist() == [1.0, 0.0, 0.5]
    assert prefix.ratios(np.array([False, True, False])).tolist() == [1.0]
    short = context(pool).prefix
    short.ratios(pool.rows)[:] = 1.0
    assert short.matched_tokens.tolist() == [0.0, 0.0, 0.0]


def test_a_context_can_be_had_with_another_prefix() -> None:
    """What was worked out with the one prefix is not kept with the other."""
    decision, key = context(FakePool(2), matched=[0, 100], total_tokens=100.0), MemoKey[float]("of the prefix")
    decision.derived.keep(key, 100.0)
    other = replace(decision, prefix=PrefixMatch(np.zeros(2), 0.0))
    assert other.derived.get(key) is None
    assert other.prefix.matched_tokens.tolist() == [0.0, 0.0]
    assert other.request is decision.request
