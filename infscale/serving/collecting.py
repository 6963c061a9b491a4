"""The parts that bring values in: pages of endpoints, other sources, and the lists of models."""

import random
from collections.abc import Callable, Mapping, Sequence

from infscale.config.settings import ServeConfig
from infscale.endpoint import DiscoveryState
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import ScrapeHealth
from infscale.scrape.model_lists import ListSettings, ModelLists
from infscale.scrape.pipe import Setup
from infscale.scrape.pool import ScrapePool, ScrapeSettings
from infscale.scrape.processes import ScrapeProcesses
from infscale.scrape.target import TargetTemplate
from infscale.serving.parts import Owning
from infscale.serving.scraping import scraping
from infscale.sources.source_kind import RunningSource, ScrapeWords
from infscale.telemetry.source_metrics import ModelListsCollector, ScrapeProcessesCollector, ScrapesCollector
from picker.epp_config.loader import PickerConfig

OF_ENDPOINTS = ScrapeWords("infscale_scrape", "endpoint", "pages of an endpoint's metrics")

OF_LISTS = ScrapeWords("infscale_model_list_scrape", "endpoint", "lists of the models of an endpoint")


def target_template(config: ServeConfig, scheduling: PickerConfig) -> TargetTemplate:
    """How pages of endpoints are scraped. Raises `ConfigError` where two files differ about it."""
    scrape = scraping(config.scrape, scheduling.scraping)
    return TargetTemplate(
        scheme=scrape.scheme,
        path=scrape.path,
        interval_seconds=scrape.interval_seconds,
        timeout_seconds=scrape.timeout_seconds,
        engines=scrape.engines(),
        port=scrape.port,
        verify_tls=scrape.verify_tls,
        certificates=scrape.certificates,
    )


class Scraping(Owning):
    """The metrics pages of endpoints, scraped beside this process into the store."""

    def __init__(
        self,
        config: ServeConfig,
        template: TargetTemplate,
        store: MetricStore,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        limit = config.scrape.max_page_bytes
        here = ScrapePool(store, clock, rng, ScrapeSettings(page_limit_bytes=limit))
        setup = Setup(limit, config.log.level, config.log.format)
        self.processes = ScrapeProcesses(here, store, setup, rng, config.scrape.processes)
        super().__init__(self.processes)
        self._template = template
        self._collectors = (
            ScrapesCollector(OF_ENDPOINTS, self.health),
            ScrapeProcessesCollector(self.processes.stats),
        )

    def sync(self, state: DiscoveryState) -> None:
        """Scrape exactly the endpoints of `state`."""
        self.processes.sync(self._template.targets(state.endpoints, state.h2c_endpoints()))

    def change(self, template: TargetTemplate, state: DiscoveryState) -> None:
        """Scrape the endpoints of `state`, and those to come, by `template`."""
        self._template = template
        self.sync(state)

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How scraping goes, by the endpoints' names."""
        return {str(key): health for key, health in self.processes.health().items()}


class Asking(Owning):
    """Sources beside the metrics pages of endpoints, of which metrics speak in the same `words`."""

    def __init__(self, words: ScrapeWords, sources: Sequence[RunningSource]) -> None:
        super().__init__(*sources)
        self._sources = sources
        self._collectors = (ScrapesCollector(words, self.health),)

    def sync(self, state: DiscoveryState) -> None:
        """Ask by `state`."""
        for each in self._sources:
            each.sync(state)

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How asking goes, by the targets' names."""
        return {name: health for each in self._sources for name, health in each.health().items()}


class Listing(Owning):
    """The lists of the models that servers have, read into the store."""

    def __init__(
        self,
        config: ServeConfig,
        scheduling: PickerConfig,
        store: MetricStore,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        scrape = scraping(config.scrape, scheduling.scraping)
        settings = ListSettings(scheme=scrape.scheme, verify_tls=scrape.verify_tls, certificates=scrape.certificates)
        self.lists = ModelLists(clock, rng, settings, store)
        super().__init__(self.lists)
        self._collectors = (ScrapesCollector(OF_LISTS, self.health), ModelListsCollector(self.lists.sizes))

    def sync(self, state: DiscoveryState) -> None:
        """Read the lists of exactly the endpoints of `state`."""
        self.lists.sync(state.endpoints, state.h2c_endpoints())

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How reading lists goes, by the endpoints' names."""
        return {str(key): health for key, health in self.lists.health().items()}
