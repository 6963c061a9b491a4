"""Who may be picked is who is ready and has a saturation that is known now."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import Phase
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from tests.fakes.pools import FakePool

ROWS = 4
NUMBERS = st.lists(st.none() | st.floats(0, 10), min_size=ROWS, max_size=ROWS)
FLAGS = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS)
PHASES = st.lists(st.sampled_from(Phase), min_size=ROWS, max_size=ROWS)


@pytest.mark.parametrize("kind", SaturationKind)
@given(NUMBERS, NUMBERS, NUMBERS, PHASES, FLAGS, st.lists(st.floats(0, 20), min_size=1, max_size=4))
def test_candidates_are_ready_awake_and_of_known_saturation(
    kind: SaturationKind,
    waiting: list[float | None],
    kv: list[float | None],
    observed_at: list[float | None],
    phases: list[Phase],
    asleep: list[bool],
    times: list[float],
) -> None:
    settings = PoolSettings(2.0, 30.0, SaturationSettings(kind))
    snapshot = FakePool(
        ROWS, waiting=waiting, kv=kv, observed_at=observed_at, phases=phases, asleep=asleep, settings=settings
    ).snapshot()
    for now in times:
        expected = snapshot.columns.ready & ~snapshot.columns.asleep & ~np.isnan(snapshot.saturation(now))
        assert snapshot.candidates(now).tolist() == expected.nonzero()[0].tolist()
        assert snapshot.eligible(now).tolist() == expected.tolist()
