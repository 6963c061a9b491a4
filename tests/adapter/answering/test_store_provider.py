"""What the store's values become for an HPA: unknown is never 0, never an empty list, never an old value."""

import re
from dataclasses import replace

import pytest

from adapter.answering.store_provider import StoreProvider
from adapter.api.paths import ObjectRequest, parse
from adapter.errors import BadRequest, NotFound, Unavailable
from infscale.config.settings import FormulaSettings
from infscale.endpoint import DescribedObject, DiscoveryState, ObjectKey, Phase, Workload
from infscale.labels import Selector, model_key
from infscale.metrics.published.catalogue import PUBLISHED
from infscale.metrics.published.metric_table import MetricTable
from tests.adapter.support import G2, MODEL, POOLS, World, external_values, values

KEY = model_key(MODEL)


@pytest.fixture
def world() -> World:
    """Four pods, read at second 100: 1, 2, 3 and 4 requests wait."""
    world = World(a=4)
    for each in range(4):
        world.report(f"a-{each}", 100.0, waiting=each + 1.0)
    return world


# Pods


def test_every_ready_pod_has_one_item(world: World) -> None:
    assert values(world.objects("pods/*/waiting_requests")) == {"a-0": 1, "a-1": 2, "a-2": 3, "a-3": 4}


def test_a_selector_picks_pods_by_their_labels(world: World) -> None:
    assert values(world.objects("pods/*/waiting_requests", query="labelSelector=half%3D1")) == {"a-1": 2, "a-3": 4}


def test_a_pod_asked_for_by_name_is_a_list_of_one(world: World) -> None:
    assert values(world.objects("pods/a-2/waiting_requests")) == {"a-2": 3}
    assert values(world.objects("pods/*/waiting_requests", query="fieldSelector=metadata.name%3Da-2")) == {"a-2": 3}


def test_a_pod_has_one_item_for_all_its_ranks() -> None:
    world = World(a=2, ranks=3)
    world.report_all(100.0, waiting=2.0)
    assert values(world.objects("pods/*/waiting_requests")) == {"a-0": 6, "a-1": 6}
    assert len(world.objects("pods/*/waiting_requests").items) == 2


def test_a_stale_pod_is_left_out_of_the_list(world: World) -> None:
    for each in (0, 1, 3):
        world.report(f"a-{each}", 105.0, waiting=9.0)
    assert values(world.objects("pods/*/waiting_requests", now=105.0)) == {"a-0": 9, "a-1": 9, "a-3": 9}


def test_a_pod_that_is_starting_is_left_out() -> None:
    world = World(a=2, phases={"a-1": Phase.STARTING})
    world.report_all(100.0)
    assert values(world.objects("pods/*/waiting_requests")) == {"a-0": 1}


def test_no_fresh_pod_at_all_is_unavailable_with_age_and_cause(world: World) -> None:
    for each in range(4):
        world.fail(f"a-{each}", 112.0)
    with pytest.raises(Unavailable, match=re.compile(r"fresher than 2 s; .* 12\.5 s old.*connection refused")):
        world.objects("pods/*/waiting_requests", now=112.5)


def test_one_stale_pod_by_name_is_unavailable_with_its_own_age(world: World) -> None:
    world.report("a-1", 104.0)
    world.fail("a-0", 105.0, "timed out")
    with pytest.raises(Unavailable, match=r"pods a-0 is unknown now: .*5\.0 s old.*timed out"):
        world.objects("pods/a-0/waiting_requests", now=105.0)


def test_pods_before_the_first_scrape_are_unavailable_and_not_an_empty_list() -> None:
    with pytest.raises(Unavailable, match="4 of 4 ready endpoints of llm/a were not scraped yet"):
        World(a=4).objects("pods/*/waiting_requests")


def test_pods_that_all_start_are_unavailable() -> None:
    world = World(a=2, phases={"a-0": Phase.STARTING, "a-1": Phase.DRAINING})
    with pytest.raises(Unavailable, match=r"none of the matching pods is ready \(1 starting, 1 draining\)"):
        world.objects("pods/*/waiting_requests")


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("pods/nope/waiting_requests", "", "the metric waiting_requests for pods nope;"),
        ("pods/*/waiting_requests", "labelSelector=app%3Dx", "waiting_requests for pods with selector app=x;"),
        ("pods/*/nope", "", "the server could not find the metric nope for pods; known are queue_latency_p50_seconds"),
        ("pods/*/waiting_request", "", "did you mean waiting_requests?"),
        ("widgets/*/waiting_requests", "", "the metric waiting_requests for widgets;"),
        ("deployments.apps/nope/waiting_requests", "", "for deployments.apps nope;"),
        (f"{POOLS}/nope/waiting_requests", "", f"for {POOLS} nope;"),
        ("services/external-name/waiting_requests", "", "no pods belong to such an object"),
    ],
)
def test_names_that_do_not_exist_are_not_found(world: World, path: str, query: str, said: str) -> None:
    with pytest.raises(NotFound, match=re.escape(said)):
        world.objects(path, query=query)


def test_nothing_is_not_found_before_discovery_has_spoken(world: World) -> None:
    world.store.sync(DiscoveryState())
    with pytest.raises(Unavailable, match="no endpoint and no InferencePool was discovered yet"):
        world.objects("pods/*/waiting_requests")


# Models


def test_a_metric_selector_picks_the_model_of_pods() -> None:
    world = World(a=2)
    world.report("a-0", 100.0, waiting=5.0, model=MODEL)
    world.report("a-1", 100.0, waiting=7.0, model="other")
    query = f"metricLabelSelector=model_key%3D{KEY}"
    assert values(world.objects("pods/*/waiting_requests", query=query)) == {"a-0": 5}
    assert values(world.objects("pods/*/waiting_requests", query="metricLabelSelector=model%3Dother")) == {"a-1": 7}


def test_a_metric_selector_picks_the_pool() -> None:
    world = World(a=1, b=1)
    world.report_all(100.0)
    assert values(world.objects("pods/*/waiting_requests", query="metricLabelSelector=pool%3Db")) == {"b-0": 1}


def test_a_metric_selector_that_picks_several_models_is_a_bad_request() -> None:
    world = World(a=2)
    world.report("a-0", 100.0, model="x")
    world.report("a-1", 100.0, model="y")
    with pytest.raises(BadRequest, match="picks 2 models"):
        world.objects("pods/*/waiting_requests", query="metricLabelSelector=model")


@pytest.mark.parametrize(
    ("path", "selector", "said"),
    [
        ("pods/*/waiting_requests", "model%3Dnope", f"its label sets are pool=a,model_key={KEY}"),
        ("pods/*/waiting_requests", "pool%3Dnope", "its label sets are"),
        (f"{POOLS}/a/waiting_requests", "model%3Dnope", "its label sets are"),
        ("pods/*/kv_cache_utilization_ratio", "model%3Dx", "it is not split by model; its only label is pool"),
        ("services/all/in_flight_requests", "colour%3Dred", "its label sets are"),
    ],
)
def test_a_metric_selector_that_matches_nothing_is_not_found(world: World, path: str, selector: str, said: str) -> None:
    with pytest.raises(NotFound, match=re.escape(said)):
        world.objects(path, query=f"metricLabelSelector={selector}")


def test_a_model_nobody_could_have_reported_yet_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="were never read"):
        World(a=2).objects("pods/*/waiting_requests", query="metricLabelSelector=model%3Dx")


# Names of others


@pytest.mark.parametrize("name", ["vllm:num_requests_waiting", "vllm|num_requests_waiting", "tgi_queue_size"])
def test_the_name_of_an_engine_s_page_is_answered_as_the_metric_it_means(world: World, name: str) -> None:
    assert values(world.objects(f"pods/*/{name}")) == {"a-0": 1, "a-1": 2, "a-2": 3, "a-3": 4}
    assert external_values(world.external(name)) == external_values(world.external("waiting_requests"))


def test_a_name_in_another_unit_is_refused_with_the_one_to_ask_for(world: World) -> None:
    said = r"DCGM_FI_DEV_GPU_UTIL for .*; it is in percent: ask for gpu_utilization_ratio"
    with pytest.raises(NotFound, match=said):
        world.objects("pods/*/DCGM_FI_DEV_GPU_UTIL")
    with pytest.raises(NotFound, match=said):
        world.external("DCGM_FI_DEV_GPU_UTIL")


# Objects


def test_a_pool_has_the_sum_of_its_endpoints(world: World) -> None:
    assert values(world.objects(f"{POOLS}/a/waiting_requests")) == {"a": 10}
    assert values(world.objects("inferencepools.inference.networking.x-k8s.io/a/waiting_requests")) == {"a": 10}


def test_a_pool_counts_a_lost_endpoint_as_the_highest_fresh_one(world: World) -> None:
    for each in (0, 1, 2):
        world.report(f"a-{each}", 110.0, waiting=each + 1.0)
    assert values(world.objects(f"{POOLS}/a/waiting_requests", now=110.0)) == {"a": 1 + 2 + 3 + 3}


def test_a_pool_is_unavailable_below_half_coverage_with_age_and_cause(world: World) -> None:
    world.report("a-0", 110.0)
    for each in (1, 2, 3):
        world.fail(f"a-{each}", 110.0)
    with pytest.raises(Unavailable, match=r"only 1 of 4 .* 10\.0 s old: connection refused"):
        world.objects(f"{POOLS}/a/waiting_requests", now=110.0)


def test_objects_are_made_of_the_endpoints_their_selector_picks() -> None:
    world = World(a=4, b=2)
    world.report_all(100.0, waiting=1.0)
    world.report("b-0", 100.0, waiting=10.0)
    answer = world.objects("deployments.apps/half-0/waiting_requests")
    assert values(answer) == {"half-0": 1 + 1 + 10}
    assert (answer.kind.kind, answer.kind.api_version) == ("Deployment", "apps/v1")
    assert values(world.objects("services/all/waiting_requests")) == {"all": 4 + 1 + 10}


def test_a_ratio_of_several_pools_is_their_mean_by_endpoints() -> None:
    world = World(a=3, b=1)
    world.report_all(100.0, kv=0.2)
    world.report("b-0", 100.0, kv=1.0)
    (value,) = values(world.objects("services/all/kv_cache_utilization_ratio")).values()
    assert value == pytest.approx((3 * 0.2 + 1.0) / 4)


def test_an_object_of_several_pools_is_unknown_when_one_of_them_is() -> None:
    world = World(a=2, b=2)
    for name in ("a-0", "a-1"):
        world.report(name, 100.0)
    with pytest.raises(Unavailable, match="llm/b were not scraped yet"):
        world.objects("services/all/waiting_requests")


def test_an_object_without_endpoints_is_unavailable(world: World) -> None:
    with pytest.raises(Unavailable, match="no endpoint of an InferencePool matches its selector"):
        world.objects("services/none/waiting_requests")


def test_objects_can_be_listed_by_their_labels(world: World) -> None:
    assert values(world.objects(f"{POOLS}/*/waiting_requests", query="labelSelector=tier%3Da")) == {"a": 10}
    with pytest.raises(NotFound):
        world.objects(f"{POOLS}/*/waiting_requests", query="labelSelector=tier%3Dx")


def test_a_namespace_has_the_sum_of_its_pools() -> None:
    world = World(a=2, b=2)
    world.report_all(100.0, waiting=3.0)
    assert values(world.objects("metrics/waiting_requests")) == {"llm": 12}


# External


def test_external_metrics_have_one_item_per_pool_and_model() -> None:
    world = World(a=2, b=1)
    world.report_all(100.0, waiting=3.0)
    world.report("a-1", 100.0, waiting=4.0, model="other")
    answer = world.external("waiting_requests")
    assert external_values(answer) == {("a", MODEL): 3, ("a", "other"): 4, ("b", MODEL): 3}
    assert answer.items[0].labels == {"pool": "a", "model": MODEL, "model_key": KEY}


def test_an_external_selector_picks_by_pool_and_model_key() -> None:
    world = World(a=1, b=1)
    world.report_all(100.0, waiting=3.0)
    assert external_values(world.external("waiting_requests", selector="pool=b")) == {("b", MODEL): 3}
    assert len(world.external("waiting_requests", selector=f"model_key={KEY}").items) == 2


def test_external_metrics_are_unavailable_while_one_pool_is_cold() -> None:
    """A sum that lacks a pool would scale down."""
    world = World(a=1, b=1)
    world.report("a-0", 100.0)
    for selector in ("", f"model_key={KEY}"):
        with pytest.raises(Unavailable, match="llm/b were not scraped yet"):
            world.external("waiting_requests", selector=selector)
    assert len(world.external("waiting_requests", selector="pool=a").items) == 1


def test_a_stale_pool_makes_external_metrics_unavailable_with_the_pool_named() -> None:
    world = World(a=1, b=1)
    world.report_all(100.0)
    world.report("a-0", 130.0)
    world.fail("b-0", 130.0)
    with pytest.raises(Unavailable, match=r"\(pool=b, model=.*\) is unknown now: .*30\.0 s old: connection refused"):
        world.external("waiting_requests", now=130.0)


def test_a_pool_without_ready_endpoints_has_no_share_in_an_external_metric() -> None:
    world = World(a=1, b=1, phases={"b-0": Phase.STARTING})
    world.report("a-0", 100.0)
    assert external_values(world.external("waiting_requests")) == {("a", MODEL): 0}
    with pytest.raises(Unavailable, match="no ready endpoint"):
        world.external("waiting_requests", selector="pool=b")


def test_an_external_selector_that_matches_nothing_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="with selector model_key=nope; its label sets are"):
        world.external("waiting_requests", selector="model_key=nope")
    with pytest.raises(NotFound, match="for namespaces; known are"):
        world.external("nope")


# In flight


def test_in_flight_work_counts_where_it_was_dispatched(world: World) -> None:
    pool = world.state.pools[0].key
    world.store.charge(pool, 1, MODEL, 700.0, 100.0)
    world.store.charge(pool, 1, "unheard-of", 300.0, 100.0)
    assert values(world.objects("pods/*/in_flight_tokens")) == {"a-0": 0, "a-1": 1000, "a-2": 0, "a-3": 0}
    assert values(world.objects(f"{POOLS}/a/in_flight_requests")) == {"a": 2}
    assert external_values(world.external("in_flight_tokens")) == {("a", MODEL): 700, ("a", "unheard-of"): 300}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("pods/*/in_flight_tokens", {"a-0": 0, "a-1": 700, "a-2": 30, "a-3": 0}),
        ("deployments.apps/half-0/in_flight_tokens", {"half-0": 30}),
        (f"{POOLS}/a/in_flight_tokens", {"a": 730}),
        ("metrics/in_flight_tokens", {"llm": 730}),
    ],
)
def test_in_flight_work_of_a_model_is_known_for_every_kind_of_object(
    world: World, path: str, expected: dict[str, float]
) -> None:
    pool = world.state.pools[0].key
    for row, model, tokens in ((1, MODEL, 700.0), (1, "unheard-of", 300.0), (2, MODEL, 30.0)):
        world.store.charge(pool, row, model, tokens, 100.0)
    assert values(world.objects(path, query=f"metricLabelSelector=model_key%3D{KEY}")) == expected


# Revisions and windows


def test_an_answer_carries_the_revision_of_the_snapshot_it_was_read_from(world: World) -> None:
    snapshot = world.store.snapshot(world.state.pools[0].key)
    assert snapshot is not None
    answers = [world.objects("pods/*/waiting_requests"), world.objects(f"{POOLS}/a/saturation_ratio")]
    assert {each.revision for each in answers} == {snapshot.revision}
    assert world.external("waiting_requests").revision == snapshot.revision


def test_an_answer_from_several_pools_carries_the_newest_revision() -> None:
    world = World(a=1, b=1)
    world.report_all(100.0)
    newest = max(world.store.snapshots(), key=lambda snapshot: snapshot.number)
    assert world.objects("metrics/waiting_requests").revision == newest.revision


def test_metrics_over_a_window_say_how_far_back_they_look(world: World) -> None:
    for at in (101.0, 112.0, 125.0, 140.0):
        for each in range(3 if at == 112.0 else 4):
            world.report(f"a-{each}", at)
        # The pod whose page was lost at 112 is looked back on to the page before the window, that of 101.
        expected = 39.0 if at == 140.0 else at - 100.0
        for path in ("pods/*", f"{POOLS}/a", "services/all", "metrics"):
            assert world.objects(f"{path}/waiting_requests_average", now=at).window_seconds == expected
        assert world.external("waiting_requests_average", now=at).window_seconds == expected
    assert world.objects(f"{POOLS}/a/waiting_requests", now=140.0).window_seconds is None


@pytest.mark.parametrize("metric", [each.name for each in PUBLISHED if not each.of_pool])
def test_every_published_metric_is_answered_or_unknown_for_every_kind_of_object(metric: str, world: World) -> None:
    for path in ("pods/*", "pods/a-0", f"{POOLS}/a", "services/all", "metrics"):
        try:
            answer = world.objects(f"{path}/{metric}")
        except Unavailable:
            continue
        assert answer.items


def test_a_pod_that_appears_is_found_although_selections_are_remembered(world: World) -> None:
    assert len(world.objects("pods/*/waiting_requests").items) == 4
    larger = World(a=5)
    world.store.sync(larger.state)
    world.state = larger.state
    world.report("a-4", 100.0)
    assert len(world.objects("pods/*/waiting_requests").items) == 5


# Tables and objects of their own


def test_the_metrics_of_a_table_are_answered_and_its_names_are_told(world: World) -> None:
    formula = FormulaSettings("pressure", "max(waiting_requests / 4, kv_cache_utilization_ratio)", "", "pressure")
    world.provider = StoreProvider(world.store, MetricTable.of([formula]))
    assert values(world.objects("pods/*/pressure")) == {"a-0": 0.5, "a-1": 0.5, "a-2": 0.75, "a-3": 1.0}
    with pytest.raises(NotFound, match=r"did you mean pressure\? known are .*, pressure$"):
        world.objects("pods/*/presure")
    with pytest.raises(NotFound, match="for namespaces; did you mean pressure"):
        world.external("presure")


def test_a_namespace_without_pools_is_unknown_and_one_nobody_knows_not_found(world: World) -> None:
    key = ObjectKey("idle", "idle")
    namespace = DescribedObject("", "v1", "Namespace", "namespaces", key, Selector(), {"tier": "test"})
    world.store.sync(replace(world.state, objects=(*world.state.objects, namespace)))
    for path, error in (("namespaces/idle/metrics", Unavailable), ("namespaces/nope/metrics", NotFound)):
        request = parse("GET", f"{G2}/{path}/waiting_requests")
        assert isinstance(request, ObjectRequest)
        with pytest.raises(error):
            world.provider.objects(request, 100.0)


@pytest.mark.parametrize("path", [f"{G2}/nodes/n/waiting_requests", f"{G2}/namespaces/llm/nodes/n/waiting_requests"])
def test_nodes_are_not_found_in_any_scope(world: World, path: str) -> None:
    request = parse("GET", path)
    assert isinstance(request, ObjectRequest)
    with pytest.raises(NotFound, match="waiting_requests for nodes n; infscale knows no such object"):
        world.provider.objects(request, 100.0)


def test_a_workload_has_the_pods_it_owns_and_not_those_that_only_look_alike() -> None:
    world = World(a=3)
    owners = {"a-0": "blue", "a-1": "blue", "a-2": "green"}
    pods = [replace(each, workload=Workload("Deployment", owners[each.key.name])) for each in world.state.endpoints]
    found = DescribedObject(
        "apps", "v1", "Deployment", "deployments", ObjectKey("llm", "blue"), Selector.parse("app in (vllm)"), {}, True
    )
    world.state = replace(world.state, endpoints=tuple(pods), objects=(found,))
    world.store.sync(world.state)
    world.report_all(100.0, waiting=1.0)
    assert values(world.objects("deployments.apps/blue/waiting_requests")) == {"blue": 2}
