"""Answers from the metrics store: pods, InferencePools, namespaces, described objects and external metrics.

Every answer reads the published snapshots of one moment and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapter.answering import refusals
from adapter.answering.described_objects import DescribedObjects
from adapter.answering.provider import ExternalValue, ExternalValues, Kind, ObjectValues
from adapter.api.paths import ALL, EVERYTHING, NAMESPACES, ExternalRequest, GroupResource, MetricRequest, ObjectRequest
from infscale.aggregation.across_pools import Part, combined, distinct, revision, why_no_pod, window_seconds
from infscale.aggregation.external_items import AddedUp, NothingPicked, NotKnown, external_items
from infscale.aggregation.label_sets import Choice, choose, labels_of
from infscale.aggregation.selections import Selections
from infscale.discovery.objects import LEGACY_GROUP, POOL_GROUP
from infscale.endpoint import ObjectKey, Pool
from infscale.errors import SeveralModels
from infscale.metrics.published.aliases import Alias
from infscale.metrics.published.answers import pod_readings
from infscale.metrics.published.catalogue import PublishedMetric
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.published.readings import Readings
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import Reading
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.quantity import MAX_QUANTITY

PODS = GroupResource("pods")
POOLS: Mapping[GroupResource, Kind] = {
    GroupResource("inferencepools", group): Kind("InferencePool", f"{group}/{version}")
    for group, version in ((POOL_GROUP, "v1"), (LEGACY_GROUP, "v1alpha2"))
}

_POD = Kind("Pod", "v1")
_NAMESPACE = Kind("Namespace", "v1")


@dataclass(frozen=True, slots=True, eq=False)
class _Described:
    """An object and the parts of pools its value is made of."""

    key: ObjectKey
    parts: tuple[Part, ...]


class StoreProvider:
    """The `Provider` that reads the metrics store; it answers the metrics of `table`, None: the published ones."""

    def __init__(self, store: MetricStore, table: MetricTable | None = None) -> None:
        self._store = store
        self._table = table or MetricTable()
        self._selections = Selections()
        self._objects = DescribedObjects()

    def objects(self, request: ObjectRequest, now: float) -> ObjectValues:
        """See `Provider`."""
        metric = self._metric(request)
        if request.resource == PODS and request.namespace and not metric.of_pool:
            return self._pods(metric, request, now)
        kind, described = self._described(metric, request)
        if not described:
            raise refusals.no_such_object(request)
        readings = [(each.key, _group_value(metric, each, request, now)) for each in described]
        items = tuple((key, value) for key, value in readings if not isinstance(value, Unknown))
        if not items:
            reason = next(value for _, value in readings if isinstance(value, Unknown))
            raise refusals.unavailable(request, reason)
        read = [part.snapshot for each in described for part in each.parts]
        return ObjectValues(kind, items, revision(read), window_seconds(value for _, value in items))

    def external(self, request: ExternalRequest, now: float) -> ExternalValues:
        """See `Provider`. One item per pool, and per model where the metric is split by model.

        Several items of a metric that does not add up are refused: an HPA would add them up.
        """
        metric = self._metric(request)
        snapshots = self._snapshots(request.namespace)
        found = external_items(metric, snapshots, request.labels, now)
        match found:
            case NothingPicked():
                raise refusals.no_label_set(request, metric, snapshots)
            case AddedUp():
                raise refusals.added_up(request, metric, found.found)
            case NotKnown():
                labels = None if found.label_set is None else labels_of(*found.label_set)
                raise refusals.unavailable(request, found.unknown, labels)
            case _:
                items = tuple(ExternalValue(labels_of(each.snapshot, each.model), each.reading) for each in found)
        read = [each.snapshot for each in found]
        return ExternalValues(items, revision(read), window_seconds(each.reading for each in items))

    def _metric(self, request: MetricRequest) -> PublishedMetric:
        metric = self._table.called(request.metric)
        if metric is None:
            raise refusals.unknown_metric(request, self._table)
        if isinstance(metric, Alias):
            raise refusals.other_unit(request, metric)
        state = self._store.discovery
        if not (state.pools or state.endpoints or state.objects):
            raise refusals.nothing_discovered(request)
        return metric

    def _snapshots(self, namespace: str) -> tuple[PoolSnapshot, ...]:
        return tuple(each for each in self._store.snapshots() if each.pool.namespace == namespace)

    # Pods

    def _pods(self, metric: PublishedMetric, request: ObjectRequest, now: float) -> ObjectValues:
        snapshots = self._snapshots(request.namespace)
        choice = _choice(metric, snapshots, request) if snapshots else Choice((), None)
        selector = request.labels if request.name == ALL else EVERYTHING
        parts = self._selections.of_pods(choice.snapshots, request.wanted_name, selector)
        if not parts:
            raise refusals.not_found(request, "no such pod is in an InferencePool that infscale knows")
        found = Readings.joined([pod_readings(metric, part.snapshot, now, choice.model, part.rows) for part in parts])
        if not (np.abs(found.values) <= MAX_QUANTITY).any():
            raise refusals.unavailable(request, why_no_pod(metric, parts, now, choice.model))
        return ObjectValues(_POD, found, revision([part.snapshot for part in parts]), found.window_seconds)

    # Objects made of groups of endpoints

    def _described(self, metric: PublishedMetric, request: ObjectRequest) -> tuple[Kind, list[_Described]]:
        if request.resource == NAMESPACES and not request.namespace:
            return _NAMESPACE, self._namespaces(metric, request)
        kind = POOLS.get(request.resource)
        if kind is not None:
            return kind, self._pools(request)
        if metric.of_pool:
            raise refusals.not_found(request, "it is a number of a whole InferencePool: ask for that, or externally")
        return self._others(request)

    def _namespaces(self, metric: PublishedMetric, request: ObjectRequest) -> list[_Described]:
        labels: dict[str, Mapping[str, str]] = {each.pool.namespace: {} for each in self._store.snapshots()}
        labels |= {each.key.name: each.labels for each in self._objects.namespaces(self._store.discovery)}
        parts = {name: [Part(each) for each in self._snapshots(name)] for name in labels}
        return [
            _Described(ObjectKey("", name), tuple(parts[name]) if metric.of_pool else distinct(parts[name]))
            for name in labels
            if _matches(request, name, labels[name])
        ]

    def _pools(self, request: ObjectRequest) -> list[_Described]:
        pools: Mapping[ObjectKey, Pool] = {pool.key: pool for pool in self._store.discovery.pools}
        return [
            _Described(each.pool, (Part(each),))
            for each in self._snapshots(request.namespace)
            if _matches(request, each.pool.name, pools[each.pool].labels)
        ]

    def _others(self, request: ObjectRequest) -> tuple[Kind, list[_Described]]:
        named = self._objects.of(self._store.discovery, request.resource, request.namespace)
        wanted = request.wanted_name
        if wanted is not None:
            named = {wanted: named[wanted]} if wanted in named else {}
        found = [each for each in named.values() if _matches(request, each.key.name, each.labels)]
        if not found:
            raise refusals.no_such_object(request)
        snapshots = self._snapshots(request.namespace)
        described = [
            _Described(each.key, self._selections.of_object(snapshots, each))
            for each in found
            if each.selector is not None
        ]
        if not described:
            raise refusals.not_found(request, "no pods belong to such an object")
        version = f"{found[0].group}/{found[0].version}" if found[0].group else found[0].version
        return Kind(found[0].kind, version), described


def _matches(request: ObjectRequest, name: str, labels: Mapping[str, str]) -> bool:
    if request.wanted_name not in {None, name}:
        return False
    return request.name != ALL or request.labels.matches(labels)


def _group_value(
    metric: PublishedMetric, described: _Described, request: ObjectRequest, now: float
) -> Reading | Unknown:
    if not described.parts:
        return Unknown("no endpoint of an InferencePool matches its selector")
    choice = _choice(metric, [part.snapshot for part in described.parts], request)
    parts = [part for part in described.parts if part.snapshot in choice.snapshots]
    return combined(metric, parts, now, choice.model)


def _choice(metric: PublishedMetric, snapshots: Sequence[PoolSnapshot], request: ObjectRequest) -> Choice:
    """What the request picks of the metric. Raises a refusal where that is nothing, or several models."""
    try:
        choice = choose(metric, snapshots, request.metric_labels)
    except SeveralModels as error:
        raise refusals.several_models(error) from None
    if not choice.snapshots:
        raise refusals.no_label_set(request, metric, snapshots)
    return choice
