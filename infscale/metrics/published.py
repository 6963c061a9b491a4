"""The published metrics: name, unit, meaning, source, aggregation.

README, adapter, dashboards and every later reader take names, units and meanings from here. What is configured beside
them is in `infscale.metrics.table`.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from infscale.metrics import formula
from infscale.metrics.columns import Column, ColumnReader, GpuMemoryRatio, Load, Saturation, WindowValue
from infscale.metrics.sample import CounterName, HistogramName
from infscale.metrics.windowed import HistogramReader, QueueLatency, Rate

_QUANTILES = (0.5, 0.9, 0.99)


class Source(enum.Enum):
    """Which source of the store a metric comes from."""

    ENGINE = "model server"
    PICKER = "picker"
    GPU = "GPU exporter"
    KUBERNETES = "Kubernetes"


class Aggregation(enum.Enum):
    """How the values of several endpoints become one; whole: a formula is evaluated on the values of the group."""

    SUM = "sum"
    MEAN = "mean"
    HIGHEST = "highest"
    MERGED = "merged histogram"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Formula:
    """Reads a metric made of others: the expression, and the published metrics it names."""

    expression: formula.Expression
    operands: tuple["PublishedMetric", ...]


@dataclass(frozen=True, slots=True)
class PublishedMetric:
    """One published metric: its name with the unit in it, what it means, and how it is read.

    `per_model` says that values differ between the models of one endpoint. The source of a formula is the one its value
    depends on most: what it says of missing values holds for the formula.
    """

    name: str
    unit: str
    meaning: str
    source: Source
    aggregation: Aggregation
    reader: ColumnReader | HistogramReader | QueueLatency | Formula
    per_model: bool = False

    @property
    def windowed(self) -> bool:
        """Whether it looks back over the window of the pool; else it is of one moment."""
        if isinstance(self.reader, Formula):
            return any(operand.windowed for operand in self.reader.operands)
        return isinstance(self.reader, QueueLatency | HistogramReader | Rate | WindowValue)


def carries_unit(name: str, unit: str) -> bool:
    """Whether a metric's name says its unit, as all of them must; the empty unit needs no saying."""
    parts = {"1/second": "per_second"}.get(unit, unit)
    return not unit or f"_{parts}_" in f"_{name}_"


def _queue_latency() -> Iterator[PublishedMetric]:
    for q in _QUANTILES:
        yield PublishedMetric(
            f"queue_latency_p{round(q * 100)}_seconds",
            "seconds",
            f"wait for the first step: the larger of the engines' queue time ({round(q * 100)}th percentile over the "
            "window) and waiting requests ÷ rate of leaving the queue",
            Source.ENGINE,
            Aggregation.MERGED,
            QueueLatency(q),
            per_model=True,
        )


def _latency(prefix: str, meaning: str, histogram: HistogramName) -> Iterator[PublishedMetric]:
    for q in _QUANTILES:
        yield PublishedMetric(
            f"{prefix}_p{round(q * 100)}_seconds",
            "seconds",
            f"{meaning}, {round(q * 100)}th percentile over the window",
            Source.ENGINE,
            Aggregation.MERGED,
            HistogramReader(histogram, q),
            per_model=True,
        )


def _requests(name: str, meaning: str, reader: ColumnReader, *, per_model: bool = False) -> PublishedMetric:
    return PublishedMetric(name, "requests", meaning, Source.ENGINE, Aggregation.SUM, reader, per_model)


def _rate(counter: CounterName, meaning: str) -> PublishedMetric:
    meaning = f"{meaning} per second over the window"
    return PublishedMetric(
        f"{counter}_per_second", "1/second", meaning, Source.ENGINE, Aggregation.SUM, Rate(counter), per_model=True
    )


def _in_flight(name: str, unit: str, meaning: str) -> PublishedMetric:
    return PublishedMetric(name, unit, meaning, Source.PICKER, Aggregation.SUM, Column(name), per_model=True)


def _ratio(name: str, meaning: str, source: Source, reader: ColumnReader) -> PublishedMetric:
    return PublishedMetric(name, "ratio", meaning, source, Aggregation.MEAN, reader)


def _gpu_bytes(name: str, meaning: str) -> PublishedMetric:
    return PublishedMetric(name, "bytes", meaning, Source.GPU, Aggregation.SUM, Column(name))


PUBLISHED: tuple[PublishedMetric, ...] = (
    *_queue_latency(),
    _requests("waiting_requests", "requests queued in the engines", Load("waiting"), per_model=True),
    _requests("running_requests", "requests in the engines' running batches", Load("running"), per_model=True),
    _requests("waiting_requests_average", "mean of waiting requests over the window", WindowValue("waiting_average")),
    _requests("waiting_requests_maximum", "most waiting requests over the window", WindowValue("waiting_maximum")),
    _requests("running_requests_average", "mean of running requests over the window", WindowValue("running_average")),
    _ratio("kv_cache_utilization_ratio", "share of KV-cache blocks in use", Source.ENGINE, Column("kv_utilization")),
    _ratio(
        "saturation_ratio",
        "share of capacity in use by the pool's saturation settings; 1 is full",
        Source.ENGINE,
        Saturation(),
    ),
    _in_flight("in_flight_requests", "requests", "requests the picker dispatched that have not ended"),
    _in_flight("in_flight_tokens", "tokens", "their work: uncached prompt tokens and expected output tokens"),
    *_latency("time_to_first_token", "time from arrival to the first token", "time_to_first_token"),
    *_latency("inter_token_latency", "time between output tokens", "inter_token_latency"),
    _rate("requests_finished", "finished requests"),
    _rate("prompt_tokens", "prompt tokens processed"),
    _rate("generation_tokens", "tokens generated"),
    _gpu_bytes("gpu_memory_used_bytes", "GPU memory in use"),
    _gpu_bytes("gpu_memory_total_bytes", "GPU memory there is"),
    _ratio("gpu_memory_used_ratio", "share of GPU memory in use", Source.GPU, GpuMemoryRatio()),
    _ratio("gpu_utilization_ratio", "share of time the GPUs were busy", Source.GPU, Column("gpu_utilization")),
)

BY_NAME = {metric.name: metric for metric in PUBLISHED}
"""The table by name."""
