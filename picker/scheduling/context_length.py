"""Endpoints made for a range of prompt lengths, said in a label such as ``llm-d.ai/context-length-range: 0-8192``."""

import re
from functools import partial

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, IntArray
from picker.scheduling.by_endpoints import ByEndpoints
from picker.scheduling.plugin import SchedulingContext

CONTEXT_LENGTH_LABEL = "llm-d.ai/context-length-range"

_RANGE = re.compile(r"\s*([0-9]{1,12})\s*-\s*([0-9]{1,12})\s*")
_NEUTRAL = 0.5
# Inside the range a score lies above this, outside below.
_OUTSIDE = 0.3
_WIDTH_TOKENS, _DISTANCE_TOKENS = 10_000.0, 1_000.0
_WIDTH_WEIGHT, _ROOM_WEIGHT = 0.7, 0.3


def _ranges(endpoints: tuple[Endpoint, ...], label: str) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Lowest and highest tokens of each endpoint's range, NaN where it says none, or nothing that is a range.

    And which endpoints have no label.
    """
    pairs = [_pair(each.labels.get(label, "")) for each in endpoints]
    lowest, highest = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return lowest, highest, np.array([label not in each.labels for each in endpoints], dtype=np.bool_)


def _pair(text: str) -> tuple[float, float]:
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        return (np.nan, np.nan)
    return (float(match[1]), float(match[2]))


class ContextLength:
    """A filter (where `filtering`) and a scorer by the range that holds the prompt's length.

    An endpoint without the label takes any prompt and scores 0.5; one whose label is no range takes none and scores 0.
    Inside its range an endpoint scores ``0.3 + 0.7 · (0.7 / (1 + width / 10,000) + 0.3 · room / width)``: narrow ranges
    first, and in them those with more room above the prompt; outside, ``0.3 / (1 + distance / 1,000)`` by the distance
    to the nearest end, in tokens.
    """

    def __init__(self, label: str = CONTEXT_LENGTH_LABEL, filtering: bool = False) -> None:
        self.filtering = filtering
        self._ranges = ByEndpoints(partial(_ranges, label=label))

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows whose range holds the prompt's length, and those without a label."""
        if not self.filtering:
            return rows
        tokens, (lowest, highest, unlabelled) = context.request.prompt_tokens, self._ranges.of(context.snapshot)
        within = (lowest <= tokens) & (tokens <= highest)
        return rows[(within | unlabelled)[rows]]

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """How well each range fits."""
        tokens, (lowest, highest, unlabelled) = context.request.prompt_tokens, self._ranges.of(context.snapshot)
        lowest, highest = lowest[rows], highest[rows]
        width = highest - lowest
        room = np.where(width > 0, (highest - tokens) / np.maximum(width, 1.0), 1.0)
        fit = _WIDTH_WEIGHT / (1.0 + width / _WIDTH_TOKENS) + _ROOM_WEIGHT * room
        inside = _OUTSIDE + (1.0 - _OUTSIDE) * fit
        distance = np.maximum(lowest - tokens, tokens - highest)
        scores = np.where(distance <= 0, inside, _OUTSIDE / (1.0 + np.maximum(distance, 0.0) / _DISTANCE_TOKENS))
        return np.where(unlabelled[rows], _NEUTRAL, np.nan_to_num(scores, nan=0.0))
