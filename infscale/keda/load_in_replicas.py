"""How many replicas' worth of load a pool has: what a trigger with goals publishes, against a target of 1.

An HPA with an average value of 1 makes of the number the replicas that it asks for, rounded up, unless it is within a
tenth of those that there are. So the number of pods is published where nothing should change.

* Too slow (a latency above what is wanted): in proportion, at most twice the ready replicas. Requests that wait make a
  latency a hundred times too long, and a hundred times the replicas are not what is missing. Where a ready replica has
  no more than one request, none waits for another: more replicas would stand idle beside a model that is slow.
* Full (a saturation above what is wanted): in proportion as well.
* Faster than wanted: a latency is no measure of load. Most of it may be what a request takes on an idle engine, and
  near saturation it multiplies within one replica. That of a queue grows with 1 ÷ (1 - saturation), and from this
  follows with how many replicas it would just be kept; a margin that grows with the saturation keeps it from being
  missed right after.
* Down in steps, of a fifth of the pods or one: what is not foreseen shows before the next step is taken.
* While pods start, what they were started for counts: not below the pods that there are, until the ready ones alone
  are fast and free enough.
* Unknown is never less: with one of the values unknown the number does not go below the pods that there are, and with
  all of them there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_AT_ONCE: Final = 2.0
"""The largest factor of the ready replicas."""
STEP: Final = 0.2
"""The share of the pods that the number goes down by at most."""
MARGIN: Final = 0.2
"""How much of a latency goal is left free at full saturation on the way down."""
ALONE: Final = 0.5
"""Requests per replica down to which nothing goes where a latency is above what is wanted and no request waits."""


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of a pool: ready ones, and those that are about to be."""

    ready: int
    starting: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.ready + self.starting


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a pool; None is unknown.

    `latencies` are shares of what is wanted, 1 is just kept. `saturation` is the mean of the endpoints, `wanted` what
    they are to have. `requests` are those that run and wait, over the window, per ready replica.
    """

    latencies: Sequence[float | None]
    saturation: float | None
    wanted: float
    requests: float | None = None


def load_in_replicas(pods: Pods, seen: Seen, *, asked: bool) -> float | None:
    """The number to publish, 0 or more; None: nothing is known.

    `asked`: requests came lately while no endpoint was ready, so that one replica is wanted at least.
    """
    if not pods.ready:
        # Nothing says yet how much one replica takes.
        return float(max(pods.total, asked))
    known = [latency for latency in seen.latencies if latency is not None]
    if seen.saturation is None and not known:
        return None
    pressure = _pressure(known, seen)
    if pressure >= 1.0:
        return max(_written(pods.ready * min(pressure, MOST_AT_ONCE)), float(pods.total))
    if seen.saturation is None or len(known) < len(seen.latencies):
        return float(pods.total)
    return _written(max(pods.ready * pressure, pods.total - max(1.0, STEP * pods.total)))


def _written(replicas: float) -> float:
    """In the decimals that KEDA keeps: an error of rounding above a whole number would be one replica more."""
    return round(replicas, 3)


def _pressure(latencies: Sequence[float], seen: Seen) -> float:
    """The share of the ready replicas that is needed; more than 1: they are too few."""
    full = 0.0 if seen.saturation is None else max(seen.saturation, 0.0) / seen.wanted
    return max([full, *(_of_latency(latency, seen) for latency in latencies)])


def _of_latency(latency: float, seen: Seen) -> float:
    if latency >= 1.0:
        if seen.requests is None or seen.requests > 1.0:
            return latency
        # Between the two nothing changes: else the last replica would come and go.
        return min(seen.requests / ALONE, 1.0)
    saturation = 1.0 if seen.saturation is None else min(max(seen.saturation, 0.0), 1.0)
    latency = min(max(latency, 0.0) / (1.0 - MARGIN * saturation), 1.0)
    # With share x of the replicas the saturation is s ÷ x, and a latency that goes with 1 ÷ (1 - saturation) is just
    # kept where latency × (1 - s) = 1 - s ÷ x.
    free = 1.0 - latency * (1.0 - saturation)
    return 1.0 if latency >= 1.0 or free <= saturation else saturation / free
