"""How full a pool is, in all of it and by stage."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import Phase
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from picker.flow.reference.pool_saturation import PoolSaturation
from tests.fakes.pools import FakePool

REQUESTS, TOKENS, HYBRID = (
    PoolSettings(saturation=SaturationSettings(kind, max_in_flight_requests=10, max_in_flight_tokens=1000))
    for kind in (SaturationKind.REQUESTS, SaturationKind.TOKENS, SaturationKind.HYBRID)
)


def role(name: str) -> Mapping[str, str]:
    return {"llm-d.ai/role": name} if name else {}


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (FakePool(0), 1.0),
        (FakePool(2, waiting=[5, 0], kv=[0.1, 0.8]), 1.0),
        (FakePool(2, waiting=[10, 0], kv=[0.0, 0.0]), 1.0),
        (FakePool(2, waiting=[1, 0], kv=[0.0, 0.4]), 0.35),
        (FakePool(2, waiting=[20, 20]), 4.0),
        # What is unknown of one signal is no load; of both, or too old, it is a full endpoint.
        (FakePool(2, waiting=[None, 0], kv=[0.4, 0.0]), 0.25),
        (FakePool(2, waiting=[None, 0], kv=[None, 0.0]), 0.5),
        (FakePool(2, observed_at=[-10.0, 0.0]), 0.5),
        (FakePool(2, observed_at=[None, None]), 1.0),
        # Who takes no requests does not count.
        (FakePool(3, waiting=[10, 0, 5], phases=[Phase.DRAINING, Phase.READY, Phase.STARTING]), 0.0),
        (FakePool(2, waiting=[10, 0], asleep=[True, False]), 0.0),
        (FakePool(1, phases=[Phase.DRAINING]), 1.0),
    ],
)
def test_by_what_engines_report(pool: FakePool, expected: float) -> None:
    assert PoolSaturation().of(pool.snapshot(), 0.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "expected"), [(REQUESTS, 0.75), (TOKENS, 0.55), (HYBRID, 1.0)], ids=["requests", "tokens", "hybrid"]
)
def test_by_what_is_in_flight(settings: PoolSettings, expected: float) -> None:
    """Hybrid is the mean of what is fuller at each endpoint, whatever engines report, and however long ago."""
    pool = FakePool(2, waiting=[99, 99], observed_at=[None, -99.0], settings=settings)
    pool.in_flight_requests, pool.in_flight_tokens = [10, 5], [100, 1000]
    assert PoolSaturation().of(pool.snapshot(), 0.0) == pytest.approx(expected)


def test_thresholds_are_those_the_pool_is_judged_by() -> None:
    settings = PoolSettings(0.5, saturation=SaturationSettings(queue_depth_threshold=2, kv_utilization_threshold=0.5))
    pool = FakePool(2, waiting=[1, 0], kv=[0.0, 0.25], settings=settings)
    assert PoolSaturation().of(pool.snapshot(), 0.5) == pytest.approx(0.5)
    assert PoolSaturation().of(pool.snapshot(), 0.6) == pytest.approx(1.0), "staleness too"


@pytest.mark.parametrize(
    ("roles", "prefill", "decode"),
    [
        (["", ""], None, 0.6),
        (["prefill", "decode"], 0.2, 1.0),
        (["prefill-decode", "decode"], 0.2, 0.6),
        (["both", "prefill"], 0.6, 0.2),
        (["encode-prefill-decode", "encode"], 0.2, 0.2),
        (["encode-prefill", ""], 0.2, 1.0),
        (["encode", "elsewhere"], None, None),
    ],
)
def test_stages_are_told_by_roles(roles: Sequence[str], prefill: float | None, decode: float | None) -> None:
    pool = FakePool(2, waiting=[1, 5], labels=[role(name) for name in roles])
    stages = PoolSaturation().stages(pool.snapshot(), 0.0)
    assert (stages.prefill, stages.decode) == (
        None if prefill is None else pytest.approx(prefill),
        None if decode is None else pytest.approx(decode),
    )
    known = [each for each in (prefill, decode) if each is not None]
    assert stages.effective == pytest.approx(max(known, default=1.0))


def test_endpoints_whose_load_is_unknown_are_counted() -> None:
    pool = FakePool(4, waiting=[None, 0, 0, None], kv=[None, 0, 0, 0], observed_at=[0.0, -10.0, 0.0, 0.0])
    assert PoolSaturation().stages(pool.snapshot(), 0.0).stale == 2
    assert PoolSaturation().stages(FakePool(2, settings=REQUESTS).snapshot(), 99.0).stale == 0


@given(
    st.lists(st.tuples(st.integers(0, 20), st.floats(0.0, 1.0), st.sampled_from(["", "prefill", "both"])), max_size=6),
    st.integers(0, 20),
)
def test_a_longer_queue_never_makes_a_pool_look_emptier(rows: list[tuple[int, float, str]], more: int) -> None:
    def measured(first: int) -> float:
        waiting = [float(queue + (first if not row else 0)) for row, (queue, _, _) in enumerate(rows)]
        labels = [role(name) for _, _, name in rows]
        pool = FakePool(len(rows), waiting=waiting, kv=[kv for _, kv, _ in rows], labels=labels)
        return PoolSaturation().of(pool.snapshot(), 0.0)

    assert 0.0 <= measured(0) <= measured(more) < math.inf
