"""Steps of a rollout: by time, by requests, and what holds, ends and takes them back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import RolloutTest
from infscale.rollouts.rollout_state import (
    COMMANDS,
    ENDED,
    CommandRefused,
    RolloutPhase,
    RolloutState,
    Seen,
    advanced,
    commanded,
)
from tests.rollouts.made_rollouts import BLUE_GREEN, CANARY, canary

READY = Seen(ready_endpoints=1)


def begun(now: float = 0.0) -> RolloutState:
    return advanced(CANARY, RolloutState(now), READY, now)


def test_it_waits_for_endpoints_of_the_new_version_and_the_old_one_has_all_requests() -> None:
    state = advanced(CANARY, RolloutState(0.0), Seen(), 100.0)
    assert (state.phase, state.weight_ratio(CANARY)) == (RolloutPhase.WAITING, 0.0)
    state = advanced(CANARY, state, READY, 101.0)
    assert (state.phase, state.step, state.weight_ratio(CANARY)) == (RolloutPhase.PROGRESSING, 0, 0.1)


def test_steps_take_their_time_and_their_requests_and_then_it_is_complete() -> None:
    state = begun()
    assert advanced(CANARY, state, READY, 59.0).step == 0
    state = advanced(CANARY, state, Seen(1, requests=30), 60.0)
    assert (state.step, state.weight_ratio(CANARY)) == (1, 0.5)
    assert advanced(CANARY, state, Seen(1, requests=49), 900.0).phase is RolloutPhase.PROGRESSING
    assert advanced(CANARY, state, Seen(1, requests=50), 69.0).phase is RolloutPhase.PROGRESSING
    done = advanced(CANARY, state, Seen(1, requests=50), 70.0)
    assert (done.phase, done.weight_ratio(CANARY)) == (RolloutPhase.COMPLETED, 1.0)
    assert advanced(CANARY, done, Seen(alarm="worse"), 100.0) is done


def test_a_switch_is_one_step_from_nothing_to_everything() -> None:
    state = advanced(BLUE_GREEN, RolloutState(0.0), READY, 0.0)
    assert state.weight_ratio(BLUE_GREEN) == 0.0
    state = advanced(BLUE_GREEN, state, READY, 0.1)
    assert state.weight_ratio(BLUE_GREEN) == 1.0
    assert advanced(BLUE_GREEN, state, READY, 11.0).phase is RolloutPhase.COMPLETED


def test_an_alarm_takes_it_back_at_once_also_while_it_is_held() -> None:
    for state in (begun(), commanded(CANARY, begun(), "hold", 1.0)):
        back = advanced(CANARY, state, Seen(1, alarm="worse: errors"), 2.0)
        assert (back.phase, back.reason) == (RolloutPhase.ROLLED_BACK, "worse: errors")
        assert back.weight_ratio(CANARY) == 0.0


def test_an_alarm_may_hold_it_and_it_can_be_resumed_in_spite_of_it() -> None:
    rollout = canary(test=RolloutTest(on_alarm="hold"))
    seen = Seen(1, alarm="worse")
    held = advanced(rollout, begun(), seen, 1.0)
    assert (held.phase, held.reason, held.weight_ratio(rollout)) == (RolloutPhase.HELD, "worse", 0.1)
    resumed = commanded(rollout, held, "resume", 2.0)
    assert advanced(rollout, resumed, seen, 3.0).phase is RolloutPhase.PROGRESSING


def test_without_a_test_no_alarm_counts() -> None:
    assert advanced(canary(test=None), begun(), Seen(1, alarm="worse"), 1.0).phase is RolloutPhase.PROGRESSING


def test_the_time_it_is_held_is_not_time_of_its_step() -> None:
    state = advanced(CANARY, begun(), READY, 30.0)
    state = commanded(CANARY, state, "hold", 30.0)
    state = advanced(CANARY, state, READY, 500.0)
    state = commanded(CANARY, state, "resume", 500.0)
    assert advanced(CANARY, state, READY, 529.0).step == 0
    assert advanced(CANARY, state, READY, 530.0).step == 1


@pytest.mark.parametrize(
    ("phase", "command", "said"),
    [
        (RolloutPhase.WAITING, "hold", "what is Progressing can be held"),
        (RolloutPhase.HELD, "hold", "what is Progressing can be held"),
        (RolloutPhase.PROGRESSING, "resume", "what is Held can be resumed"),
        (RolloutPhase.ROLLED_BACK, "resume", "another revision begins it anew"),
        (RolloutPhase.COMPLETED, "abort", "it has ended"),
    ],
)
def test_a_command_that_does_not_fit_is_refused_with_what_would(phase: RolloutPhase, command: str, said: str) -> None:
    with pytest.raises(CommandRefused, match=said):
        commanded(CANARY, RolloutState(0.0, phase), next(each for each in COMMANDS if each == command), 1.0)


@pytest.mark.parametrize("phase", [RolloutPhase.WAITING, RolloutPhase.PROGRESSING, RolloutPhase.HELD])
def test_what_has_not_ended_can_be_aborted(phase: RolloutPhase) -> None:
    state = commanded(CANARY, RolloutState(0.0, phase), "abort", 1.0)
    assert (state.phase, state.weight_ratio(CANARY)) == (RolloutPhase.ABORTED, 0.0)


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 50),
        st.integers(0, 2),
        st.integers(0, 30),
        st.sampled_from([None] * 20 + ["worse"]),
        st.sampled_from([None] * 6 + [*COMMANDS]),
    ),
    max_size=40,
)


@given(EVENTS)
def test_weights_rise_until_the_end_and_an_end_is_final(
    events: list[tuple[float, int, int, str | None, str | None]],
) -> None:
    """Whatever happens in whatever order."""
    now, requests, state, weight = 0.0, 0, RolloutState(0.0), 0.0
    for seconds, ready, more, alarm, command in events:
        now, requests, before = now + seconds, requests + more, state
        if command is not None:
            try:
                state = commanded(CANARY, state, next(each for each in COMMANDS if each == command), now)
            except CommandRefused:
                assert state == before
        state = advanced(CANARY, state, Seen(ready, requests, alarm), now)
        if before.phase in ENDED:
            assert state == before
        elif state.phase not in (RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED):
            assert state.weight_ratio(CANARY) >= weight
        weight = state.weight_ratio(CANARY)
        assert state.step < len(CANARY.steps)
