"""Which endpoints a name stands for."""

from typing import Any

import numpy as np
import pytest

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.snapshot import Columns, PoolSettings, PoolSnapshot, PoolState, frozen
from picker.scheduling.subset import named_rows
from tests.fakes.pools import POOL
from tests.reference_tables import TABLES

CASES: dict[str, Any] = TABLES["subset_filter"]


def snapshot(*authorities: tuple[str, int]) -> PoolSnapshot:
    endpoints = tuple(
        Endpoint(EndpointKey("default", f"p{row}"), address, port) for row, (address, port) in enumerate(authorities)
    )
    state = PoolState.of(POOL, PoolSettings(), endpoints, Columns.unknown(endpoints))
    none = frozen(np.zeros(len(endpoints)))
    return PoolSnapshot(state, "s", 1, none, none, ({},) * len(endpoints))


@pytest.mark.parametrize("case", [each for each in CASES["cases"] if "subset" in each and not each.get("disabled")])
def test_subset_vectors_hold(case: dict[str, Any]) -> None:
    pods = snapshot(*((address, 8000) for address in CASES["pods"]))
    assert [pods.endpoints[row].address for row in named_rows(pods, case["subset"])] == case["want"]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        pytest.param("10.0.0.1:8000", [0], id="one rank of a pod"),
        pytest.param("10.0.0.1:8001", [1], id="another rank"),
        pytest.param("10.0.0.1", [0, 1], id="all ranks"),
        pytest.param("10.0.0.1:9", [0, 1], id="unknown port"),
        pytest.param("[fd00::1]:8000", [2], id="IPv6"),
        pytest.param("fd00:0:0::1", [2], id="IPv6 written otherwise"),
        pytest.param("[fd00::1]", [2], id="IPv6 in brackets"),
        pytest.param(" 10.0.0.1:8001 , fd00::1 ", [1, 2], id="a list"),
        pytest.param("", [], id="nothing"),
        pytest.param("::::", [], id="nonsense"),
    ],
)
def test_names_stand_for_endpoints(name: str, rows: list[int]) -> None:
    pods = snapshot(("10.0.0.1", 8000), ("10.0.0.1", 8001), ("fd00::1", 8000))
    assert named_rows(pods, (name,)).tolist() == rows
