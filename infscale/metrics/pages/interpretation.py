"""What the rows of a page mean: which are added up for which model, and which make up a histogram.

That follows from the layout of the page, and layouts repeat: it is worked out once for each, as indices.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from infscale.errors import ExpositionError
from infscale.metrics.pages.bounds import (
    COUNT,
    MAX_BUCKETS,
    MAX_COUNTS,
    MAX_MODELS,
    MAX_NAME_LENGTH,
    MAX_RANK_LABELS,
    MAX_RANKS,
    Bounds,
    ratio,
)
from infscale.metrics.pages.exposition import Labels, Layout, MetricSpec
from infscale.metrics.sample import (
    NO_COUNTS,
    CounterKey,
    CountLayout,
    Counts,
    FloatArray,
    HistogramKey,
    HistogramName,
)
from infscale.metrics.snapshot import frozen

Specs = tuple[MetricSpec, ...]
Rows = tuple[int, ...]
Groups = tuple[tuple[str, Rows], ...]
"""Models, each with its rows."""
_ValueT = TypeVar("_ValueT")
Refused = dict[str, str]
"""What a page said that is not taken: the causes, by the names under which it would have been."""

_Rank = tuple[tuple[int, str], ...]
_RANK: Final = "_rank"
_FIRST_RANK: Final = "tp_rank"
_MOST_DIGITS: Final = 9


class LayoutReader:
    """Finds the rows that count on pages of one layout.

    `model_label` tells the model of a series. `scheduler_label` numbers schedulers with queues of their own: any other
    label named ``…_rank`` then numbers processes of one scheduler that all report the same, and the lowest counts.
    """

    def __init__(self, layout: Layout, model_label: str, scheduler_label: str | None) -> None:
        self._layout = layout
        self._model_label = model_label
        self._scheduler_label = scheduler_label

    def series(self, spec: MetricSpec) -> list[tuple[int, Labels]]:
        """Rows of `spec` that count, in page order; of rows with equal labels only the last."""
        rows, labels = self._layout.rows.get(spec.name, ()), self._layout.labels.get(spec.name, ())
        last = {frozenset(one.items()): place for place, one in enumerate(labels)}
        found = [(rows[place], labels[place]) for place in sorted(last.values()) if spec.matches(labels[place])]
        return found if self._scheduler_label is None else self._leading(found, self._scheduler_label)

    def _leading(self, series: list[tuple[int, Labels]], scheduler_label: str) -> list[tuple[int, Labels]]:
        """Those that the lowest rank of each scheduler, and of each model, reports."""
        names = {name for _, labels in series for name in labels if name.endswith(_RANK) and name != scheduler_label}
        _check("page", "labels that number ranks", len(names), MAX_RANK_LABELS)
        # The engine numbers tensor-parallel ranks through all others, so that they come first.
        order = sorted(names, key=lambda name: (name != _FIRST_RANK, name))
        lowest: dict[tuple[str, str], _Rank] = {}
        found: list[tuple[tuple[str, str], _Rank]] = []
        for _, labels in series:
            group = (labels.get(scheduler_label, ""), labels.get(self._model_label, ""))
            rank = tuple([_number(labels.get(name, "")) for name in order])
            found.append((group, rank))
            if group not in lowest or rank < lowest[group]:
                lowest[group] = rank
        return [each for each, (group, rank) in zip(series, found, strict=True) if rank == lowest[group]]

    def groups(self, specs: Specs) -> Groups | None:
        """The rows of the first of `specs` that is on the page, by model; None where none is.

        Raises ExpositionError when there are too many models, or rows of one.
        """
        for spec in specs:
            models: dict[str, list[int]] = {}
            for row, labels in self.series(spec):
                self._of_model(models, labels, []).append(row)
            if models:
                _check(spec.name, "series of one model", max(map(len, models.values())), MAX_RANKS)
                return tuple((model, tuple(rows)) for model, rows in models.items())
        return None

    def _of_model(self, models: dict[str, _ValueT], labels: Labels, new: _ValueT) -> _ValueT:
        """What `models` has of the model that a series is about, `new` from now on where it has nothing."""
        model = labels.get(self._model_label, "")
        known = models.get(model)
        if known is not None:
            return known
        _check("page", "models", len(models) + 1, MAX_MODELS)
        _check("page", "letters in the name of a model", len(model), MAX_NAME_LENGTH)
        models[model] = new
        return new

    def rows(self, specs: Specs) -> Rows | None:
        """As `groups`, whatever the model."""
        groups = self.groups(specs)
        return None if groups is None else tuple(row for _, rows in groups for row in rows)

    def histograms(self, name: HistogramName, specs: Specs) -> list["Buckets"]:
        """The histograms of the first of `specs` that is on the page, one per model.

        Raises ExpositionError when buckets do not make a histogram.
        """
        for spec in specs:
            found = list(self._buckets(name, spec))
            if found:
                return found
        return []

    def _buckets(self, name: HistogramName, spec: MetricSpec) -> Iterator["Buckets"]:
        models: dict[str, dict[frozenset[tuple[str, str]], dict[float, int]]] = {}
        for row, labels in self.series(MetricSpec(f"{spec.name}_bucket", spec.labels)):
            ranks = self._of_model(models, labels, {})
            rank = frozenset(item for item in labels.items() if item[0] != "le")
            ranks.setdefault(rank, {})[_bound(labels.get("le", ""), spec)] = row
        sums = dict(self.groups((MetricSpec(f"{spec.name}_sum", spec.labels),)) or ())
        for model, ranks in models.items():
            # Counts are cumulative, so they may be added at every bound that all ranks have.
            _check(spec.name, "ranks", len(ranks), MAX_RANKS)
            bounds = sorted(set.intersection(*(set(rows) for rows in ranks.values())))
            _check(spec.name, "buckets", len(bounds), MAX_BUCKETS)
            if not bounds or bounds[-1] != math.inf:
                raise ExpositionError(f"{spec.name} has no +Inf bucket")
            rows = [[rows[bound] for bound in bounds] for rows in ranks.values()]
            yield Buckets((name, model), tuple(bounds), rows, sums.get(model, ()))


def _number(rank: str) -> tuple[int, str]:
    """A rank in order; a series without the label speaks for rank 0, and what is no number comes last."""
    if rank.isascii() and rank.isdigit() and len(rank) <= _MOST_DIGITS:
        return int(rank), ""
    return (10**_MOST_DIGITS, rank) if rank else (0, "")


def _check(what: str, of: str, count: int, most: int) -> None:
    if count > most:
        raise ExpositionError(f"{what} with more than {most} {of}")


def _bound(text: str, spec: MetricSpec) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise ExpositionError(f"{spec.name} has a bucket without a bound")
    return bound


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Where one histogram stands: a line of rows for each rank, in the order of `bounds`, and the rows of its sums."""

    key: HistogramKey
    bounds: tuple[float, ...]
    ranks: Sequence[Sequence[int]]
    sums: Rows


class CountPlan:
    """Reads all counters and histograms of a page at once, ranks added up."""

    def __init__(self, counters: Sequence[tuple[CounterKey, Rows]], histograms: Sequence[Buckets]) -> None:
        self._layout = CountLayout(
            tuple(key for key, _ in counters), tuple((each.key, each.bounds) for each in histograms)
        )
        _check("page", "counters, buckets and sums", self._layout.width, MAX_COUNTS)
        # The rows that are added up to each number, one number after the other.
        parts: list[Rows] = [rows for _, rows in counters]
        for each in histograms:
            parts += zip(*each.ranks, strict=True)
        parts += [each.sums or (_NAN,) for each in histograms]
        self._rows: NDArray[np.intp] = np.array(list(chain.from_iterable(parts)), dtype=np.intp)
        starts = list(accumulate([len(part) for part in parts[:-1]], initial=0))
        self._starts = np.array(starts, dtype=np.intp) if len(self._rows) > len(parts) else None

    @property
    def models(self) -> set[str]:
        """The models that anything is counted of."""
        return {model for _, model in self._layout.counters} | {model for (_, model), _ in self._layout.histograms}

    @property
    def is_empty(self) -> bool:
        """Whether pages have neither counters nor histograms."""
        return not self._layout.width

    def read(self, values: Sequence[float], refused: Refused) -> Counts:
        """The counts of a page with these values; those that can be none are left out, and `refused` says why."""
        layout = self._layout
        if not layout.width:
            return NO_COUNTS
        # By way of an array of Python's: numpy looks at each object of a list several times.
        together = array("d", values)
        together.append(math.nan)
        row: FloatArray = np.frombuffer(together)[self._rows]
        if self._starts is not None:
            with np.errstate(invalid="ignore", over="ignore"):
                row = np.add.reduceat(row, self._starts)
        if int(np.maximum.reduce(row.view(np.uint64))) > _HIGHEST_BITS:
            layout, row = _possible(layout, row, refused)
        return Counts(layout, frozen(row)) if layout.width else NO_COUNTS


_NAN: Final = -1
"""Where there is one behind the values of a page."""
# As whole numbers, the bits of floats that are not negative are in the order of these; those of negative ones,
# infinities and NaN stand above. So one pass tells whether all is well.
_HIGHEST_BITS: Final = int(np.float64(COUNT.highest).view(np.uint64))


def _possible(layout: CountLayout, row: FloatArray, refused: Refused) -> tuple[CountLayout, FloatArray]:
    """The counts of `row` that can be counts, and sums that cannot be sums as NaN, as if they were not published.

    Of histograms those whose buckets can be counts. `refused` gets the others.
    """
    possible = (row >= COUNT.lowest) & (row <= COUNT.highest)
    row = np.concatenate(
        (row[: layout.first_sum], np.where(possible[layout.first_sum :], row[layout.first_sum :], math.nan))
    )
    if possible[: layout.first_sum].all():
        return layout, row
    counters = [place for place in range(len(layout.counters)) if possible[place]]
    numbers = [number for number, place in enumerate(layout.buckets) if possible[place].all()]
    wrong = (~possible[: layout.first_sum]).nonzero()[0].tolist()
    for place in wrong:
        number = bisect_right(layout.buckets, place, key=_start) - 1
        name = layout.counters[place][0] if number < 0 else layout.histograms[number][0][0]
        refused.setdefault(name, COUNT.cause(float(row[place])))
    places = [*counters]
    for number in numbers:
        places += range(layout.buckets[number].start, layout.buckets[number].stop)
    places += [layout.first_sum + number for number in numbers]
    reduced = CountLayout(
        tuple(layout.counters[place] for place in counters), tuple(layout.histograms[number] for number in numbers)
    )
    return reduced, row[places]


def _start(place: slice) -> int:
    return int(place.start)


@dataclass(frozen=True, slots=True, eq=False)
class GaugeRows:
    """Where a gauge stands on a page, by model; of a ratio the highest value counts, of anything else the sum."""

    groups: Groups
    rows: Rows
    is_ratio: bool

    @classmethod
    def of(cls, groups: Groups, *, is_ratio: bool) -> "GaugeRows":
        """Of the rows of each model."""
        return cls(groups, tuple([row for _, rows in groups for row in rows]), is_ratio)

    def by_model(self, values: Sequence[float]) -> dict[str, float]:
        """The sums of models; where a value is NaN or negative, one that is."""
        return {
            model: values[rows[0]] if len(rows) == 1 else _sum([values[row] for row in rows])
            for model, rows in self.groups
        }

    def of_all(self, values: Sequence[float]) -> float:
        """The value of all models together; where one that it is made of cannot be, one that cannot."""
        of_rows = [values[row] for row in self.rows]
        return _highest(of_rows) if self.is_ratio else _sum(of_rows)


def _sum(parts: Sequence[float]) -> float:
    """The sum of what cannot be negative; where something is, or is NaN, that."""
    lowest = min(parts)
    return sum(parts) if lowest >= 0.0 else lowest


def _highest(shares: Sequence[float]) -> float:
    """The highest of `shares`; where one of them is none, that one."""
    for each in shares:
        if ratio(each) is None:
            return each
    return min(max(shares), 1.0)


def taken(name: str, value: float | None, bounds: Bounds, refused: Refused) -> float | None:
    """`value` where it is within `bounds`; else None, and `refused` says under `name` why."""
    if value is None or bounds.lowest <= value <= bounds.highest:
        return value
    refused[name] = bounds.cause(value)
    return None
