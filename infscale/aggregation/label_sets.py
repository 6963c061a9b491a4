"""Pools and models that a value is told apart by: the labels it has, and which of them a metric selector picks."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from infscale.errors import SeveralModels
from infscale.labels import Selector, model_key
from infscale.metrics.published import answers
from infscale.metrics.published.answers import models, serving
from infscale.metrics.published.catalogue import PublishedMetric
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.snapshot import PoolSnapshot, count_of

POOL, MODEL, MODEL_KEY = "pool", "model", "model_key"
"""Labels of every metric; the last two only where it is split by model."""
MODEL_NAME = "model_name"
"""What engines call the model: a selector may say it instead of `MODEL_KEY`. No answer has it."""
OF_MODEL = frozenset({MODEL, MODEL_KEY, MODEL_NAME})
"""Labels by which a selector picks a model."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The pools a metric selector leaves, and the one model it picks (None: all of them)."""

    snapshots: tuple[PoolSnapshot, ...]
    model: str | None


def labels_of(snapshot: PoolSnapshot, model: str | None) -> dict[str, str]:
    """The labels a value has; the model's name as it is, and its key for selectors."""
    labels = {POOL: snapshot.pool.name}
    if model is not None:
        labels |= {MODEL: model, MODEL_KEY: model_key(model)}
    return labels


def selectable(snapshot: PoolSnapshot, model: str | None) -> dict[str, str]:
    """The labels by which a value can be selected: those it has, and the model once more as engines call it."""
    labels = labels_of(snapshot, model)
    return labels if model is None else labels | {MODEL_NAME: labels[MODEL_KEY]}


def label_sets(metric: PublishedMetric, snapshot: PoolSnapshot) -> tuple[str | None, ...]:
    """The models `metric` is split by in this pool, those that are only in flight included."""
    found = models(metric, snapshot)
    if not metric.by_requested_model:
        return found
    # What is in flight for no model that an endpoint serves is booked under "".
    named = dict.fromkeys((*found, *filter(None, snapshot.in_flight_models)))
    if len(named) > 1:
        named.pop(None, None)
    return tuple(named)


def picked(
    metric: PublishedMetric, snapshots: Iterable[PoolSnapshot], selector: Selector
) -> list[tuple[PoolSnapshot, str | None]]:
    """The label sets of `metric` that a metric selector picks, each as its pool and its model."""
    return [
        (snapshot, model)
        for snapshot in snapshots
        for model in label_sets(metric, snapshot)
        if selector.matches(selectable(snapshot, model))
    ]


def choose(metric: PublishedMetric, snapshots: Iterable[PoolSnapshot], selector: Selector) -> Choice:
    """What a metric selector picks for values that cannot show labels; no snapshots when it matches nothing.

    Raises `SeveralModels` when it picks several: their values have no common meaning for every metric.
    """
    if not any(requirement.key in OF_MODEL for requirement in selector.requirements):
        kept = (snapshot for snapshot in snapshots if selector.matches(labels_of(snapshot, None)))
        return Choice(tuple(kept), None)
    pairs = [(snapshot, model) for snapshot, model in picked(metric, snapshots, selector) if model is not None]
    named = {model for _, model in pairs}
    if len(named) > 1:
        raise SeveralModels(len(named))
    return Choice(tuple(snapshot for snapshot, _ in pairs), named.pop() if named else None)


def pools_selected(snapshots: Iterable[PoolSnapshot], selector: Selector) -> tuple[PoolSnapshot, ...]:
    """The pools that fulfil what `selector` says about the pool, whatever it says about models."""
    conditions = [requirement for requirement in selector.requirements if requirement.key == POOL]
    return tuple(
        snapshot
        for snapshot in snapshots
        if all(condition.matches({POOL: snapshot.pool.name}) for condition in conditions)
    )


def serves(metric: PublishedMetric, snapshot: PoolSnapshot, model: str | None) -> bool:
    """Whether a ready endpoint stands behind this label set, so that its value matters to a sum."""
    if metric.source.of_requests or metric.of_pool:
        return True
    columns = snapshot.columns
    if not metric.per_model or model is None:
        return bool(columns.ready.any())
    return bool((columns.ready & serving(snapshot, model)).any())


def blind(snapshots: Iterable[PoolSnapshot]) -> Unknown | None:
    """Why the models of these pools are not all known: an endpoint was never read, or none is ready."""
    for snapshot in snapshots:
        ready = snapshot.columns.ready
        unread = count_of(ready & np.isneginf(snapshot.columns.observed_at))
        if unread:
            return Unknown(f"{unread} of {count_of(ready)} ready endpoints of {snapshot.pool} were never read")
        if not ready.any():
            return Unknown(f"{snapshot.pool} has no ready endpoint")
    return None


def unsettled(metric: PublishedMetric, snapshots: Iterable[PoolSnapshot]) -> Unknown | None:
    """Whether a metric is asked of a pool before all ready endpoints gave the value that is waited for, or failed."""
    each = (answers.unsettled(metric, snapshot, snapshot.columns.ready) for snapshot in snapshots)
    return next(filter(None, each), None)
