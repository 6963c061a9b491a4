"""What a request that is to wait will take: by the endpoint that has most of its prompt, among those it may go to."""

import numpy as np
import pytest

from picker.flow.prospect import Prospect, prospect
from picker.flow.room import soonest_room
from picker.scheduling.costs.prefill_clock import IN_TRANSIT_SECONDS
from tests.picker.flow.test_room import asked

STEP = 0.02 + 30e-6


def looked(*rows: int) -> Prospect:
    """Three endpoints with much, little and nothing to compute, of which the first has most of the prompt."""
    found = asked(3, pending=[9.0, 2.0, 0.0], matched=[900.0, 500.0, 0.0])
    return prospect(found, "lane", np.array(rows, dtype=np.intp))


@pytest.mark.parametrize(
    ("rows", "hit_share", "uncached", "soonest"),
    [
        pytest.param((0, 1, 2), 0.9, 100, 0.0, id="any"),
        pytest.param((0, 1), 0.9, 100, 2.0, id="two of them"),
        pytest.param((1,), 0.5, 500, 2.0, id="one"),
    ],
)
def test_it_is_of_the_endpoints_that_the_request_may_go_to(
    rows: tuple[int, ...], hit_share: float, uncached: int, soonest: float
) -> None:
    found = looked(*rows)
    assert found.lane == "lane"
    assert found.hit_share == pytest.approx(hit_share)
    assert found.prefill_seconds == pytest.approx(uncached * 50e-6, rel=0.5)
    assert found.soonest_seconds == pytest.approx(max(0.0, soonest - STEP - IN_TRANSIT_SECONDS), abs=0.001)
    assert found.cost_seconds > found.prefill_seconds


def test_where_there_is_no_endpoint_nothing_costs_anything() -> None:
    found = looked()
    assert (found.hit_share, found.prefill_seconds, found.cost_seconds, found.soonest_seconds) == (0.0, 0.0, 0.0, 0.0)
    assert found.prompt_tokens == 1000.0


def test_an_endpoint_that_has_nothing_has_room_now() -> None:
    found = asked(1, pending=[9.0])
    rows = np.array([0], dtype=np.intp)
    assert soonest_room(found.snapshot, found.memory.clock, rows, 0.0) > 8.0
    found.snapshot.in_flight_requests[0] = 0.0
    assert soonest_room(found.snapshot, found.memory.clock, rows, 0.0) == 0.0
