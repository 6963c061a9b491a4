"""What is on a vLLM page, as tables: names, help texts and where in the recorder each value comes from."""

from collections.abc import Callable

from infscale.sim.engine.recorder import Histogram, Histograms
from infscale.sim.pages.families import RankView

Scalar = tuple[str, str, Callable[[RankView], float]]
"""Name, help text, and where the value comes from."""

GAUGES: tuple[Scalar, ...] = (
    ("vllm:num_requests_running", "Number of requests in model execution batches.", lambda rank: rank.running),
    ("vllm:num_requests_waiting", "Number of requests waiting to be processed.", lambda rank: rank.waiting),
)

_PREFIX_QUERIES = "Prefix cache queries, in terms of number of queried tokens."
_PREFIX_HITS = "Prefix cache hits, in terms of number of cached tokens."

_SHARED_COUNTERS: tuple[Scalar, ...] = (
    ("vllm:num_preemptions", "Cumulative number of preemption from the engine.",
     lambda rank: rank.recorder.preemptions),
    ("vllm:prompt_tokens", "Number of prefill tokens processed.", lambda rank: rank.recorder.prompt_tokens),
    ("vllm:generation_tokens", "Number of generation tokens processed.",
     lambda rank: rank.recorder.generation_tokens),
)  # fmt: skip

COUNTERS: tuple[Scalar, ...] = (
    ("vllm:prefix_cache_queries", _PREFIX_QUERIES, lambda rank: rank.recorder.prefix_queries),
    ("vllm:prefix_cache_hits", _PREFIX_HITS, lambda rank: rank.recorder.prefix_hits),
    ("vllm:external_prefix_cache_queries", "External " + _PREFIX_QUERIES[0].lower() + _PREFIX_QUERIES[1:], lambda _: 0),
    ("vllm:external_prefix_cache_hits", "External " + _PREFIX_HITS[0].lower() + _PREFIX_HITS[1:], lambda _: 0),
    ("vllm:mm_cache_queries", "Multi-modal cache queries, in terms of number of queried items.", lambda _: 0),
    ("vllm:mm_cache_hits", "Multi-modal cache hits, in terms of number of cached items.", lambda _: 0),
    ("vllm:corrupted_requests", "Corrupted requests, in terms of total number of requests with NaNs.", lambda _: 0),
    ("vllm:prompt_tokens_cached", "Number of cached prompt tokens.", lambda rank: rank.recorder.prefix_hits),
    ("vllm:admission_rejections", "Requests rejected at admission.", lambda rank: rank.recorder.rejections),
    *_SHARED_COUNTERS,
)

LEGACY_COUNTERS: tuple[Scalar, ...] = (
    ("vllm:gpu_prefix_cache_queries", "GPU " + _PREFIX_QUERIES, lambda rank: rank.recorder.prefix_queries),
    ("vllm:gpu_prefix_cache_hits", "GPU " + _PREFIX_HITS, lambda rank: rank.recorder.prefix_hits),
    *_SHARED_COUNTERS,
)

HISTOGRAMS: tuple[tuple[str, str, Callable[[Histograms], Histogram]], ...] = (
    ("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", lambda h: h.first_token),
    ("vllm:time_per_output_token_seconds", "Histogram of time per output token in seconds.", lambda h: h.token_gap),
    ("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", lambda h: h.token_gap),
    ("vllm:request_time_per_output_token_seconds", "Histogram of time_per_output_token_seconds per request.",
     lambda h: h.per_output_token),
    ("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", lambda h: h.end_to_end),
    ("vllm:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", lambda h: h.queue),
    ("vllm:request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.",
     lambda h: h.inference),
    ("vllm:request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", lambda h: h.prefill),
    ("vllm:request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", lambda h: h.decode),
    ("vllm:request_prompt_tokens", "Number of prefill tokens processed.", lambda h: h.prompt_tokens),
    ("vllm:request_prefill_kv_computed_tokens",
     "Histogram of new KV tokens computed during prefill (excluding cached tokens).", lambda h: h.computed_tokens),
    ("vllm:request_generation_tokens", "Number of generation tokens processed.", lambda h: h.generation_tokens),
    ("vllm:request_max_num_generation_tokens", "Histogram of maximum number of requested generation tokens.",
     lambda h: h.max_generation_tokens),
    ("vllm:request_params_max_tokens", "Histogram of the max_tokens request parameter.", lambda h: h.max_tokens_asked),
    ("vllm:request_params_n", "Histogram of the n request parameter.", lambda h: h.choices),
    ("vllm:iteration_tokens_total", "Histogram of number of tokens per engine_step.", lambda h: h.iteration_tokens),
)  # fmt: skip
LEGACY_HISTOGRAMS = frozenset({"vllm:time_per_output_token_seconds"})
"""Those that only versions up to 0.9 have."""
CURRENT_HISTOGRAMS = frozenset(
    {
        "vllm:inter_token_latency_seconds",
        "vllm:request_time_per_output_token_seconds",
        "vllm:request_prefill_kv_computed_tokens",
    }
)
"""Those that only later versions have."""

UNUSED_HISTOGRAMS: tuple[tuple[str, str], ...] = (
    ("vllm:kv_block_lifetime_seconds", "Histogram of KV cache block lifetime from allocation to eviction."),
    ("vllm:kv_block_idle_before_evict_seconds", "Histogram of idle time before KV cache block eviction."),
    ("vllm:kv_block_reuse_gap_seconds", "Histogram of time gaps between consecutive KV cache block accesses."),
)
"""Families a current page has and this engine never observes."""

BLOCK_BOUNDS: tuple[float, ...] = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60),
    *(120, 300, 600, 1200, 1800),
)

_POSTS = (
    "/v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/embeddings /v1/score /v1/rerank /v2/rerank "
    "/rerank /score /pooling /classify /tokenize /detokenize /v1/audio/transcriptions /v1/audio/translations "
    "/v1/load_lora_adapter /v1/unload_lora_adapter /inference/v1/generate /invocations /v1/chat/completions/render "
    "/v1/completions/render /reset_prefix_cache /reset_mm_cache /sleep /wake_up /collective_rpc"
)
_GETS = "/v1/models /health /version /ping /load /server_info /is_sleeping /tokenizer_info /openapi.json /docs"

SERVED_PATHS: tuple[tuple[str, str], ...] = (
    *((path, "POST") for path in _POSTS.split()),
    *((path, "GET") for path in _GETS.split()),
)
"""Paths and methods whose HTTP families a page has from the start."""
