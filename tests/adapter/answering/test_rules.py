"""Values of several pools become one by the metric's own rule."""

import numpy as np
import pytest

from adapter.answering.rules import Part, combined, label_sets
from infscale.config import FormulaSettings
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.published.catalogue import BY_NAME, Aggregation
from infscale.metrics.published.metric_table import formula_metric
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import GpuSample, ModelLoad, Reading
from infscale.metrics.store.metrics_store import MetricStore
from tests.fakes.samples import engine_sample

PRESSURE = "max(waiting_requests / 3, kv_cache_utilization_ratio / 0.5)"


def world() -> MetricStore:
    """Pool a: one pod of three ranks, each 2 waiting and a full cache; pool b: one pod, 3 waiting, half full."""
    store = MetricStore("s")
    ranks = {"a": 3, "b": 1}
    endpoints = [
        Endpoint(EndpointKey("llm", name, rank), "127.0.0.1", 8000 + 10 * (name == "b") + rank, {"pool": name})
        for name, count in ranks.items()
        for rank in range(count)
    ]
    pools = tuple(Pool(ObjectKey("llm", name), {"pool": name}) for name in ranks)
    store.sync(DiscoveryState(tuple(endpoints), pools))
    for endpoint in endpoints:
        waiting, kv, gpu = (2.0, 1.0, 0.9) if endpoint.key.name == "a" else (3.0, 0.5, 0.1)
        sample = engine_sample(waiting, 1.0, kv, {f"of-{endpoint.key.name}": ModelLoad(waiting, 1.0)})
        store.record_scrape(endpoint.key, sample, 1.0)
        store.record_gpu(endpoint.key, GpuSample(gpu * 80, 80, gpu), 1.0)
    return store


def of_all(store: MetricStore, name: str, formula: str = "", aggregation: Aggregation = Aggregation.WHOLE) -> float:
    metric = formula_metric(FormulaSettings(name, formula, "", "", aggregation)) if formula else BY_NAME[name]
    reading = combined(metric, [Part(each) for each in store.snapshots()], 1.0, None)
    assert isinstance(reading, Reading), reading
    return reading.value


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [
        pytest.param(Aggregation.WHOLE, 3.0, id="the formula of 9 waiting and 7/8 full"),
        pytest.param(Aggregation.SUM, 2.0 + 1.0, id="2 of the pod in a, 1 of that in b"),
        pytest.param(Aggregation.MEAN, 1.5, id="each pod once, however many ranks it has"),
    ],
)
def test_a_formula_over_pools_follows_its_aggregation(aggregation: Aggregation, value: float) -> None:
    assert of_all(world(), "pressure", PRESSURE, aggregation) == pytest.approx(value)


def test_a_mean_over_pools_counts_what_each_pool_counts() -> None:
    assert of_all(world(), "kv_cache_utilization_ratio") == pytest.approx((3 * 1.0 + 0.5) / 4)
    assert of_all(world(), "gpu_utilization_ratio") == pytest.approx((0.9 + 0.1) / 2)
    assert of_all(world(), "gpu_memory_used_bytes") == pytest.approx(80.0)


def test_a_formula_is_unknown_where_a_pool_has_no_value_of_an_operand() -> None:
    store = world()
    store.record_failure(EndpointKey("llm", "b"), "timed out", 9.0)
    for rank in range(3):
        store.record_scrape(EndpointKey("llm", "a", rank), engine_sample(2.0, 1.0, 1.0), 9.0)
    metric = formula_metric(FormulaSettings("pressure", PRESSURE))
    reading = combined(metric, [Part(each) for each in store.snapshots()], 9.0, None)
    assert isinstance(reading, Unknown)
    assert "waiting_requests is unknown: only 0 of 1 ready endpoints of llm/b" in reading.reason
    part = Part(store.snapshots()[0], np.array([True, True, False]))
    of_part = combined(metric, [part], 9.0, None)
    assert of_part == pytest.approx(Reading(2.0, 9.0, None))


def test_a_formula_of_dispatches_has_the_models_that_requests_ask_for() -> None:
    store = world()
    first = store.snapshots()[0].pool
    store.charge(first, 0, "asked-for", 1.0, 1.0)
    snapshot = store.snapshot(first)
    assert snapshot is not None
    assert label_sets(formula_metric(FormulaSettings("a", "in_flight_tokens / 2")), snapshot) == ("of-a", "asked-for")
    assert label_sets(formula_metric(FormulaSettings("a", "waiting_requests / 2")), snapshot) == ("of-a",)
