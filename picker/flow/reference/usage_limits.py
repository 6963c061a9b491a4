"""The reference's ceilings: how full a pool may be for each band, the highest band first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

HoldbackDomain = Literal["rank", "value", "explicit"]
HOLDBACK_DOMAINS: tuple[HoldbackDomain, ...] = ("rank", "value", "explicit")

# Keeps a saturation that is 1 but for rounding from an endless period.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class StaticLimit:
    """The same ceiling for every band (``static-usage-limit-policy``, the default)."""

    threshold: float = 1.0

    def made(self) -> "StaticLimit":
        """Itself: it remembers nothing."""
        return self

    def limits(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        """See `Ceilings`."""
        return (self.threshold,) * len(priorities)


@dataclass(frozen=True, slots=True)
class PriorityHoldback:
    """Lower bands have lower ceilings (``priority-holdback-policy``), between `low` and `high`.

    By rank they are evenly spaced, by value as priorities are. Explicit ones are those of `ceilings`, by priority; a
    band that is not among them gets nothing. A band that is alone has the highest, but where ceilings are explicit.
    """

    low: float = 0.0
    high: float = 1.0
    domain: HoldbackDomain = "rank"
    ceilings: Mapping[int, float] = field(default_factory=dict[int, float])

    def made(self) -> "PriorityHoldback":
        """Itself: it remembers nothing."""
        return self

    def limits(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        """See `Ceilings`."""
        if self.domain == "explicit":
            return tuple(self.ceilings.get(priority, 0.0) for priority in priorities)
        if not priorities:
            return ()
        spread = self.high - self.low
        if self.domain == "rank":
            steps = max(1, len(priorities) - 1)
            return tuple(self.high - rank * spread / steps for rank in range(len(priorities)))
        highest, lowest = priorities[0], priorities[-1]
        if highest == lowest:
            return (self.high,) * len(priorities)
        return tuple(self.low + (each - lowest) / (highest - lowest) * spread for each in priorities)


@dataclass(frozen=True, slots=True)
class SoftReflectiveChoice:
    """``soft-reflective-ceiling-policy``, which has no parameters."""

    def made(self) -> "SoftReflective":
        """One that begins to count."""
        return SoftReflective()


class SoftReflective:
    """Lower bands go ever more seldom as the pool fills (``soft-reflective-ceiling-policy``).

    The ceiling of the band of rank i of N is 1 − i · saturation ÷ (N − 1). A band that is past it goes in one of
    round(saturation ÷ (1 − saturation)) turns, all such bands in the same, and in none once the pool is saturated. It
    counts turns and not time. The highest band is never held back by it.
    """

    def __init__(self) -> None:
        self._turn = 0

    def limits(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        """See `Ceilings`; each call is a turn, where any band is past its ceiling."""
        if len(priorities) < 2:
            return (1.0,) * len(priorities)
        goes = self._goes(saturation)
        last = len(priorities) - 1
        return tuple(
            1.0 if not rank or saturation < 1.0 - rank * saturation / last or goes else 0.0
            for rank in range(len(priorities))
        )

    def _goes(self, saturation: float) -> bool:
        """Whether those past their ceilings go in this turn."""
        # The lowest band's ceiling is the lowest: where it is not reached, no band's is.
        if not 1.0 - saturation <= saturation < 1.0:
            return False
        # Halves away from zero, as Go rounds.
        period = max(1, math.floor(saturation / (1.0 - saturation + _ROUNDING) + 0.5))
        self._turn += 1
        return self._turn % period == 0
