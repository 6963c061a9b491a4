"""What KEDA is answered about a trigger: its metric and target, the value of that, and whether it is active.

Everything is read from memory: snapshots of the store, and settings.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from infscale.aggregation.external_items import AddedUp, Item, NothingPicked, external_items
from infscale.aggregation.external_items import NotKnown as NotKnownItem
from infscale.aggregation.label_sets import MODEL_KEY, blind
from infscale.documents.strict_document import quoted
from infscale.documents.suggestions import did_you_mean, short_list
from infscale.endpoint import ObjectKey, Phase
from infscale.keda.demand import Loads, asked_for
from infscale.keda.errors import InvalidTrigger, NotKnown, NotThere, ScalerError
from infscale.keda.last_answers import Answered, Beside, LastAnswers
from infscale.keda.load_in_replicas import Pods, Seen, load_in_replicas
from infscale.keda.trigger_metadata import Asked, MetricTrigger, Scope, SloTrigger, Trigger, read_trigger
from infscale.labels import Operator, Requirement, Selector, model_key, value_problem
from infscale.metrics.published.answers import group_reading, whole
from infscale.metrics.published.catalogue import BY_NAME, ENGINE, PICKER, Formula, PublishedMetric
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.published.queue_readers import queued_requests
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import Reading
from infscale.metrics.saturation import SaturationSettings
from infscale.metrics.snapshot import PoolSettings, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore

_SATURATION: Final = BY_NAME["saturation_ratio"]
_REQUESTS: Final = (BY_NAME["waiting_requests_average"], BY_NAME["running_requests_average"])
_CAPACITY: Final[Mapping[str, Callable[[SaturationSettings], float]]] = MappingProxyType(
    {
        "waiting_requests": lambda settings: settings.queue_depth_threshold,
        "waiting_requests_average": lambda settings: settings.queue_depth_threshold,
        "waiting_requests_maximum": lambda settings: settings.queue_depth_threshold,
        "in_flight_requests": lambda settings: settings.max_in_flight_requests,
        "outstanding_requests": lambda settings: settings.max_in_flight_requests,
        "in_flight_tokens": lambda settings: settings.max_in_flight_tokens,
    }
)
"""How much of a metric one endpoint takes by the settings that the picker judges it by, too."""


@dataclass(frozen=True, slots=True)
class ScalerSettings:
    """How triggers are read and judged.

    A request for a pool without ready endpoints keeps its triggers active for `activation_seconds`. With
    `other_namespaces` a trigger may be about pools outside the namespace of its ScaledObject.
    """

    activation_seconds: float = 300.0
    other_namespaces: bool = False


class ExternalScaler:
    """Answers from `store`, of the metrics in `table`; `judged` gives the settings of a pool, be it there or not."""

    def __init__(
        self,
        store: MetricStore,
        table: MetricTable,
        judged: Callable[[ObjectKey], PoolSettings],
        settings: ScalerSettings,
    ) -> None:
        self._store = store
        self._table = table
        self._judged = judged
        self._settings = settings
        self._loads = Loads()
        self.answers = LastAnswers()
        """What was answered last."""

    def trigger(self, asked: Asked) -> Trigger:
        """The trigger that is asked about. Raises `ScalerError`."""
        return read_trigger(asked, self._table, other_namespaces=self._settings.other_namespaces)

    def observe(self, now: float) -> None:
        """Note what is known of the load of all pools, once a second or so."""
        self._loads.observe(self._store.snapshots(), now)

    def target(self, trigger: Trigger) -> float:
        """The target of the trigger's metric, which settings decide and no value. Raises `InvalidTrigger`."""
        if isinstance(trigger, SloTrigger):
            return 1.0
        return self._capacity(trigger) if trigger.target is None else trigger.target

    def value(self, trigger: Trigger, now: float) -> float:
        """The value of the trigger's metric. Raises `ScalerError`."""
        try:
            pools = self._pools(trigger.scope)
            if isinstance(trigger, SloTrigger):
                value, why = self._replicas(trigger, pools[0], now)
            else:
                value, why = self._metric(trigger, pools, now), ""
        except ScalerError as error:
            self.answers.keep(Answered(trigger, now, None, error.problem))
            raise
        self.answers.keep(Answered(trigger, now, value, why))
        return value

    def active(self, trigger: Trigger, now: float) -> bool:
        """Whether the trigger is active: its pools are in demand, or its value is above its activation.

        Raises `NotThere` without such a pool, `NotKnown` where nothing is discovered yet.
        """
        try:
            active = self._active(trigger, now)
        except ScalerError as error:
            self.answers.keep_activity(trigger, now, None, error.problem)
            raise
        self.answers.keep_activity(trigger, now, active)
        return active

    def _active(self, trigger: Trigger, now: float) -> bool:
        pools = self._pools(trigger.scope)
        activation = None if isinstance(trigger, SloTrigger) else trigger.activation
        counts = not isinstance(trigger, SloTrigger) and trigger.metric.unit == "requests"
        more_than = activation if activation is not None and counts else 0.0
        since = now - self._settings.activation_seconds
        if any(asked_for(each, since, more_than) or self._loads.has_load(each, now) for each in pools):
            return True
        if activation is None or isinstance(trigger, SloTrigger):
            return False
        try:
            return self._metric(trigger, pools, now) > activation
        except NotKnown:
            return False

    def document(self, now: float, wall: datetime, streams: Mapping[Trigger, int]) -> dict[str, object]:
        """What was answered last about each trigger, whose open streams are counted in `streams`.

        `now` is monotonic and the same moment as `wall`.
        """
        return self.answers.document(now, wall, Beside(streams, self._target_or_none))

    def _target_or_none(self, trigger: Trigger) -> float | None:
        try:
            return self.target(trigger)
        except InvalidTrigger:
            return None

    # Pools

    def _pools(self, scope: Scope) -> Sequence[PoolSnapshot]:
        """The pools that are meant, at least one."""
        state = self._store.discovery
        if not (state.pools or state.endpoints):
            raise NotKnown(str(scope.scaled_object), "no endpoint and no InferencePool was discovered yet")
        if scope.key is not None:
            found = self._store.snapshot(scope.key)
            if found is not None:
                return (found,)
        names = [each.name for each in self._store.pools() if each.namespace == scope.namespace]
        if scope.pool is None and names:
            return [each for each in self._store.snapshots() if each.pool.namespace == scope.namespace]
        if scope.pool is None or not names:
            problem = f"there is no InferencePool in namespace {scope.namespace} that infscale knows"
        else:
            there = did_you_mean(scope.pool, names) or f"; there are {short_list(names, scope.pool)}"
            problem = f"pool: there is no InferencePool {scope.key} that infscale knows{there}"
        raise NotThere(str(scope.scaled_object), problem)

    def _capacity(self, trigger: MetricTrigger) -> float:
        pool, of_endpoint = trigger.scope.key, _CAPACITY.get(trigger.metric.name)
        if pool is None or of_endpoint is None:
            more = "" if of_endpoint is None else "; with pool it is what one of its pods takes"
            problem = f"target: is missing: how much of {trigger.metric.name} one replica is to have{more}"
            raise InvalidTrigger(str(trigger.scope.scaled_object), problem)
        snapshot = self._store.snapshot(pool)
        ranks = 1 if snapshot is None else max(map(len, snapshot.state.pods.rows.values()), default=1)
        return ranks * of_endpoint(self._judged(pool).saturation)

    # Values

    def _metric(self, trigger: MetricTrigger, pools: Sequence[PoolSnapshot], now: float) -> float:
        metric, scope = trigger.metric, trigger.scope
        if self._are_idle(pools, now):
            nothing = _of_nothing(metric, now)
            if isinstance(nothing, Reading):
                return nothing.value
        found = external_items(metric, pools, _selector(scope.model), now)
        match found:
            case NothingPicked():
                raise self._nothing_picked(trigger, pools)
            case AddedUp():
                several = "pools" if len({pool for pool, _ in found.found}) > 1 else "models"
                key = several.removesuffix("s")
                problem = (
                    f"{key}: is missing: {metric.name} ({metric.aggregation.value}) of {len(found.found)} {several} "
                    "has no meaning when added up"
                )
                raise InvalidTrigger(str(scope.scaled_object), problem)
            case NotKnownItem():
                of = found.label_set[0].pool if found.label_set else scope.key or scope.namespace
                raise NotKnown(
                    str(scope.scaled_object), f"the metric {metric.name} of {of} is unknown now: {found.unknown.reason}"
                )
            case _:
                return _added_up(found)

    def _nothing_picked(self, trigger: MetricTrigger, pools: Sequence[PoolSnapshot]) -> NotThere | NotKnown:
        who, metric, model = str(trigger.scope.scaled_object), trigger.metric, quoted(trigger.scope.model or "")
        if not metric.per_model:
            return NotThere(who, f"model: {metric.name} is not split by model")
        reason = blind(pools)
        if reason is not None:
            return NotKnown(who, f"the metric {metric.name} of model {model} is unknown now: {reason.reason}")
        models = {name for pool in pools for row in pool.columns.models for name in row}
        there = f"; there are {short_list(sorted(models), trigger.scope.model or '')}" if models else ""
        return NotThere(who, f"model: no endpoint serves {model}{there}")

    def _are_idle(self, pools: Sequence[PoolSnapshot], now: float) -> bool:
        """Whether the pools have no endpoints and were not asked for, so that their load is known to be none."""
        since = now - self._settings.activation_seconds
        return not any(len(each) or asked_for(each, since) for each in pools)

    def _replicas(self, trigger: SloTrigger, snapshot: PoolSnapshot, now: float) -> tuple[float, str]:
        """The replicas of load, and what they were made of."""
        model = _served_name(snapshot, trigger.scope.model)
        latencies = [group_reading(each.metric, snapshot, now, model) for each in trigger.goals]
        saturation = group_reading(_SATURATION, snapshot, now)
        pods = _pods(snapshot)
        requests = [_known(group_reading(each, snapshot, now)) for each in _REQUESTS]
        crowd = [each for each in requests if each is not None]
        seen = Seen(
            [
                None if isinstance(reading, Unknown) else reading.value / goal.seconds
                for reading, goal in zip(latencies, trigger.goals, strict=True)
            ],
            _known(saturation),
            trigger.saturation,
            (sum(crowd) + queued_requests(snapshot)) / max(pods.ready, 1) if len(crowd) == len(requests) else None,
        )
        asked = asked_for(snapshot, now - self._settings.activation_seconds) or queued_requests(snapshot) > 0
        replicas = load_in_replicas(pods, seen, asked=asked)
        names = [*(each.text for each in trigger.goals), f"saturation={trigger.saturation:g}"]
        told = "; ".join(f"{name}: {_told(each)}" for name, each in zip(names, [*latencies, saturation], strict=True))
        if replicas is None:
            raise NotKnown(str(trigger.scope.scaled_object), f"the load of {snapshot.pool} is unknown now: {told}")
        return replicas, f"{pods.ready} pods are ready, {pods.starting} start; {told}"


def _told(reading: Reading | Unknown) -> str:
    return f"unknown, {reading.reason}" if isinstance(reading, Unknown) else f"{reading.value:.3g}"


def _known(reading: Reading | Unknown) -> float | None:
    return None if isinstance(reading, Unknown) else reading.value


def _added_up(items: Sequence[Item]) -> float:
    return math.fsum(each.reading.value for each in items)


def _selector(model: str | None) -> Selector:
    """What picks one model, be it written as its name or as its key."""
    if model is None:
        return Selector()
    keys = [model_key(model), *([model] if value_problem(model) is None else [])]
    return Selector((Requirement(MODEL_KEY, Operator.IN, tuple(keys)),))


def _served_name(snapshot: PoolSnapshot, model: str | None) -> str | None:
    """The name of a model that may be written as its key; as it is written where no endpoint serves it."""
    if model is None or model in snapshot.columns.by_model:
        return model
    return next((name for name in snapshot.columns.by_model if name is not None and model_key(name) == model), model)


def _pods(snapshot: PoolSnapshot) -> Pods:
    """The pods of a pool, which are what an HPA counts: one with several ranks is one.

    One whose server says that it takes no requests is as one that starts: it is there, and may serve again.
    """
    is_ready, endpoints = snapshot.columns.ready, snapshot.endpoints
    ready = starting = 0
    for rows in snapshot.state.pods.rows.values():
        if any(is_ready[row] for row in rows):
            ready += 1
        elif any(endpoints[row].phase is not Phase.DRAINING for row in rows):
            starting += 1
    return Pods(ready, starting)


def _of_nothing(metric: PublishedMetric, now: float) -> Reading | Unknown:
    """What a metric is of a pool that has no endpoints and no requests."""
    if isinstance(metric.reader, Formula):
        return whole(metric, [_of_nothing(each, now) for each in metric.reader.operands], now)
    if metric.source in (ENGINE, PICKER):
        return Reading(0.0, now)
    return Unknown("there is no endpoint")
