"""What a running rollout gives to sessions and requests, and what it counts."""

import random
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import Rollout, RolloutStep, RolloutTest, Version
from infscale.rollouts.rollout_sessions import RolloutSessions, draw, salt_of
from infscale.rollouts.rollout_state import RolloutPhase, RolloutState
from infscale.rollouts.running_rollout import NO_SESSION, RunningRollout
from infscale.rollouts.sequential_test import RequestResult
from tests.rollouts.made_rollouts import BLUE_GREEN, CANARY, NEW, OLD, canary

NAMES = [f"session {number}" for number in range(2_000)]
FINE = RequestResult(False, 0.1)


def running(rollout: Rollout = CANARY, step: int = 0, phase: RolloutPhase = RolloutPhase.PROGRESSING) -> RunningRollout:
    return RunningRollout(rollout, 0.0, RolloutState(0.0, phase, step))


def at(made: RunningRollout, step: int = 0, phase: RolloutPhase = RolloutPhase.PROGRESSING) -> set[str]:
    """The sessions that have the new version in that state."""
    made.state = RolloutState(0.0, phase, step)
    return {name for name in NAMES if made.share(name, "").new}


def test_the_share_of_sessions_is_the_weight() -> None:
    assert 140 <= len(at(running())) <= 260
    assert 900 <= len(at(running(), step=1)) <= 1_100


def test_requests_without_a_session_are_drawn_by_their_ids() -> None:
    made = running()
    shares = [made.share(None, f"{number}") for number in range(2_000)]
    assert 140 <= sum(share.new for share in shares) <= 260
    assert {share.session for share in shares} == {NO_SESSION}
    assert made.sessions == 0


def test_sessions_stay_until_all_go_to_the_new_version() -> None:
    made = running()
    first = at(made)
    assert at(made, 1) == first
    assert at(made, 1, RolloutPhase.COMPLETED) == set(NAMES)


def test_sessions_that_were_there_before_stay_with_the_old_version_until_then() -> None:
    made = running()
    assert at(made, phase=RolloutPhase.WAITING) == set()
    assert at(made, step=1) == set()
    assert made.share("another", "").version in (OLD, NEW)


def test_sessions_that_follow_move_with_the_weight_one_way() -> None:
    made = running(canary(sessions="follow"))
    first, second = at(made), at(made, 1)
    assert first < second < set(NAMES)


def test_after_a_rollback_all_sessions_are_with_the_old_version() -> None:
    made = running()
    moved = at(made)
    assert moved
    assert at(made, phase=RolloutPhase.ROLLED_BACK) == set()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=60),
    st.sampled_from([RolloutPhase.COMPLETED, RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED]),
)
def test_a_session_changes_its_version_at_most_once(asked: list[tuple[int, int]], end: RolloutPhase) -> None:
    """Steps only go up, sessions ask whenever they like, and it may end in any way at any time."""
    steps = tuple(RolloutStep(weight, seconds=1.0) for weight in (0.0, 0.05, 0.3, 0.6, 0.9))
    made = running(canary(steps=steps))
    seen: dict[int, list[bool]] = {}
    for step, session in sorted(asked, key=lambda each: each[0]):
        made.state = RolloutState(0.0, RolloutPhase.PROGRESSING, step)
        seen.setdefault(session, []).append(made.share(f"{session}", "").new)
    made.state = RolloutState(0.0, end, 4)
    for session, versions in seen.items():
        versions.append(made.share(f"{session}", "").new)
        assert versions[-1] == (end is RolloutPhase.COMPLETED)
        assert sum(before != after for before, after in pairwise(versions)) <= 1


def test_the_draws_of_two_rollouts_have_nothing_to_do_with_each_other() -> None:
    first, second = salt_of("default/a", ""), salt_of("default/b", "")
    both = sum(draw(first, name.encode()) < 0.5 and draw(second, name.encode()) < 0.5 for name in NAMES)
    assert 420 <= both <= 580
    assert salt_of("default/a", "") != salt_of("default/", "a")


def test_sessions_are_remembered_up_to_a_limit() -> None:
    sessions = RolloutSessions(limit=10)
    for number in range(100):
        sessions.is_new(number, lambda: True, stays=True)
    assert len(sessions) == 10
    assert sessions.is_new(99, lambda: False, stays=True)
    assert not sessions.is_new(1, lambda: False, stays=True)


def test_a_session_counts_once_for_each_version() -> None:
    made = running()
    share = made.share("one", "")
    for _ in range(5):
        made.observe(share, FINE)
    made.observe(replace(share, new=not share.new), FINE)
    assert made.test.requests == {"old": 1, "new": 1}


def test_each_request_counts_where_that_is_wanted_or_there_is_no_session() -> None:
    every = running(canary(test=RolloutTest(every_request=True)))
    for _ in range(5):
        every.observe(every.share("one", ""), FINE)
    single = running()
    for number in range(5):
        single.observe(single.share(None, str(number)), FINE)
    assert sum(every.test.requests.values()) == sum(single.test.requests.values()) == 5


def test_what_had_no_choice_does_not_count_in_a_canary() -> None:
    made = running(canary(steps=(RolloutStep(0.0, seconds=1.0), RolloutStep(0.5, seconds=1.0))))
    made.observe(made.share("early", ""), FINE)
    made.state = RolloutState(0.0, RolloutPhase.PROGRESSING, 1)
    made.observe(made.share("early", ""), FINE)
    assert made.test.requests == {"old": 0, "new": 0}


def test_before_and_after_a_switch_count() -> None:
    made = running(BLUE_GREEN)
    made.observe(made.share("early", ""), FINE)
    made.state = RolloutState(0.0, RolloutPhase.PROGRESSING, 1)
    made.observe(made.share("early", ""), FINE)
    assert made.test.requests == {"old": 1, "new": 1}


def test_a_request_that_had_the_other_version_says_nothing_of_it() -> None:
    made = running()
    share = made.share("one", "")
    other = made.other(share)
    assert other.new != share.new
    made.observe(other, RequestResult(True))
    made.observe(share, None)
    assert made.test.requests == {"old": 0, "new": 0}


def test_its_steps_may_change_under_way_and_another_version_is_another_rollout() -> None:
    made = running(step=1)
    assert made.follow(canary(steps=(*CANARY.steps, RolloutStep(0.9, seconds=5.0))))
    assert made.state.step == 1
    assert not made.follow(canary(revision="2"))
    assert not made.follow(canary(new=Version(labels={"version": "v3"})))
    assert not made.follow(canary(steps=CANARY.steps[:1]))


def test_an_alarm_ends_it() -> None:
    made, rng = running(step=1), random.Random(1)
    for number in range(2_000):
        share = made.share(None, str(number))
        made.observe(share, RequestResult(share.new and rng.uniform(0, 1) < 0.5, 0.1))
    assert made.advance(1.0)
    assert made.state.phase is RolloutPhase.ROLLED_BACK
    assert not made.advance(2.0)
