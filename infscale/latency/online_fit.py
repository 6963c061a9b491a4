"""The step model of one engine, learnt from what it is seen to take.

Recursive least squares in its information form: what was seen is kept as a matrix of products, of which a little is
forgotten with each observation, so that a fit costs the same whatever was seen before. Observations count by their
relative errors. As long as they are few, and always in directions in which they say little, coefficients stay near an
anchor: the model of engines like this one, as a whole as fast or slow as this one is seen to be.
"""

import math
from collections.abc import Sequence
from typing import Final

from infscale.latency.least_squares import nonnegative
from infscale.latency.step_model import StepModel

_FORGETTING: Final = 0.98
_FEW: Final = 50
"""Observations below which an engine's own are few; about as many as are remembered."""
_FIRST: Final = 2
"""Observations below which nothing is said of an engine of which nothing is known beforehand."""
_ALL_COUNT: Final = 10
"""Observations below which none is strange."""

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
_SMALLEST_ROOT: Final = 0.01
_TERMS: Final = 5
_SHORTEST_SECONDS: Final = 1e-6
_LONGEST_SECONDS: Final = 60.0

USUAL: Final = StepModel(7e-3, 20e-6, 0.04e-6, 25e-6)
"""The shape of a model of which nothing is known: 8 billion parameters on an H100, whose speed an engine scales."""

_MOST: Final = StepModel(10.0, 0.1, 1e-3, 1.0, 1.0)
"""No engine takes longer: what a page says beyond it is no model of it."""


class _Seen:
    """What was seen of one kind, as products of it, and how many in a row were strange, to the same side.

    `rows` are the observations that are remembered.
    """

    def __init__(self) -> None:
        self.gram = [[0.0] * _TERMS for _ in range(_TERMS)]
        self.moment = [0.0] * _TERMS
        self.rows = 0.0
        self.in_a_row = 0
        self._above = False

    def count(self, deviation: float, limit: float) -> int:
        """Take in how far one is from what is expected; how many strange ones there are now."""
        above = deviation > 0.0
        if abs(deviation) <= limit:
            self.in_a_row = 0
        else:
            self.in_a_row = self.in_a_row + 1 if above == self._above else 1
            self._above = above
        return self.in_a_row

    def forget(self, kept: float) -> None:
        """Let everything count for less."""
        self.rows *= kept
        for i in range(_TERMS):
            self.moment[i] *= kept
            line = self.gram[i]
            for j in range(_TERMS):
                line[j] *= kept

    def add(self, row: list[float], seconds: float, expected: float, weight: float) -> None:
        """Add an observation: each number by what it is of the seconds seen, or expected where these are more.

        So one that is much too short does not count for more than all others.
        """
        self.forget(_FORGETTING)
        self.rows += weight
        scale = max(seconds, expected)
        each = weight / (scale * scale)
        for i in range(_TERMS):
            self.moment[i] += each * row[i] * seconds
            line = self.gram[i]
            for j in range(_TERMS):
                line[j] += each * row[i] * row[j]


class OnlineFit:
    """What one engine is seen to take, as a step model. `samples` are the observations so far that counted.

    `error` is the relative error of predictions, the newer the more it counts: of each observation before it was
    learnt. Prompts are remembered apart: where few come, what they take is not forgotten with the steps in between.
    Owner of its numbers; call it from one thread.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.error = _ERROR_UNKNOWN
        self._anchor = USUAL
        self._anchored = False
        self._model = USUAL
        self._is_fitted = True
        self._usual_miss = 0.0
        self._of_steps = _Seen()
        self._of_prompts = _Seen()

    @property
    def model(self) -> StepModel | None:
        """The model; None while nothing is known of the engine."""
        return self._fitted() if self._anchored or self.samples >= _FIRST else None

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
        self._is_fitted = False

    def learn(self, prefill_tokens: float, kv_tokens: float, sequences: float, seconds: float) -> bool:
        """Steps of so much work each are seen to take `seconds` on average.

        One that is far from what is expected is not learnt. When a few in a row are, to the same side, the engine has
        changed: then nearly all before them is forgotten. False: it is not learnt.
        """
        return self._learn((prefill_tokens, kv_tokens, sequences), seconds, 1.0, self._of_steps)

    def learn_prompt(
        self, prefill_tokens: float, kv_tokens: float, sequences: float, seconds: float, weight: float
    ) -> bool:
        """As `learn`, of steps in which prompts were computed; it counts as `weight` observations.

        One that is far from what is expected says that the cost of a prompt is not known well, and nothing of others.
        """
        return self._learn((prefill_tokens, kv_tokens, sequences), seconds, weight, self._of_prompts)

    def _learn(self, work: tuple[float, float, float], seconds: float, weight: float, seen: _Seen) -> bool:
        if not (_SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS and weight > 0.0 and min(work) >= 0.0):
            return False
        expected = self._fitted().seconds(*work)
        if not 0.0 < expected < math.inf:
            return False
        if not self._is_expected(expected, seconds, seen):
            return False
        prefill_tokens, kv_tokens, sequences = work
        seen.add([1.0, prefill_tokens, kv_tokens, sequences, math.sqrt(sequences)], seconds, expected, weight)
        self._is_fitted = False
        return True

    def _is_expected(self, expected: float, seconds: float, seen: _Seen) -> bool:
        """Whether it is to be learnt: it is no stray, or one too many in a row."""
        of_steps = seen is self._of_steps
        strays = seen.count(math.log(seconds / expected), self._limit())
        miss = min(1.0, abs(expected - seconds) / seconds)
        if of_steps and (self._anchored or self.samples >= _FIRST):
            self.error += max(_ERROR_SHARE, 1.0 / (1.0 + self.samples)) * (miss - self.error)
        if 0 < strays < _CHANGED:
            return False
        if strays:
            seen.in_a_row = 0
        if strays and of_steps:
            # Faster or slower as a whole, as far as is known.
            self._anchor = self._fitted()
            self._of_steps.forget(_KEPT_AT_CHANGE)
            self._of_prompts.forget(_KEPT_AT_CHANGE)
        if of_steps:
            self._usual_miss += _ERROR_SHARE * (miss - self._usual_miss)
            self.samples += 1
        return True

    def _limit(self) -> float:
        """How far from what is expected, as a logarithm, an observation is strange."""
        if self.samples < _ALL_COUNT:
            return math.inf
        return max(_STRAY, _STRAY_ERRORS * min(self._usual_miss, _WORST_USUAL))

    def _fitted(self) -> StepModel:
        """The model of all that was learnt; worked out when it is asked for."""
        if not self._is_fitted:
            self._fit()
            self._is_fitted = True
        return self._model

    def _fit(self) -> None:
        gram, moment = self._together()
        near = _scaled(self._anchor, _speed(self._anchor.coefficients, gram, moment))
        held = _LASTING_ROWS + _ANCHOR_ROWS * max(0.0, 1.0 - self._of_steps.rows / (0.8 * _FEW))
        floors = _floors(near)
        for i in range(_TERMS):
            pull = held / (floors[i] * floors[i])
            gram[i][i] += pull
            moment[i] += pull * near[i]
        found = nonnegative(gram, moment)
        model = StepModel(
            min(found[0], _MOST.base),
            min(found[1], _MOST.per_prefill_token),
            min(found[2], _MOST.per_kv_token),
            min(found[3], _MOST.per_sequence),
            min(found[4], _MOST.per_root_sequence),
        )
        if model.is_sound:
            self._model = model

    def _together(self) -> tuple[list[list[float]], list[float]]:
        """All that was seen, whichever its kind."""
        steps, prompts = self._of_steps, self._of_prompts
        gram = [
            [a + b for a, b in zip(one, other, strict=True)]
            for one, other in zip(steps.gram, prompts.gram, strict=True)
        ]
        return gram, [a + b for a, b in zip(steps.moment, prompts.moment, strict=True)]


def _speed(anchor: Sequence[float], gram: list[list[float]], moment: list[float]) -> float:
    """How many times as long as those of its anchor the steps that were seen take."""
    seen = expected = _SPEED_ROWS
    for i in range(_TERMS):
        seen += anchor[i] * moment[i]
        for j in range(_TERMS):
            expected += anchor[i] * gram[i][j] * anchor[j]
    return min(_MOST_TIMES, max(1.0 / _MOST_TIMES, seen / expected))


def _scaled(model: StepModel, factor: float) -> list[float]:
    return [each * factor for each in model.coefficients]


def _floors(near: list[float]) -> list[float]:
    """What each coefficient may well differ by: itself, and a part of the usual one where it is less."""
    usual = USUAL.coefficients
    scale = max(near[0], near[3] * usual[0] / usual[3]) / usual[0]
    floors = [max(near[i], _SMALLEST_SHARE * usual[i] * scale) for i in range(_TERMS)]
    floors[4] = max(floors[4], _SMALLEST_ROOT * usual[0] * scale)
    return floors
