"""What "saturated" means: one function, one configuration per pool, read by picker and adapter alike."""

import enum
import math
from dataclasses import dataclass

import numpy as np

from infscale.metrics.sample import FloatArray


class SaturationKind(enum.Enum):
    """Which signals count: what the engines report, or what the picker has in flight (and how it counts that)."""

    UTILIZATION = "utilization"
    REQUESTS = "requests"
    TOKENS = "tokens"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class SaturationSettings:
    """Thresholds at which an endpoint is full; defaults are the reference picker's detectors'.

    Utilisation: the larger of waiting ÷ `queue_depth_threshold` and KV utilisation ÷ `kv_utilization_threshold`; a
    signal an engine does not publish is left out, and with neither the ratio is unknown. The other kinds compare
    in-flight requests with `max_in_flight_requests`, in-flight tokens with `max_in_flight_tokens`, or take the larger.
    """

    kind: SaturationKind = SaturationKind.UTILIZATION
    queue_depth_threshold: float = 5.0
    kv_utilization_threshold: float = 0.8
    max_in_flight_requests: float = 100.0
    max_in_flight_tokens: float = 1_000_000.0

    def __post_init__(self) -> None:
        limits = (self.queue_depth_threshold, self.max_in_flight_requests, self.max_in_flight_tokens)
        if not all(math.isfinite(limit) and limit > 0 for limit in limits):
            raise ValueError("saturation thresholds are positive")
        if not 0 < self.kv_utilization_threshold <= 1:
            raise ValueError("the KV utilisation threshold is a ratio in (0, 1]")

    def ratios(
        self,
        waiting: FloatArray,
        kv_utilization: FloatArray,
        in_flight_requests: FloatArray,
        in_flight_tokens: FloatArray,
    ) -> FloatArray:
        """Saturation per endpoint: 1 is full, above 1 is over, NaN is unknown. The result is the caller's to change."""
        exact: FloatArray
        match self.kind:
            case SaturationKind.UTILIZATION:
                # fmax ignores a NaN beside a number and keeps NaN only where both are unknown.
                queue = waiting / self.queue_depth_threshold
                exact = np.fmax(queue, kv_utilization / self.kv_utilization_threshold)
            case SaturationKind.REQUESTS:
                exact = in_flight_requests / self.max_in_flight_requests
            case SaturationKind.TOKENS:
                exact = in_flight_tokens / self.max_in_flight_tokens
            case _:
                tokens = in_flight_tokens / self.max_in_flight_tokens
                exact = np.maximum(in_flight_requests / self.max_in_flight_requests, tokens)
        # Nine decimals are what a Kubernetes quantity keeps: with more, a ratio just below 1 would be published as 1.
        return np.round(exact, 9)
