"""Values of several pools become one by the metric's own rule."""

import numpy as np
import pytest

from infscale.aggregation.across_pools import Part, combined
from infscale.config.settings import FormulaSettings
from infscale.endpoint import EndpointKey
from infscale.metrics.published.catalogue import BY_NAME, Aggregation
from infscale.metrics.published.metric_table import formula_metric
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import Reading
from infscale.metrics.store.metrics_store import MetricStore
from tests.aggregation.support import world
from tests.fakes.samples import engine_sample

PRESSURE = "max(waiting_requests / 3, kv_cache_utilization_ratio / 0.5)"


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
