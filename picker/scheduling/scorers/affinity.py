"""Scorers of what an endpoint already holds: the prompt's prefix in its KV cache, the LoRA adapter in its memory.

Beside them those that say where a request belongs when no endpoint holds anything, or when the client names a label.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.snapshot import IntArray
from picker.scheduling.by_endpoints import ByEndpoints
from picker.scheduling.plugin import SchedulingContext

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

    One that is loaded and idle is as an active one where there is a free slot or the slots are not told, else as one
    that waits. An engine that publishes nothing of LoRA adapters serves none, and one that does not say how many fit
    has no slot known to be free.
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
    most, loaded = state.max_adapters, target in state.loaded
    if most is None:
        return _ACTIVE if loaded else _WAITING if target in state.waiting else _NEITHER
    if len(state.running) + len(state.waiting) < most:
        return _ACTIVE if loaded else _FREE_SLOT
    return _WAITING if loaded or target in state.waiting else _NEITHER


@dataclass(frozen=True, slots=True)
class NoHitLruScorer:
    """Spreads cold requests, which fill caches: first endpoints that never had one, then the least recently used.

    A request of whose prompt some candidate holds a part is warm, and all score 0.5. For a cold one the i-th candidate
    of n that never served any scores ``1 - i / (n - 1)``; one that did, ``1 - (never + position) / (n - 1)`` by its
    position, oldest first, among the `lru_size` endpoints of the pool that served one last; at least 0.
    """

    lru_size: int = 1024

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 for the next in turn."""
        count = len(rows)
        if context.prefix.matched_tokens[rows].any():
            return np.full(count, 0.5)
        if count == 1:
            return np.ones(1)
        numbers = context.memory.cold_numbers()
        order = np.argsort(numbers, kind="stable")
        used = order[numbers[order] > 0][-self.lru_size :]
        positions = np.full(len(numbers), -1.0)
        positions[used] = np.arange(len(used))
        own = positions[rows]
        never = own < 0
        rank = np.where(never, np.cumsum(never) - 1.0, np.add.reduce(never) + own)
        return np.maximum(0.0, 1.0 - rank / (count - 1))


@dataclass(frozen=True, slots=True)
class MediaCacheScorer:
    """Share of the request's different images, sounds and films that the endpoint has encoded, as far as remembered.

    A request without any scores 0 everywhere.
    """

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 where nothing has to be encoded again."""
        media = context.request.media
        if not media:
            return np.zeros(len(rows))
        share: FloatArray = context.memory.held_media(rows, media) / len(media)
        return share


class HeaderLabelAffinityScorer:
    """1 for endpoints whose label `label` has the value of the request's header `header`, else 0.

    Without the header, or with an empty one, all score 0. A client that may set the header prefers endpoints.
    """

    def __init__(self, header: str, label: str) -> None:
        self.header = header.lower()
        self.reads_headers = (self.header,)
        self.label = label
        self._rows_by_value: ByEndpoints[Mapping[str, IntArray]] = ByEndpoints(
            lambda endpoints: _rows_by_value(endpoints, label)
        )

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 where label and header agree."""
        value = context.request.headers.get(self.header)
        matching = self._rows_by_value.of(context.snapshot).get(value) if value else None
        scores = np.zeros(len(context.snapshot))
        if matching is not None:
            scores[matching] = 1.0
        chosen: FloatArray = scores[rows]
        return chosen


def _rows_by_value(endpoints: tuple[Endpoint, ...], label: str) -> Mapping[str, IntArray]:
    rows: dict[str, list[int]] = {}
    for row, each in enumerate(endpoints):
        if label in each.labels:
            rows.setdefault(each.labels[label], []).append(row)
    return {value: np.array(found, dtype=np.intp) for value, found in rows.items()}
