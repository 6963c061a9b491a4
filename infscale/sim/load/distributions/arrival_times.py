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
    bursts. The number of arrivals is the same for every seed.
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
        """Seconds, in order; as many as are expected, rounded, and at least one."""
        shape = 1.0 / self.cv**2
        gaps = [rng.gammavariate(shape, 1.0) for _ in range(max(1, round(self.count)) + 1)]
        step = self.seconds / len(self.rates)
        # In time that runs as fast as the rate, gaps have one mean. The one after the last arrival is of the process as
        # well: without it every load would end in an arrival.
        scale = self.count / (sum(gaps) or 1.0)
        due, passed, stage = 0.0, 0.0, 0
        for gap in gaps[:-1]:
            due += gap * scale
            while stage < len(self.rates) - 1 and due > passed + self.rates[stage] * step:
                passed += self.rates[stage] * step
                stage += 1
            rate = self.rates[stage]
            # Rounding may lead beyond the end of the last stage.
            within = min((due - passed) / rate, step) if rate > 0 else 0.0
            yield min(stage * step + within, self.seconds)
