"""The rows of the table of dialects: each engine's page is read as that engine's, whatever else is on it."""

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.errors import ExpositionError
from infscale.metrics.gauges import ENGINE_GAUGES
from infscale.metrics.pages.bounds import COUNT, OF_UNIT
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import (
    DIALECTS,
    LLAMACPP,
    LMDEPLOY,
    SGLANG,
    TGI,
    TRITON,
    TRITON_TENSORRT_LLM,
    TRTLLM_SERVE,
    VLLM,
)
from infscale.metrics.pages.interpreter import Interpreter, detect, interpret
from infscale.metrics.sample import ModelLoad
from tests.fakes.counts import counters_of
from tests.fakes.hostile_pages import pages_of

TRITON_PAGE = b"""\
# HELP nv_inference_pending_request_count Instantaneous number of pending requests awaiting execution per-model.
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="llama",version="1"} 2
nv_inference_request_success{model="llama",version="1"} 40
nv_inference_queue_duration_us{model="llama",version="1"} 812345
"""
TRTLLM_BACKEND = b"""\
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 8
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.6
"""
VLLM_BACKEND = b"""\
vllm:prompt_tokens_total{model="llama",version="1"} 10
vllm:generation_tokens_total{model="llama",version="1"} 16
vllm:time_to_first_token_seconds_bucket{model="llama",version="1",le="0.1"} 1
vllm:time_to_first_token_seconds_bucket{model="llama",version="1",le="+Inf"} 2
vllm:time_to_first_token_seconds_sum{model="llama",version="1"} 0.5
"""
TGI_PAGE = b"""\
tgi_queue_size 4
tgi_batch_current_size 9
tgi_batch_current_max_tokens 16000
tgi_request_success{method="generate"} 30
tgi_request_success{method="generate_stream"} 12
tgi_request_input_length_sum 18000
tgi_request_generated_tokens_sum 9000
tgi_request_queue_duration_bucket{le="0.01"} 100
tgi_request_queue_duration_bucket{le="+Inf"} 150
tgi_request_queue_duration_sum 3.2
"""
LLAMACPP_PAGE = b"""\
llamacpp:prompt_tokens_total 512
llamacpp:tokens_predicted_total 39080
llamacpp:requests_processing 4
llamacpp:requests_deferred 46
"""
LMDEPLOY_PAGE = b"""\
lmdeploy:num_requests_running{engine="0",model_name="m"} 5
lmdeploy:num_requests_running{engine="1",model_name="m"} 6
lmdeploy:num_requests_waiting{engine="0",model_name="m"} 1
lmdeploy:gpu_cache_usage_perc{engine="0",model_name="m"} 0.25
lmdeploy:gpu_cache_usage_perc{engine="1",model_name="m"} 0.5
lmdeploy:request_success_total{engine="0",finished_reason="stop",model_name="m"} 7
"""
PAGES = {
    "vllm": b'vllm:num_requests_waiting{model_name="m"} 1\n',
    "sglang": b'sglang:num_queue_reqs{model_name="m"} 1\n',
    "trtllm-serve": b'trtllm_num_requests_waiting{model_name="m"} 1\n',
    "triton-tensorrt-llm": TRTLLM_BACKEND,
    "triton": TRITON_PAGE,
    "tgi": TGI_PAGE,
    "llamacpp": LLAMACPP_PAGE,
    "lmdeploy": LMDEPLOY_PAGE,
}
EACH = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        *[pytest.param(page, DIALECTS[name], id=name) for name, page in PAGES.items()],
        pytest.param(TRITON_PAGE + TRTLLM_BACKEND, TRITON_TENSORRT_LLM, id="triton beside its backend"),
        pytest.param(TRITON_PAGE + VLLM_BACKEND, TRITON, id="triton with vllm behind it"),
        pytest.param(VLLM_BACKEND, VLLM, id="vllm's counters alone"),
        pytest.param(TRTLLM_BACKEND + PAGES["trtllm-serve"], TRTLLM_SERVE, id="old and new tensorrt-llm"),
        pytest.param(PAGES["vllm"] + PAGES["lmdeploy"], VLLM, id="the first of the table"),
        pytest.param(b'trtllm_kv_cache_hit_rate{model_name="m"} 0.5\n', None, id="what is not read"),
        pytest.param(b"num_requests_waiting 1\nqueue_size 3\n", None, id="names without a prefix"),
    ],
)
def test_a_page_tells_its_engine(page: bytes, expected: Dialect | None) -> None:
    assert detect(page) is expected
    # The order of lines decides nothing.
    assert detect(b"".join(sorted(page.splitlines(keepends=True)))) is expected


@EACH
def test_no_page_of_one_engine_is_another_s(dialect: Dialect) -> None:
    others = [each for each in DIALECTS.values() if each is not dialect]
    # Triton's own families are on every Triton's page.
    beside = {TRITON, TRITON_TENSORRT_LLM}
    for other in others:
        if {dialect, other} != beside:
            assert not set(dialect.loads) & set(other.loads)


@EACH
def test_a_dialect_stays_one_of_the_table_between_processes(dialect: Dialect) -> None:
    assert pickle.loads(pickle.dumps(dialect)) is dialect


def test_triton_says_what_waits_and_not_what_runs() -> None:
    sample = interpret(TRITON_PAGE, TRITON)
    assert (sample.gauges.waiting, sample.gauges.running, sample.gauges.kv_utilization) == (2.0, None, None)
    assert sample.models == {"llama": ModelLoad(2.0, None)}
    assert counters_of(sample.counts) == {("requests_finished", "llama"): 40.0}
    assert sample.counts.histograms == {}


def test_triton_has_the_latencies_of_vllm_behind_it() -> None:
    sample = interpret(TRITON_PAGE + VLLM_BACKEND, TRITON)
    assert sample.counts.histograms["time_to_first_token", "llama"].counts.tolist() == [1.0, 2.0]
    assert counters_of(sample.counts)["generation_tokens", "llama"] == 16.0


def test_a_triton_of_old_without_waiting_requests_leaves_them_unknown() -> None:
    page = b'nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="1"} 8\n'
    sample = interpret(page, TRITON_TENSORRT_LLM)
    assert (sample.gauges.waiting, sample.gauges.running) == (None, 8.0)


def test_tgi_is_one_model_without_a_name_and_its_budget_is_no_kv_cache() -> None:
    sample = interpret(TGI_PAGE, TGI)
    assert (sample.gauges.waiting, sample.gauges.running) == (4.0, 9.0)
    assert (sample.gauges.kv_utilization, sample.gauges.kv_used_tokens) == (None, None)
    assert sample.models == {"": ModelLoad(4.0, 9.0)}
    counted = {"prompt_tokens": 18000.0, "generation_tokens": 9000.0, "requests_finished": 42.0}
    assert counters_of(sample.counts) == {(name, ""): number for name, number in counted.items()}
    queue = sample.counts.histograms["queue_time", ""]
    assert (queue.counts.tolist(), queue.sum) == ([100.0, 150.0], 3.2)


@pytest.mark.parametrize(
    ("more", "kv"),
    [
        (b"", (None, None)),
        (b"llamacpp:kv_cache_usage_ratio 0.5\nllamacpp:kv_cache_tokens 2048\n", (0.5, 2048.0)),
        (b"llamacpp:kv_cache_usage_ratio -nan\n", (None, None)),
    ],
    ids=["of today", "of old", "before the first request"],
)
def test_llama_cpp_says_how_full_its_cache_is_in_older_versions(
    more: bytes, kv: tuple[float | None, float | None]
) -> None:
    sample = interpret(LLAMACPP_PAGE + more, LLAMACPP)
    assert (sample.gauges.waiting, sample.gauges.running) == (46.0, 4.0)
    assert (sample.gauges.kv_utilization, sample.gauges.kv_used_tokens) == kv
    assert counters_of(sample.counts) == {("prompt_tokens", ""): 512.0, ("generation_tokens", ""): 39080.0}


def test_lmdeploy_adds_its_engines_up() -> None:
    sample = interpret(LMDEPLOY_PAGE, LMDEPLOY)
    assert (sample.gauges.waiting, sample.gauges.running, sample.gauges.kv_utilization) == (1.0, 11.0, 0.5)
    assert sample.models == {"m": ModelLoad(1.0, 11.0)}


@pytest.mark.parametrize(
    ("dialect", "current", "legacy"),
    [
        (VLLM, "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        (SGLANG, "sglang:kv_used_tokens", "sglang:num_used_tokens"),
    ],
    ids=["vllm", "sglang"],
)
def test_a_spelling_of_old_is_read_where_the_current_one_is_not(dialect: Dialect, current: str, legacy: str) -> None:
    load = f'{dialect.loads[0]}{{model_name="m"}} 1\n'
    both = interpret(f"{load}{legacy} 0.5\n{current} 0.25\n".encode(), dialect).gauges
    old = interpret(f"{load}{legacy} 0.5\n".encode(), dialect).gauges
    assert (0.25 in both, 0.5 in both, 0.5 in old) == (True, False, True)


@given(st.sampled_from([*DIALECTS.values()]).flatmap(lambda each: st.tuples(st.just(each), pages_of(each))))
@settings(max_examples=100, deadline=None)
def test_whatever_a_page_of_any_engine_says_is_within_bounds_or_unknown(said: tuple[Dialect, bytes]) -> None:
    dialect, page = said
    try:
        assert detect(page) is dialect
        sample = Interpreter(dialect).interpret(page)
    except ExpositionError:
        return
    for value, gauge in zip(sample.gauges, ENGINE_GAUGES, strict=True):
        assert value is None or OF_UNIT[gauge.unit].hold(value)
    assert all(COUNT.hold(value) or math.isnan(value) for value in sample.counts.row.tolist())
