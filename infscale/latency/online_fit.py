"""The step model of one engine, learnt from what it is seen to take.

Recursive least squares in its information form: what was seen is kept as a matrix of products, of which a little is
forgotten with each observation, so that a fit costs the same whatever was seen before. Observations count by their
relative errors. As long as they are few, and always in directions in which they say little, coefficients stay near an
anchor: the model of engines like this one, as a whole as fast or slow as this one is seen to be.
"""

import math
from typing import Final

from infscale.latency.least_squares import nonnegative
from infscale.latency.step_model import StepModel

_FORGETTING: Final = 0.98
_FEW: Final = 50
"""Observations below which an engine's own are few; about as many as are remembered."""
_FIRST: Final = 10
"""Observations below which nothing is said of an engine of which nothing is known beforehand."""

# How many observations the anchor counts as, while there are none and when there are many; so does its speed.
_ANCHOR_ROWS: Final = 10.0
_LASTING_ROWS: Final = 0.5
_SPEED_ROWS: Final = 0.5
_MOST_TIMES: Final = 50.0
"""An engine is at most so much slower or faster than its anchor."""

# What is farther from what is expected is strange, and so is what is farther than usual misses.
_STRAY: Final = math.log(1.5)
_STRAY_ERRORS: Final = 4.0
_WORST_USUAL: Final = 0.2
_CHANGED: Final = 4
_KEPT_AT_CHANGE: Final = 0.02
_ERROR_SHARE: Final = 0.05
_ERROR_UNKNOWN: Final = 0.5
_SMALLEST_SHARE: Final = 0.1
_SHORTEST_SECONDS: Final = 1e-6
_LONGEST_SECONDS: Final = 60.0

USUAL: Final = StepModel(7e-3, 20e-6, 0.04e-6, 25e-6)
"""The shape of a model of which nothing is known: 8 billion parameters on an H100, whose speed an engine scales."""

_MOST: Final = StepModel(10.0, 0.1, 1e-3, 1.0)
"""No engine takes longer: what a page says beyond it is no model of it."""


class OnlineFit:
    """What one engine is seen to take, as a step model. `samples` are the observations so far that counted.

    `error` is the relative error of predictions, the newer the more it counts: of each observation before it was
    learnt. Owner of its numbers; call it from one thread.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.error = _ERROR_UNKNOWN
        self._anchor = USUAL
        self._anchored = False
        self._model = USUAL
        self._gram = [[0.0] * 4 for _ in range(4)]
        self._moment = [0.0] * 4
        self._rows = 0.0
        self._strays = 0
        self._usual_miss = 0.0
        self._above = False

    @property
    def model(self) -> StepModel | None:
        """The model; None while nothing is known of the engine."""
        return self._model if self._anchored or self.samples >= _FIRST else None

    @property
    def is_young(self) -> bool:
        """Whether its own observations are few, so that those of engines like it count."""
        return self.samples < _FEW

    def lean_on(self, anchor: StepModel, error: float) -> None:
        """Have `anchor`, whose relative error is known, for what is not seen; not heard once enough was seen."""
        if not self.is_young or not anchor.is_sound:
            return
        if not self._anchored and not self.samples:
            self.error = error
        self._anchor, self._anchored = anchor, True
        self._fit()

    def learn(self, prefill_tokens: float, kv_tokens: float, sequences: float, seconds: float, weight: float) -> bool:
        """A step of so much work is seen to take `seconds`; `weight` 1 is that of a good observation.

        One that is far from what is expected is not learnt. When a few in a row are, to the same side, the engine has
        changed: then nearly all before them is forgotten. False: it is not learnt.
        """
        if not (
            _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS
            and weight > 0.0
            and min(prefill_tokens, kv_tokens, sequences) >= 0.0
        ):
            return False
        expected = self._model.seconds(prefill_tokens, kv_tokens, sequences)
        if not 0.0 < expected < math.inf:
            return False
        miss = min(1.0, abs(expected - seconds) / seconds)
        stray = self._is_stray(math.log(seconds / expected))
        if self._anchored or self.samples >= _FIRST:
            self.error += _ERROR_SHARE * weight * (miss - self.error)
        if stray and self._strays < _CHANGED:
            return False
        if stray:
            # Faster or slower as a whole, as far as is known.
            self._anchor = self._model
            self._forget(_KEPT_AT_CHANGE)
            self._strays = 0
        else:
            self._usual_miss += _ERROR_SHARE * weight * (miss - self._usual_miss)
        self._take_in([1.0, prefill_tokens, kv_tokens, sequences], seconds, weight)
        self.samples += 1
        self._fit()
        return True

    def _is_stray(self, deviation: float) -> bool:
        """Whether it is too far from what is expected; counts how many in a row are, to one side."""
        if self.samples < _FIRST or abs(deviation) <= max(_STRAY, _STRAY_ERRORS * min(self._usual_miss, _WORST_USUAL)):
            self._strays = 0
            return False
        above = deviation > 0.0
        self._strays = self._strays + 1 if self._strays and above == self._above else 1
        self._above = above
        return True

    def _forget(self, kept: float) -> None:
        self._rows *= kept
        for i in range(4):
            self._moment[i] *= kept
            for j in range(4):
                self._gram[i][j] *= kept

    def _take_in(self, row: list[float], seconds: float, weight: float) -> None:
        """Add an observation of relative weight: each number by what it is of `seconds`."""
        self._forget(1.0 - (1.0 - _FORGETTING) * weight)
        self._rows += weight
        each = weight / (seconds * seconds)
        for i in range(4):
            self._moment[i] += each * row[i] * seconds
            line = self._gram[i]
            for j in range(4):
                line[j] += each * row[i] * row[j]

    def _fit(self) -> None:
        near = _scaled(self._anchor, self._speed())
        held = _LASTING_ROWS + _ANCHOR_ROWS * max(0.0, 1.0 - self._rows / (0.8 * _FEW))
        gram = [line.copy() for line in self._gram]
        moment = self._moment.copy()
        floors = _floors(near)
        for i in range(4):
            pull = held / (floors[i] * floors[i])
            gram[i][i] += pull
            moment[i] += pull * near[i]
        found = nonnegative(gram, moment)
        model = StepModel(
            min(found[0], _MOST.base),
            min(found[1], _MOST.per_prefill_token),
            min(found[2], _MOST.per_kv_token),
            min(found[3], _MOST.per_sequence),
        )
        if model.is_sound:
            self._model = model

    def _speed(self) -> float:
        """How many times as long as its anchor's steps those of the engine take."""
        anchor = self._anchor.coefficients
        seen = expected = _SPEED_ROWS
        for i in range(4):
            seen += anchor[i] * self._moment[i]
            for j in range(4):
                expected += anchor[i] * self._gram[i][j] * anchor[j]
        return min(_MOST_TIMES, max(1.0 / _MOST_TIMES, seen / expected))


def _scaled(model: StepModel, factor: float) -> list[float]:
    return [each * factor for each in model.coefficients]


def _floors(near: list[float]) -> list[float]:
    """What each coefficient may well differ by: itself, and a part of the usual one where it is less."""
    usual = USUAL.coefficients
    scale = max(near[0], near[3] * usual[0] / usual[3]) / usual[0]
    return [max(near[i], _SMALLEST_SHARE * usual[i] * scale) for i in range(4)]
