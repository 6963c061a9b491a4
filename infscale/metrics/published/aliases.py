"""Names by which others know what is published: those on pages of engines and exporters, as their users write them.

They follow from the tables of dialects and of GPU exporters. A name resolves to the published metric of the same
meaning and unit; where only the meaning agrees, it is known what to ask for instead, and why.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from infscale.metrics.gauges import ENGINE_GAUGES
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.gpu_exporters import GPU_EXPORTERS, GpuExporter, GpuQuantity
from infscale.metrics.published.catalogue import PUBLISHED

# How Google's adapter of custom metrics calls what Prometheus scraped: with the kind behind it.
_OF_GOOGLE: Final = re.compile(r"prometheus\.googleapis\.com\|([^|]+)\|(?:gauge|counter|histogram|summary|unknown)")
_SEPARATORS: Final = str.maketrans({"|": "_", ":": "_"})
_SPLIT: Final = "its label tells several metrics apart"
_HISTOGRAM_PARTS: Final = ("", "_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Alias:
    """What a name of others means: the published metric `metric`; and `why` it is not answered so, None: it is."""

    metric: str
    why: str | None = None


class Aliases:
    """Aliases by name, which may be written with ``:``, ``|`` or ``_``, and in the form of Google's adapter."""

    __slots__ = ("_known",)

    def __init__(self, known: Mapping[str, Alias]) -> None:
        written: dict[str, Alias] = {}
        for name, alias in known.items():
            written.setdefault(name.translate(_SEPARATORS), alias)
        self._known: Mapping[str, Alias] = MappingProxyType(written)

    @classmethod
    def of(
        cls, dialects: Iterable[Dialect] = tuple(DIALECTS.values()), exporters: Iterable[GpuExporter] = GPU_EXPORTERS
    ) -> "Aliases":
        """The names of these dialects and exporters; of several meanings of one name the first."""
        known: dict[str, Alias] = {}
        for dialect in dialects:
            for name, alias in _of_dialect(dialect):
                known.setdefault(name, alias)
        for exporter in exporters:
            for name, alias in _of_exporter(exporter):
                known.setdefault(name, alias)
        return cls(known)

    def get(self, name: str) -> Alias | None:
        """What `name` means; None where it is no name of others."""
        of_google = _OF_GOOGLE.fullmatch(name)
        return self._known.get((name if of_google is None else of_google[1]).translate(_SEPARATORS))


def _published(reads: str) -> str | None:
    """The metric to ask for that is made of `reads`, a gauge, histogram or counter; of latencies a quantile."""
    made = [metric.name for metric in PUBLISHED if reads in metric.reads]
    return next((name for name in made if "_p90_" in name), made[0] if made else None)


def _of_dialect(dialect: Dialect) -> Iterator[tuple[str, Alias]]:
    for gauge, specs in zip(ENGINE_GAUGES, dialect.gauges, strict=True):
        for spec in specs:
            yield spec.name, Alias(gauge.published, _SPLIT if _is_split(spec) else None)
    for histogram, specs in dialect.histograms.items():
        metric = _published(histogram)
        if metric is not None:
            alias = Alias(metric, "it is a histogram, and an HPA takes one number")
            yield from ((f"{spec.name}{part}", alias) for spec in specs for part in _HISTOGRAM_PARTS)
    for counter, specs in dialect.counters.items():
        metric = _published(counter)
        if metric is not None:
            alias = Alias(metric, "it counts from the engine's start, and an HPA takes a rate")
            yield from ((spec.name, alias) for spec in specs)


def _is_split(spec: MetricSpec) -> bool:
    return any(spec.labels.values())


OF_GPUS: Final[Mapping[GpuQuantity, str]] = MappingProxyType(
    {
        "used": "gpu_memory_used_bytes",
        "total": "gpu_memory_total_bytes",
        "utilization": "gpu_utilization_ratio",
    }
)
"""The published metrics of what exporters say of GPUs."""


def _of_exporter(exporter: GpuExporter) -> Iterator[tuple[str, Alias]]:
    for quantity, published in OF_GPUS.items():
        for name in exporter.names.get(quantity, ()):
            why = None if name.per_one == 1.0 else f"it is in {name.unit}"
            yield name.spec.name, Alias(published, _SPLIT if _is_split(name.spec) else why)


ALIASES: Final = Aliases.of()
"""Those of the tables."""
