"""The same engine under other servers' metric names: those of engines in Python, and which page is whose."""

from collections.abc import Callable

from infscale.sim.pages.engine_pages import EngineSkin, PageSubject, vllm_page
from infscale.sim.pages.families import Page, label_text, static_family
from infscale.sim.pages.native_skins import llamacpp_page, tgi_page, triton_page, triton_trtllm_page
from infscale.sim.pages.skin_tables import Scalar, SkinTable, Timing, completed, hit_ratio, of_each_rank, zero


def page_for(skin: EngineSkin, subject: PageSubject) -> Page:
    """The page of a server that looks like `skin`."""
    return _PAGES[skin](subject)


def _sglang_page(subject: PageSubject) -> Page:
    capacity = subject.block_size * subject.num_blocks
    scalars: tuple[Scalar, ...] = (
        ("sglang:num_running_reqs", "gauge", "The number of running requests.", lambda rank: rank.running),
        ("sglang:num_queue_reqs", "gauge", "The number of requests in the waiting queue.", lambda rank: rank.waiting),
        ("sglang:num_used_tokens", "gauge", "The number of used tokens.", lambda rank: rank.kv_tokens),
        ("sglang:token_usage", "gauge", "The token usage.", lambda rank: rank.kv_usage_ratio),
        ("sglang:cache_hit_rate", "gauge", "The prefix cache hit rate.", hit_ratio),
        ("sglang:num_grammar_queue_reqs", "gauge", "The number of requests in the grammar waiting queue.", zero),
        ("sglang:max_total_num_tokens", "gauge", "Maximum total number of tokens in the KV cache pool.",
         lambda _: capacity),
        ("sglang:num_retracted_reqs", "gauge", "The number of retracted requests.",
         lambda rank: rank.recorder.preemptions),
        ("sglang:prompt_tokens_total", "counter", "Number of prefill tokens processed.",
         lambda rank: rank.recorder.prompt_tokens),
        ("sglang:generation_tokens_total", "counter", "Number of generation tokens processed.",
         lambda rank: rank.recorder.generation_tokens),
        ("sglang:cached_tokens_total", "counter", "Number of cached prompt tokens.",
         lambda rank: rank.recorder.prefix_hits),
        ("sglang:num_requests_total", "counter", "Number of requests processed.",
         lambda rank: sum(rank.recorder.finished.values())),
        ("sglang:num_aborted_requests_total", "counter", "Number of requests aborted.",
         lambda rank: rank.recorder.finished["abort"]),
    )  # fmt: skip
    timings: tuple[Timing, ...] = (
        ("sglang:time_to_first_token_seconds", "Histogram of time to first token in seconds.", lambda h: h.first_token),
        ("sglang:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", lambda h: h.token_gap),
        ("sglang:e2e_request_latency_seconds", "Histogram of End-to-end request latency in seconds",
         lambda h: h.end_to_end),
        ("sglang:queue_time_seconds", "Histogram of queueing time in seconds.", lambda h: h.queue),
        ("sglang:prompt_tokens_histogram", "Histogram of prompt token length.", lambda h: h.prompt_tokens),
        ("sglang:generation_tokens_histogram", "Histogram of generation token length.", lambda h: h.generation_tokens),
    )  # fmt: skip
    labels = [
        {"dp_rank": str(rank), "engine_type": "unified", "model_name": subject.model, "pp_rank": "0", "tp_rank": "0"}
        for rank in range(subject.ranks)
    ]
    cache = {"page_size": str(subject.block_size), "num_pages": str(subject.num_blocks)}
    info = [f"sglang:cache_config_info{{{label_text(one | cache)}}} 1.0" for one in labels]
    config = static_family("sglang:cache_config_info", "gauge", "Information of the KV cache configuration.", info)
    return SkinTable(labels, scalars, timings).page(subject, [config])


def _trtllm_page(subject: PageSubject) -> Page:
    blocks = subject.num_blocks
    scalars: tuple[Scalar, ...] = (
        ("trtllm_num_requests_running", "gauge", "Number of active requests", lambda rank: rank.running),
        ("trtllm_num_requests_waiting", "gauge", "Number of queued requests", lambda rank: rank.waiting),
        ("trtllm_kv_cache_utilization", "gauge", "KV cache utilization", lambda rank: rank.kv_usage_ratio),
        ("trtllm_kv_cache_hit_rate", "gauge", "KV cache hit rate", hit_ratio),
        ("trtllm_kv_cache_tokens_per_block", "gauge", "Tokens per KV cache block", lambda _: subject.block_size),
        ("trtllm_kv_cache_max_blocks", "gauge", "Total number of KV cache blocks", lambda _: blocks),
        ("trtllm_kv_cache_used_blocks", "gauge", "KV cache blocks in use",
         lambda rank: round(rank.kv_usage_ratio * blocks)),
        ("trtllm_kv_cache_free_blocks", "gauge", "Free KV cache blocks",
         lambda rank: blocks - round(rank.kv_usage_ratio * blocks)),
        ("trtllm_num_paused_requests", "gauge", "Number of paused requests", zero),
        ("trtllm_prompt_tokens_total", "counter", "Cumulative number of prompt (input) tokens processed.",
         lambda rank: rank.recorder.prompt_tokens),
        ("trtllm_generation_tokens_total", "counter", "Cumulative number of generation (output) tokens produced.",
         lambda rank: rank.recorder.generation_tokens),
        ("trtllm_request_success_total", "counter", "Count of successfully processed requests.",
         lambda rank: completed(rank.recorder)),
    )  # fmt: skip
    timings: tuple[Timing, ...] = (
        ("trtllm_time_to_first_token_seconds", "Histogram of time to first token in seconds.", lambda h: h.first_token),
        ("trtllm_time_per_output_token_seconds", "Histogram of time per output token in seconds.",
         lambda h: h.per_output_token),
        ("trtllm_e2e_request_latency_seconds", "Histogram of end to end request latency in seconds.",
         lambda h: h.end_to_end),
        ("trtllm_request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.",
         lambda h: h.queue),
        ("trtllm_request_decode_time_seconds", "Histogram of decode (generation) phase duration in seconds.",
         lambda h: h.decode),
        ("trtllm_request_inference_time_seconds", "Histogram of total inference duration in seconds.",
         lambda h: h.inference),
    )  # fmt: skip
    labels = of_each_rank(subject, engine_type="pytorch", model_name=subject.model)
    return SkinTable(labels, scalars, timings).page(subject)


def _lmdeploy_page(subject: PageSubject) -> Page:
    scalars: tuple[Scalar, ...] = (
        ("lmdeploy:num_requests_running", "gauge", "Number of requests in model execution batches.",
         lambda rank: rank.running),
        ("lmdeploy:num_requests_waiting", "gauge", "Number of requests waiting to be processed.",
         lambda rank: rank.waiting),
        ("lmdeploy:gpu_cache_usage_perc", "gauge", "GPU KV-cache usage. 1 means 100 percent usage.",
         lambda rank: rank.kv_usage_ratio),
        ("lmdeploy:prompt_tokens_total", "counter", "Number of prefill tokens processed.",
         lambda rank: rank.recorder.prompt_tokens),
        ("lmdeploy:generation_tokens_total", "counter", "Number of generation tokens processed.",
         lambda rank: rank.recorder.generation_tokens),
        ("lmdeploy:request_success_total", "counter", "Count of successfully processed requests.",
         lambda rank: completed(rank.recorder)),
    )  # fmt: skip
    timings: tuple[Timing, ...] = (
        ("lmdeploy:time_to_first_token_seconds", "Histogram of time to first token in seconds.",
         lambda h: h.first_token),
        ("lmdeploy:time_per_output_token_seconds", "Histogram of time per output token in seconds.",
         lambda h: h.per_output_token),
        ("lmdeploy:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.",
         lambda h: h.end_to_end),
        ("lmdeploy:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.",
         lambda h: h.queue),
        ("lmdeploy:request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.",
         lambda h: h.prefill),
        ("lmdeploy:request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.",
         lambda h: h.decode),
    )  # fmt: skip
    labels = [{"engine": str(rank), "model_name": subject.model} for rank in range(subject.ranks)]
    return SkinTable(labels, scalars, timings).page(subject)


_PAGES: dict[EngineSkin, Callable[[PageSubject], Page]] = {
    EngineSkin.VLLM: vllm_page,
    EngineSkin.VLLM_LEGACY: lambda subject: vllm_page(subject, legacy=True),
    EngineSkin.SGLANG: _sglang_page,
    EngineSkin.TRTLLM: _trtllm_page,
    EngineSkin.TRITON: triton_page,
    EngineSkin.TRITON_TRTLLM: triton_trtllm_page,
    EngineSkin.TGI: tgi_page,
    EngineSkin.LLAMACPP: llamacpp_page,
    EngineSkin.LMDEPLOY: _lmdeploy_page,
}
