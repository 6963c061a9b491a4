"""Limits that are learnt from what waits: on endpoints of unknown speed they come to what these begin at once."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import Life
from picker.scheduling.costs.learnt_limits import FIRST_LIMIT, LearntLimits
from tests.fakes.pools import FakePool, Numbers, endpoint

HERE = (endpoint(0),)


def limits(lives: Sequence[Life | None] = ()) -> LearntLimits:
    made = LearntLimits()
    made.sync(HERE, lives)
    return made


def scraped(of: LearntLimits, at: float, waiting: Numbers, running: float, in_flight: float) -> float:
    pool = FakePool(1, waiting=waiting, running=[running], in_flight_requests=[in_flight], observed_at=[at])
    of.observe(pool.snapshot())
    return float(of.requests[0])


def served(of: LearntLimits, capacity: int, scrapes: int, begin: int = 0) -> list[float]:
    """Limits at an endpoint that begins `capacity` at once, has all that it may have, and queues the rest."""
    found = [float(of.requests[0])]
    for number in range(begin, begin + scrapes):
        asked = int(found[-1])
        running = min(asked, capacity)
        found.append(scraped(of, float(number), [float(asked - running)], float(running), float(asked)))
    return found


@given(st.integers(1, 500))
def test_a_limit_comes_to_what_an_endpoint_begins_at_once(capacity: int) -> None:
    found = served(limits(), capacity, 40)
    assert all(capacity <= each <= capacity + 2 for each in found[20:])


@given(st.integers(1, 300), st.integers(1, 300))
def test_it_follows_an_endpoint_that_becomes_slower_or_faster(before: int, after: int) -> None:
    of = limits()
    served(of, before, 40)
    found = served(of, after, 60, 40)
    assert all(after <= each <= after + 2 for each in found[40:])


@given(
    st.lists(st.tuples(st.none() | st.floats(0.0, 500.0), st.floats(0.0, 500.0), st.floats(0.0, 500.0)), max_size=30)
)
def test_no_endpoint_starves_whatever_its_pages_say(pages: list[tuple[float | None, float, float]]) -> None:
    of = limits()
    for number, (waiting, running, in_flight) in enumerate(pages):
        assert scraped(of, float(number), [waiting], running, in_flight) >= 1.0


def test_what_waits_for_the_step_that_runs_is_no_queue() -> None:
    of = limits()
    for number in range(20):
        assert scraped(of, float(number), [float(number % 2)], 7.0, 8.0) >= FIRST_LIMIT


def test_a_limit_that_is_not_used_stays_and_a_page_is_read_once() -> None:
    of = limits()
    assert [scraped(of, float(number), [0.0], 2.0, 2.0) for number in range(5)] == [FIRST_LIMIT] * 5
    assert scraped(of, 9.0, [0.0], 8.0, 8.0) == 2 * FIRST_LIMIT
    assert scraped(of, 9.0, [0.0], 16.0, 16.0) == 2 * FIRST_LIMIT


def test_an_endpoint_of_which_nothing_says_what_waits_has_no_limit() -> None:
    of = limits()
    assert scraped(of, 1.0, [None], 8.0, 8.0) == np.inf
    assert scraped(of, 2.0, [0.0], 2.0, 2.0) == FIRST_LIMIT


@pytest.mark.parametrize("how", ["restart", "leaves"])
def test_what_was_learnt_of_an_engine_goes_with_it(how: str) -> None:
    first = Life()
    of = limits((first,))
    served(of, 3, 20)
    of.sync(HERE, (first,))
    assert of.requests.tolist() != [FIRST_LIMIT]
    if how == "restart":
        of.sync(HERE, (Life(),))
    else:
        of.sync((), ())
        of.sync(HERE, ())
    assert of.requests.tolist() == [FIRST_LIMIT]


def test_endpoints_keep_their_limits_in_other_rows() -> None:
    of = limits()
    served(of, 3, 20)
    learnt = float(of.requests[0])
    of.sync((endpoint(7), *HERE), ())
    assert of.requests.tolist() == [FIRST_LIMIT, learnt]
