"""Rollouts as Prometheus metrics, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.rollouts.rollout_book import RolloutBook
from infscale.rollouts.rollout_state import RolloutPhase
from infscale.rollouts.running_rollout import RunningRollout

_GAUGES: Mapping[str, tuple[str, Callable[[RunningRollout], float | None]]] = {
    "weight_ratio": ("share of a rollout's requests for the new version", lambda each: each.weight_ratio),
    "step": ("number of a rollout's step, from 1", lambda each: float(each.state.step + 1)),
    "ready_endpoints": (
        "ready endpoints of a rollout's new version, as far as labels tell",
        lambda each: float(each.ready_endpoints),
    ),
    "evidence_ratio": (
        "evidence that a rollout's new version is worse; at 1 there is an alarm",
        lambda each: None if each.rollout.test is None else each.test.evidence * each.rollout.test.false_alarms,
    ),
}
_COUNTS: Mapping[str, tuple[str, Callable[[RunningRollout], Mapping[str, int]]]] = {
    "requests": ("requests of a rollout that were sent, by version: old, new", lambda each: each.sent),
    "tested_requests": (
        "results of a rollout that count for its test, by version: old, new",
        lambda each: each.test.requests,
    ),
    "tested_failures": ("failures among those results, by version: old, new", lambda each: each.test.failures),
}


class RolloutCollector(Collector):
    """Every rollout of `book`; one that begins anew counts from 0."""

    def __init__(self, book: RolloutBook) -> None:
        self._book = book

    def collect(self) -> Iterator[Metric]:
        """The families."""
        phases = GaugeMetricFamily(
            "infscale_rollout_phase",
            f"1 for the phase that a rollout is in, 0 for the others: {', '.join(RolloutPhase)}",
            labels=["rollout", "phase"],
        )
        for each in self._book:
            for phase in RolloutPhase:
                phases.add_metric([str(each.rollout.key), phase.value], float(each.state.phase is phase))
        yield phases
        for name, (meaning, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"infscale_rollout_{name}", meaning, labels=["rollout"])
            for each in self._book:
                value = read(each)
                if value is not None:
                    gauge.add_metric([str(each.rollout.key)], value)
            yield gauge
        for name, (meaning, counts) in _COUNTS.items():
            counter = CounterMetricFamily(f"infscale_rollout_{name}", meaning, labels=["rollout", "version"])
            for each in self._book:
                for version, count in counts(each).items():
                    counter.add_metric([str(each.rollout.key), version], count)
            yield counter
        fallbacks = CounterMetricFamily(
            "infscale_rollout_fallbacks",
            "requests of a rollout that had the other version because their own had no endpoint",
            labels=["rollout"],
        )
        for each in self._book:
            fallbacks.add_metric([str(each.rollout.key)], each.fallbacks)
        yield fallbacks
