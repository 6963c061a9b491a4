"""The tables of docs/engines.md, from the rows of the code; ``python -m tests.docs.engines`` renews them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from infscale.metrics.gauges import ENGINE_GAUGES, EngineGauges
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import DIALECTS, PAGE_PATH
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.gpu_exporters import GPU_EXPORTERS, GpuName
from infscale.metrics.published.aliases import ALIASES
from infscale.metrics.published.catalogue import PUBLISHED
from infscale.metrics.sample import CounterName, HistogramName

PAGE = Path(__file__).parent.parent.parent / "docs" / "engines.md"
HISTOGRAMS: tuple[HistogramName, ...] = (
    "queue_time",
    "prefill_time",
    "time_to_first_token",
    "inter_token_latency",
    "request_latency",
)
COUNTERS: tuple[CounterName, ...] = (
    "prompt_tokens",
    "generation_tokens",
    "prefix_queries",
    "prefix_hits",
    "requests_finished",
    "preemptions",
    "steps",
)
UNKNOWN = "*unknown*"


def _written(spec: MetricSpec) -> str:
    labels = ",".join(f'{key}="{value}"' for key, value in spec.labels.items())
    return f"`{spec.name}{{{labels}}}`" if labels else f"`{spec.name}`"


def _names(specs: Iterable[MetricSpec]) -> str:
    return ", ".join(map(_written, specs)) or UNKNOWN


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines]


def _places() -> list[str]:
    rows = [
        (
            f"`{each.name}`",
            f"`{each.path or PAGE_PATH}`",
            f"`{each.enabled_by}`" if each.enabled_by else "",
            f"`{each.model_label}`" if each.model_label else "none: one model",
        )
        for each in DIALECTS.values()
    ]
    return _table(("engine", "path", "needs", "label of the model"), rows)


def _published(reads: str) -> str:
    made = [metric.name for metric in PUBLISHED if reads in metric.reads]
    quantiles = [name for name in made if "_p90_" in name]
    shown = [name.replace("_p90_", "_*_") for name in quantiles] or made[:1]
    return ", ".join(f"`{name}`" for name in shown) or "scheduling alone"


def _values() -> list[str]:
    dialects = [*DIALECTS.values()]
    rows: list[Sequence[str]] = []
    for place, (key, gauge) in enumerate(zip(EngineGauges._fields, ENGINE_GAUGES, strict=True)):
        rows.append((f"`{key}`", f"`{gauge.published}`", *(_gauge(each, key, place) for each in dialects)))
    for histogram in HISTOGRAMS:
        cells = (_names(each.histograms.get(histogram, ())) for each in dialects)
        rows.append((f"`{histogram}`", _published(histogram), *cells))
    for counter in COUNTERS:
        cells = (_names(each.counters.get(counter, ())) for each in dialects)
        rows.append((f"`{counter}`", _published(counter), *cells))
    return _table(("value", "published as", *(f"`{each.name}`" for each in dialects)), rows)


def _gauge(dialect: Dialect, key: str, place: int) -> str:
    worked_out = dialect.gauges.kv_utilization and dialect.num_blocks and dialect.block_size
    if key == "kv_used_tokens" and not dialect.gauges[place] and worked_out:
        return "utilisation × size"
    return _names(dialect.gauges[place])


def _aliases() -> list[str]:
    names = dict.fromkeys(_alias_names())
    rows = [
        (f"`{name}`", f"`{alias.metric}`" if alias.why is None else f"refused, {alias.why}: `{alias.metric}`")
        for name in names
        if (alias := ALIASES.get(name)) is not None
    ]
    return _table(("name", "is"), rows)


def _alias_names() -> Iterator[str]:
    for dialect in DIALECTS.values():
        for specs in (*dialect.gauges, *dialect.histograms.values(), *dialect.counters.values()):
            yield from (spec.name for spec in specs)
    for exporter in GPU_EXPORTERS:
        for names in exporter.names.values():
            yield from (name.spec.name for name in names)


def _exporters() -> list[str]:
    rows: list[Sequence[str]] = []
    for each in GPU_EXPORTERS:
        total = _units(each.names.get("total", ()))
        parts = each.names.get("free")
        busy = (*each.names.get("utilization", ()), *each.names.get("active", ()))
        summed = f"{total}, or used + free + reserved" if parts else total
        rows.append((each.name, _units(each.names.get("used", ())), summed, _units(busy)))
    return _table(("exporter", "used", "total", "utilization"), rows)


def _units(names: Sequence[GpuName]) -> str:
    return ", ".join(f"{_written(name.spec)} ({name.unit})" for name in names) or UNKNOWN


def renewed(page: str) -> str:
    """The page with every table as it is now."""
    tables = {
        "Where pages are": _places(),
        "What is read": _values(),
        "Names in HPAs": _aliases(),
        "GPU exporters": _exporters(),
    }
    for section, lines in tables.items():
        head, title, rest = page.partition(f"## {section}\n")
        own, following, others = rest.partition("\n## ")
        words, _, after = own.partition("\n|")
        behind = after.partition("\n\n")[2]
        last = f"\n{behind}" if behind else ""
        table = "\n".join(lines)
        page = f"{head}{title}{words}\n{table}\n{last}{following}{others}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
