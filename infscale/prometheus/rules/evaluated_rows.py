"""From the rows of two answers, the values and the times of their samples, to readings; pure code."""

import math
from collections.abc import Mapping, Sequence

from infscale.metrics.sample import Reading
from infscale.prometheus.api_answer import Labels, Row
from infscale.prometheus.rules.asked_board import Evaluated, LabelSet

_NOT_A_NUMBER = "its value is no finite number (NaN or infinite, as after a division by zero)"


def of_objects(rows: Sequence[Row], ages: Sequence[Row], label: str, names: Sequence[str], at: float) -> Evaluated:
    """The readings of the objects `names`, which `label` of a row tells apart; `at` is when it was asked.

    Of several rows of one object the last counts, as in prometheus-adapter. What no row speaks of is unknown.
    """
    wanted = dict.fromkeys(names)
    known = Ages(ages)
    readings: dict[str, Reading] = {}
    unknown: dict[str, str] = {}
    for row in rows:
        name = row.labels.get(label, "")
        if name not in wanted:
            continue
        if math.isnan(row.value):
            readings.pop(name, None)
            unknown[name] = _NOT_A_NUMBER
        else:
            unknown.pop(name, None)
            readings[name] = Reading(row.value, at - known.of(row.labels))
    return Evaluated(at, objects=readings, unknown=unknown)


def of_label_sets(rows: Sequence[Row], ages: Sequence[Row], at: float) -> Evaluated:
    """The readings of all rows; `ages` are as in `Ages`."""
    known = Ages(ages)
    readings: dict[LabelSet, Reading] = {}
    unknown: dict[str, str] = {}
    for row in rows:
        labels = label_set(row.labels)
        if math.isnan(row.value):
            unknown[shown(row.labels)] = _NOT_A_NUMBER
        else:
            readings[labels] = Reading(row.value, at - known.of(row.labels))
    return Evaluated(at, label_sets=readings, unknown=unknown)


class Ages:
    """How old the samples behind rows were, by rows that say when these were taken.

    Such a row speaks of all rows that have its labels, whatever others they have; without labels, of all.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._seconds: dict[tuple[str, ...], dict[LabelSet, float]] = {}
        for row in rows:
            labels = label_set(row.labels)
            of_names = self._seconds.setdefault(tuple([name for name, _ in labels]), {})
            of_names[labels] = max(_age(row), of_names.get(labels, 0.0))

    def of(self, labels: Labels) -> float:
        """Seconds; that of the oldest where several speak of it, 0 where none does."""
        found = [
            of_names.get(tuple([(name, labels.get(name, "")) for name in names]), 0.0)
            for names, of_names in self._seconds.items()
        ]
        return max(found, default=0.0)


def label_set(labels: Labels) -> LabelSet:
    """Labels as a key."""
    return tuple(sorted(labels.items()))


def shown(labels: Mapping[str, str]) -> str:
    """Labels for people."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or "without labels"


def _age(row: Row) -> float:
    """How old the series of a row were when they were asked for, by the server's clock alone; 0 where it is unknown."""
    return 0.0 if math.isnan(row.value) else max(0.0, row.at - row.value)
