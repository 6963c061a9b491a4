"""What is popular is drawn more often."""

import random
from collections import Counter

import pytest

from infscale.errors import ConfigError
from infscale.sim.load.distributions.popularity import Popularity


def shares(popularity: Popularity, count: int) -> list[float]:
    rng, choice = random.Random(1), popularity.among(count)
    drawn = Counter(choice.draw(rng) for _ in range(50_000))
    return [drawn[number] / 50_000 for number in range(count)]


@pytest.mark.parametrize(
    ("popularity", "expected"),
    [
        (Popularity(), [0.25, 0.25, 0.25, 0.25]),
        (Popularity(1.0), [12 / 25, 6 / 25, 4 / 25, 3 / 25]),
        (Popularity(first=0.7), [0.7, 0.1, 0.1, 0.1]),
        (Popularity(first=1.0), [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_shares(popularity: Popularity, expected: list[float]) -> None:
    assert shares(popularity, 4) == pytest.approx(expected, abs=0.01)


def test_of_one_it_is_that_one() -> None:
    assert shares(Popularity(1.1, 0.3), 1) == [1.0]


@pytest.mark.parametrize(("exponent", "first"), [(-1.0, 0.0), (0.0, 1.1), (float("nan"), 0.0)])
def test_impossible_ones_are_refused(exponent: float, first: float) -> None:
    with pytest.raises(ConfigError):
        Popularity(exponent, first)
