"""Formula metrics: checked before they are used, and answered like published ones."""

from dataclasses import replace

import numpy as np
import pytest

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.errors import FormulaError
from infscale.metrics.published.answers import group_reading, models, pod_readings, weight
from infscale.metrics.published.catalogue import ENGINE, PICKER, PUBLISHED, Aggregation, PublishedMetric
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.published.metric_table import FormulaSettings, MetricTable, formula_metric
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import EngineSample, GpuSample, LoraState, ModelLoad, Reading
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.source import Source
from infscale.metrics.store.metrics_store import MetricStore
from tests.fakes.samples import engine_sample

POOL = Pool(ObjectKey("llm", "chat"), {"app": "vllm"})


def defined(
    formula: str,
    name: str = "pressure_ratio",
    unit: str = "ratio",
    aggregation: Aggregation = Aggregation.WHOLE,
) -> FormulaSettings:
    """What a configuration says."""
    return FormulaSettings(name, formula, unit, "how full", aggregation)


def metric(formula: str, aggregation: Aggregation = Aggregation.WHOLE) -> PublishedMetric:
    return formula_metric(defined(formula, aggregation=aggregation))


def endpoint(number: int, rank: int = 0, phase: Phase = Phase.READY) -> Endpoint:
    key = EndpointKey("llm", f"vllm-{number}", rank)
    return Endpoint(key, f"10.0.0.{number + 1}", 8000 + rank, {"app": "vllm"}, phase)


def store(*endpoints: Endpoint) -> MetricStore:
    made = MetricStore("s")
    made.sync(DiscoveryState(endpoints, (POOL,)))
    return made


def view(of: MetricStore) -> PoolSnapshot:
    snapshot = of.snapshot(POOL.key)
    assert snapshot is not None
    return snapshot


def sample(waiting: float | None, kv: float | None, model: str = "m") -> EngineSample:
    return engine_sample(waiting, 1.0, kv, {model: ModelLoad(waiting, 1.0)})


def scraped(*loads: tuple[float | None, float | None], at: float = 1.0) -> MetricStore:
    """Endpoints that report waiting requests and KV-cache utilisation."""
    made = store(*(endpoint(number) for number in range(len(loads))))
    for number, (waiting, kv) in enumerate(loads):
        made.record_scrape(endpoint(number).key, sample(waiting, kv), at)
    return made


PRESSURE = "max(waiting_requests / 3, kv_cache_utilization_ratio / 0.7)"


def test_the_table_has_the_published_metrics_first_and_then_the_formulas() -> None:
    table = MetricTable.of([defined(PRESSURE), defined("waiting_requests", "load", "")])
    assert table.names == (*(each.name for each in PUBLISHED), "pressure_ratio", "load")
    assert [each.name for each in table] == list(table.names)
    assert len(table.names) == len(PUBLISHED) + 2
    assert "load" in table.names
    assert "pressure" not in table.names
    assert table.get("pressure") is None
    assert table.near("pressure_ratios") == "pressure_ratio"
    found = table.get("pressure_ratio")
    assert found is not None
    assert (found.unit, found.meaning, found.per_model, found.source) == ("ratio", "how full", True, ENGINE)


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        (defined("waiting_requests +"), "pressure_ratio: at character 19: a number"),
        (defined("waiting_request / 3"), "waiting_request is no published metric, did you mean waiting_requests?"),
        (defined("xyzzy"), "xyzzy is no published metric, published are queue_latency_p50_seconds"),
        (defined("1 + 2"), "reads at least one published metric"),
        (defined("pressure_ratio"), "pressure_ratio is no published metric"),
        (defined("waiting_requests", "waiting_requests", "requests"), "there is a metric of that name"),
        (defined("waiting_requests", "Load"), "lower-case letters"),
        (defined("waiting_requests", "a/b"), "lower-case letters"),
        (defined("waiting_requests", "load"), "end it in _ratio"),
        (defined("requests_finished_per_second", "arrivals", "1/second"), "end it in _per_second"),
        (defined("waiting_requests", "load_€", "€"), "lower-case letters"),
        (defined("waiting_requests", "load", "€"), "a unit has at most"),
        (defined("waiting_requests", aggregation=Aggregation.MERGED), "one of whole, mean, sum"),
    ],
)
def test_a_definition_that_is_unusable_is_refused(definition: FormulaSettings, said: str) -> None:
    with pytest.raises(FormulaError) as caught:
        MetricTable.of([definition])
    assert said in str(caught.value)
    assert str(caught.value).startswith(definition.name)


def test_a_name_is_given_once() -> None:
    with pytest.raises(FormulaError, match="there is a metric of that name"):
        MetricTable.of([defined(PRESSURE), defined("waiting_requests / 2", "pressure_ratio")])


@pytest.mark.parametrize(
    ("formula", "source", "per_model", "windowed", "by_requested_model"),
    [
        ("in_flight_requests / 2", PICKER, True, False, True),
        ("in_flight_requests + kv_cache_utilization_ratio", ENGINE, True, False, True),
        ("in_flight_requests + waiting_requests", ENGINE, True, False, False),
        ("gpu_memory_used_ratio", GPU, False, False, False),
        ("model_load_seconds + gpu_utilization_ratio", GPU, False, False, False),
        ("queue_latency_p90_seconds ?? waiting_requests", ENGINE, True, True, False),
    ],
)
def test_a_formula_takes_after_its_operands(
    formula: str, source: Source, per_model: bool, windowed: bool, by_requested_model: bool
) -> None:
    made = metric(formula)
    assert (made.source, made.per_model, made.windowed) == (source, per_model, windowed)
    assert made.by_requested_model == by_requested_model


# Pods


def test_a_pod_has_the_formula_of_its_own_values_whatever_the_aggregation() -> None:
    made = scraped((6, 0.35), (0, 0.7), (None, 0.7))
    for aggregation in (Aggregation.WHOLE, Aggregation.MEAN, Aggregation.SUM):
        readings = pod_readings(metric(PRESSURE, aggregation), view(made), 1.0)
        assert [(pod.name, reading.value) for pod, reading in readings] == [("vllm-0", 2), ("vllm-1", 1)]


def test_a_pod_without_an_operand_has_the_first_known_value() -> None:
    readings = pod_readings(metric("waiting_requests / 3 ?? kv_cache_utilization_ratio"), view(scraped((None, 0.5))), 1)
    assert [reading.value for _, reading in readings] == [0.5]


def test_ranks_are_one_pod_before_the_formula_and_share_their_gpus() -> None:
    ranks = (endpoint(0), endpoint(0, 1), endpoint(1), endpoint(1, 1))
    made = store(*ranks)
    for each in ranks:
        made.record_scrape(each.key, sample(4, 0.5), 1.0)
        made.record_beside(GPU, each.key, GpuSample(60.0, 80.0, 0.5), 1.0)
        made.charge(POOL.key, ranks.index(each), "m", 1, 1.0)
    of_ranks = metric("waiting_requests + gpu_memory_used_ratio + in_flight_requests")
    assert [reading.value for _, reading in pod_readings(of_ranks, view(made), 1.0)] == [10.75, 10.75]
    shared = metric("gpu_memory_used_ratio + in_flight_requests", Aggregation.SUM)
    assert group_reading(shared, view(made), 1.0) == Reading(5.5, 1.0)
    made.record_scrape(endpoint(0).key, sample(4, 0.5), 9.0)
    made.record_scrape(endpoint(1).key, sample(4, 0.5), 9.0)
    made.record_scrape(endpoint(1, 1).key, sample(4, 0.5), 9.0)
    assert [pod.name for pod, _ in pod_readings(of_ranks, view(made), 9.0)] == ["vllm-1"], "one rank is stale"


def test_of_operands_that_age_differently_each_has_its_own_limit() -> None:
    made = scraped((6, 0.5))
    made.record_beside(GPU, endpoint(0).key, GpuSample(60.0, 80.0, 0.5), 1.0)
    both = metric("waiting_requests / 6 ?? gpu_memory_used_ratio")
    assert pod_readings(both, view(made), 2.0)[0][1] == Reading(1.0, 1.0)
    assert pod_readings(both, view(made), 50.0)[0][1] == Reading(0.75, 1.0)
    assert not len(pod_readings(both, view(made), 500.0))
    counted = metric("waiting_requests / 6 ?? 1")
    assert pod_readings(counted, view(made), 500.0)[0][1] == Reading(1.0, 500.0), "a constant is of now"


# Groups


def test_whole_is_the_formula_of_the_groups_values() -> None:
    made = scraped((6, 0.35), (0, 0.7))
    reading = group_reading(metric(PRESSURE), view(made), 1.0)
    assert reading == Reading(2.0, 1.0), "6 wait in all"


@pytest.mark.parametrize(("aggregation", "value"), [(Aggregation.MEAN, 1.5), (Aggregation.SUM, 3.0)])
def test_mean_and_sum_are_of_the_values_of_pods(aggregation: Aggregation, value: float) -> None:
    assert group_reading(metric(PRESSURE, aggregation), view(scraped((6, 0.35), (0, 0.7))), 1.0) == Reading(value, 1.0)


@pytest.mark.parametrize(("aggregation", "value"), [(Aggregation.MEAN, 5 / 3), (Aggregation.SUM, 5.0)])
def test_a_pod_without_a_value_counts_as_the_highest(aggregation: Aggregation, value: float) -> None:
    made = scraped((6, 0.35), (0, 0.7), (None, 0.7))
    reading = group_reading(metric(PRESSURE, aggregation), view(made), 1.0)
    assert isinstance(reading, Reading)
    assert reading.value == pytest.approx(value)


@pytest.mark.parametrize("aggregation", [Aggregation.WHOLE, Aggregation.MEAN, Aggregation.SUM])
def test_below_half_coverage_a_formula_is_unknown_for_the_reason_its_operand_is(aggregation: Aggregation) -> None:
    made = scraped((6, 0.35), (0, 0.7), (1, 0.1))
    made.record_scrape(endpoint(0).key, sample(6, 0.35), 9.0)
    made.record_failure(endpoint(1).key, "connection refused", 9.0)
    reading = group_reading(metric(PRESSURE, aggregation), view(made), 9.0)
    assert isinstance(reading, Unknown)
    assert "waiting_requests is unknown: only 1 of 3 ready endpoints" in reading.reason
    assert "connection refused" in reading.reason


@pytest.mark.parametrize("aggregation", [Aggregation.WHOLE, Aggregation.MEAN, Aggregation.SUM])
def test_what_divides_by_zero_is_unknown(aggregation: Aggregation) -> None:
    made = scraped((6, 0.0), (3, 0.0))
    divided = metric("waiting_requests / kv_cache_utilization_ratio", aggregation)
    reading = group_reading(divided, view(made), 1.0)
    assert isinstance(reading, Unknown)
    assert "no finite value" in reading.reason
    assert not len(pod_readings(divided, view(made), 1.0))


def test_a_formula_waits_until_every_endpoint_was_scraped_or_failed_once() -> None:
    made = store(endpoint(0), endpoint(1), endpoint(2))
    for number in range(2):
        made.record_scrape(endpoint(number).key, sample(1, 0.1), 1.0)
    for aggregation in (Aggregation.WHOLE, Aggregation.SUM):
        reading = group_reading(metric(PRESSURE, aggregation), view(made), 1.0)
        assert isinstance(reading, Unknown)
        assert "not scraped yet" in reading.reason
    nobody = store(endpoint(0, phase=Phase.STARTING))
    reading = group_reading(metric(PRESSURE, Aggregation.SUM), view(nobody), 1.0)
    assert isinstance(reading, Unknown)
    assert "no ready endpoint" in reading.reason


def test_of_one_model_the_operands_that_are_split_are_its_share() -> None:
    made = store(endpoint(0), endpoint(1))
    made.record_scrape(endpoint(0).key, sample(6, 0.2, "m"), 1.0)
    made.record_scrape(endpoint(1).key, sample(3, 0.4, "n"), 1.0)
    both = metric("waiting_requests + kv_cache_utilization_ratio")
    assert models(both, view(made)) == ("m", "n")
    of_one = group_reading(both, view(made), 1.0, "n")
    assert isinstance(of_one, Reading)
    assert of_one.value == pytest.approx(3.3), "3 wait for n, the pool's cache is 30 % full"
    pods = pod_readings(both, view(made), 1.0, "n")
    assert [(pod.name, reading.value) for pod, reading in pods] == [("vllm-1", 3.4)]
    of_pods = group_reading(replace(both, aggregation=Aggregation.SUM), view(made), 1.0, "n")
    assert isinstance(of_pods, Reading)
    assert of_pods.value == pytest.approx(3.4)


def test_what_is_only_in_flight_has_the_models_that_requests_ask_for() -> None:
    made = store(endpoint(0), endpoint(1))
    lora = LoraState(frozenset({"l"}), frozenset(), 4)
    for number in range(2):
        made.record_scrape(endpoint(number).key, engine_sample(0, 0, 0.5, {"m": ModelLoad(0, 0)}, lora), 1.0)
    made.charge(POOL.key, 1, "l", 10, 1.0)
    asked = metric("in_flight_requests * kv_cache_utilization_ratio", Aggregation.SUM)
    assert models(asked, view(made)) == ("m", "l")
    assert group_reading(asked, view(made), 1.0, "l") == Reading(0.5, 1.0)
    only = np.array([True, False])
    assert group_reading(asked, view(made), 1.0, "l", only) == Reading(0.0, 1.0)


def test_a_mean_weighs_pods_where_pods_have_one_value() -> None:
    made = store(endpoint(0), endpoint(0, 1), endpoint(1))
    by_name = {each.name: each for each in PUBLISHED}
    assert weight(by_name["saturation_ratio"], view(made)) == 3
    assert weight(by_name["gpu_memory_used_ratio"], view(made)) == 2
    assert weight(metric(PRESSURE, Aggregation.MEAN), view(made)) == 2
    assert weight(by_name["gpu_memory_used_ratio"], view(made), np.array([False, True, False])) == 1
