"""The part that evaluates prometheus-adapter's rules."""

from collections.abc import Mapping, Sequence

from prometheus_client.registry import Collector

from infscale.endpoint import DiscoveryState
from infscale.kube.api.client import KubeClient
from infscale.kube.rights import Right
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import Clock, ScrapeHealth, TaskSet
from infscale.prometheus.evaluation import Means, RuleEvaluation
from infscale.prometheus.prometheus_server import PrometheusServer
from infscale.prometheus.rules.rules_report import asked_document, registry_document
from infscale.prometheus.server_settings import ServerSettings
from infscale.serving.object_names import DiscoveredNames, ListedNames, listing_needs
from infscale.serving.parts import Owning
from infscale.serving.rules_watch import Ruled, RulesWatch
from infscale.telemetry.source_metrics import RULE_WORDS, RuleQueriesCollector, ScrapesCollector


class Ruling(Owning):
    """prometheus-adapter's rules at work: `evaluation` has what they make."""

    def __init__(
        self,
        asked: ServerSettings,
        rules: Ruled,
        store: MetricStore,
        client: KubeClient | None,
        clock: Clock,
    ) -> None:
        server = PrometheusServer(asked)
        objects = DiscoveredNames(lambda: store.discovery) if client is None else ListedNames(client)
        self.evaluation = RuleEvaluation(rules.first, rules.settings, Means(server, asked.workers, objects, clock))
        self._clock = clock
        self._watch = rules.watch
        self._following = TaskSet[str, RulesWatch](lambda watch: watch.follow(self.evaluation))
        super().__init__(server, self.evaluation, self._following)
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

    def document(self) -> object:
        """What rules make and what is evaluated, for ``/debug/rules``."""
        health = {rule: each.cause for rule, each in self.health().items()}
        document = registry_document(self.evaluation.registry)
        return {"discovery": health, **document, "asked": asked_document(self.evaluation.asked(), self._clock())}
