"""The values that are shown: their names, how they are written, and which of them are to be noticed."""

from collections.abc import Mapping
from typing import Final

from infscale.viewing.grid import (
    Mark,
    by_limits,
)
from infscale.viewing.words import Write, count, gibibytes, percent, seconds

QUEUE_LATENCY: Final = "queue_latency_p90_seconds"
TTFT: Final = "time_to_first_token_p90_seconds"
KV: Final = "kv_cache_utilization_ratio"
SATURATION: Final = "saturation_ratio"
WAITING, RUNNING, IN_FLIGHT = "waiting_requests", "running_requests", "in_flight_requests"
QUEUED, QUEUE_WAIT = "queued_requests", "queue_wait_p90_seconds"
WITHOUT_ENDPOINT: Final = "requests_without_endpoint"


WRITERS: Final[Mapping[str, Write]] = {
    WAITING: count,
    RUNNING: count,
    IN_FLIGHT: count,
    "in_flight_tokens": count,
    "waiting_tokens": count,
    "kv_cache_used_tokens": count,
    KV: percent,
    SATURATION: percent,
    QUEUE_LATENCY: seconds,
    TTFT: seconds,
    "gpu_memory_used_bytes": gibibytes,
    "gpu_memory_total_bytes": gibibytes,
    "gpu_utilization_ratio": percent,
    "gpu_memory_used_ratio": percent,
    "model_load_seconds": seconds,
    QUEUED: count,
    QUEUE_WAIT: seconds,
    WITHOUT_ENDPOINT: count,
}


def kv_mark(value: float | None) -> Mark:
    """How a share of KV-cache blocks in use is to be looked at."""
    return by_limits(value, 0.8, 0.95)


def load_mark(value: float | None) -> Mark:
    """How a share of capacity in use is to be looked at."""
    return by_limits(value, 0.8, 1.0)
