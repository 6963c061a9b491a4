"""Readers of what waits in the picker: numbers of a whole pool or of one model in it, of which no pod has a part."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from infscale.metrics.published.column_readers import Load, WithoutEndpoint
from infscale.metrics.published.queried_readers import QueriedOfPool
from infscale.metrics.published.window_readers import HistogramReader, QueueLatency, Unknown
from infscale.metrics.queued import QueueView, wait_statistic, within
from infscale.metrics.sample import FloatArray, Reading
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.windows.latency_statistics import quantile_of
from infscale.metrics.windows.window import FULL_COVERAGE

QueueValue = Literal["requests", "tokens", "wait_p90", "refusals"]

_WINDOWED = frozenset({"wait_p90", "refusals"})


@dataclass(frozen=True, slots=True)
class OfQueue:
    """One value of a queue. Where requests do not wait in this process it is unknown, never 0."""

    value: QueueValue

    @property
    def windowed(self) -> bool:
        """Whether it looks back over the window of the pool."""
        return self.value in _WINDOWED

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`; no endpoint has a part of it."""
        del now, model
        return np.full(len(snapshot), math.nan)

    def of_pool(self, snapshot: PoolSnapshot, now: float, model: str | None) -> Reading | Unknown:
        """The value of the pool, or of one model of it: 0 of a model that no request waits for.

        A value over the window is 0 where none came in a window that was watched, as a request that came then would not
        have waited.
        """
        view = snapshot.queue
        if view is None:
            return Unknown(f"requests for {snapshot.pool} do not wait in this process (picker.flow_control)")
        parts = view.of(model)
        if self.value == "requests":
            return Reading(float(sum(part.requests for part in parts)), now)
        if self.value == "tokens":
            return Reading(float(sum(part.tokens for part in parts)), now)
        return self._over_window(snapshot, view, now, model)

    def _over_window(self, snapshot: PoolSnapshot, view: QueueView, now: float, model: str | None) -> Reading | Unknown:
        window = snapshot.state.settings.window_seconds
        covered = min(max(now - view.since, 0.0), window)
        parts, begin = view.of(model), now - window
        if self.value == "wait_p90":
            value = wait_statistic(parts, 0.9, begin, now)
        else:
            refused = sum(step.refused for step in within(parts, begin))
            value = refused / max(covered, 1.0) if refused else None
        if value is not None:
            return Reading(value, now, covered)
        if covered < FULL_COVERAGE * window:
            return Unknown(f"the queue of {snapshot.pool} is watched for {covered:.0f} s of a window of {window:g} s")
        return Reading(0.0, now, covered)


@dataclass(frozen=True, slots=True)
class Outstanding:
    """The requests that are in flight and those that wait: what a pool is asked for, wherever it is.

    In a process in which no request waits, those in flight are all.
    """

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`; what waits belongs to no endpoint."""
        del now, model
        return np.full(len(snapshot), math.nan)

    def of_pool(self, snapshot: PoolSnapshot, now: float, model: str | None) -> Reading:
        """The number of the pool, or of one model of it."""
        if model is None:
            dispatched = float(snapshot.in_flight_requests.sum())
        else:
            dispatched, _ = snapshot.in_flight_models.get(model, (0.0, 0.0))
        return Reading(dispatched + queued_requests(snapshot, model), now)


OfWholePool = WithoutEndpoint | QueriedOfPool | OfQueue | Outstanding
"""Readers of numbers of whole pools."""


def queued_requests(snapshot: PoolSnapshot, model: str | None = None) -> int:
    """How many requests wait in the picker; 0 where they do not wait in this process."""
    return 0 if snapshot.queue is None else sum(part.requests for part in snapshot.queue.of(model))


def held_back(reader: object, snapshot: PoolSnapshot, now: float, model: str | None) -> float:
    """What requests that wait in the picker add to a value of all engines of a pool.

    To latencies the same statistic of waits is added, which is not below that of the sums where waits are long.
    """
    if snapshot.queue is None:
        return 0.0
    match reader:
        case Load("waiting"):
            return float(queued_requests(snapshot, model))
        case Load("waiting_tokens"):
            return float(sum(part.tokens for part in snapshot.queue.of(model)))
        case QueueLatency(statistic) | HistogramReader("time_to_first_token", statistic):
            return held_seconds(snapshot, quantile_of(statistic), now, model)
        case _:
            return 0.0


def held_seconds(snapshot: PoolSnapshot, q: float | None, now: float, model: str | None) -> float:
    """How long requests of the window waited in the picker before engines saw them: see `wait_statistic`.

    0 where none came, and where requests do not wait in this process.
    """
    view = snapshot.queue
    if view is None:
        return 0.0
    return wait_statistic(view.of(model), q, now - snapshot.state.settings.window_seconds, now) or 0.0


def queued_models(snapshot: PoolSnapshot) -> tuple[str, ...]:
    """The models that requests wait for, served or not."""
    view = snapshot.queue
    return () if view is None else tuple(sorted(name for name, part in view.models.items() if name and part.requests))
