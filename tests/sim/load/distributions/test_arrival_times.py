"""Arrivals come at the rate of their stage, as evenly or in as large bursts as was asked for."""

import random
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals


@given(st.lists(st.floats(0.0, 40.0), min_size=1, max_size=5), st.floats(0.2, 4.0), st.integers(0, 2**16))
def test_times_are_in_order_and_within_the_stages_that_have_a_rate(rates: list[float], cv: float, seed: int) -> None:
    arrivals = Arrivals(30.0, (*rates, 1.0), cv)
    times = list(arrivals.times(random.Random(seed)))
    assert times == sorted(times)
    assert len(times) == max(1, round(arrivals.count))
    step = 30.0 / (len(rates) + 1)
    assert all(0.0 <= at <= 30.0 for at in times)
    assert all(arrivals.rates[min(int(at / step), len(rates))] > 0 or at % step < 1e-6 for at in times)


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gaps_have_the_rate_and_the_coefficient_of_variation(cv: float) -> None:
    times = list(Arrivals(4000.0, (10.0,), cv).times(random.Random(3)))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == 40_000
    assert stdev(gaps) / fmean(gaps) == pytest.approx(cv, rel=0.05)


def test_each_stage_has_its_rate() -> None:
    arrivals = Arrivals(900.0, (5.0, 20.0, 0.0))
    times = list(arrivals.times(random.Random(1)))
    assert sum(at < 300 for at in times) / 300 == pytest.approx(5.0, rel=0.1)
    assert sum(300 <= at < 600 for at in times) / 300 == pytest.approx(20.0, rel=0.1)
    assert times[-1] < 600
    assert arrivals.count == 7500


@pytest.mark.parametrize("bad", [{"seconds": 0.0}, {"rates": ()}, {"rates": (0.0,)}, {"rates": (-1.0,)}, {"cv": 0.0}])
def test_impossible_arrivals_are_refused(bad: dict[str, Any]) -> None:
    chosen: dict[str, Any] = {"seconds": 1.0, "rates": (1.0,), **bad}
    with pytest.raises(ConfigError):
        Arrivals(**chosen)
