"""What a dialect says: an engine's names for our metrics, as a value. The table of them is beside it, in `dialects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from infscale.metrics.gauges import ENGINE_GAUGES, EngineGauges
from infscale.metrics.pages.bounds import CACHE_NUMBER
from infscale.metrics.pages.exposition import Labels, MetricSpec
from infscale.metrics.pages.interpretation import Specs
from infscale.metrics.sample import CounterName, HistogramName

_MOST_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class CacheNumber:
    """Where an engine says how its KV cache is sized: the value of a sample, or its label `label`."""

    spec: MetricSpec
    label: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled where it is compiled, too."""
        return CacheNumber, (self.spec, self.label)

    def of(self, labels: Labels, value: float) -> int:
        """The whole number a series gives; 0, which no cache is sized by, where it gives none that can be one."""
        number = value if self.label is None else float(whole_number(labels.get(self.label, "")) or 0)
        return int(number) if CACHE_NUMBER.hold(number) else 0


@dataclass(frozen=True, slots=True)
class Dialect:
    """One engine's names for our metrics; of several specs the first that the page has is used.

    `model_label` tells which model a series is about ("": none does). `scheduler_label` numbers schedulers with queues
    of their own, as data-parallel ranks are: where there is one, every other label named ``…_rank`` numbers processes
    of one scheduler that all report the same, of which the lowest counts. Everything else that series differ in
    (data-parallel rank, finish reason, …) is added up; of ratios the highest counts. Tokens in the KV cache are worked
    out from utilisation and size where an engine does not say them. `attributes` are what a configuration asks for
    beside our metrics: how its series add up is unknown, so that the first counts. `members` tell how many servers a
    page is an average over: with none of them, nothing on it counts. The engine is asleep where a series of `awake` is
    0 or one of `asleep` is above 0, whichever of them there are. `start_time` is when its process started. `path` is
    where on its server the page is (None: at `PAGE_PATH`). `lora_loaded` has a series for each LoRA adapter that is
    loaded, idle or not. `enabled_by` is the flag without which the server has no page.
    """

    name: str
    gauges: EngineGauges[Specs]
    block_size: tuple[CacheNumber, ...] = ()
    num_blocks: tuple[CacheNumber, ...] = ()
    lora: MetricSpec | None = None
    histograms: Mapping[HistogramName, Specs] = field(default_factory=dict[HistogramName, Specs], hash=False)
    counters: Mapping[CounterName, Specs] = field(default_factory=dict[CounterName, Specs], hash=False)
    attributes: tuple[tuple[str, MetricSpec], ...] = ()
    model_label: str = "model_name"
    scheduler_label: str | None = None
    members: Specs = ()
    awake: Specs = ()
    asleep: Specs = ()
    start_time: Specs = (MetricSpec("process_start_time_seconds"),)
    path: str | None = None
    lora_loaded: MetricSpec | None = None
    enabled_by: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled: one of the table by its name, so that it is the same object wherever it arrives."""
        if of_the_table(self.name) is self:
            return of_the_table, (self.name,)
        return Dialect, tuple(getattr(self, each.name) for each in fields(self))

    @property
    def loads(self) -> tuple[str, ...]:
        """The sample names that tell how many requests wait and run, which no other engine's page has."""
        return tuple([spec.name for spec in (*self.gauges.waiting, *self.gauges.running)])

    @property
    def signals(self) -> tuple[str, ...]:
        """The sample names of what changes while an engine works, of which a page has at least one."""
        gauges = [spec for specs in self.gauges for spec in specs]
        counters = [spec for specs in self.counters.values() for spec in specs]
        names = [spec.name for spec in (*gauges, *counters)]
        for specs in self.histograms.values():
            names += [spec.name + suffix for spec in specs for suffix in ("_bucket", "_sum")]
        return tuple(dict.fromkeys(names))

    @property
    def names(self) -> tuple[str, ...]:
        """Every sample name the dialect reads, each once: what to ask a server for with ``name[]``."""
        names = [*self.signals]
        names += [spec.name for spec in (*self.members, *self.awake, *self.asleep, *self.start_time)]
        names += [number.spec.name for number in (*self.block_size, *self.num_blocks)]
        names += [spec.name for spec in (self.lora, self.lora_loaded) if spec is not None]
        names += [spec.name for _, spec in self.attributes]
        return tuple(dict.fromkeys(names))


NO_SPECS: Final[EngineGauges[Specs]] = EngineGauges(*[() for _ in ENGINE_GAUGES])
"""Of an engine whose names are not known."""


def of_the_table(name: str) -> Dialect | None:
    """The dialect that the table has under `name`."""
    # The table is made of what is defined here.
    from infscale.metrics.pages.dialects import DIALECTS

    return DIALECTS.get(name)


def whole_number(text: str) -> int | None:
    """The whole number a label gives; None where it gives none, or one with more digits than anything counts."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
