"""From the reference endpoint picker's flags to how endpoints are scraped, and by which names of metrics."""

from collections.abc import Mapping
from types import MappingProxyType

from infscale.config.settings import Scheme, ScrapeSettings
from infscale.documents.strict_document import quoted
from infscale.documents.values import MAX_SECONDS, MIN_INTERVAL_SECONDS, is_url_path
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames
from infscale.metrics.snapshot import PoolSettings
from infscale.reference.go_flags import Flags, refuse

_TIMEOUT_SHARE = 0.8
_SCHEMES: Mapping[str, Scheme] = MappingProxyType({"": "http", "http": "http", "https": "https"})
# The metric flags and what of vLLM's names they replace.
_METRICS: Mapping[str, str] = MappingProxyType(
    {
        "total-queued-requests-metric": "waiting",
        "total-running-requests-metric": "running",
        "running-requests-metric": "running",
        "kv-cache-usage-percentage-metric": "kv_utilization",
        "lora-info-metric": "lora",
        "cache-info-metric": "cache_info",
    }
)


def scrape_settings(flags: Flags) -> ScrapeSettings:
    """How the flags have endpoints scraped. Raises `ConfigError` that names the flag."""
    interval = flags.duration("refresh-metrics-interval", 0.05)
    longest = PoolSettings().window_seconds / 2
    if not MIN_INTERVAL_SECONDS <= interval <= longest:
        refuse("refresh-metrics-interval", f"expected {MIN_INTERVAL_SECONDS:g} s to {longest:g} s, got {interval:g} s")
    limit = flags.duration("metrics-staleness-threshold", 2.0)
    if not 2 * interval <= limit <= MAX_SECONDS:
        refuse(
            "metrics-staleness-threshold",
            f"expected at least 2 × --refresh-metrics-interval ({2 * interval:g} s), got {limit:g} s",
        )
    names = _engine(flags)
    scheme = flags.one_of("model-server-metrics-scheme", _SCHEMES, "http or https")
    skip = flags.boolean("model-server-metrics-https-insecure-skip-verify", True)
    return ScrapeSettings(
        interval,
        _TIMEOUT_SHARE * interval,
        limit,
        dialect="auto" if names is None else names.name,
        scheme=scheme,
        path=_path(flags),
        port=flags.port("model-server-metrics-port", 0) or None,
        verify_tls=scheme == "http" or not skip,
        dialects=() if names is None else (names,),
    )


def _path(flags: Flags) -> str:
    path = flags.text("model-server-metrics-path") or "/metrics"
    if not is_url_path(path):
        refuse("model-server-metrics-path", f"expected a path such as /metrics, got {quoted(path)}")
    return path


def _engine(flags: Flags) -> EngineNames | None:
    """vLLM by the names that the flags give it; None: they give none."""
    names: dict[str, str] = {}
    for flag, key in _METRICS.items():
        if flag not in flags:
            continue
        text = flags.text(flag)
        if names.get(key, text) != text:
            refuse(flag, "differs from --total-running-requests-metric; give one of them")
        try:
            MetricSpec.parse(text)
        except ValueError as error:
            refuse(flag, f"{error}, got {quoted(text)}")
        names[key] = text
    if not names:
        return None
    engine = EngineNames(
        "vllm",
        "vllm",
        NOT_GIVEN._replace(
            waiting=names.get("waiting"), running=names.get("running"), kv_utilization=names.get("kv_utilization")
        ),
        lora=names.get("lora"),
        cache_info=names.get("cache_info"),
    )
    try:
        engine.dialect()
    except ValueError:
        refuse("total-queued-requests-metric", "without it and --total-running-requests-metric no load is known")
    return engine
