"""Readers of one value per endpoint from a snapshot."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from infscale.metrics.gauges import known
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.windows.model_table import RUNNING, WAITING, WAITING_TOKENS, cells


class ColumnReader(Protocol):
    """Reads one value per endpoint; NaN is unknown."""

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """The values at `now`, of one model where the metric is split by model, else of all."""
        ...


@dataclass(frozen=True, slots=True)
class EngineGauge:
    """A gauge of engines as the snapshot has it."""

    name: str

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        column: FloatArray = getattr(snapshot.columns.gauges, self.name)
        return column


@dataclass(frozen=True, slots=True)
class PodGauge:
    """A gauge of pods as the snapshot has it."""

    name: str

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        column: FloatArray = getattr(snapshot.columns.pod, self.name)
        return column


@dataclass(frozen=True, slots=True)
class Load:
    """Requests or tokens in the engine, of one model where one is named."""

    name: Literal["waiting", "running", "waiting_tokens"]

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        if model is None:
            return EngineGauge(self.name).read(snapshot, now, None)
        return cells(snapshot.columns.by_model, model, _CELLS[self.name], len(snapshot))


_CELLS = {"waiting": WAITING, "running": RUNNING, "waiting_tokens": WAITING_TOKENS}


@dataclass(frozen=True, slots=True)
class InFlight:
    """What the picker has in flight, of the requests that ask for one model where one is named."""

    name: Literal["requests", "tokens"]

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now
        tokens = self.name == "tokens"
        if model is None:
            return snapshot.in_flight_tokens if tokens else snapshot.in_flight_requests
        return np.array([of_row.get(model, _NONE_IN_FLIGHT)[tokens] for of_row in snapshot.in_flight_by_model])

    def of_pool(self, snapshot: PoolSnapshot, model: str) -> float:
        """What the whole pool has in flight of one model: pages name hundreds, each of which is asked for in a list."""
        return snapshot.in_flight_models.get(model, _NONE_IN_FLIGHT)[self.name == "tokens"]


_NONE_IN_FLIGHT = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class WindowValue:
    """A gauge's average or maximum over the window."""

    name: Literal["waiting_average", "waiting_maximum", "running_average"]

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        windows = snapshot.columns.windows
        return np.array([known(None if each is None else getattr(each, self.name)) for each in windows])


@dataclass(frozen=True, slots=True)
class Saturation:
    """The one meaning of "saturated", as a ratio."""

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del model
        return snapshot.saturation(now)


@dataclass(frozen=True, slots=True)
class WithoutEndpoint:
    """The requests that came over the window while the pool had no ready endpoint: the pool's, and no endpoint's."""

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        return np.full(len(snapshot), math.nan)

    def of_pool(self, snapshot: PoolSnapshot, now: float) -> float:
        """How many they were, over the window that ends at `now`; while none is ready, at least those that wait."""
        begin = now - snapshot.state.settings.window_seconds
        came = sum(requests for last, requests in snapshot.turned_away if last >= begin)
        view = snapshot.queue
        if view is None or snapshot.columns.ready.any():
            return float(came)
        return float(max(came, sum(part.requests for part in view.of(None))))


def reads(reader: object) -> tuple[str, ...]:
    """What a reader of this module reads, by the names of gauges."""
    match reader:
        case EngineGauge() | PodGauge() | Load():
            return (reader.name,)
        case WindowValue():
            return (reader.name.partition("_")[0],)
        case Saturation():
            return ("waiting", "kv_utilization")
        case _:
            return ()
