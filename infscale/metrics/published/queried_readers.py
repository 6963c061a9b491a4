"""Readers of what configured queries said, as metrics of pods or of whole pools."""

import math
from dataclasses import dataclass

import numpy as np

from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.queried import Queried
from infscale.metrics.sample import FloatArray, Reading
from infscale.metrics.snapshot import BoolArray, PoolSnapshot, count_of
from infscale.metrics.source import Source

_NOTHING = Queried()


@dataclass(frozen=True, slots=True, eq=False)
class QuerySource(Source):
    """The source of one query's values, whose ages are those of its samples; `query` is its name."""

    query: str = ""

    def observed_at(self, snapshot: PoolSnapshot, now: float) -> FloatArray:
        """See `Source`."""
        del now
        pods = _said(snapshot, self.query).pods
        return np.array([pods[pod].at if pod in pods else -math.inf for pod in snapshot.state.pods.of_row])

    def unsettled(self, snapshot: PoolSnapshot, rows: BoolArray) -> int:
        """See `Source`; until the query was tried once, all are."""
        return 0 if self.query in snapshot.queried else count_of(rows)

    def failure(self, snapshot: PoolSnapshot, row: int) -> str | None:
        """See `Source`."""
        del row
        return _said(snapshot, self.query).failure


@dataclass(frozen=True, slots=True)
class QueriedOfPods:
    """A query's values of pods."""

    query: str

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        pods = _said(snapshot, self.query).pods
        return np.array([pods[pod].value if pod in pods else math.nan for pod in snapshot.state.pods.of_row])


@dataclass(frozen=True, slots=True)
class QueriedOfPool:
    """A query's values of whole pools, or of their models; a value is used until it is so many seconds old."""

    query: str
    staleness_seconds: float

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`; no endpoint has a part of it."""
        del now, model
        return np.full(len(snapshot), math.nan)

    def models(self, snapshot: PoolSnapshot) -> tuple[str | None, ...]:
        """The models that it has values of."""
        return tuple(_said(snapshot, self.query).parts)

    def of_pool(self, snapshot: PoolSnapshot, now: float, model: str | None) -> Reading | Unknown:
        """The value of the pool, or of one model of it."""
        said = snapshot.queried.get(self.query)
        if said is None:
            return Unknown(f"the query {self.query} is being evaluated; ask again in a moment")
        failed = "" if said.failure is None else f": {said.failure}"
        reading = said.parts.get(model)
        if reading is None:
            of = snapshot.pool if model is None else f"{model} of {snapshot.pool}"
            return Unknown(f"the query {self.query} gives no value for {of}{failed}")
        age = reading.age(now)
        if age > self.staleness_seconds:
            words = f"its sample is {age:.0f} s old, and used for {self.staleness_seconds:g} s{failed}"
            return Unknown(words, age)
        return reading


def _said(snapshot: PoolSnapshot, query: str) -> Queried:
    return snapshot.queried.get(query, _NOTHING)
