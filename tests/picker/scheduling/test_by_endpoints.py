"""Rows of a pool by the labels of its endpoints."""

import numpy as np
import pytest

from picker.scheduling.by_endpoints import LabelledRows
from tests.fakes.pools import endpoint

LABELS = ({"version": "v1"}, {"version": "v2", "tier": "a"}, {"version": "v2"}, {})


@pytest.mark.parametrize(
    ("labels", "rows", "found"),
    [
        ({"version": "v2"}, [0, 1, 2, 3], [1, 2]),
        ({"version": "v2"}, [2, 1], [2, 1]),
        ({"version": "v2", "tier": "a"}, [0, 1, 2], [1]),
        ({"version": "v3"}, [0, 1, 2], []),
        ({"version": "v2"}, [0], []),
        ({"version": "v2"}, [], []),
        ({}, [0, 3], [0, 3]),
    ],
)
def test_rows_are_those_with_all_labels_in_their_order(
    labels: dict[str, str], rows: list[int], found: list[int]
) -> None:
    known = LabelledRows(tuple(endpoint(number, each) for number, each in enumerate(LABELS)))
    for _ in range(2):
        assert known.among(labels, np.array(rows, dtype=np.intp)).tolist() == found
