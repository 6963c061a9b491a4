"""The published metrics: name, unit, meaning, source, aggregation.

README, adapter, dashboards and every later reader take names, units and meanings from here. What is configured beside
them is in `infscale.metrics.published.metric_table`.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from infscale.metrics.published import formula
from infscale.metrics.published.column_readers import (
    ColumnReader,
    EngineGauge,
    InFlight,
    Load,
    PodGauge,
    Saturation,
    WindowValue,
    WithoutEndpoint,
    reads,
)
from infscale.metrics.published.gpu_readers import GPU, GpuReader
from infscale.metrics.published.queue_readers import OfQueue, OfWholePool, Outstanding, QueueValue
from infscale.metrics.published.step_readers import ModelError, PredictedFirstToken, PredictedOutputToken
from infscale.metrics.published.window_readers import HistogramReader, MergingReader, QueueLatency, Rate
from infscale.metrics.sample import CounterName, HistogramName, Statistic
from infscale.metrics.source import Source
from infscale.metrics.windows.latency_statistics import STATISTICS, quantile_of

ENGINE = Source("model server", observed="observed_at", settled="settled", failures="failures")
PICKER = Source("picker", of_requests=True)
QUEUE = Source("queue of the picker", of_requests=True)
MODEL_LIST = Source("list of models", observed="listed_at", staleness_seconds=30.0)
KUBERNETES = Source("Kubernetes", absence="discovery does not say it of the endpoints of {pool}")


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
    reader: ColumnReader | MergingReader | Formula
    per_model: bool = False

    @property
    def windowed(self) -> bool:
        """Whether it looks back over the window of the pool; else it is of one moment."""
        if isinstance(self.reader, Formula):
            return any(operand.windowed for operand in self.reader.operands)
        if isinstance(self.reader, OfQueue):
            return self.reader.windowed
        return isinstance(self.reader, QueueLatency | HistogramReader | Rate | WindowValue)

    @property
    def merges(self) -> MergingReader | None:
        """The reader, where the value of a group is not made of those of its endpoints."""
        return self.reader if isinstance(self.reader, QueueLatency | HistogramReader | GpuReader) else None

    @property
    def reads(self) -> tuple[str, ...]:
        """What it is made of: names of gauges, of histograms and of counters."""
        match self.reader:
            case HistogramReader():
                return (self.reader.histogram,)
            case QueueLatency():
                return ("queue_time", "waiting")
            case Rate():
                return (self.reader.counter,)
            case GpuReader():
                return self.reader.reads
            case _:
                return reads(self.reader)

    @property
    def adds_up(self) -> bool:
        """Whether the values of several pools may be added up, as an HPA does with the items of an external metric."""
        if isinstance(self.reader, Formula) and self.aggregation is Aggregation.WHOLE:
            adding = [operand.name for operand in self.reader.operands if operand.adds_up]
            return formula.adds_up(self.reader.expression, adding)
        return self.aggregation is Aggregation.SUM

    @property
    def by_requested_model(self) -> bool:
        """Whether its models are those that requests ask for, be they served or not: only the picker knows them."""
        if isinstance(self.reader, Formula):
            return self.per_model and all(each.by_requested_model for each in self.reader.operands if each.per_model)
        return self.per_model and self.source.of_requests

    @property
    def of_pool(self) -> bool:
        """Whether it is a number of a whole pool, of which no pod and no workload has a part."""
        if isinstance(self.reader, Formula):
            return any(operand.of_pool for operand in self.reader.operands)
        return isinstance(self.reader, OfWholePool)


def carries_unit(name: str, unit: str) -> bool:
    """Whether a metric's name says its unit, as all of them must; the empty unit needs no saying."""
    parts = {"1/second": "per_second"}.get(unit, unit)
    return not unit or f"_{parts}_" in f"_{name}_"


def _queue_latency() -> Iterator[PublishedMetric]:
    for statistic in STATISTICS:
        yield PublishedMetric(
            f"queue_latency_{statistic}_seconds",
            "seconds",
            f"wait for the first step: the larger of the engines' queue time ({_words(statistic)} over the window) and "
            "waiting requests ÷ rate of leaving the queue; of a pool after the wait in the picker",
            ENGINE,
            Aggregation.MERGED,
            QueueLatency(statistic),
            per_model=True,
        )


def _words(statistic: Statistic) -> str:
    q = quantile_of(statistic)
    return "mean" if q is None else f"{round(q * 100)}th percentile"


def _latency(prefix: str, meaning: str, histogram: HistogramName) -> Iterator[PublishedMetric]:
    for statistic in STATISTICS:
        yield PublishedMetric(
            f"{prefix}_{statistic}_seconds",
            "seconds",
            f"{meaning}, {_words(statistic)} over the window",
            ENGINE,
            Aggregation.MERGED,
            HistogramReader(histogram, statistic),
            per_model=True,
        )


def _requests(name: str, meaning: str, reader: ColumnReader, *, per_model: bool = False) -> PublishedMetric:
    return PublishedMetric(name, "requests", meaning, ENGINE, Aggregation.SUM, reader, per_model)


def _rate(counter: CounterName, meaning: str) -> PublishedMetric:
    meaning = f"{meaning} per second over the window"
    return PublishedMetric(
        f"{counter}_per_second", "1/second", meaning, ENGINE, Aggregation.SUM, Rate(counter), per_model=True
    )


def _tokens(name: str, meaning: str, reader: ColumnReader, *, per_model: bool = False) -> PublishedMetric:
    return PublishedMetric(name, "tokens", meaning, ENGINE, Aggregation.SUM, reader, per_model)


def _in_flight(unit: Literal["requests", "tokens"], meaning: str) -> PublishedMetric:
    reader = InFlight(unit)
    return PublishedMetric(f"in_flight_{unit}", unit, meaning, PICKER, Aggregation.SUM, reader, per_model=True)


def _queue(
    name: str, unit: str, meaning: str, value: QueueValue, aggregation: Aggregation = Aggregation.SUM
) -> PublishedMetric:
    return PublishedMetric(name, unit, meaning, QUEUE, aggregation, OfQueue(value), per_model=True)


def _ratio(name: str, meaning: str, reader: ColumnReader) -> PublishedMetric:
    return PublishedMetric(name, "ratio", meaning, ENGINE, Aggregation.MEAN, reader)


def _predicted(name: str, meaning: str, reader: ColumnReader) -> PublishedMetric:
    return PublishedMetric(f"predicted_{name}_seconds", "seconds", meaning, ENGINE, Aggregation.MEAN, reader)


def _gpu_bytes(name: Literal["gpu_memory_used_bytes", "gpu_memory_total_bytes"], meaning: str) -> PublishedMetric:
    return PublishedMetric(name, "bytes", meaning, GPU, Aggregation.SUM, GpuReader(name))


def _gpu_ratio(name: str, meaning: str, reader: GpuReader) -> PublishedMetric:
    return PublishedMetric(name, "ratio", meaning, GPU, Aggregation.MEAN, reader)


PUBLISHED: tuple[PublishedMetric, ...] = (
    *_queue_latency(),
    _requests(
        "waiting_requests",
        "requests queued in the engines; of a pool also those that wait in the picker",
        Load("waiting"),
        per_model=True,
    ),
    _requests("running_requests", "requests in the engines' running batches", Load("running"), per_model=True),
    _requests("waiting_requests_average", "mean of waiting requests over the window", WindowValue("waiting_average")),
    _requests("waiting_requests_maximum", "most waiting requests over the window", WindowValue("waiting_maximum")),
    _requests("running_requests_average", "mean of running requests over the window", WindowValue("running_average")),
    _tokens(
        "waiting_tokens",
        "prompt tokens of what waits (`waiting_requests`), without cached ones where the engine tells them apart",
        Load("waiting_tokens"),
        per_model=True,
    ),
    _ratio("kv_cache_utilization_ratio", "share of KV-cache blocks in use", EngineGauge("kv_utilization")),
    _tokens(
        "kv_cache_used_tokens", "tokens that the KV-cache blocks in use have room for", EngineGauge("kv_used_tokens")
    ),
    _ratio(
        "saturation_ratio",
        "share of capacity in use by the pool's saturation settings; 1 is full",
        Saturation(),
    ),
    _in_flight("requests", "requests the picker dispatched that have not ended"),
    _in_flight("tokens", "work of the requests in flight: uncached prompt tokens and expected output tokens"),
    _queue(
        "queued_requests", "requests", "requests that wait in the picker until an endpoint can begin them", "requests"
    ),
    _queue("queued_tokens", "tokens", "estimated prompt tokens of the requests that wait in the picker", "tokens"),
    _queue(
        "queue_wait_p90_seconds",
        "seconds",
        "wait in the picker: 90th percentile of the waits that ended in the window, and of those that go on, so far",
        "wait_p90",
        Aggregation.HIGHEST,
    ),
    _queue(
        "queue_refusals_per_second",
        "1/second",
        "requests per second over the window that were refused while they waited in the picker, or as they may not",
        "refusals",
    ),
    PublishedMetric(
        "outstanding_requests",
        "requests",
        "requests in flight and those that wait in the picker; in flight alone where none waits there",
        PICKER,
        Aggregation.SUM,
        Outstanding(),
        per_model=True,
    ),
    PublishedMetric(
        "requests_without_endpoint",
        "requests",
        "requests that came over the window, or wait, while the pool had no ready endpoint; what scales it from zero",
        PICKER,
        Aggregation.SUM,
        WithoutEndpoint(),
    ),
    *_latency("time_to_first_token", "time from arrival to the first token", "time_to_first_token"),
    *_latency("inter_token_latency", "time between output tokens", "inter_token_latency"),
    _predicted(
        "time_per_output_token",
        "time between output tokens by the latency model, for the batch of the moment without prompts beside it",
        PredictedOutputToken(),
    ),
    _predicted(
        "time_to_first_token",
        "time to the first token by the latency model, of a prompt of 1,000 uncached tokens that comes now",
        PredictedFirstToken(),
    ),
    _ratio(
        "latency_model_error_ratio",
        "relative error of the latency model of late; above 0.4 nothing is predicted by it",
        ModelError(),
    ),
    _rate("requests_finished", "finished requests"),
    _rate("prompt_tokens", "prompt tokens processed"),
    _rate("generation_tokens", "tokens generated"),
    _gpu_bytes("gpu_memory_used_bytes", "GPU memory in use"),
    _gpu_bytes("gpu_memory_total_bytes", "GPU memory installed"),
    _gpu_ratio("gpu_memory_used_ratio", "share of GPU memory in use", GpuReader("gpu_memory_used_ratio")),
    _gpu_ratio("gpu_utilization_ratio", "share of time the GPUs were busy", GpuReader("gpu_utilization")),
    PublishedMetric(
        "model_load_seconds",
        "seconds",
        "time the model took to load: from the start of its container until the pod was Ready",
        KUBERNETES,
        Aggregation.HIGHEST,
        PodGauge("load_seconds"),
    ),
)

BY_NAME = {metric.name: metric for metric in PUBLISHED}
"""The table by name."""
