"""How sources of the store and discovery go, as Prometheus metrics, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.periodic import ScrapeHealth
from infscale.scrape.processes import ProcessStats
from infscale.sources.source_kind import ScrapeWords


class ScrapesCollector(Collector):
    """How the scrapes of one source go, in its `words`; `health` is by the names of what it scrapes."""

    def __init__(self, words: ScrapeWords, health: Callable[[], Mapping[str, ScrapeHealth]]) -> None:
        self._words = words
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        prefix, what, labels = self._words.prefix, self._words.what, [self._words.label]
        scrapes = CounterMetricFamily(f"{prefix}s", f"scrapes of {what} that have begun", labels=labels)
        failures = CounterMetricFamily(f"{prefix}_failures", f"scrapes of {what} that gave nothing", labels=labels)
        duration = GaugeMetricFamily(
            f"{prefix}_duration_seconds", f"time that the last scrape of {what} took", labels=labels
        )
        size = GaugeMetricFamily(f"{prefix}_page_bytes", f"size of the last of the {what}", labels=labels)
        for name, each in self._health().items():
            scrapes.add_metric([name], each.scrapes)
            failures.add_metric([name], each.failures)
            if each.duration_seconds is not None:
                duration.add_metric([name], each.duration_seconds)
            if each.page_bytes is not None:
                size.add_metric([name], each.page_bytes)
        yield from (scrapes, failures, duration, *([size] if self._words.sized else []))


class ModelListsCollector(Collector):
    """How many models are on the lists of servers; `sizes` is by the names of their endpoints."""

    def __init__(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterator[Metric]:
        """The one family."""
        listed = GaugeMetricFamily(
            "infscale_model_list_names", "models on the list of an endpoint, while it is known", labels=["endpoint"]
        )
        for name, size in self._sizes().items():
            listed.add_metric([name], size)
        yield listed


QUERY_WORDS = ScrapeWords("infscale_query_run", "query", "values of a configured query of a Prometheus")
RULE_WORDS = ScrapeWords("infscale_rule_discovery_run", "rule", "series of a rule of prometheus-adapter")


class RuleCounts(Protocol):
    """What was asked of a Prometheus by rules so far, and what is evaluated now."""

    @property
    def queries(self) -> int:
        """Queries that were sent."""
        ...

    @property
    def failures(self) -> int:
        """Evaluations that gave nothing."""
        ...

    @property
    def questions(self) -> int:
        """Questions of HPAs that are evaluated."""
        ...

    @property
    def refused(self) -> int:
        """Questions for which there was no room."""
        ...


class RuleQueriesCollector(Collector):
    """How evaluating the rules of prometheus-adapter goes."""

    def __init__(self, counts: Callable[[], RuleCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        counts = self._counts()
        yield CounterMetricFamily(
            "infscale_rule_queries", "queries that rules of prometheus-adapter sent to a Prometheus", counts.queries
        )
        yield CounterMetricFamily(
            "infscale_rule_query_failures", "evaluations of rules of prometheus-adapter that failed", counts.failures
        )
        yield GaugeMetricFamily(
            "infscale_rule_questions", "different questions to rules that are kept evaluated", counts.questions
        )
        yield CounterMetricFamily(
            "infscale_rule_questions_refused", "questions to rules for which there was no room", counts.refused
        )


class ScrapeProcessesCollector(Collector):
    """What became of the processes that scrape."""

    def __init__(self, stats: ProcessStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        replaced = CounterMetricFamily(
            "infscale_scrape_processes_replaced", "scraping processes that were replaced, by why", labels=["reason"]
        )
        for reason, count in self._stats.replaced.items():
            replaced.add_metric([reason], count)
        yield replaced
        yield CounterMetricFamily(
            "infscale_scrape_faults", "samples of scraping processes that could not be taken in", self._stats.faults
        )


class DiscoveryCollector(Collector):
    """What discovery refused, and how long each watch of a cluster has been without its API server."""

    def __init__(
        self, refusals: Callable[[], int], disconnected_seconds: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        self._refusals = refusals
        self._disconnected_seconds = disconnected_seconds

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield CounterMetricFamily(
            "infscale_discovery_refusals",
            "versions of the discovery file, or of objects of the cluster, that were refused",
            self._refusals(),
        )
        disconnected = GaugeMetricFamily(
            "infscale_watch_disconnected_seconds",
            "how long a watch of the cluster has been without its API server",
            labels=["watch"],
        )
        for watch, seconds in self._disconnected_seconds().items():
            disconnected.add_metric([watch], seconds)
        yield disconnected
