"""Pickers: the last stage of a profile. Each returns up to `maximum` rows, an ordered list of fallbacks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext


@dataclass(frozen=True, slots=True)
class MaxScorePicker:
    """The highest score; ties are broken at random, so that equal candidates share a burst."""

    maximum: int = 1

    def pick(self, context: SchedulingContext, rows: IntArray, scores: FloatArray) -> Sequence[int]:
        """The `maximum` best rows, best first."""
        chosen: list[int] = []
        while True:
            best = (scores == scores[scores.argmax()]).nonzero()[0]
            place = best[int(context.rng.random() * len(best))] if len(best) > 1 else best[0]
            chosen.append(int(rows[place]))
            if len(chosen) >= min(self.maximum, len(rows)):
                return chosen
            scores = scores.copy()
            scores[place] = -math.inf


@dataclass(frozen=True, slots=True)
class WeightedRandomPicker:
    """At random, in proportion to the score (weighted sampling without replacement, A-Res: key u^(1/score)).

    Candidates of score 0 come last, in random order among themselves.
    """

    maximum: int = 1

    def pick(self, context: SchedulingContext, rows: IntArray, scores: FloatArray) -> Sequence[int]:
        """Up to `maximum` rows in the order they were drawn."""
        draw = context.rng.random
        uniform = np.array([1.0 - draw() for _ in range(len(rows))])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            keys = np.where(scores > 0, np.log(uniform) / scores, -math.inf)
        order = np.lexsort((uniform, keys))[::-1]
        return [int(row) for row in rows[order[: self.maximum]]]


@dataclass(frozen=True, slots=True)
class RandomPicker:
    """Any candidate with equal probability, whatever its score."""

    maximum: int = 1

    def pick(self, context: SchedulingContext, rows: IntArray, scores: FloatArray) -> Sequence[int]:
        """Up to `maximum` rows in random order."""
        places = context.rng.sample(range(len(rows)), min(self.maximum, len(rows)))
        return [int(rows[place]) for place in places]


@dataclass(frozen=True, slots=True)
class PowerOfTwoPicker:
    """The best of a few candidates drawn at random (`choices`, 2: the power of two choices).

    Where scores rest on scraped load, every picker that takes the best sends a whole interval's requests to the same
    endpoint, and so does every replica of the picker. Two choices keep nearly all of the balance and none of that.
    """

    choices: int = 2
    maximum: int = 1

    def pick(self, context: SchedulingContext, rows: IntArray, scores: FloatArray) -> Sequence[int]:
        """The drawn rows, best first, equal ones in the order they were drawn; then others at random if need be."""
        draw = context.rng.sample(range(len(rows)), min(max(self.choices, self.maximum), len(rows)))
        best_first = sorted(draw[: self.choices], key=lambda place: -scores[place])
        return [int(rows[place]) for place in (*best_first, *draw[self.choices :])][: self.maximum]
