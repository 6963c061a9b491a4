"""Shares that bands are guaranteed: each has at least its own, and nothing is left undone for it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.band_shares import BandShares
from picker.flow.waiting import Waiting

COSTS = st.floats(0.01, 5.0)


def serve(shares: BandShares, number: int, waiting: set[int], cost: float) -> int:
    """One request of the band that goes next, as a turn has it."""
    owed = shares.owed(waiting)
    band = max(waiting) if owed is None else owed
    shares.dispatched(Waiting(number, band, "", 0, 0.0, 0.0, cost_seconds=cost), waiting)
    return band


def test_without_shares_bands_are_strict() -> None:
    shares = BandShares({})
    assert [serve(shares, number, {0, 10, -5}, 1.0) for number in range(20)] == [10] * 20


def test_of_what_no_band_is_owed_the_highest_takes_all() -> None:
    shares = BandShares({0: 0.2, -5: 0.1})
    served = [serve(shares, number, {0, 10, -5}, 1.0) for number in range(100)]
    assert {band: served.count(band) for band in (10, 0, -5)} == pytest.approx({10: 70, 0: 20, -5: 10}, abs=2)
    # Those that have nothing waiting leave theirs to the others.
    served = [serve(shares, number, {0, -5}, 1.0) for number in range(200, 300)]
    assert {band: served.count(band) for band in (0, -5)} == pytest.approx({0: 90, -5: 10}, abs=2)


def test_a_band_that_was_idle_has_saved_up_nothing() -> None:
    shares = BandShares({0: 0.5})
    serve(shares, 0, {10, 0}, 4.0)
    assert shares.owed_seconds(0) > 0
    shares.waits_no_more(0)
    assert shares.owed_seconds(0) == 0
    assert [serve(shares, number, {0, 10}, 1.0) for number in range(1, 5)].count(0) == 2


@given(
    parts=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=4),
    total=st.floats(0.1, 1.0),
    costs=st.lists(COSTS, min_size=20, max_size=120),
    highest=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_band_that_waits_has_its_share_but_for_a_few_requests(
    parts: list[float], total: float, costs: list[float], highest: bool, seed: int
) -> None:
    """Over every stretch in which it waits, whatever the others do: less by one request for each band with a share."""
    rng = random.Random(seed)
    shares = {-number: total * part / sum(parts) for number, part in enumerate(parts)}
    books, dearest = BandShares(shares), max(costs)
    others = [*list(shares)[1:], *([10] if highest else [])]
    watched, given_away, got, best = 0, 0.0, 0.0, 0.0
    for number, cost in enumerate(costs):
        waiting = {watched} | {each for each in others if rng.random() < 0.7}
        for each in set(others) - waiting:
            books.waits_no_more(each)
        band = serve(books, number, waiting, cost)
        given_away += cost
        got += cost if band == watched else 0.0
        ahead = got - shares[watched] * given_away
        best = max(best, ahead)
        assert best - ahead <= (len(shares) + 1) * dearest + 1e-9


@given(st.lists(st.tuples(st.integers(-2, 2), COSTS, COSTS), max_size=40))
def test_what_bands_are_owed_follows_what_requests_have_cost_in_the_end(served: list[tuple[int, float, float]]) -> None:
    """Estimates of others that were wrong are as if they had been right, while all bands wait all the time."""
    guessed, known = BandShares({0: 0.3, -1: 0.1}), BandShares({0: 0.3, -1: 0.1})
    bands = {-2, -1, 0, 1, 2}
    for number, (band, guess, cost) in enumerate(served):
        if band in (0, -1):
            continue
        waiting = Waiting(number, band, "", 0, 0.0, 0.0, cost_seconds=guess)
        guessed.dispatched(waiting, bands)
        guessed.ended(waiting, cost - guess)
        guessed.ended(waiting, 100.0)
        known.dispatched(Waiting(number, band, "", 0, 0.0, 0.0, cost_seconds=cost), bands)
    for band in (0, -1):
        assert guessed.owed_seconds(band) == pytest.approx(known.owed_seconds(band))


@pytest.mark.parametrize("shares", [{0: 0.0}, {0: -0.5}, {0: float("nan")}, {0: 0.6, 1: 0.5}])
def test_shares_are_above_0_and_together_at_most_1(shares: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="shares of bands"):
        BandShares(shares)
