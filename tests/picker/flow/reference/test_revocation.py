"""Requests taken back in flight: whose, for whom, how many, and when the next."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.saturation import SaturationKind
from picker.flow.reference.revocation import (
    CONFIRMATION_TIMEOUT_SECONDS,
    MOST_AT_ONCE,
    Demand,
    InFlight,
    Reclamation,
    Victims,
    confirmation_grace,
    demand,
)

SHEDDABLE = [InFlight(number, -1, float(number)) for number in range(5)]
URGENT = Demand(0, 1.0)


def test_victims_are_sheddable_lowest_first_and_then_newest_first() -> None:
    running = [
        InFlight(1, -1, 5.0),
        InFlight(2, -10, 1.0),
        InFlight(3, 0, 9.0),
        InFlight(4, -10, 2.0),
        InFlight(5, -10, 2.0),
        InFlight(6, -99, 9.0, fetching=True),
    ]
    assert [each.number for each in Victims().of(running)] == [5, 4, 2, 1]


@pytest.mark.parametrize(
    ("saturation", "ceilings", "waiting", "victim", "expected"),
    [
        (1.0, [1.0, 1.0, 1.0], {10}, -5, Demand(10, 1.0)),
        (1.0, [1.0, 1.0, 1.0], {0}, -5, Demand(0, 1.0)),
        (1.0, [1.0, 1.0, 1.0], {10, 0}, -5, Demand(10, 1.0)),
        # Nobody waits, or only those that are worth no more than the victim.
        (1.0, [1.0, 1.0, 1.0], set(), -5, None),
        (1.0, [1.0, 1.0, 1.0], {-5}, -5, None),
        # What its ceiling lets go needs no room, and what must not go at all gets none.
        (0.6, [1.0, 0.5, 0.5], {10, 0}, -5, Demand(0, 0.5)),
        (0.9, [1.0, 1.0, 1.0], {10}, -5, None),
        (1.0, [0.0, 1.0, 1.0], {10}, -5, None),
    ],
)
def test_room_is_made_for_the_highest_band_that_is_held_back(
    saturation: float, ceilings: Sequence[float], waiting: set[int], victim: int, expected: Demand | None
) -> None:
    assert demand(saturation, [10, 0, -5], ceilings, waiting, victim) == expected


@pytest.mark.parametrize(
    ("saturation", "in_flight", "victims", "expected"),
    [
        # At the ceiling one goes: it opens below it alone.
        (1.0, 100, 5, 1),
        (1.005, 100, 5, 1),
        (1.02, 100, 5, 2),
        (3.0, 100, 5, MOST_AT_ONCE),
        (3.0, 100, 1, 1),
        (3.0, 100, 0, 0),
        (0.5, 100, 5, 0),
        (1.5, 0, 5, 0),
    ],
)
def test_as_many_are_taken_back_as_the_missing_room_needs_at_the_mean_size(
    saturation: float, in_flight: int, victims: int, expected: int
) -> None:
    reclamation = Reclamation(0.5)
    taken = reclamation.take_back(saturation, URGENT, in_flight, SHEDDABLE[:victims], 0.0)
    assert list(taken) == SHEDDABLE[:expected]
    assert reclamation.pending == pytest.approx(expected * saturation / in_flight if in_flight else 0.0)


def test_only_what_is_below_the_band_is_taken_back_for_it() -> None:
    victims = [InFlight(1, -9, 0.0), InFlight(2, -1, 0.0)]
    assert list(Reclamation(0.5).take_back(3.0, Demand(-1, 1.0), 10, victims, 0.0)) == victims[:1]


def test_the_next_decision_waits_until_all_have_ended_and_the_room_can_be_seen() -> None:
    reclamation = Reclamation(0.5)
    assert reclamation.may_decide(0.0)
    reclamation.take_back(3.0, URGENT, 10, SHEDDABLE, 0.0)
    assert reclamation.decides_at == CONFIRMATION_TIMEOUT_SECONDS
    reclamation.ended(99, 1.0)
    reclamation.ended(0, 1.0)
    assert not reclamation.may_decide(2.0)
    reclamation.ended(1, 3.0)
    assert not reclamation.may_decide(3.4)
    assert reclamation.decides_at == 3.5
    assert reclamation.pending == pytest.approx(0.3)
    assert reclamation.may_decide(3.5)
    assert (reclamation.pending, reclamation.issued, reclamation.timed_out) == (0.0, {0: 2}, 0)
    assert (reclamation.confirmations.count, reclamation.confirmations.total) == (2, 4.0)
    assert reclamation.missing == 2.0


def test_what_does_not_end_is_given_up_on_and_counts_once() -> None:
    reclamation = Reclamation(0.5)
    reclamation.take_back(1.0, URGENT, 10, SHEDDABLE, 0.0)
    assert not reclamation.may_decide(CONFIRMATION_TIMEOUT_SECONDS)
    assert reclamation.may_decide(CONFIRMATION_TIMEOUT_SECONDS + 0.5)
    reclamation.ended(0, 99.0)
    assert (reclamation.issued, reclamation.confirmations.count, reclamation.timed_out) == ({0: 1}, 0, 1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(SaturationKind.UTILIZATION, 0.5), (SaturationKind.REQUESTS, 0.01), (SaturationKind.HYBRID, 0.01)],
)
def test_the_grace_is_what_the_detector_needs_to_see_it(kind: SaturationKind, expected: float) -> None:
    assert confirmation_grace(kind, 0.05, 0.2) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 4.0), st.booleans()), max_size=30))
def test_whatever_happens_each_is_accounted_for_once(events: list[tuple[int, float, bool]]) -> None:
    reclamation = Reclamation(0.5)
    now, open_numbers = 0.0, set[int]()
    for number, step, decide in events:
        now += step
        if decide and reclamation.may_decide(now):
            taken = reclamation.take_back(1.1, URGENT, 10, SHEDDABLE[number:], now)
            open_numbers = {each.number for each in taken}
            assert len(taken) <= MOST_AT_ONCE
        else:
            reclamation.ended(number, now)
            open_numbers.discard(number)
        assert reclamation.pending >= 0.0
        assert reclamation.confirmations.count + reclamation.timed_out <= sum(reclamation.issued.values())
    assert reclamation.may_decide(now + 100.0) or not reclamation.may_decide(now)
    assert reclamation.may_decide(now + 200.0)
    assert reclamation.pending == 0.0
    assert sum(reclamation.issued.values()) == reclamation.confirmations.count + reclamation.timed_out
