"""The same engine under other servers' metric names: SGLang's and TensorRT-LLM's."""

from collections.abc import Callable

from infscale.sim.engine.recorder import Histogram, Histograms
from infscale.sim.pages.engine_pages import EngineSkin, PageSubject, common_families, created, histogram, vllm_page
from infscale.sim.pages.families import Family, Page, RankView, label_text, rank_family, static_family

_Scalar = tuple[str, str, str, Callable[[RankView], float]]
_Timing = tuple[str, str, Callable[[Histograms], Histogram]]


def page_for(skin: EngineSkin, subject: PageSubject) -> Page:
    """The page of a server that looks like `skin`."""
    return _PAGES[skin](subject)


def _hit_ratio(rank: RankView) -> float:
    return rank.recorder.prefix_hits / rank.recorder.prefix_queries if rank.recorder.prefix_queries else 0.0


def _sglang_page(subject: PageSubject) -> Page:
    capacity = subject.block_size * subject.num_blocks
    scalars: tuple[_Scalar, ...] = (
        ("sglang:num_running_reqs", "gauge", "The number of running requests.", lambda rank: rank.running),
        ("sglang:num_queue_reqs", "gauge", "The number of requests in the waiting queue.", lambda rank: rank.waiting),
        ("sglang:num_used_tokens", "gauge", "The number of used tokens.", lambda rank: rank.kv_tokens),
        ("sglang:token_usage", "gauge", "The token usage.", lambda rank: rank.kv_usage_ratio),
        ("sglang:cache_hit_rate", "gauge", "The prefix cache hit rate.", _hit_ratio),
        ("sglang:num_grammar_queue_reqs", "gauge", "The number of requests in the grammar waiting queue.", _zero),
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
    timings: tuple[_Timing, ...] = (
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
    return _page(subject, labels, scalars, timings, [config])


def _trtllm_page(subject: PageSubject) -> Page:
    blocks = subject.num_blocks
    scalars: tuple[_Scalar, ...] = (
        ("trtllm_num_requests_running", "gauge", "Number of active requests", lambda rank: rank.running),
        ("trtllm_num_requests_waiting", "gauge", "Number of queued requests", lambda rank: rank.waiting),
        ("trtllm_kv_cache_utilization", "gauge", "KV cache utilization", lambda rank: rank.kv_usage_ratio),
        ("trtllm_kv_cache_hit_rate", "gauge", "KV cache hit rate", _hit_ratio),
        ("trtllm_kv_cache_tokens_per_block", "gauge", "Tokens per KV cache block", lambda _: subject.block_size),
        ("trtllm_kv_cache_max_blocks", "gauge", "Total number of KV cache blocks", lambda _: blocks),
        ("trtllm_kv_cache_used_blocks", "gauge", "KV cache blocks in use",
         lambda rank: round(rank.kv_usage_ratio * blocks)),
        ("trtllm_kv_cache_free_blocks", "gauge", "Free KV cache blocks",
         lambda rank: blocks - round(rank.kv_usage_ratio * blocks)),
        ("trtllm_num_paused_requests", "gauge", "Number of paused requests", _zero),
        ("trtllm_prompt_tokens_total", "counter", "Cumulative number of prompt (input) tokens processed.",
         lambda rank: rank.recorder.prompt_tokens),
        ("trtllm_generation_tokens_total", "counter", "Cumulative number of generation (output) tokens produced.",
         lambda rank: rank.recorder.generation_tokens),
        ("trtllm_request_success_total", "counter", "Count of successfully processed requests.",
         lambda rank: rank.recorder.finished["stop"] + rank.recorder.finished["length"]),
    )  # fmt: skip
    timings: tuple[_Timing, ...] = (
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
    labels = [{"engine_type": "pytorch", "model_name": subject.model}]
    if subject.ranks > 1:
        labels = [labels[0] | {"rank": str(rank)} for rank in range(subject.ranks)]
    return _page(subject, labels, scalars, timings, [])


def _zero(_: RankView) -> float:
    return 0.0


def _page(
    subject: PageSubject,
    labels: list[dict[str, str]],
    scalars: tuple[_Scalar, ...],
    timings: tuple[_Timing, ...],
    more: list[Family],
) -> Page:
    texts = [label_text(one) for one in labels]
    families = common_families(subject)
    for name, kind, text, value in scalars:
        families.append(rank_family(name, kind, text, [(texts, value)]))
        if kind == "counter":
            families.append(created(name.removesuffix("_total"), text, labels, subject.started_at))
    for name, text, pick in timings:
        families += histogram(name, text, labels, pick, subject)
    return Page((*families, *more))


_PAGES: dict[EngineSkin, Callable[[PageSubject], Page]] = {
    EngineSkin.VLLM: vllm_page,
    EngineSkin.VLLM_LEGACY: lambda subject: vllm_page(subject, legacy=True),
    EngineSkin.SGLANG: _sglang_page,
    EngineSkin.TRTLLM: _trtllm_page,
}
