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
    seconds = {row.labels.get(label, ""): age_of(row) for row in ages}
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
            readings[name] = Reading(row.value, at - seconds.get(name, 0.0))
    return Evaluated(at, objects=readings, unknown=unknown)


def of_label_sets(rows: Sequence[Row], ages: Sequence[Row], at: float) -> Evaluated:
    """The readings of all rows; `ages` are those of the rows by their labels, or one without labels for all."""
    seconds = {label_set(row.labels): age_of(row) for row in ages}
    of_all = seconds.get((), 0.0)
    readings: dict[LabelSet, Reading] = {}
    unknown: dict[str, str] = {}
    for row in rows:
        labels = label_set(row.labels)
        if math.isnan(row.value):
            unknown[shown(row.labels)] = _NOT_A_NUMBER
        else:
            readings[labels] = Reading(row.value, at - seconds.get(labels, of_all))
    return Evaluated(at, label_sets=readings, unknown=unknown)


def label_set(labels: Labels) -> LabelSet:
    """Labels as a key."""
    return tuple(sorted(labels.items()))


def shown(labels: Mapping[str, str]) -> str:
    """Labels for people."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or "without labels"


def age_of(row: Row) -> float:
    """How old the series of a row were when they were asked for, by the server's clock alone; 0 where it is unknown."""
    return 0.0 if math.isnan(row.value) else max(0.0, row.at - row.value)
