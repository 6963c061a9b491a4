"""Arrays that are packed come back bit for bit, and what is no packing is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from infscale.metrics.sample import FloatArray
from picker.explaining.packed_rows import PackedRows

SHAPE = (2, 3)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 12), st.just(6)), elements=st.floats()),
    st.lists(st.integers(1, 5), min_size=12, max_size=12),
)
def test_what_was_added_comes_back_bit_for_bit(given_rows: FloatArray, batches: list[int]) -> None:
    rows = PackedRows(SHAPE)
    left = list(given_rows)
    for count in batches:
        batch, left = left[:count], left[count:]
        if batch:
            rows.add([part for each in batch for part in (each[:2], each[2:])], len(batch))
    rows.close()
    followed = PackedRows(SHAPE)
    for each in given_rows:
        changing = each.copy()
        followed.follow(changing)
        changing[:] = 7.0
    again = PackedRows.of(*rows.parts(), SHAPE)
    for packed in (rows, again, followed):
        assert len(packed) == len(given_rows)
        for place, each in enumerate(given_rows):
            assert packed.item(place).shape == SHAPE
            assert packed.item(place).tobytes() == each.tobytes()


def test_what_does_not_change_takes_next_to_nothing() -> None:
    rows = PackedRows((10, 100))
    for number in range(100):
        item = np.full(1_000, 7.0)
        item[304] = number
        rows.add([item], 1)
    assert rows.size_bytes < 8_000 + 100 * 40


@pytest.mark.parametrize(
    ("places", "values", "ends"),
    [
        (np.array([6]), np.array([1]), [0, 1]),
        (np.array([-1]), np.array([1]), [0, 1]),
        (np.array([1]), np.array([1, 2]), [0, 1]),
        (np.array([1]), np.array([1]), [0, 2]),
        (np.array([1]), np.array([1]), []),
    ],
)
def test_parts_that_do_not_fit_are_refused(places: FloatArray, values: FloatArray, ends: list[int]) -> None:
    with pytest.raises(ValueError, match=r"fit|fewer"):
        PackedRows.of(np.zeros(6).tobytes(), places.tobytes(), values.tobytes(), ends, SHAPE)
