"""The step models of a pool, one row per endpoint."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from infscale.frozen_values import entity
from infscale.latency.step_model import StepModel

FloatArray = NDArray[np.float64]

WORST_USABLE_ERROR: Final = 0.4
"""A model whose relative error is above this says nothing."""

STEP_CELLS: Final = ("base", "per_prefill_token", "per_kv_token", "per_sequence", "error")
"""The columns of `StepColumns`, in order."""


@entity
class StepColumns:
    """Coefficients of linear `StepModel`s in seconds, and the relative error of each of late; NaN is unknown.

    A model that is not linear in the batch is here as the linear one that touches it at the batch of the moment.

    What is not known is NaN in all five. A model with an error above `WORST_USABLE_ERROR` is there and is not to be
    used.
    """

    base: FloatArray
    per_prefill_token: FloatArray
    per_kv_token: FloatArray
    per_sequence: FloatArray
    error: FloatArray

    @classmethod
    def of(cls, models: list[StepModel | None], errors: list[float]) -> "StepColumns":
        """Those of some models, each with its error."""
        rows = [
            (math.nan,) * 5 if model is None else (*model.coefficients[:4], error)
            for model, error in zip(models, errors, strict=True)
        ]
        return cls(*np.array(rows, dtype=np.float64).reshape(-1, 5).T)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """The rows whose model may be used."""
        found: NDArray[np.bool_] = self.error <= WORST_USABLE_ERROR
        return found
