"""From the rows of a query of ours to readings of pods, pools and models; pure code."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from infscale.endpoint import ObjectKey
from infscale.metrics.queried import Queried
from infscale.metrics.sample import Reading
from infscale.prometheus.api_answer import Labels, Row
from infscale.prometheus.query_settings import QueryInstance, QuerySettings
from infscale.prometheus.rules.evaluated_rows import Ages, shown

Target = tuple[ObjectKey, str | None]
"""A pod, or a pool (with None) or one of its models."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer tells; `problem` is the first row that tells nothing, and why."""

    readings: Mapping[Target, Reading] = field(default_factory=dict[Target, Reading])
    problem: str | None = None


def told(settings: QuerySettings, instance: QueryInstance, rows: Sequence[Row], ages: Sequence[Row], at: float) -> Told:
    """The readings of `rows`, which were asked for at second `at`; `ages` have when their samples were taken.

    A row of which that is not known is as old as the evaluation.
    """
    known = Ages(ages)
    readings: dict[Target, Reading] = {}
    problems: list[str] = []
    twice: set[Target] = set()
    for row in rows:
        target = _target(settings, instance, row.labels)
        if isinstance(target, str):
            problems.append(target)
        elif math.isnan(row.value):
            problems.append(f"the value of {shown(row.labels)} is no finite number")
        elif target in readings:
            problems.append(f"several rows are of {_named(target)}: aggregate them in the query")
            twice.add(target)
        else:
            readings[target] = Reading(row.value, at - known.of(row.labels))
    # Which of them is meant is not known: none.
    once = {target: each for target, each in readings.items() if target not in twice}
    return Told(once, problems[0] if problems else None)


def _named(target: Target) -> str:
    key, model = target
    return str(key) if model is None else f"{model} of {key}"


def _target(settings: QuerySettings, instance: QueryInstance, labels: Labels) -> Target | str:
    """What a row is of, or why that cannot be told."""
    names = settings.labels
    if settings.of == "pod":
        key = _key(labels, names.namespace, names.pod, instance.pool)
        return key if isinstance(key, str) else (key, None)
    key = instance.pool or _key(labels, names.namespace, names.pool, None)
    if isinstance(key, str):
        return key
    if settings.of == "pool":
        return key, None
    model = instance.model or labels.get(names.model, "")
    return (key, model) if model else f"a row has no label {names.model}: {shown(labels)}"


def _key(labels: Labels, namespace_label: str, name_label: str, pool: ObjectKey | None) -> ObjectKey | str:
    namespace = labels.get(namespace_label) or (pool.namespace if pool is not None else "")
    name = labels.get(name_label, "")
    if namespace and name:
        return ObjectKey(namespace, name)
    missing = name_label if namespace else namespace_label
    return f"a row has no label {missing}: {shown(labels)}"


def covers(settings: QuerySettings, instance: QueryInstance, target: Target, pods: Sequence[ObjectKey]) -> bool:
    """Whether an instance asks for `target`, so that its failure leaves what was known of it; `pods` are its pool's."""
    key, model = target
    if instance.pool is None:
        return True
    if settings.of == "pod":
        return key in pods
    return key == instance.pool and instance.model in {None, model}


def of_pools(
    settings: QuerySettings,
    readings: Mapping[Target, Reading],
    pools: Mapping[ObjectKey, Sequence[ObjectKey]],
    failure: str | None,
) -> dict[ObjectKey, Queried]:
    """What each pool, with its pods, is told; readings of others are left out."""
    found: dict[ObjectKey, Queried] = {}
    for pool, pods in pools.items():
        if settings.of == "pod":
            own = {pod: readings[pod, None] for pod in pods if (pod, None) in readings}
            found[pool] = Queried(pods=own, failure=failure)
        else:
            parts = {model: each for (key, model), each in readings.items() if key == pool}
            found[pool] = Queried(parts=parts, failure=failure)
    return found
