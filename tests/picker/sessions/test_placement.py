"""A session stays while it can, and where it goes then is the same for every picker and lasts through a rollout."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import Phase
from picker.sessions.placement import NOWHERE, Past, Places, Session
from picker.sessions.session_settings import SessionSettings, Strategy
from tests.fakes.pools import FakePool, endpoint

SIGNED = SessionSettings(Strategy.SIGNED, "x-s", keys="keys", min_stay_seconds=60.0)
BY_ID = SessionSettings(Strategy.SESSION_ID)
BEFORE = Past(float("-inf"), "")
FULL, FREE = 1.0, 0.0


def places(size: int, *appeared: float, rollouts: str = "") -> Places:
    """`size` endpoints, which appeared then (at the start unless given), of rollouts with these letters."""
    when = appeared or (float("-inf"),) * size
    letters = rollouts or " " * size
    pasts = [Past(at, letter.strip()) for at, letter in zip(when, letters, strict=True)]
    return Places([endpoint(row) for row in range(size)], pasts)


def session(
    row: int, among: Places, *, placed_at: float = 0.0, kind: SessionSettings = SIGNED, seed: int = 1
) -> Session:
    left = among.pasts[row] if row != NOWHERE else None
    return Session(kind, among, random.Random(seed).randbytes(8), row, placed_at, left)


@pytest.mark.parametrize("kind", [SIGNED, BY_ID, replace(BY_ID, strategy=Strategy.ENCODED)])
def test_a_session_stays_where_it_is(kind: SessionSettings) -> None:
    pool = FakePool(4)
    for row in range(4):
        assert session(row, places(4), kind=kind).place(pool.snapshot(), pool.rows, 1.0) == row


@pytest.mark.parametrize(
    ("kv", "now", "stays"),
    [
        pytest.param([FULL, FREE, FREE], 100.0, False, id="saturated"),
        pytest.param([0.5, FREE, FREE], 100.0, True, id="not quite"),
        pytest.param([FULL, FULL, FULL], 100.0, True, id="as all are"),
        pytest.param([FULL, FREE, FREE], 59.0, True, id="only just there"),
        pytest.param([None, FREE, FREE], 100.0, True, id="nobody knows"),
    ],
)
def test_a_session_leaves_an_endpoint_that_is_saturated_while_others_are_not(
    kv: list[float | None], now: float, stays: bool
) -> None:
    pool = FakePool(3, waiting=[None if each is None else 0.0 for each in kv], kv=kv, observed_at=[now] * 3)
    moved = session(0, places(3)).place(pool.snapshot(), pool.rows, now)
    assert (moved == 0) is stays
    assert session(0, places(3), kind=BY_ID).place(pool.snapshot(), pool.rows, now) == 0


def test_what_it_moves_to_is_not_saturated_either_if_that_can_be() -> None:
    pool = FakePool(4, kv=[FULL, FULL, FREE, FULL], observed_at=[100.0] * 4)
    for seed in range(20):
        assert session(0, places(4), seed=seed).place(pool.snapshot(), pool.rows, 100.0) == 2
    pool = FakePool(3, kv=[FREE, FULL, FULL], phases=[Phase.DRAINING, Phase.READY, Phase.READY])
    assert session(0, places(3)).place(pool.snapshot(), np.array([1, 2]), 0.0) in (1, 2)


@given(st.integers(2, 40), st.integers(0, 2**32))
def test_sessions_that_leave_go_where_their_name_says(size: int, seed: int) -> None:
    """Any picker finds the same place, and it changes only where that place goes."""
    pool, rows = FakePool(size), np.arange(1, size, dtype=np.intp)
    gone = session(NOWHERE, places(size), seed=seed)
    chosen = gone.place(pool.snapshot(), rows, 0.0)
    assert chosen == session(NOWHERE, places(size), seed=seed).place(pool.snapshot(), rows, 5.0)
    for other in rows.tolist():
        left = rows[rows != other]
        if len(left):
            again = gone.place(pool.snapshot(), left, 0.0)
            assert again in left
            assert (again == chosen) is (other != chosen)


def test_they_spread_evenly() -> None:
    pool, among = FakePool(8), places(8)
    chosen = [session(NOWHERE, among, seed=seed).place(pool.snapshot(), pool.rows, 0.0) for seed in range(4_000)]
    counts = np.bincount(chosen, minlength=8)
    assert counts.min() > 400
    assert counts.max() < 600


def test_sessions_by_id_go_wherever_others_say() -> None:
    pool = FakePool(3)
    assert session(0, places(3), kind=BY_ID).place(pool.snapshot(), np.array([1, 2]), 0.0) == NOWHERE
    assert session(NOWHERE, places(3), kind=BY_ID).place(pool.snapshot(), pool.rows, 0.0) == NOWHERE


# Rollouts: what lasts


@pytest.mark.parametrize(
    ("appeared", "rollouts", "placed_at", "lasting"),
    [
        pytest.param((10, 11, 12, 50), "aaab", 60.0, [3], id="another rollout that came later"),
        pytest.param((-np.inf,) * 4, "aaab", 0.0, [3], id="another rollout, order unknown"),
        pytest.param((10, 5, 12, 50), "abaa", 20.0, [3], id="an older rollout is none to go to"),
        pytest.param((10, 11, 12, 50), "    ", 20.0, [3], id="came since the session was placed"),
        pytest.param((10, 5, 12, 50), "    ", 60.0, [2, 3], id="came after its endpoint"),
        pytest.param((10, 5, 6, 7), "    ", 20.0, [1, 2, 3], id="all others are older"),
    ],
)
def test_a_session_whose_endpoint_is_replaced_goes_to_what_is_not(
    appeared: tuple[float, ...], rollouts: str, placed_at: float, lasting: list[int]
) -> None:
    pool = FakePool(4, phases=[Phase.DRAINING, *[Phase.READY] * 3])
    among = places(4, *appeared, rollouts=rollouts)
    found = {
        session(0, among, placed_at=placed_at, seed=seed).place(pool.snapshot(), np.arange(1, 4), 0.0)
        for seed in range(60)
    }
    assert found == set(lasting)


def test_load_alone_sends_nobody_to_the_newest() -> None:
    """Saturation says nothing of a rollout: sessions spread over all that have room."""
    pool = FakePool(4, kv=[FULL, FREE, FREE, FREE], observed_at=[100.0] * 4)
    among = places(4, 1.0, 2.0, 3.0, 90.0, rollouts="aaab")
    found = {session(0, among, seed=seed).place(pool.snapshot(), pool.rows, 100.0) for seed in range(60)}
    assert found == {1, 2, 3}


def test_the_label_of_a_deployment_or_a_stateful_set_names_the_rollout() -> None:
    assert Past.of(endpoint(0, {"pod-template-hash": "7d9"}), 1.0) == Past(1.0, "7d9")
    assert Past.of(endpoint(0, {"controller-revision-hash": "web-5"}), 1.0) == Past(1.0, "web-5")
    assert Past.of(endpoint(0), 1.0) == Past(1.0, "")
