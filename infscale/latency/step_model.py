"""The step model: how long one step of a continuous-batching engine takes."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StepModel:
    """Duration of one step: ``base + per_prefill_token·p + per_kv_token·Σkv + per_sequence·batch``, in seconds.

    `p` are the prompt tokens computed in the step, `Σkv` the context tokens of every sequence in the batch. `base` is
    what a step takes at least, mostly reading the weights. Of some models each further sequence costs less than the one
    before it, as the experts of a mixture are read once for all that chose them: ``per_root_sequence·√batch`` more.
    """

    base: float
    per_prefill_token: float
    per_kv_token: float
    per_sequence: float
    per_root_sequence: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled where it is compiled, too."""
        return StepModel, self.coefficients

    def seconds(self, prefill_tokens: float, kv_tokens: float, sequences: float) -> float:
        """The duration of such a step."""
        linear = (
            self.base
            + self.per_prefill_token * prefill_tokens
            + self.per_kv_token * kv_tokens
            + self.per_sequence * sequences
        )
        return linear + self.per_root_sequence * math.sqrt(sequences) if self.per_root_sequence else linear

    def scaled(self, factor: float) -> "StepModel":
        """The model of an engine whose steps take `factor` times as long."""
        return StepModel(
            self.base * factor,
            self.per_prefill_token * factor,
            self.per_kv_token * factor,
            self.per_sequence * factor,
            self.per_root_sequence * factor,
        )

    def linear_at(self, sequences: float) -> "StepModel":
        """The linear model that takes as long with so many sequences, and as much longer with one more."""
        if not self.per_root_sequence or not sequences > 0.0:
            return self
        root = math.sqrt(sequences)
        return StepModel(
            self.base + 0.5 * self.per_root_sequence * root,
            self.per_prefill_token,
            self.per_kv_token,
            self.per_sequence + 0.5 * self.per_root_sequence / root,
        )

    @property
    def coefficients(self) -> tuple[float, float, float, float, float]:
        """The numbers in the order of the formula."""
        return self.base, self.per_prefill_token, self.per_kv_token, self.per_sequence, self.per_root_sequence

    @property
    def is_sound(self) -> bool:
        """Whether every coefficient is a number that is not negative, and a step takes any time."""
        takes_time = self.base + self.per_sequence + self.per_root_sequence > 0.0
        return takes_time and all(0.0 <= each < math.inf for each in self.coefficients)
