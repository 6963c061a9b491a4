"""Step models from measurements in a closed loop: so many clients, each of which asks again when it is answered.

With `concurrency` clients, prompts of `input_tokens` and answers of `output_tokens`, a step has nearly `concurrency`
sequences, half through their answers. In the time of one answer every client has a prompt computed, so that a step
computes ``concurrency · input ÷ output`` tokens of prompts on average: the time per output token is that of this step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from infscale.latency.least_squares import nonnegative
from infscale.latency.step_model import StepModel


@dataclass(frozen=True, slots=True)
class ClosedLoopPoint:
    """One measurement: tokens, clients, and the mean times to the first token and per output token in seconds."""

    input_tokens: float
    output_tokens: float
    concurrency: float
    ttft_seconds: float
    tpot_seconds: float

    @property
    def step(self) -> tuple[float, float, float]:
        """What a step has in it: prompt tokens, context tokens, sequences."""
        prefill = self.concurrency * self.input_tokens / self.output_tokens
        return prefill, self.concurrency * (self.input_tokens + self.output_tokens / 2.0), self.concurrency


def fitted(points: Sequence[ClosedLoopPoint]) -> StepModel:
    """The model with the least squares of relative errors of the time per output token."""
    rows = [_terms(point) for point in points]
    found = _least_squares(rows, [point.tpot_seconds for point in points])
    return StepModel(found[0], found[1], found[2], found[3], found[4])


def left_out_errors(points: Sequence[ClosedLoopPoint]) -> list[float]:
    """The relative error of each time per output token, by the model that is fitted to all other points."""
    found: list[float] = []
    for place, point in enumerate(points):
        model = fitted([*points[:place], *points[place + 1 :]])
        found.append(abs(model.seconds(*point.step) - point.tpot_seconds) / point.tpot_seconds)
    return found


def first_token_errors(points: Sequence[ClosedLoopPoint]) -> list[float]:
    """The relative error of each time to the first token, by a fit of its own to all other points.

    Clients that ask at once wait for each other's prompts, and how many do is a matter of the measurement: the time is
    fitted as ``α + β·input + γ·concurrency·input``, and says nothing of an engine that is sent requests one by one.
    """
    rows = [[1.0, point.input_tokens, point.concurrency * point.input_tokens] for point in points]
    times = [point.ttft_seconds for point in points]
    found: list[float] = []
    for place, row in enumerate(rows):
        fit = _least_squares([*rows[:place], *rows[place + 1 :]], [*times[:place], *times[place + 1 :]])
        found.append(abs(sum([a * b for a, b in zip(fit, row, strict=True)]) - times[place]) / times[place])
    return found


def _terms(point: ClosedLoopPoint) -> list[float]:
    prefill, kv_tokens, sequences = point.step
    return [1.0, prefill, kv_tokens, sequences, math.sqrt(sequences)]


def _least_squares(rows: Sequence[Sequence[float]], seen: Sequence[float]) -> list[float]:
    size = len(rows[0])
    gram = [[0.0] * size for _ in range(size)]
    moment = [0.0] * size
    for row, seconds in zip(rows, seen, strict=True):
        shares = [each / seconds for each in row]
        for i in range(size):
            moment[i] += shares[i]
            for j in range(size):
                gram[i][j] += shares[i] * shares[j]
    return nonnegative(gram, moment)
