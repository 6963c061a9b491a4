"""A configuration of `infscale serve` with the files it names, read without running anything."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infscale.config.read import read_text, read_with_files
from infscale.config.settings import DiscoverySettings, ServeConfig
from infscale.discovery.state import read_state
from infscale.documents.problems import Problems
from infscale.documents.section import Files
from infscale.documents.strict_document import Field, load, whole
from infscale.endpoint import DiscoveryState
from infscale.prometheus.rules.rules_file import RulesFile, parse_rules
from infscale.serving.picker_config import parse_picker_config
from infscale.serving.scheduling import check_pools
from infscale.serving.scraping import scraping
from picker.epp_config.loader import PickerConfig, preset


@dataclass(frozen=True, slots=True)
class Configured:
    """What `infscale serve` would run on; `state` None: endpoints are the cluster's; `rules` None: there are none."""

    config: ServeConfig
    scheduling: PickerConfig
    state: DiscoveryState | None
    rules: RulesFile | None = None


def read_configured(root: Field, path: Path) -> Configured:
    """What `root`, of the file at `path`, and the files that it names say. It reads files.

    Raises `ConfigError` with everything that is wrong with any of them.
    """
    problems, files = Problems(), Files(path.parent)
    config = problems.attempt(lambda: whole(root, lambda field: read_with_files(field, files)))
    named = {field.path: each for field, each in files.named if each.is_file()}
    scheduling = problems.attempt(lambda: _scheduling(named.get("picker.config_file"), config.or_else(None)))
    clusters = not scheduling.refused and scheduling.value.discovery is not None and scheduling.value.discovery.clusters
    state = problems.attempt(lambda: _state_of(named.get("discovery.file"), config.or_else(None), clusters=clusters))
    rules_path = named.get("prometheus.adapter_rules.file", named.get("prometheus.adapter_rules"))
    rules = problems.attempt(lambda: _rules(rules_path))
    if not config.refused and not scheduling.refused:
        problems.attempt(lambda: check_pools(config.value, scheduling.value))
        problems.attempt(lambda: scraping(config.value.scrape, scheduling.value.scraping).engines())
    problems.raise_any()
    return Configured(config.value, scheduling.value, state.value, rules.value)


def _rules(path: Path | None) -> RulesFile | None:
    return None if path is None else parse_rules(read_text(path), str(path))


def _scheduling(path: Path | None, config: ServeConfig | None) -> PickerConfig:
    if path is None:
        return preset("infscale" if config is None else config.picker.preset or "infscale")
    return parse_picker_config(read_text(path), str(path))


def _state_of(path: Path | None, config: ServeConfig | None, *, clusters: bool) -> DiscoveryState | None:
    if path is None:
        return None
    settings = None if config is None else config.discovery
    return discovered(load(read_text(path), str(path)), settings, clusters=clusters)


def discovered(root: Field, settings: DiscoverySettings | None, *, clusters: bool = False) -> DiscoveryState:
    """The state in a discovery file; without `settings` it is not known whose default pool it is read for."""
    if settings is None:
        return whole(root, partial(read_state, any_namespace=True, clusters=clusters))
    return whole(root, partial(read_state, default_pool=settings.default_pool, clusters=clusters))
