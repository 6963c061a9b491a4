"""How endpoints are scraped where two files say something of it, and the store that takes it in."""

from dataclasses import replace
from typing import Any

from infscale.config.settings import ScrapeSettings
from infscale.documents.strict_document import quoted
from infscale.errors import ConfigError
from infscale.latency.priors import shipped
from infscale.metrics.store.metrics_store import MetricStore, StoreSettings
from picker.epp_config.scraping_parameters import ScrapeWishes

_DEFAULT = ScrapeSettings()
_KEEP_ONE = "remove one or make them equal"
# What the wishes call it, what the settings do, the word of the `EndpointPickerConfig`, and which plugin has it.
_SAID = (
    ("scheme", "scheme", "scheme", "source"),
    ("path", "path", "path", "source"),
    ("port", "port", "port", "source"),
    ("verify_tls", "verify_tls", "insecureSkipVerify", "source"),
    ("certificates", "certificates", "caCertPath", "source"),
    ("engine_label", "engine_label", "engineLabelKey", "extractor"),
    ("default_engine", "dialect", "defaultEngine", "extractor"),
)


def scraping(settings: ScrapeSettings, wishes: ScrapeWishes) -> ScrapeSettings:
    """`settings` with `wishes` where they are at their defaults. Raises `ConfigError` where both speak and differ."""
    changes: dict[str, Any] = {}
    for wish, key, word, plugin in _SAID:
        wished, configured = getattr(wishes, wish), getattr(settings, key)
        if wished is None or wished == configured:
            continue
        if configured != getattr(_DEFAULT, key):
            raise ConfigError(getattr(wishes, plugin), word, f"differs from scrape.{key}; {_KEEP_ONE}")
        changes[key] = wished
    own = {each.name: each for each in settings.dialects}
    for each in wishes.engines:
        if own.get(each.name, each) not in (each, replace(each, attributes={})):
            problem = f"the engine {quoted(each.name)} differs from the one in scrape.dialects; {_KEEP_ONE}"
            raise ConfigError(wishes.extractor, "engineConfigs", problem)
        own[each.name] = each
    return replace(settings, **changes, dialects=tuple(own.values()))


def new_store(store_id: str, settings: ScrapeSettings) -> MetricStore:
    """An empty store that is fed by such scrapes."""
    reconcile = max(1.0, 2 * settings.interval_seconds)
    return MetricStore(store_id, StoreSettings(reconcile_after_seconds=reconcile), priors=shipped())
