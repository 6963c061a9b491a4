"""Step models from measurements in a closed loop."""

import random

import pytest

from infscale.latency.closed_loop import ClosedLoopPoint, first_token_errors, fitted, left_out_errors
from infscale.latency.step_model import StepModel

TRUE = StepModel(8e-3, 30e-6, 0.04e-6, 20e-6, 4e-4)


def measured(noise: float = 0.0, seed: int = 1) -> list[ClosedLoopPoint]:
    """What an engine that follows the model would have measured."""
    rng = random.Random(seed)
    points: list[ClosedLoopPoint] = []
    for input_tokens, output_tokens in ((1024, 1024), (1024, 8192), (8192, 1024)):
        for concurrency in (4, 8, 16, 32, 64):
            point = ClosedLoopPoint(input_tokens, output_tokens, concurrency, 1.0, 1.0)
            tpot = TRUE.seconds(*point.step) * rng.gauss(1.0, noise)
            ttft = (0.05 + 3e-5 * input_tokens + 1e-6 * concurrency * input_tokens) * rng.gauss(1.0, noise)
            points.append(ClosedLoopPoint(input_tokens, output_tokens, concurrency, ttft, tpot))
    return points


def test_a_step_computes_a_prompt_of_each_client_in_the_time_of_an_answer() -> None:
    assert ClosedLoopPoint(1000, 500, 10, 1.0, 1.0).step == (20.0, 12_500.0, 10)


def test_the_model_that_made_the_measurements_is_found() -> None:
    assert fitted(measured()).coefficients == pytest.approx(TRUE.coefficients, rel=1e-4)


def test_no_coefficient_is_negative_whatever_was_measured() -> None:
    odd = [ClosedLoopPoint(each.input_tokens, each.output_tokens, each.concurrency, 1.0, 1.0 / each.concurrency)
           for each in measured()]  # fmt: skip
    assert min(fitted(odd).coefficients) >= 0.0


def test_points_that_are_left_out_are_told_by_the_others() -> None:
    assert max(left_out_errors(measured())) < 1e-3
    assert max(first_token_errors(measured())) < 1e-3
    noisy = left_out_errors(measured(0.05))
    assert 0.01 < sum(noisy) / len(noisy) < 0.15


def test_a_wrong_measurement_shows_where_it_is_left_out() -> None:
    points = measured()
    wrong = points[7]
    points[7] = ClosedLoopPoint(wrong.input_tokens, wrong.output_tokens, wrong.concurrency, 1.0, 2 * wrong.tpot_seconds)
    errors = left_out_errors(points)
    assert errors[7] == max(errors)
    assert errors[7] == pytest.approx(0.5, abs=0.01)
