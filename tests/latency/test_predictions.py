"""What step models predict."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.latency.predictions import (
    drain_seconds,
    room_for_sequences,
    step_seconds,
    time_per_output_token,
    time_to_first_token,
)
from infscale.latency.step_columns import StepColumns
from infscale.latency.step_model import StepModel
from tests.fakes.watched_engine import Arrivals, WatchedEngine

STEP = StepModel(0.01, 1e-4, 1e-6, 1e-3)
ONE = StepColumns.of([STEP], [0.1])
WITH_UNKNOWN = StepColumns.of([STEP, None], [0.1, 0.1])


def test_a_token_takes_longer_the_more_prompts_are_computed_beside_it() -> None:
    assert time_per_output_token(ONE, 10_000, 10).tolist() == pytest.approx([0.03])
    # A half of the time goes into prompts of 5,000 tokens a second.
    assert time_per_output_token(ONE, 10_000, 10, 5_000).tolist() == pytest.approx([0.06])
    assert time_per_output_token(ONE, 10_000, 10, 10_000).tolist() == [math.inf]


def test_a_first_token_comes_after_the_prompt_and_those_before_it() -> None:
    assert time_to_first_token(ONE, 1_000, 0, 10_000, 10).tolist() == pytest.approx([0.1 + 0.03])
    assert time_to_first_token(ONE, 1_000, 9_000, 10_000, 10).tolist() == pytest.approx([1.0 + 2 * 0.03])
    # Also a prompt that is cached takes a step.
    assert time_to_first_token(ONE, 0, 0, 0, 0).tolist() == pytest.approx([0.01])


def test_draining_takes_the_prompts_and_the_longest_answer() -> None:
    assert drain_seconds(ONE, 1_000, 200, 10_000, 10).tolist() == pytest.approx([0.1 + 201 * 0.03])
    assert drain_seconds(ONE, 0, 0, 0, 0).tolist() == [0.0]


def test_room_is_what_a_goal_leaves() -> None:
    # 0.03 s now; each takes 1 ms and 1 ms more for its context.
    assert room_for_sequences(ONE, 10_000, 10, 1_000, 0.0411).tolist() == [5.0]
    assert room_for_sequences(ONE, 10_000, 10, 1_000, 0.02).tolist() == [0.0]


@pytest.mark.parametrize(
    "predicted",
    [
        step_seconds(WITH_UNKNOWN, 1, 1, 1),
        time_per_output_token(WITH_UNKNOWN, 1, 1, 1),
        time_to_first_token(WITH_UNKNOWN, 1, 1, 1, 1),
        drain_seconds(WITH_UNKNOWN, 0, 0, 1, 1),
        room_for_sequences(WITH_UNKNOWN, 1, 1, 1, 1),
        time_per_output_token(ONE, np.array((1.0, math.nan)), 1),
    ],
)
def test_unknown_stays_unknown(predicted: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    assert np.isnan(predicted).tolist() == [False, True]


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e6), st.floats(0, 256))
def test_more_work_never_takes_less_time(uncached: float, pending: float, kv: float, sequences: float) -> None:
    less = time_to_first_token(ONE, uncached, pending, kv, sequences)[0]
    assert time_to_first_token(ONE, uncached + 100, pending, kv, sequences)[0] >= less
    assert time_to_first_token(ONE, uncached, pending, kv + 1, sequences + 1)[0] >= less


def test_an_engine_in_steady_state_takes_as_long_for_a_token_as_predicted() -> None:
    engine = WatchedEngine(arrivals=Arrivals(3.0, 2000.0, 200.0))
    engine.run_until(60.0)
    gaps, counters = engine.recorder.histograms.token_gap, engine.recorder
    before = gaps.sum, gaps.total, counters.prompt_tokens
    batches: list[tuple[int, int]] = []
    for second in range(60, 360):
        engine.run_until(second + 1.0)
        batches.append((engine.engine.running, engine.engine.kv_tokens))
    seen = (gaps.sum - before[0]) / (gaps.total - before[1])
    running, kv_tokens = np.mean(batches, axis=0)
    columns = StepColumns.of([engine.steps], [0.0])
    predicted = time_per_output_token(columns, kv_tokens, running, (counters.prompt_tokens - before[2]) / 300)[0]
    assert predicted == pytest.approx(seen, rel=0.1)
