"""Copies of requests and how their answers compare, as Prometheus metrics, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.telemetry.histogram import Histogram
from picker.shadowing.shadow_books import ShadowBooks, Sides, Way, WayCounts
from picker.telemetry.metric_families import filled

_WAY: Final = ("pool", "to", "candidate", "model")
_SIDES: Final[Mapping[str, tuple[str, Callable[[WayCounts], Sides]]]] = {
    "first_byte": ("to the headers of the answer", lambda counts: counts.first_byte),
    "duration": ("to the end of the answer", lambda counts: counts.duration),
}


class ShadowCollector(Collector):
    """`infscale_shadow_*`: by the pool whose requests are copied, the candidate's pool, its place, and its model."""

    def __init__(self, books: ShadowBooks) -> None:
        self._books = books

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        ways = [(_labels(way), counts) for way, counts in self._books.ways.items()]
        yield filled(
            CounterMetricFamily,
            "infscale_shadow_requests",
            "requests that were drawn to be copied, by what became of it: copied, side_effects, too_large, no_room, "
            "busy, no_endpoint",
            (*_WAY, "result"),
            (([*labels, what], count) for labels, counts in ways for what, count in counts.drawn.items()),
        )
        yield filled(
            CounterMetricFamily,
            "infscale_shadow_answers",
            "copies that have ended beside their request, by the status class of each (or aborted, error, evicted, "
            "unknown; unreachable, timeout, broken, cut, stopped)",
            (*_WAY, "primary", "copy"),
            (([*labels, *pair], count) for labels, counts in ways for pair, count in counts.answers.items()),
        )
        yield filled(
            GaugeMetricFamily,
            "infscale_shadow_open_requests",
            "copies that are under way now",
            _WAY,
            ((labels, counts.open_requests) for labels, counts in ways),
        )
        yield filled(
            GaugeMetricFamily,
            "infscale_shadow_held_bytes",
            "what copies under way hold of bodies",
            _WAY,
            ((labels, counts.held_bytes) for labels, counts in ways),
        )
        yield filled(
            CounterMetricFamily,
            "infscale_shadow_completion_tokens",
            "tokens of answers that both say how many they are of, by side: primary, copy",
            (*_WAY, "side"),
            (
                ([*labels, side], count)
                for labels, counts in ways
                for side, count in zip(("primary", "copy"), counts.tokens, strict=True)
            ),
        )
        for name, (meaning, read) in _SIDES.items():
            yield _both(name, meaning, [(labels, read(counts)) for labels, counts in ways])
            yield _ratio(name, meaning, [(labels, read(counts)) for labels, counts in ways])


def _both(name: str, meaning: str, ways: list[tuple[list[str], Sides]]) -> Metric:
    family = HistogramMetricFamily(
        f"infscale_shadow_{name}_seconds",
        f"from the choice of an endpoint {meaning}, where request and copy succeeded, by side: primary, copy",
        labels=(*_WAY, "side"),
    )
    for labels, sides in ways:
        for side, histogram in (("primary", sides.primary), ("copy", sides.copy)):
            _add(family, [*labels, side], histogram)
    return family


def _ratio(name: str, meaning: str, ways: list[tuple[list[str], Sides]]) -> Metric:
    family = HistogramMetricFamily(
        f"infscale_shadow_{name}_ratio", f"time {meaning} of a copy, divided by that of its request", labels=_WAY
    )
    for labels, sides in ways:
        _add(family, labels, sides.ratio)
    return family


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    family.add_metric(labels, histogram.buckets(), histogram.total)


def _labels(way: Way) -> list[str]:
    return [str(way.pool), str(way.to), str(way.place), way.settings.model or ""]
