"""Non-negative least squares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from infscale.latency.least_squares import nonnegative

_NUMBERS = st.floats(-10, 10).map(lambda each: round(each, 3))


@given(
    st.integers(1, 5).flatmap(lambda size: arrays(np.float64, (12, size), elements=_NUMBERS)),
    arrays(np.float64, 12, elements=_NUMBERS),
)
def test_no_step_from_the_solution_is_both_allowed_and_better(
    matrix: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """The conditions of Karush, Kuhn and Tucker, which hold at the least value alone: the problem is convex."""
    gram, moment = matrix.T @ matrix, matrix.T @ y
    found = np.array(nonnegative(gram.tolist(), moment.tolist()))
    assert (found >= 0).all()
    slope = moment - gram @ found
    tolerance = 1e-6 * (1.0 + np.abs(moment).max() + np.abs(gram).max())
    assert (slope <= tolerance).all()
    assert np.abs(slope[found > 0]).max(initial=0.0) <= tolerance


@pytest.mark.parametrize(
    ("matrix", "y", "wanted"),
    [
        ([[1, 0], [0, 1]], [3, 4], [3, 4]),
        ([[1, 0], [0, 1]], [3, -4], [3, 0]),
        # The second column is the first one twice.
        ([[1, 2], [2, 4]], [2, 4], None),
        ([[1, 0], [1, 0]], [5, 5], [5, 0]),
    ],
    ids=["free", "bounded", "dependent", "empty column"],
)
def test_small_problems(matrix: list[list[float]], y: list[float], wanted: list[float] | None) -> None:
    given, seen = np.array(matrix, dtype=np.float64), np.array(y, dtype=np.float64)
    found = nonnegative((given.T @ given).tolist(), (given.T @ seen).tolist())
    assert (given @ found).tolist() == pytest.approx(np.maximum(seen, 0).tolist())
    if wanted is not None:
        assert found == pytest.approx(wanted)
