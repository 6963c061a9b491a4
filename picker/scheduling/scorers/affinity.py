"""Scorers of what an endpoint already holds: the prompt's prefix in its KV cache, the LoRA adapter in its memory."""

from dataclasses import dataclass

import numpy as np

from infscale.metrics.sample import FloatArray, LoraState
from picker.scheduling.plugin import IntArray, SchedulingContext

_ACTIVE, _FREE_SLOT, _WAITING, _NEITHER = 1.0, 0.8, 0.6, 0.0


@dataclass(frozen=True, slots=True)
class PrefixCacheScorer:
    """The longest cached prefix: ``w · min(1, matched ÷ scale)² + (1 - w) · matched ÷ total``.

    `match_length_weight` w is the share of the absolute match length, `match_length_scale_tokens` the length that
    counts as full. A prompt shorter than one block matches nowhere.
    """

    match_length_weight: float = 0.0
    match_length_scale_tokens: float = 8192.0

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """0 where nothing is cached, 1 where all that can match is."""
        ratios = context.prefix.ratios(rows)
        weight = self.match_length_weight
        if not weight:
            return ratios
        lengths = np.minimum(1.0, context.prefix.matched_tokens[rows] / self.match_length_scale_tokens)
        blend: FloatArray = weight * lengths * lengths + (1.0 - weight) * ratios
        return blend


@dataclass(frozen=True, slots=True)
class LoraAffinityScorer:
    """LoRA adapter active 1, else a free slot 0.8, else waiting 0.6, else 0.

    An engine that publishes nothing of LoRA adapters serves none, and one that does not say how many fit has no slot
    known to be free.
    """

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """How soon each candidate can run the target model as a LoRA adapter."""
        target = context.request.target_model
        states = context.snapshot.columns.lora
        return np.array([_affinity(states[row], target) for row in rows.tolist()], dtype=np.float64)


def _affinity(state: LoraState | None, target: str) -> float:
    if state is None:
        return _NEITHER
    if target in state.running:
        return _ACTIVE
    if state.max_adapters is not None and len(state.running) + len(state.waiting) < state.max_adapters:
        return _FREE_SLOT
    return _WAITING if target in state.waiting else _NEITHER
