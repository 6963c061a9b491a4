"""What an `EndpointPickerConfig` means here, before anything runs on it."""

import math
from collections.abc import Iterable, Sequence

from infscale.metrics.saturation import SaturationKind, SaturationSettings
from picker.epp_config.declared import DeclaredPlugin
from picker.epp_config.loader import PickerConfig
from picker.epp_config.scraping_parameters import ScrapeWishes


def report(config: PickerConfig, source: str) -> Sequence[str]:
    """What `config` means, for a person; `source` is its file's name."""
    used = [each for each in config.plugins if each.uses]
    unused = [each for each in config.plugins if not each.uses]
    lines = [f"{source} can be used."]
    if used:
        lines += ["", "Plugins", *_table(used)]
    lines += [
        "",
        f"Request bodies  {', '.join(config.parsers)}",
        f"Saturation      {_saturation(config)}",
        *_flow_control(config),
        f"Prefix index    {_prefix(config)}",
        *(f"Metrics pages   {said}" for said in _pages(config.scraping)),
    ]
    notes = [*config.notes, *_unused(unused), *_silent(config)]
    if notes:
        lines += ["", f"Notes ({len(notes)})", *(f"  {note}" for note in notes)]
    return lines


def _table(plugins: Sequence[DeclaredPlugin]) -> Iterable[str]:
    rows = [(_named(each), each.kind.value, ", ".join(each.uses)) for each in plugins]
    name, kind = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"  {row[0]:{name}}  {row[1]:{kind}}  {row[2]}" for row in rows]


def _named(plugin: DeclaredPlugin) -> str:
    return plugin.type if plugin.name == plugin.type else f"{plugin.name} ({plugin.type})"


def _saturation(config: PickerConfig) -> str:
    if config.detector is None:
        return "as the pool is configured (pools.<pool>.saturation)"
    limit = config.detector.staleness_limit_seconds
    stale = "" if limit is None else f"; metrics are stale after {limit:g} s"
    return _full(config.detector.saturation) + stale


def _flow_control(config: PickerConfig) -> Iterable[str]:
    """How requests wait; nothing where the configuration does not say that they do."""
    flow = config.flow
    if flow is None:
        return
    requests = "no limit" if flow.max_requests is None else f"{flow.max_requests:,} requests"
    size = "no limit" if flow.max_bytes is None else f"{flow.max_bytes:,} bytes"
    waits = f"for {_time(flow.budget.seconds)}, {_time(flow.budget.without_endpoints_seconds)} without endpoints"
    yield f"Waiting         in all {requests}, {size}; {waits}"
    for priority, band in sorted(flow.bands.items(), reverse=True):
        wait = "" if band.ttl_seconds is None else f"; for {_time(band.ttl_seconds)}"
        limits = f"{band.max_requests:,} requests, {band.max_bytes:,} bytes"
        yield f"  priority {priority:<5} {limits}{wait}; {band.fairness.name}"
    if flow.evicting is not None:
        yield "  eviction       of sheddable requests in flight"


def _time(seconds: float) -> str:
    return "ever" if seconds == math.inf else f"{seconds:g} s"


def _full(settings: SaturationSettings) -> str:
    match settings.kind:
        case SaturationKind.UTILIZATION:
            kv = settings.kv_utilization_threshold
            return f"full at {settings.queue_depth_threshold:,.12g} waiting requests or {kv:.0%} of the KV cache"
        case SaturationKind.REQUESTS:
            return f"full at {settings.max_in_flight_requests:,.12g} requests in flight"
        case SaturationKind.TOKENS:
            return f"full at {settings.max_in_flight_tokens:,.12g} tokens in flight"
        case SaturationKind.HYBRID:
            requests, tokens = settings.max_in_flight_requests, settings.max_in_flight_tokens
            return f"full at {requests:,.12g} requests or {tokens:,.12g} tokens in flight"


def _prefix(config: PickerConfig) -> str:
    prefix = config.prefix
    if prefix.auto_tune:
        return "block size and capacity as the engines publish them"
    return f"blocks of {prefix.block_size_tokens} tokens, {prefix.capacity_blocks} blocks per endpoint"


def _pages(wishes: ScrapeWishes) -> Iterable[str]:
    """What is said of metrics pages; nothing where nothing is."""
    said = [each for each in (wishes.scheme, wishes.path) if each is not None]
    if wishes.port is not None:
        said.append(f"port {wishes.port}")
    said += _trust(wishes)
    if wishes.of_pools:
        return [", ".join([*said, "averages of pools as pickers publish them"])]
    said += [
        f"names of {each.name}" + (f" with {', '.join(each.attributes)}" if each.attributes else "")
        for each in wishes.engines
    ]
    if wishes.default_engine is not None:
        said.append(f"{wishes.default_engine} unless the label {wishes.engine_label or 'of the engine'} says another")
    elif wishes.engine_label is not None:
        said.append(f"engines by the label {wishes.engine_label}")
    return [", ".join(said)] if said else []


def _trust(wishes: ScrapeWishes) -> Iterable[str]:
    """Which certificates are believed and shown."""
    ca, client = (None, None) if wishes.certificates is None else (wishes.certificates.ca, wishes.certificates.client)
    if wishes.verify_tls is not None and wishes.scheme != "http":
        signed = "" if ca is None else f" by {ca}"
        yield f"certificates verified{signed}" if wishes.verify_tls else "any certificate"
    if client is not None:
        yield f"showing {client[0]}"


def _unused(plugins: Iterable[DeclaredPlugin]) -> Iterable[str]:
    return [f"{each.place}: {each.name}: declared, but nothing refers to it" for each in plugins]


def _silent(config: PickerConfig) -> Iterable[str]:
    """Profiles that pick without rating, and scorers that rate without counting."""
    for profile in config.scheduler.profiles.values():
        if not profile.scorers:
            yield f"profile {profile.name}: no scorer; any candidate that the filters leave is as good as another"
        for weighted in profile.scorers:
            if not weighted.weight:
                yield f"profile {profile.name}: {type(weighted.scorer).__name__} has weight 0 and no say"
