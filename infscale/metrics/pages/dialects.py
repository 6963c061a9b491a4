"""What engines call our metrics, as a table: names in order of preference, current ones before legacy ones.

Supporting another engine means another row.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from infscale.metrics.gauges import EngineGauges
from infscale.metrics.pages.dialect import NO_SPECS, CacheNumber, Dialect
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.interpretation import Specs

ENGINE_LABELS: Final = ("llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type")
"""Endpoint labels that name the dialect, in order of precedence."""


PAGE_PATH: Final = "/metrics"
"""Where a server's metrics page is, unless its dialect or the configuration says otherwise."""


def _specs(*texts: str) -> Specs:
    return tuple(spec for spec in map(MetricSpec.parse, texts) if spec is not None)


def _totals(*names: str) -> Specs:
    """Gauges that an engine scheduling by priority also splits by it: the total stands beside its parts."""
    return _specs(*(text for name in names for text in (f'{name}{{priority=""}}', name)))


VLLM: Final = Dialect(
    # vllm-project/vllm, vllm/v1/metrics/loggers.py; legacy names are those up to version 0.9.
    name="vllm",
    gauges=EngineGauges(
        waiting=_specs("vllm:num_requests_waiting"),
        running=_specs("vllm:num_requests_running"),
        kv_utilization=_specs("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        waiting_tokens=_specs("vllm:approximate_uncached_tokens_waiting", "vllm:num_tokens_waiting"),
        kv_used_tokens=(),
    ),
    block_size=(CacheNumber(MetricSpec("vllm:cache_config_info"), "block_size"),),
    num_blocks=(CacheNumber(MetricSpec("vllm:cache_config_info"), "num_gpu_blocks"),),
    lora=MetricSpec("vllm:lora_requests_info"),
    lora_loaded=MetricSpec("vllm:lora_adapter_loaded"),
    histograms={
        "queue_time": _specs("vllm:request_queue_time_seconds"),
        "prefill_time": _specs("vllm:request_prefill_time_seconds"),
        "time_to_first_token": _specs("vllm:time_to_first_token_seconds"),
        "inter_token_latency": _specs("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
        "request_latency": _specs("vllm:e2e_request_latency_seconds"),
    },
    counters={
        "prompt_tokens": _specs("vllm:prompt_tokens_total"),
        "generation_tokens": _specs("vllm:generation_tokens_total"),
        "prefix_queries": _specs("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
        "prefix_hits": _specs("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        "requests_finished": _specs("vllm:request_success_total"),
        "preemptions": _specs("vllm:num_preemptions_total"),
        # A histogram of the tokens of each step: it has observed as many as there were.
        "steps": _specs("vllm:iteration_tokens_total_count"),
    },
    awake=_specs("vllm:engine_sleep_state{sleep_state=awake}"),
    asleep=_specs(
        "vllm:engine_sleep_state{sleep_state=weights_offloaded}", "vllm:engine_sleep_state{sleep_state=discard_all}"
    ),
)

SGLANG: Final = Dialect(
    # sgl-project/sglang, python/sglang/srt/observability/metrics_collector.py
    name="sglang",
    gauges=EngineGauges(
        waiting=_totals("sglang:num_queue_reqs"),
        running=_totals("sglang:num_running_reqs"),
        kv_utilization=_totals("sglang:token_usage"),
        waiting_tokens=_totals("sglang:num_waiting_uncached_tokens"),
        kv_used_tokens=_totals("sglang:kv_used_tokens", "sglang:num_used_tokens"),
    ),
    block_size=(
        CacheNumber(MetricSpec("sglang:cache_config_info"), "page_size"),
        CacheNumber(MetricSpec("sglang:page_size")),
    ),
    num_blocks=(
        CacheNumber(MetricSpec("sglang:cache_config_info"), "num_pages"),
        CacheNumber(MetricSpec("sglang:num_pages")),
    ),
    histograms={
        "queue_time": _specs(
            "sglang:queue_time_seconds", "sglang:per_stage_req_latency_seconds{stage=prefill_waiting}"
        ),
        "time_to_first_token": _specs("sglang:time_to_first_token_seconds"),
        "inter_token_latency": _specs("sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"),
        "request_latency": _specs("sglang:e2e_request_latency_seconds"),
    },
    counters={
        "prompt_tokens": _specs("sglang:prompt_tokens_total"),
        "generation_tokens": _specs("sglang:generation_tokens_total"),
        # Every prompt token is looked up in the radix cache.
        "prefix_queries": _specs("sglang:prompt_tokens_total"),
        "prefix_hits": _specs("sglang:cached_tokens_total"),
        "requests_finished": _specs("sglang:num_requests_total"),
        "preemptions": _specs("sglang:num_retracted_requests_total"),
    },
    scheduler_label="dp_rank",
    enabled_by="--enable-metrics",
)

TRTLLM_SERVE: Final = Dialect(
    # NVIDIA/TensorRT-LLM, examples/serve/prometheus_metrics.py. At `/metrics` there are statistics in JSON.
    name="trtllm-serve",
    gauges=EngineGauges(
        waiting=_specs("trtllm_num_requests_waiting"),
        running=_specs("trtllm_num_requests_running"),
        kv_utilization=_specs("trtllm_kv_cache_utilization"),
        waiting_tokens=(),
        kv_used_tokens=(),
    ),
    block_size=tuple(map(CacheNumber, _specs("trtllm_kv_cache_tokens_per_block"))),
    num_blocks=tuple(map(CacheNumber, _specs("trtllm_kv_cache_max_blocks"))),
    histograms={
        # Names without the prefix are those of version 1.0, whose page has no gauges.
        "queue_time": _specs("trtllm_request_queue_time_seconds", "request_queue_time_seconds"),
        "time_to_first_token": _specs("trtllm_time_to_first_token_seconds", "time_to_first_token_seconds"),
        "inter_token_latency": _specs("trtllm_time_per_output_token_seconds", "time_per_output_token_seconds"),
        "request_latency": _specs("trtllm_e2e_request_latency_seconds", "e2e_request_latency_seconds"),
    },
    counters={
        "prompt_tokens": _specs("trtllm_prompt_tokens_total"),
        "generation_tokens": _specs("trtllm_generation_tokens_total"),
        "prefix_queries": _specs("trtllm_prompt_tokens_total"),
        "prefix_hits": _specs("trtllm_prompt_cached_tokens_total"),
        "requests_finished": _specs("trtllm_request_success_total", "request_success_total"),
    },
    path="/prometheus/metrics",
)

TRITON_TENSORRT_LLM: Final = Dialect(
    # triton-inference-server/tensorrtllm_backend, README, "Triton Metrics". Versions before `waiting` was among the
    # request types leave it unknown.
    name="triton-tensorrt-llm",
    gauges=EngineGauges(
        waiting=_specs("nv_trt_llm_request_metrics{request_type=waiting}"),
        running=_specs("nv_trt_llm_request_metrics{request_type=scheduled}"),
        kv_utilization=_specs("nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}"),
        waiting_tokens=(),
        kv_used_tokens=(),
    ),
    block_size=tuple(map(CacheNumber, _specs("nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}"))),
    num_blocks=tuple(map(CacheNumber, _specs("nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}"))),
    model_label="model",
)

TRITON: Final = Dialect(
    # triton-inference-server/server, docs/user_guide/metrics.md; `vllm:` names are those of its vLLM backend, which
    # writes them with Triton's labels (vllm_backend, src/utils/metrics.py). What runs is not said. Latencies of its own
    # are sums in µs and summaries, or histograms of the first response in ms: none is a histogram in seconds.
    name="triton",
    gauges=NO_SPECS._replace(waiting=_specs("nv_inference_pending_request_count")),
    histograms={
        "time_to_first_token": _specs("vllm:time_to_first_token_seconds"),
        "inter_token_latency": _specs("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
        "request_latency": _specs("vllm:e2e_request_latency_seconds"),
    },
    counters={
        "prompt_tokens": _specs("vllm:prompt_tokens_total"),
        "generation_tokens": _specs("vllm:generation_tokens_total"),
        "requests_finished": _specs("nv_inference_request_success"),
    },
    model_label="model",
)

TGI: Final = Dialect(
    # huggingface/text-generation-inference, docs/source/reference/metrics.md and router/src/server.rs. Its gauge of
    # tokens is the budget of the batch, not what is in the KV cache. Token counts are sums of histograms. No label
    # names the model: one server has one.
    name="tgi",
    gauges=NO_SPECS._replace(waiting=_specs("tgi_queue_size"), running=_specs("tgi_batch_current_size")),
    histograms={
        "queue_time": _specs("tgi_request_queue_duration"),
        "inter_token_latency": _specs("tgi_request_mean_time_per_token_duration"),
        "request_latency": _specs("tgi_request_duration"),
    },
    counters={
        "prompt_tokens": _specs("tgi_request_input_length_sum"),
        "generation_tokens": _specs("tgi_request_generated_tokens_sum"),
        "requests_finished": _specs("tgi_request_success"),
    },
    model_label="",
)

LLAMACPP: Final = Dialect(
    # ggml-org/llama.cpp, tools/server/README.md, "GET /metrics". Newer versions have dropped the gauges of the KV
    # cache. There are no histograms, and no label names the model.
    name="llamacpp",
    gauges=NO_SPECS._replace(
        waiting=_specs("llamacpp:requests_deferred"),
        running=_specs("llamacpp:requests_processing"),
        kv_utilization=_specs("llamacpp:kv_cache_usage_ratio"),
        kv_used_tokens=_specs("llamacpp:kv_cache_tokens"),
    ),
    counters={
        "prompt_tokens": _specs("llamacpp:prompt_tokens_total"),
        "generation_tokens": _specs("llamacpp:tokens_predicted_total"),
    },
    model_label="",
    enabled_by="--metrics",
)

LMDEPLOY: Final = Dialect(
    # InternLM/lmdeploy, lmdeploy/metrics/loggers.py: vLLM's names under a prefix of its own, for both of its engines.
    name="lmdeploy",
    gauges=NO_SPECS._replace(
        waiting=_specs("lmdeploy:num_requests_waiting"),
        running=_specs("lmdeploy:num_requests_running"),
        kv_utilization=_specs("lmdeploy:gpu_cache_usage_perc"),
    ),
    histograms={
        "queue_time": _specs("lmdeploy:request_queue_time_seconds"),
        "prefill_time": _specs("lmdeploy:request_prefill_time_seconds"),
        "time_to_first_token": _specs("lmdeploy:time_to_first_token_seconds"),
        "inter_token_latency": _specs("lmdeploy:time_per_output_token_seconds"),
        "request_latency": _specs("lmdeploy:e2e_request_latency_seconds"),
    },
    counters={
        "prompt_tokens": _specs("lmdeploy:prompt_tokens_total"),
        "generation_tokens": _specs("lmdeploy:generation_tokens_total"),
        "requests_finished": _specs("lmdeploy:request_success_total"),
    },
    enabled_by="--enable-metrics",
)

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        dialect.name: dialect
        # Triton has its own names beside those of TensorRT-LLM, which say more.
        for dialect in (VLLM, SGLANG, TRTLLM_SERVE, TRITON_TENSORRT_LLM, TRITON, TGI, LLAMACPP, LMDEPLOY)
    }
)
"""Every known dialect by the name an endpoint label gives it, in the order in which a page is tried."""
