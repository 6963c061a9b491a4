"""What several seeds say of a number: its mean and how far chance may have moved that; Student's t at 95 %."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

_T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""The two-sided 95 % quantiles of Student's t with 1 to 30 degrees of freedom."""
_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the half width of its 95 % interval, None of one value alone; `seeds` gave a value."""

    mean: float
    half_width: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Of at least one value, one per seed."""
        count = len(values)
        if count < 2:
            return cls(values[0], None, count)
        t = _T_95[count - 2] if count - 2 < len(_T_95) else _NORMAL_95
        return cls(fmean(values), t * stdev(values) / math.sqrt(count), count)

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + (self.half_width or 0.0)


@dataclass(frozen=True, slots=True)
class Change:
    """How much more one policy has than another on the same seeds: `ratio` − 1 is the relative change.

    It is the geometric mean of the ratios seed by seed, `low` and `high` the ends of its 95 % interval; of one seed
    these are None.
    """

    ratio: float
    low: float | None
    high: float | None
    seeds: int

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> "Change | None":
        """Of values above 0 on the same seeds, in the same order; None where there is none or one is not above 0."""
        if not ours or min(*ours, *theirs) <= 0:
            return None
        logs = Estimate.of([math.log(our / their) for our, their in zip(ours, theirs, strict=True)])
        if logs.half_width is None:
            return cls(math.exp(logs.mean), None, None, 1)
        return cls(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high), logs.seeds)

    @property
    def certain(self) -> bool:
        """Whether these seeds tell that there is a difference."""
        return self.low is not None and self.high is not None and not self.low <= 1.0 <= self.high
