"""Replicas by an HPA in virtual time: the controller's own arithmetic on what the adapter answers from the store."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote, urlencode

import orjson

from adapter.answering.metric_lists import external_list, object_list
from adapter.answering.store_provider import POOLS, StoreProvider
from adapter.api.documents import Clock
from adapter.api.paths import CustomVersion, ExternalRequest, ObjectRequest, parse
from adapter.errors import ApiError
from infscale.doctor.next_sync import API_WORDS, SOURCES
from infscale.doctor.reading.hpa_reader import no_kind
from infscale.doctor.reading.metric_answers import items, question
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_apis import AnsweredItem
from infscale.doctor.view.seen_scalers import SeenMetric
from infscale.metrics.store.metrics_store import MetricStore
from infscale.planner.hpa import MetricStatus, PodsMetric, Source, TotalMetric, UnavailableMetric, recommend
from infscale.planner.hpa_rules import Event, History
from infscale.planner.scale_target import PodState, PodValue, Workload
from infscale.simulate.run_result import ScalingStep
from infscale.simulate.scenario import Scaling
from infscale.simulate.world.fleet import APP, Fleet
from infscale.simulate.world.virtual_clock import VirtualClock
from infscale.simulate.world.virtual_server import EPOCH

_PLURALS: Final[Mapping[tuple[str, str], str]] = {
    (kind.api_version, kind.kind): place.resource for place, kind in POOLS.items()
}
_RESOURCES: Final = "the server could not find the requested resource: no metrics-server is simulated"


class VirtualController:
    """The HPA controller of one run; owner of the number of replicas that it wants."""

    def __init__(self, scaling: Scaling, fleet: Fleet, store: MetricStore, clock: VirtualClock) -> None:
        self.steps: list[ScalingStep] = []
        self._scaling = scaling
        self._fleet = fleet
        self._clock = clock
        self._provider = StoreProvider(store)
        self._replicas = len(fleet.scenario.servers)
        # The first recommendation of a controller is what it finds.
        self._history = History((Event(clock.now, self._replicas),))
        self._wall = Clock(0.0, datetime.fromtimestamp(EPOCH, UTC))

    def start(self) -> None:
        """Sync from the first period's end on."""
        self.steps.append(ScalingStep(max(0.0, self._clock.now), self._replicas, self._replicas, "at the beginning"))
        self._clock.after(self._scaling.sync_seconds, self._sync, None)

    def _sync(self, _: None) -> None:
        now, hpa, before = self._clock.now, self._scaling.hpa, self._replicas
        workload = self._workload()
        statuses = [self._status(metric) for metric in hpa.metrics]
        found = recommend(workload, statuses, hpa.bounds, now, self._history, hpa.settings)
        self._history = found.history.scaled(now, before, found.desired, hpa.bounds.behavior)
        if found.desired != before:
            self._replicas = found.desired
            self.steps.append(ScalingStep(now, before, found.desired, found.explanation))
            self._scale(found.desired)
        self._clock.after(self._scaling.sync_seconds, self._sync, None)

    def _workload(self) -> Workload:
        listed = self._fleet.listed.values()
        staying = {each.identity.number for each in self._fleet.replicas}
        pods = tuple(
            PodState(
                each.identity.name,
                deleting=each.identity.number not in staying,
                ready=each.ready,
                ready_changed_at=each.ready_at,
                started_at=each.started_at,
            )
            for each in listed
        )
        return Workload(self._replicas, pods, len(staying))

    def _scale(self, wanted: int) -> None:
        """Start or end replicas; what is not ready goes first, then what was ready last, as a ReplicaSet has it."""
        fleet, scaling = self._fleet, self._scaling
        staying = fleet.replicas
        kind = fleet.scenario.servers[0]
        seconds = kind.coefficients.load_seconds if scaling.start_seconds is None else scaling.start_seconds
        for _ in range(wanted - len(staying)):
            fleet.add(kind, seconds)
        leaving = sorted(staying, key=lambda each: (each.ready, -each.ready_at, -each.identity.number))
        for each in leaving[: max(0, len(staying) - wanted)]:
            fleet.drain(each, scaling.grace_seconds)

    # --- what the adapter answers -------------------------------------------------------------------------------------

    def _status(self, metric: SeenMetric) -> MetricStatus:
        """A metric as the controller has it after asking."""
        source, answer = SOURCES[metric.form], self._answer(metric)
        if isinstance(answer, str):
            words = f"unable to get metric {metric.name}: {API_WORDS[metric.form]}: {answer}"
            return UnavailableMetric(metric.name, words, source)
        target = metric.target_milli or 0
        if source is Source.PODS:
            now = self._clock.now
            by_pod = {each.name: PodValue(each.milli, now, each.window_seconds) for each in answer}
            return PodsMetric(metric.name, by_pod, target)
        values = tuple(each.milli for each in answer)
        return TotalMetric(metric.name, values, target, metric.target_type == "AverageValue", source)

    def _answer(self, metric: SeenMetric) -> tuple[AnsweredItem, ...] | str:
        """What the adapter says to the controller's question, or why it says nothing."""
        if metric.form in ("Resource", "ContainerResource"):
            return _RESOURCES
        namespace = self._fleet.scenario.pool.namespace
        asked = question(namespace, metric, f"app={APP}", _PLURALS, CustomVersion.V1BETA2.value)
        if asked is None:
            return "its source type is not known" if metric.described is None else no_kind(metric.described)
        now = self._clock.now
        try:
            request = parse("GET", unquote(asked.path), urlencode(asked.params))
            match request:
                case ObjectRequest():
                    body = object_list(request, self._provider.objects(request, now), self._wall)
                case ExternalRequest():
                    body = external_list(request, self._provider.external(request, now), self._wall)
                case _:
                    return "the server could not find the requested resource"
        except ApiError as error:
            return str(error)
        return items(Json(orjson.loads(body)), metric)
