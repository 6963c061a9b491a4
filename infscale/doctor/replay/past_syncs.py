"""What there was at past moments: replicas, pods and values of metrics. What was not seen is unknown, never 0."""

import bisect
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from infscale.planner.scale_target import PodState

MAX_SYNCS = 20_000
"""Syncs of one replay: 24 hours of syncs every 5 s, or three days of the controller's 15 s."""

NO_SAMPLE = "the history has no sample of this time"
_TYPICAL_DISTANCES = 2.0


@dataclass(frozen=True, slots=True)
class PerPod:
    """A metric with a value of each pod that had one, in milli-units."""

    milli: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Total:
    """A metric of all pods together, in milli-units; several items are added up, as the controller does."""

    milli: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A metric that could not be had, and why."""

    cause: str


PastMetric = PerPod | Total | Unknown


@dataclass(frozen=True, slots=True)
class PastSync:
    """One moment, `at` in seconds since 1970. `replicas` and `pods` are None where they are not known.

    `metrics` are by name; a metric that is left out is unknown.
    """

    at: float
    metrics: Mapping[str, PastMetric]
    replicas: int | None = None
    status_replicas: int | None = None
    pods: tuple[PodState, ...] | None = None


def resampled(syncs: Sequence[PastSync], step_seconds: float) -> tuple[PastSync, ...]:
    """The history at every step from its beginning: each time as the latest sample before it was.

    A sample is used for twice the typical distance of samples, or for a step where that is longer. After that, all is
    unknown. Raises `ValueError` where that is more than `MAX_SYNCS`.
    """
    if not syncs:
        return ()
    times = [each.at for each in syncs]
    count = int((times[-1] - times[0]) / step_seconds + 1e-6) + 1
    if count > MAX_SYNCS:
        raise ValueError(f"{count} syncs are more than {MAX_SYNCS}: take a larger step or a shorter time")
    typical = statistics.median(later - earlier for earlier, later in pairwise(times)) if len(times) > 1 else 0.0
    longest = max(_TYPICAL_DISTANCES * typical, step_seconds)
    found: list[PastSync] = []
    for number in range(count):
        at = times[0] + number * step_seconds
        latest = syncs[bisect.bisect_right(times, at + 1e-6) - 1]
        found.append(replace(latest, at=at) if at - latest.at <= longest else PastSync(at, {}))
    return tuple(found)
