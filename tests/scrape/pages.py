"""Metrics pages for tests: the shape and size of real ones, with values that are easy to recognise."""

from collections.abc import Iterable

BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0)
HISTOGRAMS = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
)
COUNTERS = ("prompt_tokens", "generation_tokens", "prefix_cache_queries", "prefix_cache_hits", "num_preemptions")


def family(name: str, kind: str, lines: Iterable[str]) -> str:
    """One family with its HELP and TYPE lines."""
    return "\n".join([f"# HELP {name} What {name} is about.", f"# TYPE {name} {kind}", *lines, ""])


def histogram(name: str, labels: str, count: int, bounds: tuple[float, ...] = BUCKETS) -> list[str]:
    """A histogram whose observations all lie in the last finite bucket or below it, evenly spread."""
    lines = [
        f'{name}_bucket{{{labels},le="{bound}"}} {count * (i + 1) // len(bounds)}.0' for i, bound in enumerate(bounds)
    ]
    lines.append(f'{name}_bucket{{{labels},le="+Inf"}} {count}.0')
    lines.append(f"{name}_count{{{labels}}} {count}.0")
    lines.append(f"{name}_sum{{{labels}}} {count * 1.5}")
    return lines


def vllm_page(
    waiting: float = 3.0,
    running: float = 8.0,
    kv: float = 0.25,
    *,
    model: str = "llama",
    engines: int = 1,
    filler: int = 0,
) -> bytes:
    """A vLLM page; every engine after the first has one request more waiting and a KV utilisation 0.1 higher."""
    ranks = [f'engine="{rank}",model_name="{model}"' for rank in range(engines)]

    def gauge(name: str, value: float, step: float = 0.0) -> str:
        lines = [f"{name}{{{labels}}} {value + step * rank!r}" for rank, labels in enumerate(ranks)]
        return family(name, "gauge", lines)

    parts = [
        family(
            "python_gc_objects_collected_total", "counter", ['python_gc_objects_collected_total{generation="0"} 10.0']
        ),
        gauge("vllm:num_requests_running", running),
        gauge("vllm:num_requests_waiting", waiting, 1.0),
        family(
            "vllm:num_requests_waiting_by_reason",
            "gauge",
            [f'vllm:num_requests_waiting_by_reason{{{labels},reason="capacity"}} 99.0' for labels in ranks],
        ),
        gauge("vllm:kv_cache_usage_perc", kv, 0.1),
        family(
            "vllm:cache_config_info",
            "gauge",
            [
                f'vllm:cache_config_info{{block_size="16",engine="{rank}",num_gpu_blocks="1000"}} 1.0'
                for rank in range(engines)
            ],
        ),
        *(
            family(f"vllm:{name}_total", "counter", [f"vllm:{name}_total{{{labels}}} 100.0" for labels in ranks])
            for name in COUNTERS
        ),
        family(
            "vllm:request_success_total",
            "counter",
            [
                f'vllm:request_success_total{{{labels},finished_reason="{why}"}} 5.0'
                for labels in ranks
                for why in ("stop", "length")
            ],
        ),
        *(
            family(
                f"vllm:{name}",
                "histogram",
                [line for labels in ranks for line in histogram(f"vllm:{name}", labels, 36)],
            )
            for name in HISTOGRAMS
        ),
        *(
            family(
                f"vllm:filler_{i}_seconds",
                "histogram",
                [line for labels in ranks for line in histogram(f"vllm:filler_{i}_seconds", labels, 36)],
            )
            for i in range(filler)
        ),
    ]
    return "".join(parts).encode()
