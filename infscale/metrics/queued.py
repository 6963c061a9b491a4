"""What waits in the picker for one pool, and how long requests have waited, as snapshots have it."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from infscale.frozen_values import entity

ARRIVAL_SECONDS: Final = 0.25
"""How far apart arrivals are told: how long a request has waited so far is known to a quarter of a second."""
_LEAST_WAIT: Final = 0.001
_GROWTH: Final = 1.05
_LOG_GROWTH: Final = math.log(_GROWTH)

NO_COUNTS: Final[Mapping[int, int]] = MappingProxyType({})


@entity
class WaitStep:
    """Some seconds of a queue, the last of them `last`: how long requests had waited whose wait ended in them.

    `passed` did not wait, `waits` counts the others by `wait_class`, `refused` are those that were refused.
    """

    last: float
    passed: int
    waits: Mapping[int, int]
    refused: int


@entity
class Queued:
    """What waits of one model: `requests`, with `tokens` of prompts. `arrivals` counts these by `arrival_class`."""

    requests: int
    tokens: float
    arrivals: Mapping[int, int]
    steps: tuple[WaitStep, ...]


@entity
class QueueView:
    """The queue of one pool at one moment: what waits by the model that was asked for; it is kept since `since`.

    Models beyond the first few hundred are together in `OTHER_MODELS`, which is no model.
    """

    since: float
    models: Mapping[str, Queued]

    def of(self, model: str | None) -> tuple[Queued, ...]:
        """The parts that one model has, None: all there are."""
        if model is None:
            return tuple(self.models.values())
        found = self.models.get(model)
        return () if found is None else (found,)


OTHER_MODELS: Final = ""


def wait_class(seconds: float) -> int:
    """The class of a wait, which tells its length to 2.5 %; 0: less than a millisecond."""
    return 0 if seconds < _LEAST_WAIT else 1 + int(math.log(seconds / _LEAST_WAIT) / _LOG_GROWTH)


def seconds_of(wait: int) -> float:
    """About how long a wait of this class was."""
    return 0.0 if not wait else _LEAST_WAIT * math.exp((wait - 0.5) * _LOG_GROWTH)


def arrival_class(at: float) -> int:
    """The class of a request that came at `at`."""
    return math.floor(at / ARRIVAL_SECONDS)


def age_of(arrival: int, now: float) -> float:
    """About how long a request of this class of arrivals has waited at `now`."""
    return max(0.0, now - (arrival + 0.5) * ARRIVAL_SECONDS)


def within(parts: Iterable[Queued], begin: float) -> list[WaitStep]:
    """The steps of `parts` that reach beyond `begin`."""
    return [step for part in parts for step in part.steps if step.last >= begin]


def wait_statistic(parts: Iterable[Queued], q: float | None, begin: float, now: float) -> float | None:
    """The wait (seconds) that a share `q` of requests had at most, None: the mean wait.

    It is that of requests whose wait ended since `begin`, however it did, and of those that wait still, as long as they
    have so far. None: there were none.
    """
    counts = _waits(list(parts), begin, now)
    total = sum(counts.values())
    if not total:
        return None
    if q is None:
        return sum(seconds * count for seconds, count in counts.items()) / total
    seen = 0
    for seconds in sorted(counts):
        seen += counts[seconds]
        if seen >= q * total:
            return seconds
    return max(counts)


def _waits(parts: list[Queued], begin: float, now: float) -> dict[float, int]:
    """How many requests have waited for so many seconds."""
    counts: dict[float, int] = {}
    for step in within(parts, begin):
        counts[0.0] = counts.get(0.0, 0) + step.passed
        for wait, count in step.waits.items():
            seconds = seconds_of(wait)
            counts[seconds] = counts.get(seconds, 0) + count
    for part in parts:
        for arrival, count in part.arrivals.items():
            age = age_of(arrival, now)
            counts[age] = counts.get(age, 0) + count
    return counts
