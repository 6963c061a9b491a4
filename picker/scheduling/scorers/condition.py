"""Scorers of the state an endpoint is in: how old what is known of it is, and how full its GPU memory."""

from dataclasses import dataclass

import numpy as np

from infscale.metrics.published.gpu_readers import GPU, GPU_STALENESS_SECONDS, GpuReader
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext

_GPU_MEMORY = GpuReader("gpu_memory_used_ratio")


@dataclass(frozen=True, slots=True)
class StalenessDiscountScorer:
    """``1 - min(1, age ÷ limit)^exponent``: the age of an endpoint's metrics, the pool's staleness limit.

    Between two scrapes every candidate is a little stale; one whose page comes late is judged on load that has gone.
    With an exponent above 1 small ages cost little. Never observed is the oldest there is.
    """

    exponent: float = 1.0

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 for metrics of this moment, 0 at the limit."""
        snapshot = context.snapshot
        age = np.maximum(0.0, context.now - snapshot.columns.observed_at[rows])
        share = np.minimum(1.0, age / snapshot.state.settings.staleness_limit_seconds)
        score: FloatArray = 1.0 - share**self.exponent
        return score


@dataclass(frozen=True, slots=True)
class GpuMemoryScorer:
    """``1 - GPU memory in use ÷ GPU memory there is``; unknown where no GPU exporter said so within the limit.

    Engines that reserve memory up front show the same share under any load: this tells apart endpoints that share GPUs
    with others or differ in size, not how busy they are.
    """

    max_age_seconds: float = GPU_STALENESS_SECONDS

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """Free share of the GPUs' memory."""
        snapshot = context.snapshot
        ratios = _GPU_MEMORY.read(snapshot, context.now, None)[rows]
        fresh = GPU.fresh(snapshot, context.now, self.max_age_seconds)[rows]
        return np.where(fresh, 1.0 - ratios, np.nan)
