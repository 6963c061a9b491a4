"""What step models predict, as published metrics."""

import math
from dataclasses import replace

import numpy as np
import pytest

from infscale.latency.step_columns import StepColumns
from infscale.latency.step_model import StepModel
from infscale.metrics.published.answers import group_reading
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.step_readers import ModelError, PredictedFirstToken, PredictedOutputToken
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.snapshot import PoolSnapshot, PoolState
from tests.fakes.pools import POOL, FakePool

STEP = StepModel(0.01, 1e-4, 1e-6, 1e-3)


def snapshot(
    models: list[StepModel | None], errors: list[float], waiting: list[float | None], waiting_tokens: list[float]
) -> PoolSnapshot:
    """A pool whose batches have 10 requests with 10,000 tokens each."""
    size = len(models)
    made = FakePool(size, waiting=waiting, running=[10.0] * size).snapshot()
    columns = made.columns
    gauges = columns.gauges._replace(
        kv_used_tokens=np.full(size, 10_000.0), waiting_tokens=np.array(waiting_tokens, dtype=np.float64)
    )
    columns = replace(columns, gauges=gauges, steps=StepColumns.of(models, errors))
    state = PoolState.of(POOL, made.state.settings, made.endpoints, columns)
    return PoolSnapshot(state, "test", 1, made.in_flight_requests, made.in_flight_tokens, made.in_flight_by_model)


def test_what_is_not_known_or_too_wrong_predicts_nothing_and_tells_its_error() -> None:
    pool = snapshot([STEP, None, STEP], [0.1, 0.1, 0.5], [0.0] * 3, [0.0] * 3)
    assert PredictedOutputToken().read(pool, 0.0, None).tolist() == pytest.approx(
        [0.03, math.nan, math.nan], nan_ok=True
    )
    assert ModelError().read(pool, 0.0, None).tolist() == pytest.approx([0.1, math.nan, 0.5], nan_ok=True)


def test_a_first_token_comes_after_the_queue_which_must_be_known() -> None:
    pool = snapshot([STEP] * 3, [0.1] * 3, [0.0, 2.0, 2.0], [math.nan, 5000.0, math.nan])
    found = PredictedFirstToken().read(pool, 0.0, None).tolist()
    assert found == pytest.approx([0.13, 0.63, math.nan], nan_ok=True)


def test_a_pool_has_the_mean_of_what_is_known_of_its_endpoints() -> None:
    pool = snapshot([STEP, STEP.scaled(3.0)], [0.1, 0.3], [0.0] * 2, [0.0] * 2)
    reading = group_reading(BY_NAME["predicted_time_per_output_token_seconds"], pool, 0.0)
    assert not isinstance(reading, Unknown)
    assert reading.value == pytest.approx(0.06)
    error = group_reading(BY_NAME["latency_model_error_ratio"], pool, 0.0)
    assert not isinstance(error, Unknown)
    assert error.value == pytest.approx(0.2)
