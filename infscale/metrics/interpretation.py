"""Series of a page added up per model.

Which series belong together is worked out once per layout of the page and remembered, because layouts repeat.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from infscale.errors import ExpositionError
from infscale.metrics.exposition import Labels, MetricSpec, Series, SeriesColumns
from infscale.metrics.sample import Histogram
from infscale.metrics.snapshot import frozen

Columns = Mapping[str, SeriesColumns]
Specs = tuple[MetricSpec, ...]
PlanT = TypeVar("PlanT")

# Label sets that remembered layouts hold on to, all together. A page has about ten layouts of up to a few hundred, and
# they change only when models or ranks do.
_REMEMBERED_LABELS = 49_152
_REMEMBERED_IN_SEQUENCES = 16_384


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one model among the series of a sample name."""

    model: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Buckets:
    """The rows of one model's histogram: one line of indices per rank, in the order of `bounds`."""

    model: str
    bounds: tuple[float, ...]
    rows: NDArray[np.intp]


class _Layouts(Generic[PlanT]):
    """Plans by the identity of label sets, which `Selection` keeps equal from page to page.

    A plan keeps the objects it was made for alive, so that an identity is never taken over by another object.
    """

    def __init__(self, make: Callable[[MetricSpec, Sequence[Labels]], Iterator[PlanT]]) -> None:
        self._make = make
        self._known: dict[tuple[int, ...], tuple[tuple[PlanT, ...], object]] = {}
        self._held = 0
        # By the identity of the whole sequence, which `Selection` keeps as well: most pages look like one before.
        self._of_sequence: dict[tuple[int, int], tuple[tuple[PlanT, ...], object]] = {}
        self._held_in_sequences = 0

    def plan(self, spec: MetricSpec, labels: Sequence[Labels]) -> tuple[PlanT, ...]:
        """What `make` says of these series of `spec`."""
        sequence = (id(spec), id(labels))
        found = self._of_sequence.get(sequence)
        if found is None:
            self._held_in_sequences += len(labels)
            if self._held_in_sequences > _REMEMBERED_IN_SEQUENCES:
                self._of_sequence.clear()
                self._held_in_sequences = len(labels)
            found = self._of_sequence[sequence] = (self._planned(spec, labels), (spec, labels))
        return found[0]

    def _planned(self, spec: MetricSpec, labels: Sequence[Labels]) -> tuple[PlanT, ...]:
        key = (id(spec), *map(id, labels))
        known_plan = self._known.get(key)
        if known_plan is None:
            self._held += len(key)
            if self._held > _REMEMBERED_LABELS:
                self._known.clear()
                self._held = len(key)
            known_plan = self._known[key] = (tuple(self._make(spec, labels)), (spec, tuple(labels)))
        return known_plan[0]


class Reader:
    """Adds up series by model.

    `model_label` tells the model of a series; a series counts only if each of `leader_labels` is absent or "0".
    """

    def __init__(self, model_label: str, leader_labels: tuple[str, ...]) -> None:
        self._model_label = model_label
        self._leader_labels = leader_labels
        self._row_layouts = _Layouts(self._rows)
        self._bucket_layouts = _Layouts(self._buckets)
        self._parts: dict[MetricSpec, tuple[MetricSpec, MetricSpec]] = {}

    def totals(self, columns: Columns, specs: Specs) -> dict[str, float] | None:
        """Per model the sum of the first spec that is on the page; NaN where a series is. None: no spec is there."""
        found = self._first(columns, specs)
        if found is None:
            return None
        column, groups = found
        values = column.values
        return {group.model: sum([values[row] for row in group.rows]) for group in groups}

    def each(self, columns: Columns, spec: MetricSpec) -> list[Series]:
        """The series of `spec` that count, one per rank and model."""
        found = self._first(columns, (spec,))
        if found is None:
            return []
        column, groups = found
        return [Series(column.labels[row], column.values[row]) for group in groups for row in group.rows]

    def highest(self, columns: Columns, specs: Specs) -> float | None:
        """The highest value of the first spec on the page; None if there is none or one of its values is NaN."""
        found = self._first(columns, specs)
        if found is None:
            return None
        column, groups = found
        candidates = [column.values[row] for group in groups for row in group.rows]
        return known(math.nan if any(map(math.isnan, candidates)) else max(candidates))

    def histograms(self, columns: Columns, specs: Specs) -> dict[str, Histogram]:
        """Per model the histogram of the first spec on the page, ranks added up; those with NaN counts are left out.

        Raises ExpositionError when buckets do not make a histogram.
        """
        for spec in specs:
            bucket, sum_of = self._histogram_parts(spec)
            column = columns[bucket.name]
            if not column.values:
                continue
            layouts = self._bucket_layouts.plan(bucket, column.labels)
            if layouts:
                return _read(np.array(column.values), layouts, self.totals(columns, (sum_of,)) or {})
        return {}

    def _first(self, columns: Columns, specs: Specs) -> tuple[SeriesColumns, tuple[_Rows, ...]] | None:
        for spec in specs:
            column = columns[spec.name]
            if column.values:
                groups = self._row_layouts.plan(spec, column.labels)
                if groups:
                    return column, groups
        return None

    def _histogram_parts(self, spec: MetricSpec) -> tuple[MetricSpec, MetricSpec]:
        parts = self._parts.get(spec)
        if parts is None:
            parts = (MetricSpec(f"{spec.name}_bucket", spec.labels), MetricSpec(f"{spec.name}_sum", spec.labels))
            self._parts[spec] = parts
        return parts

    def _counting(self, spec: MetricSpec, labels: Sequence[Labels]) -> Iterator[tuple[int, Labels]]:
        """Rows that count, in page order; of rows with equal labels only the last."""
        last = {frozenset(one.items()): row for row, one in enumerate(labels)}
        for row in sorted(last.values()):
            one = labels[row]
            if spec.matches(one) and all(one.get(label, "0") == "0" for label in self._leader_labels):
                yield row, one

    def _rows(self, spec: MetricSpec, labels: Sequence[Labels]) -> Iterator[_Rows]:
        models: dict[str, list[int]] = {}
        for row, one in self._counting(spec, labels):
            models.setdefault(one.get(self._model_label, ""), []).append(row)
        for model, rows in models.items():
            yield _Rows(model, tuple(rows))

    def _buckets(self, spec: MetricSpec, labels: Sequence[Labels]) -> Iterator[_Buckets]:
        models: dict[str, dict[frozenset[tuple[str, str]], dict[float, int]]] = {}
        for row, one in self._counting(spec, labels):
            ranks = models.setdefault(one.get(self._model_label, ""), {})
            rank = frozenset(item for item in one.items() if item[0] != "le")
            ranks.setdefault(rank, {})[_bound(one.get("le", ""), spec)] = row
        for model, ranks in models.items():
            # Counts are cumulative, so they may be added at every bound that all ranks have.
            bounds = sorted(set.intersection(*(set(rows) for rows in ranks.values())))
            if not bounds or bounds[-1] != math.inf:
                raise ExpositionError(f"{spec.name} has no +Inf bucket")
            index = [[rows[bound] for bound in bounds] for rows in ranks.values()]
            yield _Buckets(model, tuple(bounds), np.array(index[0] if len(index) == 1 else index, dtype=np.intp))


def known(value: float) -> float | None:
    """`value` if it can be a quantity: finite and not negative. None otherwise."""
    return value if 0.0 <= value < math.inf else None


def _bound(text: str, spec: MetricSpec) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise ExpositionError(f"{spec.name} has a bucket without a bound")
    return bound


def _read(
    values: NDArray[np.float64], layouts: tuple[_Buckets, ...], sums: Mapping[str, float]
) -> dict[str, Histogram]:
    histograms: dict[str, Histogram] = {}
    for layout in layouts:
        counts = values[layout.rows]
        if counts.ndim > 1:
            counts = counts.sum(axis=0)
        if math.isfinite(float(counts.sum())):
            histograms[layout.model] = Histogram(layout.bounds, frozen(counts), sums.get(layout.model, math.nan))
    return histograms
