"""A series is bounded in time and number, and never loses its newest sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.store.series import BoundedSeries


@given(st.lists(st.floats(0.001, 5.0), min_size=1, max_size=300), st.floats(1.0, 30.0), st.floats(0.1, 1.0))
def test_a_series_reaches_back_to_the_sample_before_its_retention_and_keeps_the_newest(
    gaps: list[float], retention: float, resolution: float
) -> None:
    series = BoundedSeries(1, retention, resolution)
    now = 0.0
    for number, gap in enumerate(gaps):
        now += gap
        series.append(now, float(number))
        times = series.times
        assert times[-1] == now
        assert series.values[-1, 0] == number
        assert np.count_nonzero(times <= now - retention) <= 1
        assert len(series) <= 2 * retention / resolution + 4
        assert np.all(np.diff(times) > 0)


def test_samples_closer_than_the_resolution_replace_the_newest() -> None:
    series = BoundedSeries(2, 10.0, 1.0)
    for at in (0.0, 1.0, 1.2, 1.4, 2.5):
        series.append(at, np.array([at, -at]))
    assert list(series.times) == [0.0, 1.0, 1.4, 2.5]
    assert list(series.values[:, 1]) == [0.0, -1.0, -1.4, -2.5]


@pytest.mark.parametrize("gap", [0.1, 0.25, 0.26, 0.49, 0.5, 0.51, 3.0])
def test_however_often_samples_come_a_series_reaches_back_over_its_retention(gap: float) -> None:
    series = BoundedSeries(1, 6.0, 0.5)
    for number in range(200):
        series.append(number * gap, 0.0)
        if number * gap >= 6.0:
            assert series.times[0] <= number * gap - 6.0


def test_an_older_sample_is_ignored() -> None:
    series = BoundedSeries(1, 10.0, 1.0)
    series.append(5.0, 1.0)
    series.append(4.0, 2.0)
    series.append(5.0, 3.0)
    assert list(series.times) == [5.0]
    assert series.values[0, 0] == 1.0


@pytest.mark.parametrize(("width", "retention", "resolution"), [(-1, 1, 1), (1, 1, 2), (1, 1, 0)])
def test_impossible_series_are_refused(width: int, retention: float, resolution: float) -> None:
    with pytest.raises(ValueError, match="series"):
        BoundedSeries(width, retention, resolution)
