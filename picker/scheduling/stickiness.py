"""Sticky until saturated: a prompt stays where its prefix is cached until waiting costs more than computing it."""

from dataclasses import dataclass

import numpy as np

from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext


@dataclass(frozen=True, slots=True)
class PrefixCacheAffinityFilter:
    """Keeps the endpoints that hold at least `affinity_threshold` of the prompt, if waiting there is worth it.

    The time to first token is estimated as in-flight tokens ÷ `peak_prefill_throughput` (tokens per second). Where the
    best of the sticky endpoints is behind the best of the others by more than `max_ttft_penalty_seconds`, all stay; 0
    always sticks. All stay too where no endpoint is sticky, and with `exploration_probability` at random. In-flight
    tokens are the picker's own count, so that nothing here is ever unknown; they include the expected output, which
    lengthens the estimate on both sides.
    """

    affinity_threshold: float = 0.8
    exploration_probability: float = 0.0
    max_ttft_penalty_seconds: float = 18.0
    peak_prefill_throughput: float = 15_928.0

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The sticky rows, or all."""
        if len(rows) < 2 or self.affinity_threshold <= 0:
            return rows
        if self.exploration_probability and context.rng.random() < self.exploration_probability:
            return rows
        sticky = context.prefix.ratios(rows) >= self.affinity_threshold
        kept = rows[sticky]
        if not len(kept) or len(kept) == len(rows):
            return rows
        if self.max_ttft_penalty_seconds:
            tokens = context.snapshot.in_flight_tokens
            ahead = np.minimum.reduce(tokens[kept]) - np.minimum.reduce(tokens[rows[~sticky]])
            if ahead / self.peak_prefill_throughput > self.max_ttft_penalty_seconds:
                return rows
        return kept
