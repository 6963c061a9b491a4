"""Metrics of configured queries: of pods as of any source, of pools whether or not these have endpoints."""

from typing import Any

import pytest

from infscale.aggregation.across_pools import Part, combined
from infscale.aggregation.label_sets import label_sets, serves
from infscale.config.settings import FormulaSettings
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.errors import FormulaError
from infscale.metrics.published.answers import group_reading, pod_readings
from infscale.metrics.published.catalogue import Aggregation, PublishedMetric
from infscale.metrics.published.metric_table import MetricTable, QueryOf
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.queried import Queried
from infscale.metrics.sample import ModelLoad, Reading
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.prometheus.query_settings import QuerySettings
from tests.fakes.samples import engine_sample

POOL = ObjectKey("llm", "a")
PODS = [ObjectKey("llm", f"a-{each}") for each in range(4)]
NOW = 100.0
TABLE = MetricTable.of(
    [
        FormulaSettings("pressure", "orders / 2 ?? 7", "", "", Aggregation.MEAN),
        FormulaSettings("twice", "of_pool * 2"),
        FormulaSettings("models_twice", "of_models * 2"),
        FormulaSettings("share", "of_models / of_pool"),
        FormulaSettings("backlog", "of_models + (waiting_requests ?? 0)"),
        FormulaSettings("per_order", "waiting_requests / of_pool"),
    ],
    [
        QuerySettings("orders", "x", "pod", staleness_limit_seconds=30.0),
        QuerySettings("of_pool", "x", staleness_limit_seconds=30.0),
        QuerySettings("of_models", "x", "model", staleness_limit_seconds=30.0),
    ],
)


def metric(name: str) -> PublishedMetric:
    found = TABLE.get(name)
    assert found is not None
    return found


def snapshot(pods: int = 2, /, serving: str | None = None, **said: Queried) -> PoolSnapshot:
    store = MetricStore("s")
    endpoints = tuple(Endpoint(EndpointKey("llm", f"a-{each}"), "127.0.0.1", 1 + each) for each in range(pods))
    state = DiscoveryState(endpoints, (Pool(POOL, {}),))
    store.sync(state)
    if serving is not None:
        for each in endpoints:
            store.record_scrape(each.key, engine_sample(4.0, 0.0, 0.5, {serving: ModelLoad(4.0, 0.0)}), NOW)
    for name, queried in said.items():
        store.record_queried(name, {POOL: queried, ObjectKey("llm", "gone"): queried})
    # What is known of a pool outlives changes of its endpoints and settings.
    store.sync(state)
    found = store.snapshot(POOL)
    assert found is not None
    return found


def reasons(value: Reading | Unknown) -> str:
    assert isinstance(value, Unknown)
    return value.reason


def test_values_of_pods_have_their_own_ages() -> None:
    said = Queried({PODS[0]: Reading(2.0, 80.0), PODS[1]: Reading(4.0, 60.0)})
    of_pods = pod_readings(metric("orders"), snapshot(orders=said), NOW)
    assert list(of_pods) == [(PODS[0], Reading(2.0, 80.0))], "the other is 40 s old, and used for 30 s"
    group = group_reading(metric("orders"), snapshot(orders=said), NOW)
    assert group == Reading(4.0, 80.0), "the stale one counts as the highest fresh one"


def test_what_is_unknown_of_pods_says_why() -> None:
    assert "2 of 2 ready endpoints" in reasons(group_reading(metric("orders"), snapshot(), NOW))
    failed = Queried(failure="connection refused")
    words = reasons(group_reading(metric("orders"), snapshot(orders=failed), NOW))
    assert "only 0 of 2" in words
    assert words.endswith("connection refused")


def test_a_value_of_a_pool_needs_no_endpoint() -> None:
    empty = snapshot(0, of_pool=Queried(parts={None: Reading(5.0, 90.0)}))
    assert group_reading(metric("of_pool"), empty, NOW) == Reading(5.0, 90.0)
    assert combined(metric("of_pool"), [Part(empty)], NOW, None) == Reading(5.0, 90.0)
    assert combined(metric("twice"), [Part(empty)], NOW, None) == Reading(10.0, 90.0)
    assert serves(metric("of_pool"), empty, None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "being evaluated"),
        ({"of_pool": Queried(failure="timed out")}, "gives no value for llm/a: timed out"),
        (
            {"of_pool": Queried(parts={None: Reading(1.0, 50.0)}, failure="timed out")},
            "its sample is 50 s old, and used for 30 s: timed out",
        ),
    ],
)
def test_what_is_unknown_of_a_pool_says_why(said: Any, words: str) -> None:
    assert words in reasons(group_reading(metric("of_pool"), snapshot(**said), NOW))


def test_a_value_of_a_pool_is_of_none_of_its_parts() -> None:
    known = snapshot(of_pool=Queried(parts={None: Reading(5.0, 90.0)}))
    assert "the whole of" in reasons(group_reading(metric("of_pool"), known, NOW, members=known.columns.ready))


def test_models_are_those_that_rows_name() -> None:
    known = snapshot(of_models=Queried(parts={"m": Reading(1.0, 99.0), "n": Reading(2.0, 99.0)}))
    assert label_sets(metric("of_models"), known) == ("m", "n")
    assert group_reading(metric("of_models"), known, NOW, "n") == Reading(2.0, 99.0)


def test_formulas_are_made_of_queries() -> None:
    said = Queried({PODS[0]: Reading(2.0, 95.0)})
    assert group_reading(metric("pressure"), snapshot(orders=said), NOW) == Reading(4.0, 95.0)


MODELS_KNOWN = Queried(parts={"m": Reading(1.0, NOW), "n": Reading(2.0, NOW)})
POOL_KNOWN = Queried(parts={None: Reading(4.0, NOW)})


@pytest.mark.parametrize(
    ("name", "serving", "models", "value"),
    [
        ("models_twice", None, ("m", "n"), 2.0),
        ("share", None, ("m", "n"), 0.25),
        ("backlog", None, ("m", "n"), 1.0),
        ("backlog", "p", ("m", "n", "p"), 1.0),
        ("backlog", "m", ("m", "n"), 9.0),
        ("per_order", "m", ("m",), 2.0),
    ],
)
def test_formulas_have_the_models_of_the_queries_in_them(
    name: str, serving: str | None, models: tuple[str, ...], value: float
) -> None:
    known = snapshot(2, serving, of_models=MODELS_KNOWN, of_pool=POOL_KNOWN)
    assert label_sets(metric(name), known) == models
    assert group_reading(metric(name), known, NOW, "m") == Reading(value, NOW)


@pytest.mark.parametrize("aggregation", [Aggregation.MEAN, Aggregation.SUM])
@pytest.mark.parametrize("formula", ["of_pool * 2", "orders + of_models", "requests_without_endpoint"])
def test_a_number_of_a_pool_has_no_mean_and_no_sum_of_pods(formula: str, aggregation: Aggregation) -> None:
    kinds: dict[str, QueryOf] = {"of_pool": "pool", "of_models": "model", "orders": "pod"}
    queries = [QuerySettings(name, "x", of) for name, of in kinds.items()]
    said = f"^load: .* is a number of a whole pool, .*aggregation {aggregation.value}.* whole"
    with pytest.raises(FormulaError, match=said):
        MetricTable.of([FormulaSettings("load", formula, aggregation=aggregation)], queries)


def test_a_name_is_given_once() -> None:
    with pytest.raises(FormulaError, match="there is a metric of that name"):
        MetricTable.of((), [QuerySettings("waiting_requests", "x")])
    with pytest.raises(FormulaError, match="there is a metric of that name"):
        MetricTable.of([FormulaSettings("x", "waiting_requests")], [QuerySettings("x", "x")])
