"""The parts that ask Prometheus servers: queries of ours, and prometheus-adapter's rules."""

import random
from collections.abc import Mapping, Sequence

from prometheus_client.registry import Collector

from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.kube.api.client import KubeClient
from infscale.kube.rights import Right
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import Clock, ScrapeHealth, TaskSet
from infscale.prometheus.evaluation import Means, RuleEvaluation
from infscale.prometheus.prometheus_server import PrometheusServer
from infscale.prometheus.prometheus_settings import PrometheusSettings
from infscale.prometheus.query_runs import QueryRuns, RunMeans
from infscale.prometheus.rules.rules_report import asked_document, registry_document
from infscale.serving.parts import Owning
from infscale.serving.prometheus.object_names import DiscoveredNames, ListedNames, listing_needs
from infscale.serving.prometheus.rules_watch import Ruled, RulesWatch
from infscale.telemetry.debug_documents import DebugPage, at_once
from infscale.telemetry.source_metrics import QUERY_WORDS, RULE_WORDS, RuleQueriesCollector, ScrapesCollector


class Servers(Owning):
    """The Prometheus servers of the configuration, each with connections and a budget of its own."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self.by_name: Mapping[str, PrometheusServer] = {
            name: PrometheusServer(each) for name, each in settings.servers.items()
        }
        super().__init__(*self.by_name.values())


class Querying(Owning):
    """Queries of ours, whose values go into `store`."""

    def __init__(
        self, settings: PrometheusSettings, servers: Servers, store: MetricStore, clock: Clock, rng: random.Random
    ) -> None:
        def models(pool: ObjectKey) -> Sequence[str]:
            snapshot = store.snapshot(pool)
            found = () if snapshot is None else snapshot.columns.models
            return tuple(dict.fromkeys(model for of_row in found for model in of_row if model))

        means = RunMeans(servers.by_name, store, models, clock, rng)
        self._runs = QueryRuns(settings.queries, means)
        super().__init__(self._runs)
        self._collectors = (ScrapesCollector(QUERY_WORDS, self.health),)

    def sync(self, state: DiscoveryState) -> None:
        """Ask for the pools of `state`."""
        self._runs.sync(state)

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How each query goes."""
        return self._runs.health()

    def collectors(self) -> Sequence[Collector]:
        """How each query goes."""
        return self._collectors


class Ruling(Owning):
    """prometheus-adapter's rules at work: `evaluation` has what they make."""

    def __init__(
        self, server: PrometheusServer, rules: Ruled, store: MetricStore, client: KubeClient | None, clock: Clock
    ) -> None:
        objects = DiscoveredNames(lambda: store.discovery) if client is None else ListedNames(client)
        # A connection is left to queries of ours, which rules of any number must not hold up.
        means = Means(server, max(1, server.settings.workers - 1), objects, clock)
        self.evaluation = RuleEvaluation(rules.first, rules.settings, means)
        self._clock = clock
        self._watch = rules.watch
        self._following = TaskSet[str, RulesWatch](lambda watch: watch.follow(self.evaluation))
        super().__init__(self.evaluation, self._following)
        self._needs = frozenset[Right]() if client is None else listing_needs(rules.first)
        self._collectors = (
            ScrapesCollector(RULE_WORDS, self.health),
            RuleQueriesCollector(self.evaluation.counts),
        )

    def sync(self, state: DiscoveryState) -> None:
        """Begin to follow the file, with the first state."""
        del state
        self._following.sync({"rules": self._watch})

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How discovering series goes, by rules."""
        return self.evaluation.health()

    def collectors(self) -> Sequence[Collector]:
        """How discovering and evaluating go."""
        return self._collectors

    def needs(self) -> frozenset[Right]:
        """Listing the objects that selectors pick."""
        return self._needs

    def pages(self) -> dict[str, DebugPage]:
        """The documents under ``/debug/``: what rules make, and what is evaluated."""
        return {"rules": at_once(self._document)}

    def _document(self) -> object:
        health = {rule: each.cause for rule, each in self.health().items()}
        document = registry_document(self.evaluation.registry)
        return {"discovery": health, **document, "asked": asked_document(self.evaluation.asked(), self._clock())}
