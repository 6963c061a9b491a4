"""Names of engines and exporters lead to the published metric of the same meaning, or to words that name it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.config.settings import FormulaSettings
from infscale.metrics.gauges import NOTHING_SAID
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.gpu_exporters import GPU_EXPORTERS
from infscale.metrics.pages.written_dialects import EngineNames, Engines
from infscale.metrics.published.aliases import ALIASES, Alias, Aliases
from infscale.metrics.published.catalogue import BY_NAME, PublishedMetric
from infscale.metrics.published.metric_table import MetricTable

TABLE = MetricTable()


def meant(name: str) -> str | None:
    """The published metric that is answered under `name`."""
    found = TABLE.called(name)
    return found.name if isinstance(found, PublishedMetric) else None


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("vllm:num_requests_waiting", "waiting_requests"),
        ("vllm|num_requests_waiting", "waiting_requests"),
        ("vllm_num_requests_waiting", "waiting_requests"),
        ("prometheus.googleapis.com|vllm:num_requests_waiting|gauge", "waiting_requests"),
        ("prometheus.googleapis.com|tgi_queue_size|gauge", "waiting_requests"),
        ("vllm:num_requests_running", "running_requests"),
        ("vllm:gpu_cache_usage_perc", "kv_cache_utilization_ratio"),
        ("vllm:kv_cache_usage_perc", "kv_cache_utilization_ratio"),
        ("sglang:num_queue_reqs", "waiting_requests"),
        ("sglang:token_usage", "kv_cache_utilization_ratio"),
        ("trtllm_num_requests_waiting", "waiting_requests"),
        ("nv_inference_pending_request_count", "waiting_requests"),
        ("llamacpp:requests_deferred", "waiting_requests"),
        ("lmdeploy:num_requests_running", "running_requests"),
        ("tgi_batch_current_size", "running_requests"),
        ("vGPU_device_memory_usage_in_bytes", "gpu_memory_used_bytes"),
        ("xpum_engine_ratio", "gpu_utilization_ratio"),
        ("waiting_requests", "waiting_requests"),
    ],
)
def test_a_name_of_the_same_meaning_and_unit_is_answered(name: str, metric: str) -> None:
    assert meant(name) == metric


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("DCGM_FI_DEV_GPU_UTIL", Alias("gpu_utilization_ratio", "it is in percent")),
        ("dcgm_gpu_utilization", Alias("gpu_utilization_ratio", "it is in percent")),
        ("prometheus.googleapis.com|DCGM_FI_DEV_FB_USED|gauge", Alias("gpu_memory_used_bytes", "it is in MiB")),
        ("gpu_gfx_activity", Alias("gpu_utilization_ratio", "it is in percent")),
        (
            "vllm:time_to_first_token_seconds",
            Alias("time_to_first_token_p90_seconds", "it is a histogram, and an HPA takes one number"),
        ),
        (
            "vllm:time_to_first_token_seconds_bucket",
            Alias("time_to_first_token_p90_seconds", "it is a histogram, and an HPA takes one number"),
        ),
        (
            "vllm_request_queue_time_seconds_sum",
            Alias("queue_latency_p90_seconds", "it is a histogram, and an HPA takes one number"),
        ),
        (
            "vllm:generation_tokens_total",
            Alias("generation_tokens_per_second", "it counts from the engine's start, and an HPA takes a rate"),
        ),
        ("hw_memory_usage_bytes", Alias("gpu_memory_used_bytes", "its label tells several metrics apart")),
        ("nv_trt_llm_request_metrics", Alias("waiting_requests", "its label tells several metrics apart")),
    ],
)
def test_a_name_of_another_unit_or_form_is_not_answered_and_says_what_is(name: str, alias: Alias) -> None:
    assert TABLE.called(name) == alias


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vllm:num_requests_swapped",
        "vllm:num_requests_waiting_by_reason",
        "vllm:num_requests_waiting|gauge",
        "prometheus.googleapis.com|vllm:num_requests_waiting",
        "other.googleapis.com|vllm:num_requests_waiting|gauge",
        "vllm:engine_sleep_state",
        "process_start_time_seconds",
        "DCGM_FI_DEV_FB_FREE",
        "num_requests_waiting",
        "waiting",
    ],
)
def test_what_means_nothing_here_is_nobody_s_alias(name: str) -> None:
    assert TABLE.called(name) is None


def test_every_alias_leads_to_a_published_metric_and_none_hides_one() -> None:
    names = [spec.name for dialect in DIALECTS.values() for specs in dialect.gauges for spec in specs]
    names += [each.spec.name for exporter in GPU_EXPORTERS for of in exporter.names.values() for each in of]
    found = [alias for name in names if (alias := ALIASES.get(name)) is not None]
    assert len(found) > 30
    assert {alias.metric for alias in found} <= BY_NAME.keys()
    assert [name for name in BY_NAME if ALIASES.get(name) is not None] == []


def test_the_names_of_a_configured_engine_are_aliases_without_more() -> None:
    acme = EngineNames("acme", None, NOTHING_SAID._replace(waiting="acme:queue_depth", running="acme_busy{state=on}"))
    engines = Engines.of((acme,), None, None)
    table = MetricTable.of(aliases=Aliases.of(engines.dialects.values()))
    assert table.called("acme:queue_depth") is BY_NAME["waiting_requests"]
    assert table.called("acme|queue_depth") is BY_NAME["waiting_requests"]
    assert table.called("acme_busy") == Alias("running_requests", "its label tells several metrics apart")
    assert table.called("vllm:num_requests_waiting") is BY_NAME["waiting_requests"]
    assert MetricTable().called("acme:queue_depth") is None


def test_a_formula_keeps_the_name_that_others_use_for_something_else() -> None:

    formula = FormulaSettings("vllm_num_requests_waiting", "waiting_requests * 2")
    table = MetricTable.of([formula])
    found = table.called("vllm_num_requests_waiting")
    assert isinstance(found, PublishedMetric)
    assert found.name == "vllm_num_requests_waiting"
    assert table.called("vllm:num_requests_waiting") is BY_NAME["waiting_requests"]


@given(st.text(max_size=80) | st.lists(st.sampled_from(["vllm", ":", "|", "_", "num", "gauge"])).map("".join))
def test_any_text_can_be_asked_for(name: str) -> None:
    found = TABLE.called(name)
    assert found is None or isinstance(found, PublishedMetric | Alias)
