"""Lengths have the mean and the spread that were asked for, within their limits."""

import random
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import ConfigError
from infscale.sim.load.distributions.lengths import Lengths, Shape, even, fixed, lognormal, lognormal_of_logarithms

SPREAD = {Shape.FIXED: 0.0, Shape.EVEN: 60 / 3**0.5, Shape.EXPONENTIAL: 200.0}


def drawn(lengths: Lengths, count: int = 40_000) -> list[float]:
    rng = random.Random(1)
    return [lengths.draw(rng) for _ in range(count)]


@pytest.mark.parametrize("shape", list(Shape))
def test_every_shape_has_its_mean_and_spread(shape: Shape) -> None:
    lengths = drawn(Lengths(shape, 200.0, 60.0, least=0.0))
    assert fmean(lengths) == pytest.approx(200.0, rel=0.03)
    # Each mode is a little wide itself.
    assert stdev(lengths) == pytest.approx(SPREAD.get(shape, 60.0), rel=0.2 if shape is Shape.TWO_MODES else 0.05)


def test_a_lognormal_one_of_logarithms_has_their_median_and_deviation() -> None:
    lengths = sorted(drawn(lognormal_of_logarithms(6.63, 0.985)))
    assert lengths[20_000] == pytest.approx(757.5, rel=0.05)
    assert lengths[36_000] / lengths[20_000] == pytest.approx(3.53, rel=0.06)


@given(st.sampled_from(list(Shape)), st.floats(1, 1e5), st.floats(0, 1e5), st.integers(0, 2**16))
def test_counts_are_within_the_limits(shape: Shape, mean: float, spread: float, seed: int) -> None:
    assert 5 <= Lengths(shape, mean, spread, least=5, most=9).count(random.Random(seed)) <= 9


def test_lengths_around_another_mean_keep_their_proportions() -> None:
    assert even(100.0, 0.3).around(50.0) == even(50.0, 0.3)
    assert fixed(0.0).around(20.0).draw(random.Random(1)) == 20.0
    assert lognormal(10.0, 5.0).around(0.0).draw(random.Random(1)) == 0.0


@pytest.mark.parametrize("bad", [{"mean": -1.0}, {"mean": float("nan")}, {"spread": -1.0}, {"least": 3.0, "most": 2.0}])
def test_impossible_lengths_are_refused(bad: dict[str, Any]) -> None:
    chosen: dict[str, Any] = {"shape": Shape.NORMAL, "mean": 1.0, **bad}
    with pytest.raises(ConfigError):
        Lengths(**chosen)
