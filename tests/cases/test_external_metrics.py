"""External metrics of several pools: an HPA adds the items up, so that only what adds up is answered with several."""

import contextlib
import re

import pytest

from adapter.answering.store_provider import StoreProvider
from adapter.errors import BadRequest, NotFound, Unavailable
from infscale.endpoint import Phase
from infscale.labels import model_key
from infscale.metrics.published.catalogue import PUBLISHED, Aggregation
from infscale.metrics.published.metric_table import FormulaSettings, MetricTable
from tests.adapter.support import MODEL, World, external_values


def two_pools() -> World:
    world = World(a=1, b=1)
    world.report_all(100.0)
    return world


ADDING = [each.name for each in PUBLISHED if each.aggregation is Aggregation.SUM]
OTHERS = [each.name for each in PUBLISHED if each.aggregation is not Aggregation.SUM]


@pytest.mark.parametrize("metric", OTHERS)
def test_what_does_not_add_up_is_refused_for_two_pools(metric: str) -> None:
    said = "which an HPA would add up.*select one with pool=…; its label sets are pool=a.*; pool=b"
    with pytest.raises(BadRequest, match=said):
        two_pools().external(metric)


@pytest.mark.parametrize("metric", ADDING)
def test_what_adds_up_has_an_item_for_each_pool(metric: str) -> None:
    with contextlib.suppress(Unavailable):  # Some of them are not reported.
        assert len(two_pools().external(metric).items) == 2


def test_one_item_of_a_mean_is_answered() -> None:
    world = two_pools()
    assert external_values(world.external("kv_cache_utilization_ratio", selector="pool=b")) == {("b",): 0.5}
    alone = World(a=1)
    alone.report_all(100.0)
    assert external_values(alone.external("kv_cache_utilization_ratio")) == {("a",): 0.5}


def test_a_pool_without_ready_endpoints_is_no_second_item() -> None:
    world = World(a=1, b=1, phases={"b-0": Phase.STARTING})
    world.report("a-0", 100.0)
    assert external_values(world.external("saturation_ratio")).keys() == {("a",)}


def test_models_of_one_pool_are_told_apart_by_their_key() -> None:
    world = World(a=2)
    world.report("a-0", 100.0, model="x")
    world.report("a-1", 100.0, model="y")
    with pytest.raises(
        BadRequest, match=re.escape("select one with model_key=…; its label sets are pool=a,model_key=x")
    ):
        world.external("queue_latency_p90_seconds")
    with pytest.raises(Unavailable):
        world.external("queue_latency_p90_seconds", selector="model_key=x")


@pytest.mark.parametrize(
    ("formula", "aggregation", "adds_up"),
    [
        ("waiting_requests + 2 * running_requests", "whole", True),
        ("-(waiting_requests - running_requests) / 4", "whole", True),
        ("waiting_tokens ?? waiting_requests", "whole", True),
        ("waiting_requests + 1", "whole", False),
        ("waiting_requests * running_requests", "whole", False),
        ("4 / waiting_requests", "whole", False),
        ("max(waiting_requests, running_requests)", "whole", False),
        ("waiting_requests + saturation_ratio", "whole", False),
        ("max(waiting_requests, running_requests)", "sum", True),
        ("waiting_requests", "mean", False),
    ],
)
def test_a_formula_adds_up_where_its_parts_do(formula: str, aggregation: str, adds_up: bool) -> None:
    world = two_pools()
    settings = FormulaSettings("made", formula, aggregation=Aggregation(aggregation))
    world.provider = StoreProvider(world.store, MetricTable.of([settings]))
    if adds_up:
        assert len(world.external("made").items) == 2
    else:
        with pytest.raises(BadRequest, match="which an HPA would add up"):
            world.external("made")


@pytest.mark.parametrize("selector", ["served_model=m", "colour=red", "served_model in (m)", "pool=a,served_model=m"])
@pytest.mark.parametrize("metric", ["waiting_requests", "queue_latency_p90_seconds", "in_flight_requests"])
def test_a_wrong_label_is_not_found_while_another_pool_is_empty(metric: str, selector: str) -> None:
    world = World(a=1, b=1, phases={"b-0": Phase.STARTING})
    world.report("a-0", 100.0)
    with pytest.raises(NotFound, match="its label sets are pool=a"):
        world.external(metric, selector=selector)


@pytest.mark.parametrize("label", ["model_key", "model_name"])
@pytest.mark.parametrize("wanted", ["{}=llama", "{} in (llama)", "{}=llama,pool=a", "{}!=other,pool=a"])
def test_a_model_may_be_selected_as_engines_call_it(label: str, wanted: str) -> None:
    world = World(a=2)
    world.report("a-0", 100.0, model="llama")
    world.report("a-1", 100.0, model="other")
    items = world.external("waiting_requests", selector=wanted.format(label)).items
    assert [dict(each.labels) for each in items] == [{"pool": "a", "model": "llama", "model_key": "llama"}]


def test_a_name_that_is_no_label_value_is_selected_by_its_key() -> None:
    world = World(a=1)
    world.report("a-0", 100.0)
    key = model_key(MODEL)
    assert len(world.external("waiting_requests", selector=f"model_name={key}").items) == 1
    with pytest.raises(NotFound, match="its label sets are pool=a,model_key="):
        world.external("waiting_requests", selector="model_name=llama")
    with pytest.raises(NotFound, match="it is not split by model"):
        world.external("saturation_ratio", selector="model_name=llama")


def test_a_model_that_an_empty_pool_may_have_is_unknown() -> None:
    world = World(a=1, b=1, phases={"b-0": Phase.STARTING})
    world.report("a-0", 100.0)
    with pytest.raises(Unavailable, match="llm/b has no ready endpoint"):
        world.external("waiting_requests", selector="model_key=theirs")
    with pytest.raises(NotFound):
        world.external("waiting_requests", selector="pool=a,model_key=theirs")
