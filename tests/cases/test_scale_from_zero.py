"""A pool of no endpoints: what an HPA with ``minReplicas: 0`` scales it up by, and what is known of it meanwhile."""

import random

import pytest

from adapter.answering.store_provider import StoreProvider
from adapter.api.paths import ExternalRequest, ObjectRequest, parse
from adapter.errors import NotFound, Unavailable
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.metrics.published.metric_table import FormulaSettings, MetricTable
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.store.metrics_store import MetricStore
from infscale.planner.hpa import Recommendation, TotalMetric, UnavailableMetric, recommend
from infscale.planner.hpa_rules import Bounds
from infscale.planner.scale_target import PodState, Workload
from picker.directing.director import PoolDirector
from picker.epp_config.loader import preset
from picker.request import InferenceRequest, ParsedBody, Rejection
from tests.adapter.support import E1, G2, POOLS, external_values
from tests.adapter.support import values as values_of
from tests.fakes.pools import NO_HEADERS
from tests.fakes.samples import engine_sample
from tests.fakes.scaling import milli, ready

CHAT, OTHER = ObjectKey("llm", "chat"), ObjectKey("llm", "other")
METRIC = "requests_without_endpoint"
WINDOW = 30.0


def server(name: str, pool: str = "chat", phase: Phase = Phase.READY) -> Endpoint:
    return Endpoint(EndpointKey("llm", name), f"10.0.0.{sum(name.encode()) % 250}", 8000, {"pool": pool}, phase)


class Cluster:
    """Two pools, their directors, and the adapter."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.store = MetricStore("s", default_pool=PoolSettings(window_seconds=WINDOW))
        self.adapter = StoreProvider(self.store, MetricTable())
        config = preset("infscale")
        self.directors = {pool: PoolDirector(pool, config, self.store, random.Random(1)) for pool in (CHAT, OTHER)}
        self.discover(*endpoints)

    def discover(self, *endpoints: Endpoint) -> None:
        pools = tuple(Pool(key, {"pool": key.name}) for key in self.directors)
        state = DiscoveryState(endpoints, pools)
        self.store.sync(state)
        for director in self.directors.values():
            director.sync(state)

    def ask(
        self, now: float, *, pool: ObjectKey = CHAT, body: bool = True, subset: tuple[str, ...] | None = None
    ) -> int:
        """The status a request is refused with; 0: it is not."""
        parsed = ParsedBody("chat_completions", "m", b"hello", 1, 100) if body else None
        request = InferenceRequest("id", "/v1/chat/completions", NO_HEADERS, parsed, subset)
        answer = self.directors[pool].direct(request, now)
        return answer.status if isinstance(answer, Rejection) else 0

    def external(self, now: float, metric: str = METRIC, selector: str = "pool%3Dchat") -> dict[tuple[str, ...], float]:
        request = parse("GET", f"{E1}/namespaces/llm/{metric}", f"labelSelector={selector}")
        assert isinstance(request, ExternalRequest)
        return external_values(self.adapter.external(request, now))

    def objects(self, path: str, now: float) -> dict[str, float]:
        request = parse("GET", f"{G2}/namespaces/llm/{path}/{METRIC}", "")
        assert isinstance(request, ObjectRequest)
        return values_of(self.adapter.objects(request, now))

    def hpa(self, workload: Workload, now: float, *engine_metrics: str) -> Recommendation:
        """What an HPA from 0 to 8 replicas makes of the metric, and of some of the engines'."""
        metrics: list[TotalMetric | UnavailableMetric] = []
        for name, target in ((METRIC, 100.0), ("in_flight_requests", 16.0)):
            items = tuple(milli(value) for value in self.external(now, name).values())
            metrics.append(TotalMetric(name, items, milli(target)))
        unknown = [UnavailableMetric(name, self.cause(name, now)) for name in engine_metrics]
        return recommend(workload, [*metrics, *unknown], Bounds(8, 0), now)

    def cause(self, metric: str, now: float) -> str:
        with pytest.raises(Unavailable) as raised:
            self.external(now, metric)
        return str(raised.value)


def test_requests_to_an_empty_pool_are_counted_for_a_window_and_else_known_to_be_none() -> None:
    cluster = Cluster()
    assert cluster.external(0.0) == {("chat",): 0.0}
    assert [cluster.ask(now) for now in (10.0, 10.1, 15.0)] == [503] * 3
    assert cluster.external(16.0) == {("chat",): 3.0}
    assert cluster.external(16.0, selector="pool%3Dother") == {("other",): 0.0}
    assert cluster.external(42.0) == {("chat",): 1.0}
    assert cluster.external(45.1) == {("chat",): 0.0}


def test_they_are_an_object_metric_too() -> None:
    cluster = Cluster()
    for pool in (CHAT, CHAT, OTHER):
        cluster.ask(1.0, pool=pool)
    assert cluster.objects(f"{POOLS}/chat", 2.0) == {"chat": 2.0}
    assert cluster.objects(f"{POOLS}/*", 2.0) == {"chat": 2.0, "other": 1.0}
    assert cluster.objects("metrics", 2.0) == {"llm": 3.0}
    assert cluster.external(2.0, selector="") == {("chat",): 2.0, ("other",): 1.0}


@pytest.mark.parametrize("path", ["pods/*", "pods/a", "services/s", "deployments.apps/d"])
def test_nothing_but_a_pool_has_such_a_number(path: str) -> None:
    cluster = Cluster(server("a"))
    with pytest.raises(NotFound, match="it is a number of a whole InferencePool"):
        cluster.objects(path, 1.0)


def test_a_pool_whose_endpoints_are_starting_or_leaving_is_empty() -> None:
    cluster = Cluster(server("a", phase=Phase.STARTING), server("b", phase=Phase.DRAINING))
    assert cluster.ask(1.0) == 503
    assert cluster.external(1.0) == {("chat",): 1.0}


def test_what_was_counted_outlives_the_endpoints_that_come() -> None:
    cluster = Cluster()
    cluster.ask(1.0)
    cluster.discover(server("a", phase=Phase.STARTING))
    cluster.ask(2.0)
    cluster.discover(server("a"))
    cluster.store.configure(CHAT, PoolSettings(window_seconds=20.0))
    assert cluster.external(3.0) == {("chat",): 2.0}
    assert cluster.external(23.0) == {("chat",): 0.0}


def test_what_is_refused_for_another_reason_or_asks_no_model_is_not_counted() -> None:
    cluster = Cluster(server("a"))
    assert cluster.ask(1.0, subset=("10.9.9.9:8000",)) == 503, "the gateway names another endpoint"
    cluster.discover()
    assert cluster.ask(1.0, body=False) == 503, "as a probe is"
    assert cluster.external(1.0) == {("chat",): 0.0}


def test_a_flood_of_requests_takes_no_more_memory_than_a_few() -> None:
    cluster = Cluster()
    for number in range(20_000):
        cluster.store.turn_away(CHAT, number * 0.01)
    snapshot = cluster.store.snapshot(CHAT)
    assert snapshot is not None
    assert len(snapshot.turned_away) <= 33
    [value] = cluster.external(200.0).values()
    assert value == pytest.approx(3_000, rel=0.05)


def test_a_formula_can_scale_by_it() -> None:
    cluster = Cluster()
    formula = FormulaSettings("demand_requests", f"{METRIC} + in_flight_requests", "requests")
    cluster.adapter = StoreProvider(cluster.store, MetricTable.of([formula]))
    cluster.ask(1.0)
    assert cluster.external(1.0, "demand_requests") == {("chat",): 1.0}


def test_an_hpa_scales_from_zero_and_back() -> None:
    """With two metrics that are known while there is no pod; what the engines would say is unknown then."""
    cluster = Cluster()
    idle = Workload(0)
    assert cluster.hpa(idle, 0.0).desired == 0
    assert "has no ready endpoint" in cluster.cause("waiting_requests", 0.0)
    cluster.ask(10.0)
    assert cluster.hpa(idle, 11.0).desired == 1
    assert cluster.hpa(idle, 11.0, "queue_latency_p90_seconds").desired == 1
    starting = Workload(1, (PodState("a", ready=False),))
    cluster.discover(server("a", phase=Phase.STARTING))
    cluster.ask(20.0)
    assert cluster.hpa(starting, 21.0).desired == 1
    cluster.discover(server("a"))
    cluster.store.record_scrape(server("a").key, engine_sample(0.0, 0.0, 0.0), 30.0)
    charge = cluster.store.charge(CHAT, 0, "m", 10.0, 30.1)
    assert cluster.external(60.0) == {("chat",): 0.0}
    assert cluster.hpa(ready(1), 60.0).desired == 1, "one request is in flight"
    cluster.store.release(charge, answered=True)
    assert cluster.hpa(ready(1), 61.0).history.recommendations[-1].replicas == 0
