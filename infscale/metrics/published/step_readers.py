"""Readers of what step models of engines predict, and of how wrong they are of late."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from infscale.latency.predictions import step_seconds, time_to_first_token
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import PoolSnapshot

USUAL_PROMPT_TOKENS: Final = 1000.0
"""Tokens of the prompt whose time to the first token is predicted."""


@dataclass(frozen=True, slots=True)
class ModelError:
    """The relative error of the step model."""

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        return snapshot.columns.steps.error


@dataclass(frozen=True, slots=True)
class PredictedOutputToken:
    """Seconds of a step that gives a token to each request which runs, and computes no prompt."""

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        return _usable(snapshot, step_seconds(snapshot.columns.steps, 0.0, *_batch(snapshot)))


@dataclass(frozen=True, slots=True)
class PredictedFirstToken:
    """Seconds until the first token of a prompt of `USUAL_PROMPT_TOKENS` that comes now and is not cached.

    It comes after the prompts in the queue. Unknown where there is a queue and the page does not say how many tokens
    are in it.
    """

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `ColumnReader`."""
        del now, model
        gauges = snapshot.columns.gauges
        queued = np.where(gauges.waiting == 0, 0.0, gauges.waiting_tokens)
        seconds = time_to_first_token(snapshot.columns.steps, USUAL_PROMPT_TOKENS, queued, *_batch(snapshot))
        return _usable(snapshot, seconds)


def _batch(snapshot: PoolSnapshot) -> tuple[FloatArray, FloatArray]:
    """Context tokens and sequences; a model of an engine that does not say the former was learnt without them."""
    gauges = snapshot.columns.gauges
    return np.nan_to_num(gauges.kv_used_tokens), gauges.running


def _usable(snapshot: PoolSnapshot, seconds: FloatArray) -> FloatArray:
    return np.where(snapshot.columns.steps.usable, seconds, math.nan)
