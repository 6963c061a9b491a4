"""Data sources and extractors, which say how metrics pages are fetched and read, and reporters of responses."""

from collections.abc import Mapping
from dataclasses import replace

from picker.epp_config.facts import Facts, FactType, Told
from picker.epp_config.parameters import Given
from picker.epp_config.reporting import read_attributes
from picker.epp_config.scraping_parameters import read_extractor, read_pool_extractor, read_source

POOL_AVERAGES_EXTRACTOR = "multicluster-metrics-extractor"

_MODELS = "which models endpoints serve is read from their metrics pages"
_GPUS = "GPU pages are scraped where `dcgm` in the main configuration says so"


def _source(given: Given, facts: Facts) -> Told:
    """Without parameters there may be several."""
    if given.parameters is None:
        return facts, ()
    scraping, notes = read_source(given, facts.scraping)
    return replace(facts, scraping=scraping), notes


def _cluster_source(given: Given, facts: Facts) -> Told:
    scraping, notes = read_source(given, facts.scraping, clusters=True)
    return replace(facts, scraping=scraping), notes


def _extractor(given: Given, facts: Facts) -> Told:
    """Without parameters there may be several."""
    if given.parameters is None:
        return facts, ()
    return replace(facts, scraping=read_extractor(given, facts.scraping)), ()


def _pool_averages_extractor(given: Given, facts: Facts) -> Told:
    return replace(facts, scraping=read_pool_extractor(given, facts.scraping)), ()


def _attribute_reporter(given: Given, facts: Facts) -> Told:
    attributes = (*facts.reporting.attributes, *read_attributes(given))
    return replace(facts, reporting=replace(facts.reporting, attributes=attributes)), ()


def _served_verifier(given: Given, facts: Facts) -> Told:
    given.nothing()
    return replace(facts, reporting=replace(facts.reporting, served=True)), ()


DATA: Mapping[str, FactType] = {
    "metrics-data-source": FactType(_source),
    "core-metrics-extractor": FactType(_extractor),
    "dcgm-data-source": FactType(elsewhere=_GPUS),
    "dcgm-extractor": FactType(elsewhere=_GPUS),
    "k8s-notification-source": FactType(
        elsewhere="the cluster is followed where `discovery` in the main configuration says so"
    ),
    "endpoint-notification-source": FactType(elsewhere="endpoints are followed wherever they come from"),
    "models-data-source": FactType(elsewhere=_MODELS),
    "models-data-extractor": FactType(elsewhere=_MODELS),
    "multicluster-metrics-data-source": FactType(_cluster_source, implied=False),
    POOL_AVERAGES_EXTRACTOR: FactType(_pool_averages_extractor, implied=False),
}

REPORTERS: Mapping[str, FactType] = {
    "request-attribute-reporter": FactType(_attribute_reporter),
    "destination-endpoint-served-verifier": FactType(_served_verifier),
}
