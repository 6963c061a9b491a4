"""When requests arrive that wait for nothing: a renewal process whose rate changes in steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infscale.errors import ConfigError

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Arrivals for `seconds`, divided evenly among `rates` (per second), one after the other.

    Gaps follow a gamma distribution with the coefficient of variation `cv`: 1 is a Poisson process, above 1 there are
    bursts.
    """

    seconds: float
    rates: tuple[float, ...]
    cv: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise ConfigError("", "seconds", "expected a number above 0")
        if not self.rates or not all(0 <= rate < float("inf") for rate in self.rates) or not any(self.rates):
            raise ConfigError("", "rate", "expected numbers of which none is negative, and one is above 0")
        if not 0 < self.cv < float("inf"):
            raise ConfigError("", "cv", "expected a number above 0")

    @property
    def count(self) -> float:
        """How many arrivals are expected."""
        return self.seconds * sum(self.rates) / len(self.rates)

    def times(self, rng: "Random") -> Iterator[float]:
        """Seconds, in order."""
        shape = 1.0 / self.cv**2
        step = self.seconds / len(self.rates)
        # In time that runs as fast as the rate, gaps are 1 on average; the first has begun before the start.
        due = rng.gammavariate(shape, 1.0 / shape) * rng.uniform(0.0, 1.0)
        passed = 0.0
        for number, rate in enumerate(self.rates):
            while due < passed + rate * step:
                yield number * step + (due - passed) / rate
                due += rng.gammavariate(shape, 1.0 / shape)
            passed += rate * step
