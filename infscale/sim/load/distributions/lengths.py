"""Random lengths: tokens of a prompt or an answer, turns of a conversation, seconds that a person thinks."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from infscale.errors import ConfigError

if TYPE_CHECKING:
    from random import Random

_LOW_MODE_RATIO: Final = 0.25
_MODE_SPREAD: Final = 0.2


class Shape(StrEnum):
    """How lengths are distributed around their mean."""

    FIXED = "fixed"
    EVEN = "even"
    NORMAL = "normal"
    LOGNORMAL = "lognormal"
    EXPONENTIAL = "exponential"
    TWO_MODES = "two-modes"


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution, cut off at `least` and `most`, to which what lies beyond is moved.

    `spread` is the standard deviation; of even ones half their width. Two modes are at a quarter of the mean and at
    what gives mean and deviation, each even within ±20 %.
    """

    shape: Shape
    mean: float
    spread: float = 0.0
    least: float = 1.0
    most: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.mean < math.inf or not 0 <= self.spread < math.inf or not 0 <= self.least <= self.most:
            raise ConfigError("", "lengths", "mean and spread are not negative, and least is not above most")

    def draw(self, rng: "Random") -> float:
        """One length."""
        drawn = _DRAWN[self.shape](self.mean, self.spread, rng) if self.mean > 0 else 0.0
        return min(max(drawn, self.least), self.most)

    def count(self, rng: "Random") -> int:
        """One length as a whole number."""
        return round(self.draw(rng))

    def around(self, mean: float) -> "Lengths":
        """Lengths of the same shape around another mean, spread as much in proportion."""
        factor = mean / self.mean if self.mean > 0 else 0.0
        return replace(self, mean=mean, spread=self.spread * factor, least=min(self.least, mean))

    def within(self, most: float) -> "Lengths":
        """The same, none above `most`."""
        return replace(self, least=min(self.least, most), most=min(self.most, most))


def fixed(length: float) -> Lengths:
    """Always the same length, 0 too."""
    return Lengths(Shape.FIXED, length, least=0.0)


NOTHING: Final = Lengths(Shape.FIXED, 0.0, least=0.0)


def even(mean: float, ratio: float) -> Lengths:
    """Evenly within ± `ratio` of the mean."""
    return Lengths(Shape.EVEN, mean, mean * ratio)


def lognormal(mean: float, deviation: float, most: float = math.inf) -> Lengths:
    """Many short ones and few long ones, up to `most`."""
    return Lengths(Shape.LOGNORMAL, mean, deviation, most=most)


def lognormal_of_logarithms(mu: float, sigma: float, most: float = math.inf) -> Lengths:
    """The same, where mean and deviation of the logarithms are given."""
    mean = math.exp(mu + sigma * sigma / 2)
    return lognormal(mean, mean * math.sqrt(math.expm1(sigma * sigma)), most)


def _fixed(mean: float, spread: float, rng: "Random") -> float:
    return mean


def _even(mean: float, spread: float, rng: "Random") -> float:
    return rng.uniform(mean - spread, mean + spread)


def _normal(mean: float, spread: float, rng: "Random") -> float:
    return rng.gauss(mean, spread)


def _lognormal(mean: float, spread: float, rng: "Random") -> float:
    variance = math.log1p((spread / mean) ** 2)
    return rng.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))


def _exponential(mean: float, spread: float, rng: "Random") -> float:
    return rng.expovariate(1.0 / mean)


def _two_modes(mean: float, spread: float, rng: "Random") -> float:
    beyond = mean * (1.0 - _LOW_MODE_RATIO)
    high_share = 1.0 / (1.0 + (spread / beyond) ** 2)
    mode = mean * _LOW_MODE_RATIO + (beyond / high_share if rng.uniform(0.0, 1.0) < high_share else 0.0)
    return mode * rng.uniform(1.0 - _MODE_SPREAD, 1.0 + _MODE_SPREAD)


_DRAWN: Final[Mapping[Shape, Callable[[float, float, "Random"], float]]] = MappingProxyType(
    {
        Shape.FIXED: _fixed,
        Shape.EVEN: _even,
        Shape.NORMAL: _normal,
        Shape.LOGNORMAL: _lognormal,
        Shape.EXPONENTIAL: _exponential,
        Shape.TWO_MODES: _two_modes,
    }
)
