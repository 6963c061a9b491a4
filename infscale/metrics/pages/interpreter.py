"""From a page in an engine's words to an `EngineSample`: which dialect it is in, and what its rows mean in that."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from infscale.errors import ExpositionError
from infscale.memo import MemoKey
from infscale.metrics.gauges import ENGINE_GAUGES, EngineGauges
from infscale.metrics.pages.bounds import (
    ATTRIBUTE,
    COUNT,
    MAX_LORA_NAMES,
    MAX_MODELS,
    MAX_NAME_LENGTH,
    OF_UNIT,
    REQUESTS,
    TOKENS,
    Bounds,
)
from infscale.metrics.pages.dialect import CacheNumber, Dialect, whole_number
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.exposition import Labels, Layout, MetricSpec, Selected, Selection, Series
from infscale.metrics.pages.interpretation import (
    CountPlan,
    GaugeRows,
    LayoutReader,
    Refused,
    Rows,
    Specs,
    taken,
)
from infscale.metrics.sample import (
    NO_ATTRIBUTES,
    NO_REFUSALS,
    EngineSample,
    LoraState,
    ModelLoad,
)


class NobodyCounted(ExpositionError):
    """The page is an average over no server: its values are left over from servers that are gone."""


class MissingMetrics(ExpositionError):
    """The page is well formed but has none of what is read of an engine over time: another page was meant."""


def detect(page: bytes, dialects: Iterable[Dialect] = tuple(DIALECTS.values())) -> Dialect | None:
    """The first dialect whose waiting or running requests are on the page, else of which anything is; None: none.

    Raises ExpositionError for a truncated or malformed page.
    """
    candidates = tuple(dialects)
    for of_each in ([(one, one.loads) for one in candidates], [(one, one.signals) for one in candidates]):
        found = Selection([name for _, names in of_each for name in names]).read(page).layout.rows
        for one, names in of_each:
            if any(name in found for name in names):
                return one
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Where on pages of one layout a dialect's words stand; None and empty: nowhere."""

    gauges: EngineGauges[GaugeRows | None]
    block_size: tuple[tuple[CacheNumber, tuple[tuple[int, Labels], ...]], ...]
    num_blocks: tuple[tuple[CacheNumber, tuple[tuple[int, Labels], ...]], ...]
    counts: CountPlan
    attributes: tuple[tuple[str, int], ...]
    members: GaugeRows | None
    awake: Rows
    asleep: Rows
    start_time: Rows

    @property
    def loads(self) -> tuple[GaugeRows | None, GaugeRows | None, GaugeRows | None]:
        """What is told of each model: requests that wait and run, and the tokens of those that wait."""
        return self.gauges.waiting, self.gauges.running, self.gauges.waiting_tokens

    @property
    def says_nothing(self) -> bool:
        """Whether the page has nothing that changes while an engine works."""
        return self.counts.is_empty and all(gauge is None for gauge in self.gauges)

    @classmethod
    def of(cls, dialect: Dialect, layout: Layout) -> "_Plan":
        """The plan for pages of `layout`. Raises ExpositionError when buckets do not make a histogram."""
        reader = LayoutReader(layout, dialect.model_label, dialect.scheduler_label)

        def found(specs: Specs, *, is_ratio: bool) -> GaugeRows | None:
            groups = reader.groups(specs)
            return None if groups is None else GaugeRows.of(groups, is_ratio=is_ratio)

        plan = cls(
            gauges=EngineGauges(
                *[
                    found(specs, is_ratio=gauge.is_ratio)
                    for gauge, specs in zip(ENGINE_GAUGES, dialect.gauges, strict=True)
                ]
            ),
            block_size=tuple((each, tuple(reader.series(each.spec))) for each in dialect.block_size),
            num_blocks=tuple((each, tuple(reader.series(each.spec))) for each in dialect.num_blocks),
            counts=CountPlan(
                [
                    ((name, model), rows)
                    for name, specs in dialect.counters.items()
                    for model, rows in reader.groups(specs) or ()
                ],
                [each for name, specs in dialect.histograms.items() for each in reader.histograms(name, specs)],
            ),
            attributes=tuple((name, rows[0]) for name, spec in dialect.attributes if (rows := reader.rows((spec,)))),
            members=found(dialect.members, is_ratio=False),
            awake=_rows_of_all(reader, dialect.awake),
            asleep=_rows_of_all(reader, dialect.asleep),
            start_time=_rows_of_all(reader, dialect.start_time),
        )
        loads = [each.groups for each in plan.loads if each is not None]
        models = {model for groups in loads for model, _ in groups} | plan.counts.models
        if len(models) > MAX_MODELS:
            raise ExpositionError(f"page with more than {MAX_MODELS} models")
        return plan


_PLAN: Final = MemoKey[_Plan | ExpositionError]("plan")


class Interpreter:
    """Turns pages of one dialect into samples; remembers label sets and what follows from layouts from page to page.

    One per dialect is enough: endpoints of one pool share most label strings. Not for use by several threads at once.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.names = dialect.names
        self._selection = Selection(self.names, apart=_apart(dialect))

    def interpret(self, page: bytes, *, whole: bool = True) -> EngineSample:
        """The sample `page` holds; `whole` as in `Selection.read`.

        What is absent is None or left out, and so is what is not within its bounds, of which `refused` says why. Raises
        MissingMetrics when the page has neither loads nor counters nor histograms, NobodyCounted when it is an average
        over none, ExpositionError when it is truncated or malformed.
        """
        selected = self._selection.read(page, whole=whole)
        values, plan = selected.values, self._plan(selected.layout)
        if plan.members is not None and not plan.members.of_all(values) > 0.0:
            raise NobodyCounted("the page is an average over no endpoint")
        if plan.says_nothing:
            raise MissingMetrics(f"no {self.dialect.name} metrics on the page")
        block_size = next(iter(_counts(plan.block_size, values)), None)
        blocks = _counts(plan.num_blocks, values)
        refused: Refused = {}
        gauges = _gauges(plan, values, refused)
        if gauges[_KV_USED_TOKENS] is None and gauges[_KV_UTILIZATION] is not None:
            used = _kv_used_tokens(plan, values, blocks, block_size)
            gauges[_KV_USED_TOKENS] = taken("kv_used_tokens", used, TOKENS, refused)
        return EngineSample(
            EngineGauges(*gauges),
            models=_model_loads(plan, values),
            lora=self._lora(selected, refused),
            block_size_tokens=block_size,
            num_blocks=sum(blocks) or None,
            counts=plan.counts.read(values, refused),
            fingerprint=selected.fingerprint,
            attributes=_attributes(plan, values) if plan.attributes else NO_ATTRIBUTES,
            refused=refused or NO_REFUSALS,
            asleep=_asleep(plan, values),
            started_at=_started_at(plan, values),
        )

    def _lora(self, selected: Selected, refused: Refused) -> LoraState | None:
        spec, loaded_spec = self.dialect.lora, self.dialect.lora_loaded
        state = None if spec is None else _lora_state(selected.series(spec.name), spec)
        if loaded_spec is not None:
            loaded = _loaded(selected.series(loaded_spec.name), loaded_spec)
            if loaded:
                state = replace(state or _NO_LORA, loaded=loaded)
        if state is None:
            return None
        names = state.names
        if len(names) > MAX_LORA_NAMES:
            refused["lora"] = f"the page names {len(names)} LoRA adapters, more than {MAX_LORA_NAMES}"
        elif any([len(name) > MAX_NAME_LENGTH for name in names]):
            refused["lora"] = f"the page names a LoRA adapter by more than {MAX_NAME_LENGTH} letters"
        return None if "lora" in refused else state

    def _plan(self, layout: Layout) -> _Plan:
        plan = layout.derived.get(_PLAN)
        if plan is None:
            try:
                plan = _Plan.of(self.dialect, layout)
            except ExpositionError as error:
                # Why there is none does not change either.
                plan = ExpositionError(*error.args)
            layout.derived.keep(_PLAN, plan)
        if isinstance(plan, ExpositionError):
            raise ExpositionError(*plan.args)
        return plan


def interpret(page: bytes, dialect: Dialect, *, whole: bool = True) -> EngineSample:
    """The sample of one page, as `Interpreter.interpret`, which a reader of many pages keeps instead."""
    return Interpreter(dialect).interpret(page, whole=whole)


# What `_gauges` asks of each gauge.
_EACH: Final[tuple[tuple[str, Bounds], ...]] = tuple(
    [(name, OF_UNIT[gauge.unit]) for name, gauge in zip(EngineGauges._fields, ENGINE_GAUGES, strict=True)]
)


_KV_UTILIZATION: Final = EngineGauges._fields.index("kv_utilization")
_KV_USED_TOKENS: Final = EngineGauges._fields.index("kv_used_tokens")


def _gauges(plan: _Plan, values: Sequence[float], refused: Refused) -> list[float | None]:
    """The gauges that the page has, in their order; `refused` says why others that it has are not taken."""
    found: list[float | None] = []
    for (name, bounds), rows in zip(_EACH, plan.gauges, strict=True):
        found.append(None if rows is None else taken(name, rows.of_all(values), bounds, refused))
    return found


def _kv_used_tokens(
    plan: _Plan, values: Sequence[float], blocks: Sequence[int], block_size: int | None
) -> float | None:
    """Tokens in the KV caches of all ranks, which are of one size, by their utilisation; None: not to be known."""
    used, utilization = plan.gauges.kv_used_tokens, plan.gauges.kv_utilization
    if used is not None or utilization is None or not blocks or not block_size:
        return None
    return sum([values[row] for row in utilization.rows]) * sum(blocks) / len(blocks) * block_size


def _rows_of_all(reader: LayoutReader, specs: Specs) -> Rows:
    """The rows of every one of `specs`, not of the first alone."""
    return tuple(row for spec in specs for row in reader.rows((spec,)) or ())


def _asleep(plan: _Plan, values: Sequence[float]) -> bool:
    """Whether the engine says that it sleeps; one rank that does is enough, because a request may go to it."""
    return any([values[row] == 0.0 for row in plan.awake]) or any([values[row] > 0.0 for row in plan.asleep])


def _started_at(plan: _Plan, values: Sequence[float]) -> float | None:
    """When the newest process of the page started; None where it does not say, or says what cannot be."""
    times = [values[row] for row in plan.start_time if COUNT.hold(values[row])]
    return max(times, default=None)


def _attributes(plan: _Plan, values: Sequence[float]) -> dict[str, float]:
    return {name: values[row] for name, row in plan.attributes if ATTRIBUTE.hold(values[row])}


def _counts(
    sources: Iterable[tuple[CacheNumber, tuple[tuple[int, Labels], ...]]], values: Sequence[float]
) -> list[int]:
    """Positive whole numbers of the first source that has any, one per rank."""
    for source, series in sources:
        counts = [source.of(labels, values[row]) for row, labels in series]
        if any(counts):
            return [count for count in counts if count]
    return []


def _model_loads(plan: _Plan, values: Sequence[float]) -> dict[str, ModelLoad]:
    waiting, running, tokens = [{} if each is None else each.by_model(values) for each in plan.loads]
    models = dict.fromkeys((*waiting, *running))
    return {
        model: ModelLoad(_of(model, waiting, REQUESTS), _of(model, running, REQUESTS), _of(model, tokens, TOKENS))
        for model in models
    }


def _of(model: str, numbers: Mapping[str, float], bounds: Bounds) -> float | None:
    value = numbers.get(model, math.nan)
    return value if bounds.lowest <= value <= bounds.highest else None


def _apart(dialect: Dialect) -> tuple[str, ...]:
    """The name whose labels are others on every page, if nothing else is read from it."""
    lora = dialect.lora
    if lora is None or lora.name in replace(dialect, lora=None).names:
        return ()
    return (lora.name,)


def _lora_state(series: Sequence[Series], spec: MetricSpec) -> LoraState | None:
    """The series whose value, the time it was last true, is the newest; an engine leaves old ones on the page."""
    dated = [
        (each.value, place)
        for place, each in enumerate(series)
        if math.isfinite(each.value) and spec.matches(each.labels)
    ]
    if not dated:
        return None
    labels = series[max(dated)[1]].labels
    return LoraState(
        running=_comma_separated(labels.get("running_lora_adapters", "")),
        waiting=_comma_separated(labels.get("waiting_lora_adapters", "")),
        max_adapters=whole_number(labels.get("max_lora", "")),
    )


_NO_LORA: Final = LoraState(frozenset(), frozenset(), None)


def _loaded(series: Sequence[Series], spec: MetricSpec) -> frozenset[str]:
    """The LoRA adapters with a series that is not 0; one that is loaded in several places has several."""
    return frozenset(
        name
        for each in series
        if each.value > 0 and spec.matches(each.labels)
        if (name := each.labels.get("adapter_name") or each.labels.get("lora_name", ""))
    )


def _comma_separated(text: str) -> frozenset[str]:
    return frozenset(name for name in map(str.strip, text.split(",")) if name)
