"""The step models of a pool."""

import math

import numpy as np

from infscale.latency.step_columns import StepColumns
from infscale.latency.step_model import StepModel


def test_what_is_not_known_or_too_wrong_is_not_usable() -> None:
    model = StepModel(0.01, 1e-4, 1e-6, 1e-3)
    columns = StepColumns.of([model, model, None], [0.4, 0.41, 0.0])
    assert columns.usable.tolist() == [True, False, False]
    assert columns.per_kv_token[:2].tolist() == [1e-6, 1e-6]
    assert math.isnan(columns.error[2])
    assert np.isnan(columns.base[2])
    assert len(StepColumns.of([], []).base) == 0
