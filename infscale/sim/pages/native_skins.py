"""The same engine as servers that are no Python programs show it: Triton, TGI and llama.cpp.

Their pages have no ``_created`` gauges and nothing of the process.
"""

from collections.abc import Callable

from infscale.sim.pages.engine_pages import PageSubject
from infscale.sim.pages.families import Page, RankView, label_text, rank_family
from infscale.sim.pages.skin_tables import Scalar, SkinTable, Timing, completed, of_each_rank, zero

_MICROSECONDS = 1e6

_Values = dict[str, Callable[[RankView], float]]


def triton_page(subject: PageSubject) -> Page:
    """Triton with a backend that says nothing itself."""
    labels = of_each_rank(subject, model=subject.model, version="1")
    scalars: tuple[Scalar, ...] = (
        ("nv_inference_request_success", "counter", "Number of successful inference requests, all batch sizes",
         lambda rank: completed(rank.recorder)),
        ("nv_inference_exec_count", "counter", "Number of model executions performed",
         lambda rank: rank.recorder.histograms.iteration_tokens.total),
        ("nv_inference_request_duration_us", "counter",
         "Cumulative inference request duration in microseconds (includes cached requests)",
         lambda rank: _MICROSECONDS * rank.recorder.histograms.end_to_end.sum),
        ("nv_inference_queue_duration_us", "counter",
         "Cumulative inference queuing duration in microseconds (includes cached requests)",
         lambda rank: _MICROSECONDS * rank.recorder.histograms.queue.sum),
        ("nv_inference_pending_request_count", "gauge",
         "Instantaneous number of pending requests awaiting execution per-model.", lambda rank: rank.waiting),
    )  # fmt: skip
    return SkinTable(labels, scalars, python=False).page(subject)


def triton_trtllm_page(subject: PageSubject) -> Page:
    """Triton with TensorRT-LLM behind it, which writes a family per theme and tells its values by a label."""
    labels = of_each_rank(subject, model=subject.model, version="1")
    requests: _Values = {
        "waiting": lambda rank: rank.waiting,
        "context": lambda rank: rank.deferred,
        "scheduled": lambda rank: rank.running,
        "max": lambda rank: 512.0,
        "active": lambda rank: rank.waiting + rank.running,
    }
    blocks: _Values = {
        "used": lambda rank: round(rank.kv_usage_ratio * subject.num_blocks),
        "free": lambda rank: subject.num_blocks - round(rank.kv_usage_ratio * subject.num_blocks),
        "tokens_per": lambda rank: subject.block_size,
        "max": lambda rank: subject.num_blocks,
        "fraction": lambda rank: rank.kv_usage_ratio,
    }
    more = [
        rank_family(
            name,
            "gauge",
            text,
            [([label_text(one | {label: each}) for one in labels], value) for each, value in values.items()],
        )
        for name, text, label, values in (
            ("nv_trt_llm_request_metrics", "TRT LLM request metrics", "request_type", requests),
            ("nv_trt_llm_kv_cache_block_metrics", "TRT LLM KV cache block metrics", "kv_cache_block_type", blocks),
        )
    ]
    pending: Scalar = (
        "nv_inference_pending_request_count", "gauge",
        "Instantaneous number of pending requests awaiting execution per-model.", zero,
    )  # fmt: skip
    return SkinTable(labels, (pending,), python=False).page(subject, more)


def tgi_page(subject: PageSubject) -> Page:
    """Text Generation Inference; no label names the model."""
    scalars: tuple[Scalar, ...] = (
        ("tgi_request_count", "counter", "Total number of requests",
         lambda rank: rank.recorder.histograms.end_to_end.total),
        ("tgi_request_success", "counter", "Number of successful requests", lambda rank: completed(rank.recorder)),
        ("tgi_queue_size", "gauge", "Current number of requests waiting in the internal queue",
         lambda rank: rank.waiting),
        ("tgi_batch_current_size", "gauge", "Current batch size", lambda rank: rank.running),
        ("tgi_batch_current_max_tokens", "gauge", "Max tokens for the current batch",
         lambda rank: rank.kv_tokens + 512.0 * rank.running),
    )  # fmt: skip
    timings: tuple[Timing, ...] = (
        ("tgi_request_duration", "End-to-end latency per request in seconds", lambda h: h.end_to_end),
        ("tgi_request_queue_duration", "Time spent in the queue per request in seconds", lambda h: h.queue),
        ("tgi_request_inference_duration", "Inference latency per request in seconds", lambda h: h.inference),
        ("tgi_request_mean_time_per_token_duration", "Mean time per token per request in seconds",
         lambda h: h.per_output_token),
        ("tgi_request_input_length", "Input token length per request", lambda h: h.prompt_tokens),
        ("tgi_request_generated_tokens", "Generated tokens per request", lambda h: h.generation_tokens),
    )  # fmt: skip
    return SkinTable(of_each_rank(subject), scalars, timings, python=False).page(subject)


def llamacpp_page(subject: PageSubject) -> Page:
    """llama.cpp's server, of a version that still says how full the KV cache is; no label names the model."""
    scalars: tuple[Scalar, ...] = (
        ("llamacpp:prompt_tokens_total", "counter", "Number of prompt tokens processed.",
         lambda rank: rank.recorder.prompt_tokens),
        ("llamacpp:tokens_predicted_total", "counter", "Number of generation tokens processed.",
         lambda rank: rank.recorder.generation_tokens),
        ("llamacpp:n_decode_total", "counter", "Total number of llama_decode() calls",
         lambda rank: rank.recorder.histograms.iteration_tokens.total),
        ("llamacpp:predicted_tokens_seconds", "gauge", "Average generation throughput in tokens/s.", _throughput),
        ("llamacpp:kv_cache_usage_ratio", "gauge", "KV-cache usage. 1 means 100 percent usage.",
         lambda rank: rank.kv_usage_ratio),
        ("llamacpp:kv_cache_tokens", "gauge", "KV-cache tokens.", lambda rank: rank.kv_tokens),
        ("llamacpp:requests_processing", "gauge", "Number of requests processing.", lambda rank: rank.running),
        ("llamacpp:requests_deferred", "gauge", "Number of requests deferred.", lambda rank: rank.waiting),
    )  # fmt: skip
    return SkinTable(of_each_rank(subject), scalars, python=False).page(subject)


def _throughput(rank: RankView) -> float:
    recorder = rank.recorder
    return recorder.generation_tokens / recorder.busy_seconds if recorder.busy_seconds else 0.0
