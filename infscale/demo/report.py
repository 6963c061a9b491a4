"""What a demo found: phases summarised and compared, as one JSON document. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

import numpy as np

from infscale.sim.load.load_generator import Outcome

QUANTILES = (50, 90, 99)
SummaryT = TypeVar("SummaryT")


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Three percentiles of one measure; None where nothing was measured."""

    p50: float | None
    p90: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quantiles":
        """The percentiles of `values`, interpolated between neighbours."""
        if not values:
            return cls(None, None, None)
        p50, p90, p99 = (float(value) for value in np.percentile(np.asarray(values), QUANTILES))
        return cls(p50, p90, p99)

    def document(self) -> dict[str, float | None]:
        """As the report holds it, to a tenth of a millisecond."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """One endpoint at one moment, as the store saw it; None is unknown."""

    endpoint: str
    waiting: float | None
    running: float | None
    kv_utilization: float | None
    in_flight: float | None = None
    gpu_memory_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class LoadSample:
    """All endpoints, `at_seconds` after the phase began."""

    at_seconds: float
    endpoints: tuple[EndpointLoad, ...]


@dataclass(frozen=True, slots=True)
class AdapterAnswer:
    """What the adapter answered to one metric query, and what an HPA would make of it.

    `value` is the quantity as sent, None when the answer was an error, whose message is `explanation` then. `replicas`
    is what the HPA's arithmetic wants for this metric alone, None when the metric is unusable.
    """

    at_seconds: float
    metric: str
    target: str
    value: str | None
    replicas: int | None
    explanation: str

    def document(self) -> dict[str, object]:
        """As the report holds it."""
        return {**asdict(self), "at_seconds": round(self.at_seconds, 2)}


@dataclass(frozen=True, slots=True)
class WantedReplicas:
    """How many replicas an HPA would run, `at_seconds` after the phase began."""

    at_seconds: float
    replicas: int


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """Everything observed in one phase."""

    outcomes: tuple[Outcome, ...]
    samples: tuple[LoadSample, ...] = ()
    answers: tuple[AdapterAnswer, ...] = ()
    wanted: tuple[WantedReplicas, ...] = ()


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """One phase in numbers.

    `throughput_rps` is answered requests over the seconds from the start to the last answer. `prefix_hit_ratio` is
    cached over all prompt tokens of answered requests, None without any. `lag` is how late requests were sent: when it
    is not small against the latencies, the load generator was the bottleneck.
    """

    requests: int
    failed: int
    failures: Mapping[str, int]
    seconds: float
    throughput_rps: float
    output_tokens_per_second: float
    prefix_hit_ratio: float | None
    ttft: Quantiles
    tpot: Quantiles
    lag: Quantiles
    answered_by: Mapping[str, int]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "PhaseSummary":
        """Summarise; latencies are of answered requests, failures are counted, not averaged in."""
        answered = [outcome for outcome in outcomes if outcome.failure is None]
        seconds = max((outcome.ended_at for outcome in answered), default=0.0)
        prompt = sum(outcome.prompt_tokens for outcome in answered)
        cached = sum(outcome.cached_tokens for outcome in answered)
        output = sum(outcome.output_tokens for outcome in answered)
        return cls(
            requests=len(outcomes),
            failed=len(outcomes) - len(answered),
            failures=dict(Counter(outcome.failure for outcome in outcomes if outcome.failure is not None)),
            seconds=seconds,
            throughput_rps=len(answered) / seconds if seconds else 0.0,
            output_tokens_per_second=output / seconds if seconds else 0.0,
            prefix_hit_ratio=cached / prompt if prompt else None,
            ttft=Quantiles.of([one.ttft_seconds for one in answered if one.ttft_seconds is not None]),
            tpot=Quantiles.of([one.tpot_seconds for one in answered if one.tpot_seconds is not None]),
            lag=Quantiles.of([outcome.lag_seconds for outcome in outcomes]),
            answered_by=dict(sorted(Counter(one.endpoint for one in answered if one.endpoint).items())),
        )

    def document(self) -> dict[str, object]:
        """As the report holds it."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "failures": dict(self.failures),
            "seconds": round(self.seconds, 3),
            "throughput_rps": round(self.throughput_rps, 3),
            "output_tokens_per_second": round(self.output_tokens_per_second, 1),
            "prefix_hit_ratio": _rounded(self.prefix_hit_ratio),
            "ttft_seconds": self.ttft.document(),
            "tpot_seconds": self.tpot.document(),
            "send_lag_seconds": self.lag.document(),
            "answered_by": dict(self.answered_by),
        }


@dataclass(frozen=True, slots=True)
class Measure(Generic[SummaryT]):
    """One row of the comparison: what it is called, how it is read and written, and the words for better and worse."""

    name: str
    short: str
    read: Callable[[SummaryT], float | None]
    write: Callable[[float], str]
    better: str = "faster"
    worse: str = "slower"
    more_is_better: bool = False

    def ratio(self, ours: SummaryT, theirs: SummaryT) -> float | None:
        """Our value over theirs; None where either is unknown or theirs is 0."""
        found, other = self.read(ours), self.read(theirs)
        return None if found is None or not other else found / other

    def gain(self, ours: SummaryT, theirs: SummaryT) -> float | None:
        """How many times better ours is, below 1 where it is worse; None where that cannot be said."""
        ratio = self.ratio(ours, theirs)
        if ratio is None or self.more_is_better:
            return ratio
        return 1 / ratio if ratio else None

    def compared(self, ours: SummaryT, theirs: SummaryT) -> str:
        """The gain in words: ``4.9 × faster``."""
        gain = self.gain(ours, theirs)
        if not gain:
            return "–"
        times, word = (gain, self.better) if gain >= 1 else (1 / gain, self.worse)
        return "the same" if times < _SAME else f"{times:.{1 if times >= _PLAIN else 2}f} × {word}"


_SAME, _PLAIN = 1.005, 1.95


def seconds(value: float) -> str:
    """A latency for people."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _milliseconds(value: float) -> str:
    return f"{value * 1000:.1f} ms"


MEASURES: tuple[Measure[PhaseSummary], ...] = (
    Measure("throughput", "requests", lambda one: one.throughput_rps, "{:.2f}/s".format, "more", "less", True),
    Measure("time to first token p50", "first token p50", lambda one: one.ttft.p50, seconds),
    Measure("time to first token p90", "first token p90", lambda one: one.ttft.p90, seconds),
    Measure("time to first token p99", "first token p99", lambda one: one.ttft.p99, seconds),
    Measure("time per output token p50", "per token p50", lambda one: one.tpot.p50, _milliseconds),
    Measure("time per output token p90", "per token p90", lambda one: one.tpot.p90, _milliseconds),
    Measure("time per output token p99", "per token p99", lambda one: one.tpot.p99, _milliseconds),
    Measure("prefix hit ratio", "prefix hits", lambda one: one.prefix_hit_ratio, "{:.1%}".format, "more", "less", True),
    Measure("failed requests", "failed requests", lambda one: float(one.failed), "{:.0f}".format, "fewer", "more"),
)
"""The comparison, row by row."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """All phases on the same traffic, and what they were measured with.

    `reference` is the reference picker's default scheduling.
    """

    seed: int
    versions: Mapping[str, str]
    workload: Mapping[str, object]
    servers: Mapping[str, object]
    round_robin: PhaseRecord
    reference: PhaseRecord
    infscale: PhaseRecord

    @property
    def phases(self) -> Mapping[str, PhaseRecord]:
        """What was observed, by the names people read, in the order it was played."""
        return {"round robin": self.round_robin, "reference": self.reference, "infscale": self.infscale}

    def document(self) -> dict[str, object]:
        """The JSON document."""
        summaries = {name.replace(" ", "_"): PhaseSummary.of(each.outcomes) for name, each in self.phases.items()}
        records = {name.replace(" ", "_"): each for name, each in self.phases.items()}
        ours = summaries["infscale"]
        over = {
            f"infscale_over_{name}": {
                measure.name.replace(" ", "_"): _rounded(measure.ratio(ours, theirs)) for measure in MEASURES
            }
            for name, theirs in summaries.items()
            if theirs is not ours
        }
        return {
            "seed": self.seed,
            "versions": dict(self.versions),
            "workload": dict(self.workload),
            "servers": dict(self.servers),
            "phases": {name: summary.document() | _observed(records[name]) for name, summary in summaries.items()},
            **over,
        }


def _observed(record: PhaseRecord) -> dict[str, object]:
    return {
        "adapter_answers": [answer.document() for answer in record.answers],
        "wanted_replicas": [asdict(one) | {"at_seconds": round(one.at_seconds, 2)} for one in record.wanted],
        "endpoint_loads": [
            {
                "at_seconds": round(sample.at_seconds, 2),
                "waiting": {one.endpoint: one.waiting for one in sample.endpoints},
                "running": {one.endpoint: one.running for one in sample.endpoints},
                "kv_cache_utilization_ratio": {one.endpoint: _rounded(one.kv_utilization) for one in sample.endpoints},
            }
            for sample in record.samples
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)
