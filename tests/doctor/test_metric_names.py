"""What is known of metrics by their names."""

from pathlib import Path

import pytest

from infscale.doctor.metric_names import OLD_NAMES, Kind, facts_of, is_engines, is_old, new_name, published_name
from infscale.metrics.published.catalogue import BY_NAME


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"),
        ("vllm_gpu_cache_usage_perc", "vllm_kv_cache_usage_perc"),
        ("inference_objective_request_duration_seconds_bucket", "llm_d_epp_request_duration_seconds_bucket"),
        ("inference_pool_average_queue_size", "llm_d_epp_average_queue_size"),
        ("Hostname", "hostname"),
        ("vllm:num_requests_waiting", None),
        ("llm_d_epp_request_total", None),
    ],
)
def test_names_of_before_have_one_of_today(old: str, today: str | None) -> None:
    assert new_name(old) == today
    assert is_old(old) == (today is not None)


def test_today_s_name_is_none_of_before() -> None:
    assert not [each for each in OLD_NAMES.values() if is_old(each)]


def test_the_reference_s_names_are_those_that_infscale_exports() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    renamed = {old: today for old, today in OLD_NAMES.items() if today.startswith("llm_d_epp_")}
    assert not [today for today in renamed.values() if f"`{today}`" not in page]
    assert [old for old in renamed if f"`{old}`" not in page] == ["inference_model_request_total"], "older still"


@pytest.mark.parametrize(
    ("name", "kind", "ceiling"),
    [
        ("waiting_requests", Kind.LOAD, None),
        ("kv_cache_utilization_ratio", Kind.LEVEL, 1.0),
        ("saturation_ratio", Kind.LEVEL, None),
        ("time_to_first_token_p90_seconds", Kind.LEVEL, None),
        ("vllm:kv_cache_usage_perc", Kind.LEVEL, 1.0),
        ("vllm_num_requests_waiting", Kind.LOAD, None),
        ("wva_desired_replicas", Kind.REPLICAS, None),
    ],
)
def test_what_a_value_is_shows_in_its_name(name: str, kind: Kind, ceiling: float | None) -> None:
    facts = facts_of(name)
    assert facts is not None
    assert (facts.kind, facts.ceiling) == (kind, ceiling)


def test_of_other_metrics_nothing_is_known() -> None:
    assert facts_of("http_requests_total") is None
    assert not is_engines("http_requests_total")


def test_engines_metrics_are_gone_at_zero_and_the_picker_s_are_not() -> None:
    assert is_engines("waiting_requests")
    assert is_engines("vllm:num_requests_waiting")
    assert not is_engines("in_flight_requests")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("vllm:num_requests_waiting", "waiting_requests"),
        ("sglang:token_usage", "kv_cache_utilization_ratio"),
        ("vllm_gpu_cache_usage_perc", "kv_cache_utilization_ratio"),
        ("inference_pool_average_queue_size", "waiting_requests_average"),
        ("llm_d_epp_average_kv_cache_utilization", "kv_cache_utilization_ratio"),
        ("inference_pool_per_pod_queue_size", "waiting_requests"),
        ("llm_d_epp_flow_control_queue_size", "queued_requests"),
        ("inference_extension_flow_control_queue_size", "queued_requests"),
    ],
)
def test_names_of_others_have_one_of_ours_that_is_published(name: str, ours: str) -> None:
    assert published_name(name) == ours
    assert ours in BY_NAME


@pytest.mark.parametrize("name", ["DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "vllm:time_to_first_token_seconds"])
def test_names_of_another_unit_or_form_have_none(name: str) -> None:
    assert published_name(name) is None


def test_every_published_metric_is_known() -> None:
    assert all(facts_of(name) is not None for name in BY_NAME)
