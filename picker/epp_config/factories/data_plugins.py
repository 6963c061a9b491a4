"""Data sources and extractors, which say how metrics pages are fetched and read, and reporters of responses."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from picker.epp_config.facts import Facts, FactType, Told
from picker.epp_config.parameters import Given
from picker.epp_config.reporting import read_attributes
from picker.epp_config.scraping_parameters import ScrapeWishes, Wished, read_extractor, read_pool_extractor, read_source

POOL_AVERAGES_EXTRACTOR = "multicluster-metrics-extractor"

_MODELS = "which models endpoints serve is read from their metrics pages"
_GPUS = "GPU pages are scraped where `dcgm` in the main configuration says so"


def _scraping(
    read: Callable[[Given, ScrapeWishes], Wished], *, several: bool = False
) -> Callable[[Given, Facts], Told]:
    """By a reader of wishes; of `several` plugins those without parameters say nothing."""

    def told(given: Given, facts: Facts) -> Told:
        if several and given.parameters is None:
            return facts, ()
        scraping, notes = read(given, facts.scraping)
        return replace(facts, scraping=scraping), notes

    return told


def _attribute_reporter(given: Given, facts: Facts) -> Told:
    attributes = (*facts.reporting.attributes, *read_attributes(given))
    return replace(facts, reporting=replace(facts.reporting, attributes=attributes)), ()


def _served_verifier(given: Given, facts: Facts) -> Told:
    given.nothing()
    return replace(facts, reporting=replace(facts.reporting, served=True)), ()


DATA: Mapping[str, FactType] = {
    "metrics-data-source": FactType(_scraping(read_source, several=True)),
    "core-metrics-extractor": FactType(_scraping(read_extractor, several=True)),
    "dcgm-data-source": FactType(elsewhere=_GPUS),
    "dcgm-extractor": FactType(elsewhere=_GPUS),
    "k8s-notification-source": FactType(
        elsewhere="the cluster is followed where `discovery` in the main configuration says so"
    ),
    "endpoint-notification-source": FactType(elsewhere="endpoints are followed wherever they come from"),
    "models-data-source": FactType(elsewhere=_MODELS),
    "models-data-extractor": FactType(elsewhere=_MODELS),
    "multicluster-metrics-data-source": FactType(_scraping(partial(read_source, clusters=True)), implied=False),
    POOL_AVERAGES_EXTRACTOR: FactType(_scraping(read_pool_extractor), implied=False),
}

REPORTERS: Mapping[str, FactType] = {
    "request-attribute-reporter": FactType(_attribute_reporter),
    "destination-endpoint-served-verifier": FactType(_served_verifier),
}
