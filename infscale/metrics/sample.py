"""What one observation of a model server or GPU says, before it meets the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from infscale.value import entity, value

FloatArray = NDArray[np.float64]

HistogramName = Literal["queue_time", "prefill_time", "time_to_first_token", "inter_token_latency", "request_latency"]
CounterName = Literal[
    "prompt_tokens", "generation_tokens", "prefix_queries", "prefix_hits", "requests_finished", "preemptions"
]

Statistic = Literal["p50", "p90", "p99", "mean"]
"""What is said of the latencies that were observed over a window."""


class Reading(NamedTuple):
    """A value with the monotonic second it was observed at. Unknown is the absence of a reading, never 0.

    `window_seconds` says of how many seconds a value over a window is made: how far observations reach back, at most
    the window of the pool; None for a value of one moment. (A tuple, because one answer is made of thousands of them.)
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
        if not self.bounds or self.bounds[-1] != float("inf"):
            raise ValueError("the last bound of a histogram is +Inf")

    @property
    def total(self) -> float:
        """Number of observations."""
        return float(self.counts[-1])


CounterKey = tuple[CounterName, str]
HistogramKey = tuple[HistogramName, str]
"""Names with the model they are of: the engine's `model_name` label, or "" where it gives none."""


@dataclass(frozen=True)
class CountLayout:
    """Where counts stand in a row: counters first, then the buckets of all histograms, then the sums of these."""

    counters: tuple[CounterKey, ...]
    histograms: tuple[tuple[HistogramKey, tuple[float, ...]], ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.counters, self.histograms))

    @cached_property
    def buckets(self) -> tuple[slice, ...]:
        """The places of the buckets of each histogram."""
        stops = list(accumulate([len(bounds) for _, bounds in self.histograms], initial=len(self.counters)))
        return tuple(map(slice, stops, stops[1:]))

    @cached_property
    def first_sum(self) -> int:
        """The place of the first histogram's sum."""
        return self.buckets[-1].stop if self.buckets else len(self.counters)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.first_sum + len(self.histograms)


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


NO_COUNTS = Counts(CountLayout((), ()), np.empty(0))
"""Of an engine that counts nothing."""


@dataclass(frozen=True, slots=True)
class LoraState:
    """LoRA adapters of one endpoint: loaded and running, waiting to run, and how many fit (None: not said)."""

    running: frozenset[str]
    waiting: frozenset[str]
    max_adapters: int | None


@value
class ModelLoad:
    """Requests of one model on one endpoint, and the tokens those that wait still need computed; None is unknown."""

    waiting: float | None
    running: float | None
    waiting_tokens: float | None = None


NO_ATTRIBUTES: Mapping[str, float] = MappingProxyType({})


@entity
class EngineSample:
    """One scrape of a model server, data-parallel ranks on the page already aggregated.

    Requests and tokens are summed over ranks, KV-cache utilisation (0–1) is the highest rank's. `waiting_tokens` are
    what waiting requests still need computed, `kv_used_tokens` what the KV cache holds. `fingerprint` changes whenever
    anything the page said changed; two equal ones mean the page did not move. `attributes` are numbers that a
    configuration asks for beside ours, finite, by the names it gives them.
    """

    waiting: float | None
    running: float | None
    kv_utilization_ratio: float | None
    models: Mapping[str, ModelLoad] = field(default_factory=dict[str, ModelLoad])
    lora: LoraState | None = None
    block_size_tokens: int | None = None
    num_blocks: int | None = None
    counts: Counts = NO_COUNTS
    fingerprint: int = 0
    waiting_tokens: float | None = None
    kv_used_tokens: float | None = None
    attributes: Mapping[str, float] = field(default_factory=lambda: NO_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class GpuSample:
    """GPU memory and utilisation of the GPUs one endpoint's pod holds, added up (utilisation: the mean)."""

    memory_used_bytes: float | None
    memory_total_bytes: float | None
    utilization_ratio: float | None


@dataclass(frozen=True, slots=True)
class ScrapeFailure:
    """Why the last scrape gave nothing to use; `cause` is one plain sentence part such as ``connection refused``."""

    at: float
    cause: str
    consecutive: int = field(default=1)
