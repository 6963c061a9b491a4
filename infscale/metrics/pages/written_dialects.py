"""Dialects beyond the table: an engine's names as a configuration has them, and which endpoint speaks what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from infscale.metrics.gauges import ENGINE_GAUGES, EngineGauges
from infscale.metrics.pages.dialect import NO_SPECS, CacheNumber, Dialect
from infscale.metrics.pages.dialects import DIALECTS, ENGINE_LABELS
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.interpretation import Specs
from infscale.metrics.sample import CounterName, HistogramName

NOT_GIVEN: Final[EngineGauges[str | None]] = EngineGauges(*[None for _ in ENGINE_GAUGES])
"""Gauges that no names are given of."""


@dataclass(frozen=True, slots=True)
class EngineNames:
    """What an engine calls our metrics, written as metric specs: ``name`` or ``name{label=value}``.

    None: as the dialect `like` says it (one of the table; None: nothing is known), "": the page has no such metric.
    `cache_info` is a series whose labels `block_size_label` and `num_blocks_label` size the KV cache; `block_size` and
    `num_blocks` are series whose values do. `attributes` are numbers to read beside ours, by names of their own.
    `members` tell how many servers a page is an average over. `path` is where on its server the page is.
    """

    name: str
    like: str | None = None
    gauges: EngineGauges[str | None] = field(default=NOT_GIVEN, metadata={"keys": EngineGauges._fields})
    lora: str | None = None
    cache_info: str | None = None
    block_size_label: str = "block_size"
    num_blocks_label: str = "num_gpu_blocks"
    block_size: str | None = None
    num_blocks: str | None = None
    model_label: str | None = None
    histograms: Mapping[HistogramName, str] | None = field(default=None, hash=False)
    counters: Mapping[CounterName, str] | None = field(default=None, hash=False)
    path: str | None = None
    # No keys of the configuration file: scheduling asks for them, so they are declared where it is.
    attributes: Mapping[str, str] = field(default_factory=dict[str, str], hash=False, metadata={"keys": ()})
    members: str | None = field(default=None, metadata={"keys": ()})

    def dialect(self) -> Dialect:
        """The dialect of these names. Raises ValueError where they cannot be one."""
        base = Dialect("", NO_SPECS) if self.like is None else DIALECTS[self.like]
        given: dict[str, Any] = {"gauges": self._over(base.gauges), "members": _specs(self.members or "")}
        if self.lora is not None:
            given["lora"] = next(iter(_specs(self.lora)), None)
        for name, label in (("block_size", self.block_size_label), ("num_blocks", self.num_blocks_label)):
            numbers = self._numbers(getattr(self, name), label)
            if numbers is not None:
                given[name] = numbers
        for name in ("model_label", "path"):
            if (text := getattr(self, name)) is not None:
                given[name] = text
        for name, texts in (("histograms", self.histograms), ("counters", self.counters)):
            if texts is not None:
                given[name] = {**getattr(base, name), **{key: _specs(text) for key, text in texts.items()}}
        attributes = tuple((name, spec) for name, text in self.attributes.items() for spec in _specs(text))
        if self.members:
            # The process behind averages of a pool is a picker, which caches no prompts.
            given["start_time"] = ()
        made = replace(base, name=self.name, attributes=attributes, **given)
        if not made.loads:
            raise ValueError("a dialect says how many requests wait or run: give waiting or running")
        return made

    def _over(self, gauges: EngineGauges[Specs]) -> EngineGauges[Specs]:
        """The gauges of a dialect, with the names that are given in place of its own."""
        pairs = zip(gauges, self.gauges, strict=True)
        return EngineGauges(*[specs if text is None else _specs(text) for specs, text in pairs])

    def _numbers(self, values: str | None, label: str) -> tuple[CacheNumber, ...] | None:
        """Where the cache's size is said; None: nothing is given of it."""
        if self.cache_info is None and values is None:
            return None
        by_label = [CacheNumber(spec, label) for spec in _specs(self.cache_info or "")]
        return (*by_label, *(CacheNumber(spec) for spec in _specs(values or "")))


@dataclass(frozen=True, slots=True)
class Engines:
    """Which dialect an endpoint speaks: of `dialects` the one that a label names, in the order of `labels`.

    `default` is for endpoints without such a label; None: found out from the page.
    """

    dialects: Mapping[str, Dialect] = field(default_factory=lambda: DIALECTS, hash=False)
    default: Dialect | None = None
    labels: tuple[str, ...] = ENGINE_LABELS

    @classmethod
    def of(cls, named: tuple[EngineNames, ...], default: str | None, label: str | None) -> "Engines":
        """`named` and the table's, of which `named` replace those of their names and are tried first on a page.

        `default` None: none; `label` None: the usual ones. Raises ValueError, KeyError for a `default` that is none.
        """
        own = {each.name: each.dialect() for each in named}
        dialects = {**own, **{name: dialect for name, dialect in DIALECTS.items() if name not in own}}
        chosen = None if default is None else dialects[default]
        return cls(MappingProxyType(dialects), chosen, ENGINE_LABELS if label is None else (label,))

    def dialect(self, labels: Mapping[str, str], annotated: str | None = None) -> Dialect | None:
        """The dialect that an endpoint's labels ask for, else an annotation; None: find out from its page."""
        named = next((labels[label] for label in self.labels if label in labels), annotated)
        return self.default if named is None else self.dialects.get(named)


def _specs(text: str) -> Specs:
    spec = MetricSpec.parse(text)
    return () if spec is None else (spec,)
