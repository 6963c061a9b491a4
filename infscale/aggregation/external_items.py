"""The items of a metric as an external one has them: one for each pool, and for each model where it is split by model.

Readers add the items up. An item without a value makes the whole unknown, because a smaller sum scales down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from infscale.aggregation.across_pools import finite
from infscale.aggregation.label_sets import picked, pools_selected, serves, unsettled
from infscale.labels import Selector
from infscale.metrics.published.answers import group_reading
from infscale.metrics.published.catalogue import PublishedMetric
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import Reading
from infscale.metrics.snapshot import PoolSnapshot

LabelSet = tuple[PoolSnapshot, str | None]
"""A pool, and a model where the metric is split by model."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One value and what it is of."""

    snapshot: PoolSnapshot
    model: str | None
    reading: Reading


@dataclass(frozen=True, slots=True)
class NothingPicked:
    """The selector picks no label set."""


@dataclass(frozen=True, slots=True, eq=False)
class AddedUp:
    """The selector picks several label sets of a metric whose values have no meaning when added."""

    found: Sequence[LabelSet]


@dataclass(frozen=True, slots=True, eq=False)
class NotKnown:
    """The value is unknown now: that of `label_set`, or of all (None)."""

    unknown: Unknown
    label_set: LabelSet | None = None


def external_items(
    metric: PublishedMetric, snapshots: Sequence[PoolSnapshot], selector: Selector, now: float
) -> tuple[Item, ...] | NothingPicked | AddedUp | NotKnown:
    """The items that `selector` picks of `metric` in the pools of `snapshots`, or why there are none."""
    relevant = pools_selected(snapshots, selector)
    chosen = picked(metric, relevant, selector)
    if not chosen:
        return NothingPicked()
    # A label set without a ready endpoint has no share in a sum; one alone is unknown.
    served = [each for each in chosen if serves(metric, *each)] or chosen
    if len(served) > 1 and not metric.adds_up:
        return AddedUp(served)
    cold = unsettled(metric, relevant)
    if cold is not None:
        return NotKnown(cold)
    items: list[Item] = []
    for snapshot, model in served:
        reading = group_reading(metric, snapshot, now, model)
        reading = reading if isinstance(reading, Unknown) else finite(reading)
        if isinstance(reading, Unknown):
            return NotKnown(reading, (snapshot, model))
        items.append(Item(snapshot, model, reading))
    return tuple(items)
