"""The step model: how long one step of a continuous-batching engine takes."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepModel:
    """Duration of one step in seconds: ``base + per_prefill_token·p + per_kv_token·Σkv + per_sequence·batch``.

    `p` are the prompt tokens computed in the step, `Σkv` the context tokens of every sequence in the batch. `base` is
    what a step takes at least, mostly reading the weights.
    """

    base: float
    per_prefill_token: float
    per_kv_token: float
    per_sequence: float

    def seconds(self, prefill_tokens: float, kv_tokens: float, sequences: float) -> float:
        """The duration of such a step."""
        return (
            self.base
            + self.per_prefill_token * prefill_tokens
            + self.per_kv_token * kv_tokens
            + self.per_sequence * sequences
        )

    def scaled(self, factor: float) -> "StepModel":
        """The model of an engine whose steps take `factor` times as long."""
        return StepModel(
            self.base * factor,
            self.per_prefill_token * factor,
            self.per_kv_token * factor,
            self.per_sequence * factor,
        )

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """The four numbers in the order of the formula."""
        return self.base, self.per_prefill_token, self.per_kv_token, self.per_sequence

    @property
    def is_sound(self) -> bool:
        """Whether every coefficient is a number that is not negative, and a step takes any time."""
        return all(0.0 <= each < math.inf for each in self.coefficients) and self.base + self.per_sequence > 0.0
