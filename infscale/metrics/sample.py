"""What one observation of a model server or GPU says, before it meets the store."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from infscale.frozen_values import entity, value
from infscale.metrics.gauges import EngineGauges, known

FloatArray = NDArray[np.float64]

HistogramName = Literal["queue_time", "prefill_time", "time_to_first_token", "inter_token_latency", "request_latency"]
CounterName = Literal[
    "prompt_tokens",
    "generation_tokens",
    "prefix_queries",
    "prefix_hits",
    "requests_finished",
    "preemptions",
    "steps",
]

Statistic = Literal["p50", "p90", "p99", "mean"]
"""What is said of the latencies that were observed over a window."""


class Reading(NamedTuple):
    """A value with the monotonic second it was observed at. Unknown is the absence of a reading, never 0.

    `window_seconds` says of how many seconds a value over a window is made: how far observations reach back, at most
    to the one before the pool's window; None for a value of one moment. (A tuple, because one answer is made of
    thousands of them.)
    """

    value: float
    at: float
    window_seconds: float | None = None

    def age(self, now: float) -> float:
        """Seconds since the observation, never negative."""
        return max(0.0, now - self.at)


@entity
class Histogram:
    """Cumulative bucket counts as Prometheus exposes them.

    `bounds` are the upper bounds in ascending order, the last +Inf; `counts[i]` is the number of observations ≤
    `bounds[i]`, so the last count is the total. `sum` is the sum of observations.
    """

    bounds: tuple[float, ...]
    counts: FloatArray
    sum: float

    def __post_init__(self) -> None:
        if len(self.bounds) != len(self.counts):
            raise ValueError(f"{len(self.bounds)} bounds but {len(self.counts)} counts")
        if not self.bounds or self.bounds[-1] != math.inf:
            raise ValueError("the last bound of a histogram is +Inf")

    @property
    def total(self) -> float:
        """Number of observations."""
        return float(self.counts[-1])


CounterKey = tuple[CounterName, str]
HistogramKey = tuple[HistogramName, str]
"""Names with the model they are of: the engine's `model_name` label, or "" where it gives none."""


class CountLayout:
    """Where counts stand in a row: counters first, then the buckets of all histograms, then the sums of these.

    `buckets` are the places of the buckets of each histogram, `first_sum` is that of the first one's sum, `width` how
    many numbers there are.
    """

    __slots__ = ("_hash", "buckets", "counters", "first_sum", "histograms", "width")

    def __init__(
        self,
        counters: tuple[CounterKey, ...],
        histograms: tuple[tuple[HistogramKey, tuple[float, ...]], ...],
    ) -> None:
        stops = list(accumulate([len(bounds) for _, bounds in histograms], initial=len(counters)))
        self.counters = counters
        self.histograms = histograms
        self.buckets: tuple[slice, ...] = tuple(map(slice, stops, stops[1:]))
        self.first_sum = stops[-1]
        self.width = stops[-1] + len(histograms)
        self._hash = hash((counters, histograms))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CountLayout):
            return NotImplemented
        return self.counters == other.counters and self.histograms == other.histograms

    def __hash__(self) -> int:
        return self._hash


@entity
class Counts:
    """What an engine counted since it started, as one row of numbers; sums that are not published are NaN."""

    layout: CountLayout
    row: FloatArray

    @property
    def histograms(self) -> dict[HistogramKey, Histogram]:
        """The histograms by name and model; their counts are views of the row."""
        layout, row = self.layout, self.row
        sums: list[float] = row[layout.first_sum :].tolist()
        return {
            key: Histogram(bounds, row[place], total)
            for (key, bounds), place, total in zip(layout.histograms, layout.buckets, sums, strict=True)
        }


NO_COUNTS: Final = Counts(CountLayout((), ()), np.empty(0))
"""Of an engine that counts nothing."""


@dataclass(frozen=True, slots=True)
class LoraState:
    """LoRA adapters of an endpoint: running, waiting to run, how many fit (None: not said), and loaded, idle or not."""

    running: frozenset[str]
    waiting: frozenset[str]
    max_adapters: int | None
    loaded: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """All that the endpoint is known to serve."""
        return self.running | self.waiting | self.loaded


@value
class ModelLoad:
    """Requests of one model on one endpoint, and the tokens those that wait still need computed; None is unknown."""

    waiting: float | None
    running: float | None
    waiting_tokens: float | None = None


NO_ATTRIBUTES: Final[Mapping[str, float]] = MappingProxyType({})
NO_MODELS: Final[Mapping[str, ModelLoad]] = MappingProxyType({})
NO_REFUSALS: Final[Mapping[str, str]] = MappingProxyType({})


@entity
class EngineSample:
    """One scrape of a model server, data-parallel ranks on the page already aggregated.

    `gauges` are None where they are unknown. `fingerprint` changes whenever anything the page said changed; two equal
    ones mean the page did not move. `attributes` are numbers that a configuration asks for beside ours, finite, by the
    names it gives them. `refused` are the causes for which values of the page are not taken, by the names of gauges, of
    histograms and of counters, and "lora". `asleep`: the engine says that
    it has given up its memory and answers nothing until it is woken. `started_at` is when its process started, as the
    page says it (seconds since 1970); None is unknown.
    """

    gauges: EngineGauges[float | None]
    models: Mapping[str, ModelLoad] = field(default_factory=lambda: NO_MODELS)
    lora: LoraState | None = None
    block_size_tokens: int | None = None
    num_blocks: int | None = None
    counts: Counts = NO_COUNTS
    fingerprint: int = 0
    attributes: Mapping[str, float] = field(default_factory=lambda: NO_ATTRIBUTES)
    refused: Mapping[str, str] = field(default_factory=lambda: NO_REFUSALS)
    asleep: bool = False
    started_at: float | None = None


class GpuShare(NamedTuple):
    """What one pod has of one GPU or MIG slice that `pods` pods hold; NaN is unknown.

    `device` tells the GPU from all others. `used_bytes` and `utilization_ratio` are the pod's, `total_bytes` and those
    that say so the whole device's. A ratio may be none.
    """

    device: tuple[str, ...]
    pods: int
    used_bytes: float
    utilization_ratio: float
    device_used_bytes: float
    total_bytes: float
    device_utilization_ratio: float


class SourceSample(Protocol):
    """What a source beside the engine says of one endpoint at one moment.

    `refused` are the causes for which it says nothing of something, by the names of `Columns`.
    """

    @property
    def refused(self) -> Mapping[str, str]:
        """Why values are not taken."""
        ...

    @property
    def numbers(self) -> Mapping[str, float]:
        """Cells of an endpoint's row by the names of `Columns`, always the same ones; NaN is unknown."""
        ...

    @property
    def objects(self) -> Mapping[str, Any]:
        """Cells that are no numbers, in the same way."""
        ...


class GpuHardware(NamedTuple):
    """What GPUs an endpoint has: the name that their driver gives them, and how many."""

    model: str
    gpus: int


@dataclass(frozen=True, slots=True)
class GpuSample:
    """GPU memory and utilisation of the GPUs one endpoint's pod holds, added up (utilisation: the mean).

    `refused` are the causes for which values of the page are not taken, by the names of gauges. `shares` are the
    pod's GPUs one by one, where it shares one of them with another pod. `hardware` says which they are, if they are
    known and all alike.
    """

    memory_used_bytes: float | None
    memory_total_bytes: float | None
    utilization_ratio: float | None
    refused: Mapping[str, str] = field(default_factory=lambda: NO_REFUSALS, hash=False)
    shares: tuple[GpuShare, ...] = ()
    hardware: GpuHardware | None = field(default=None, compare=False)

    @property
    def numbers(self) -> Mapping[str, float]:
        """See `SourceSample`."""
        return {
            "gpu_memory_used_bytes": known(self.memory_used_bytes),
            "gpu_memory_total_bytes": known(self.memory_total_bytes),
            "gpu_utilization": known(self.utilization_ratio),
        }

    @property
    def objects(self) -> Mapping[str, Any]:
        """See `SourceSample`."""
        return {"gpu_shares": self.shares}


@dataclass(frozen=True, slots=True)
class ListedModels:
    """The models that a server lists, LoRA adapters among them; none where the list is not known any more."""

    names: frozenset[str]

    @property
    def refused(self) -> Mapping[str, str]:
        """See `SourceSample`."""
        return NO_REFUSALS

    @property
    def numbers(self) -> Mapping[str, float]:
        """See `SourceSample`."""
        return NO_ATTRIBUTES

    @property
    def objects(self) -> Mapping[str, Any]:
        """See `SourceSample`."""
        return {"listed": self.names}


@dataclass(frozen=True, slots=True)
class HealthSample:
    """What a server says of itself over gRPC's health protocol.

    `serving`: whether it takes requests; None: it does not say. `names` are the models and LoRA adapters that it says
    it serves, of those that it was asked for. It holds for `good_seconds`.
    """

    serving: bool | None = None
    names: frozenset[str] = frozenset()
    good_seconds: float = 0.0

    @property
    def refused(self) -> Mapping[str, str]:
        """See `SourceSample`."""
        return NO_REFUSALS

    @property
    def numbers(self) -> Mapping[str, float]:
        """See `SourceSample`."""
        return NO_ATTRIBUTES

    @property
    def objects(self) -> Mapping[str, Any]:
        """See `SourceSample`."""
        return {"health": self}


class Life:
    """A life of an engine, which ends when it loses what it has cached; nothing but itself is equal to it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ScrapeFailure:
    """Why the last scrape gave nothing to use; `cause` is one plain sentence part such as ``connection refused``."""

    at: float
    cause: str
    consecutive: int = field(default=1)
