"""Fairness among programs: the strategies' scores, the books, and that they stay bounded."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.reference import program_aware
from picker.flow.reference.program_aware import ProgramAware, ProgramSettings, jains_index
from picker.flow.waiting import Waiting
from tests.picker.flow.reference.held import held

TURNS = ProgramSettings(strategy="turn-priority")
CUMULATIVE = ProgramSettings(half_life_seconds=0.0)


def heads(now: float = 0.0, **waits: float) -> Mapping[str, Waiting]:
    """A head for each flow, which has waited so many seconds at `now`."""
    return {flow: held(number, flow, now - wait) for number, (flow, wait) in enumerate(waits.items())}


def turns_taken(fairness: ProgramAware, at: float = 0.0, **turns: int) -> None:
    for flow, count in turns.items():
        for number in range(count):
            fairness.dispatched(held(number, flow, at), at)
            fairness.ended(held(number, flow, at), 0.0, at)


def test_the_least_served_program_goes_first() -> None:
    fairness = ProgramAware(CUMULATIVE)
    fairness.served("a", 100.0, 50.0, 0.0)
    fairness.served("b", 199.0, 0.0, 0.0)
    assert fairness.programs["a"].served_tokens == 200.0, "a token of an answer counts two of a prompt"
    assert fairness.choose(heads(a=0.0, b=0.0), 0.0) == "b"


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        # 0.8 for having been served least, 0.2 for having waited longest; alike in one, each has half of it.
        ({"a": 0.0, "b": 5.0}, "b"),
        ({"a": 5.0, "b": 0.0}, "b"),
        ({"a": 5.0, "b": 5.0}, "b"),
        ({"a": 5.0}, "a"),
    ],
)
def test_service_weighs_more_than_waiting(waits: Mapping[str, float], expected: str) -> None:
    fairness = ProgramAware(CUMULATIVE)
    fairness.served("a", 10.0, 0.0, 0.0)
    assert fairness.choose(heads(9.0, **waits), 9.0) == expected


def test_among_equals_the_longest_wait_and_then_the_first_to_come_goes() -> None:
    fairness = ProgramAware(ProgramSettings())
    assert fairness.choose(heads(9.0, a=1.0, b=2.0), 9.0) == "b"
    assert fairness.choose(heads(9.0, b=2.0, a=2.0), 9.0) == "b"
    assert fairness.choose(heads(9.0, b=2.0001, a=2.0), 9.0) == "b", "waits are compared in whole milliseconds"


def test_weights_are_those_of_the_configuration() -> None:
    fairness = ProgramAware(replace(CUMULATIVE, service_weight=0.1, head_wait_weight=0.9))
    fairness.served("a", 10.0, 0.0, 0.0)
    assert fairness.choose(heads(9.0, a=5.0, b=0.0), 9.0) == "a"


@pytest.mark.parametrize(("seconds", "left"), [(0.0, 200.0), (60.0, 100.0), (120.0, 50.0)])
def test_half_of_the_service_is_forgotten_in_a_half_life(seconds: float, left: float) -> None:
    fairness = ProgramAware(ProgramSettings())
    fairness.served("a", 200.0, 0.0, 0.0)
    fairness.choose(heads(seconds, a=0.0), seconds)
    assert fairness.programs["a"].served_tokens == pytest.approx(left)


@given(st.lists(st.floats(0.0, 500.0), max_size=6))
def test_forgetting_depends_on_time_alone_and_not_on_how_often_it_is_looked_at(looks: list[float]) -> None:
    fairness = ProgramAware(replace(ProgramSettings(), forgotten_after_seconds=0.0))
    fairness.served("a", 800.0, 0.0, 0.0)
    for now in [*sorted(looks), 600.0]:
        fairness.choose(heads(now, a=0.0), now)
    assert fairness.programs["a"].served_tokens == pytest.approx(800.0 * 0.5**10)


def test_service_counts_when_an_answer_ends_and_not_when_its_request_leaves() -> None:
    """What the reference does, and why a newcomer gets nearly all of its first minute there."""
    fairness = ProgramAware(CUMULATIVE)
    for number in range(3):
        fairness.dispatched(held(number, "a"), 0.0)
    assert fairness.choose(heads(a=1.0, b=0.0), 0.0) == "a"
    fairness.ended(held(0, "a"), 9.0, 1.0)
    fairness.served("a", 1.0, 0.0, 1.0)
    assert fairness.choose(heads(a=1.0, b=0.0), 1.0) == "b"


@pytest.mark.parametrize(
    ("turns", "waits", "expected"),
    [
        ({"a": 3, "b": 1}, {"a": 0.0, "b": 0.0}, "a"),
        ({"a": 3, "b": 1}, {"a": 0.0, "b": 39.0}, "a"),
        # Two turns are worth 40 seconds at 0.05 a second.
        ({"a": 3, "b": 1}, {"a": 0.0, "b": 41.0}, "b"),
        ({"a": 3}, {"a": 0.0, "new": 61.0}, "new"),
        ({}, {"a": 1.0, "b": 2.0}, "b"),
    ],
)
def test_the_deepest_program_goes_first_until_another_has_waited_for_it(
    turns: Mapping[str, int], waits: Mapping[str, float], expected: str
) -> None:
    fairness = ProgramAware(TURNS)
    turns_taken(fairness, **turns)
    assert fairness.choose(heads(62.0, **waits), 62.0) == expected


def test_a_program_that_was_idle_for_long_is_a_new_one_for_its_next_turn() -> None:
    fairness = ProgramAware(TURNS)
    turns_taken(fairness, a=5)
    turns_taken(fairness, 100.0, b=2)
    came = heads(121.0, a=0.0, b=0.0)
    assert fairness.choose(came, 121.0) == "b"
    assert fairness.choose(heads(119.0, a=0.0, b=0.0), 300.0) == "a", "a wait in the queue is no idleness"
    turns_taken(fairness, 121.0, a=1)
    assert fairness.choose(heads(122.0, a=0.0, b=0.0), 122.0) == "a"


def test_a_program_with_a_turn_under_way_is_not_idle() -> None:
    fairness = ProgramAware(TURNS)
    turns_taken(fairness, a=5)
    fairness.dispatched(held(9, "a"), 0.0)
    turns_taken(fairness, 999.0, b=2)
    assert fairness.choose(heads(1000.0, a=0.0, b=0.0), 1000.0) == "a"


def test_turns_alone_count_where_waiting_has_no_weight_and_nothing_is_reset() -> None:
    fairness = ProgramAware(replace(TURNS, wait_weight=0.0, inactive_seconds=0.0))
    turns_taken(fairness, a=2)
    assert fairness.choose(heads(9999.0, a=0.0, b=9000.0), 9999.0) == "a"


def test_programs_are_remembered_beyond_their_queues_until_nothing_of_them_ended_for_long() -> None:
    fairness = ProgramAware(ProgramSettings(forgotten_after_seconds=10.0, sweep_seconds=5.0))
    turns_taken(fairness, a=1, b=1)
    fairness.dispatched(held(7, "b"), 0.0)
    fairness.forget("a")
    fairness.choose(heads(4.0, c=0.0), 4.0)
    fairness.choose(heads(8.9, c=0.0), 8.9)
    assert set(fairness.programs) == {"a", "b", "c"}
    fairness.choose(heads(13.0, d=0.0), 13.0)
    assert set(fairness.programs) == {"b", "c", "d"}, "b has a turn under way"


def test_there_are_so_many_programs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_aware, "MOST_PROGRAMS", 3)
    fairness = ProgramAware(ProgramSettings())
    fairness.dispatched(held(0, "busy"), 0.0)
    for number in range(20):
        turns_taken(fairness, number + 1.0, **{f"p{number}": 1})
    assert set(fairness.programs) == {"busy", "p18", "p19"}


@pytest.mark.parametrize(
    ("waits", "expected"), [([], 1.0), ([5.0], 1.0), ([0.0, 0.0], 1.0), ([3.0, 3.0], 1.0), ([4.0, 0.0], 0.5)]
)
def test_jains_index(waits: list[float], expected: float) -> None:
    assert jains_index(waits) == pytest.approx(expected)


def test_the_index_is_of_the_mean_waits_of_programs_that_left() -> None:
    fairness = ProgramAware(ProgramSettings())
    for number, (flow, wait) in enumerate([("a", 1.0), ("a", 3.0), ("b", 6.0)]):
        fairness.dispatched(held(number, flow, 10.0 - wait), 10.0)
    fairness.choose(heads(10.0, c=9.0), 10.0)
    assert fairness.programs["a"].mean_wait_seconds == 2.0
    assert fairness.fairness_index() == pytest.approx(64.0 / (2 * 40.0))


EVENTS = st.lists(st.tuples(st.sampled_from(["leave", "end", "serve", "choose"]), st.sampled_from("abc")), max_size=40)


@given(EVENTS, st.sampled_from(program_aware.STRATEGIES))
def test_whatever_happens_one_of_those_that_wait_is_chosen_and_books_hold(
    events: list[tuple[str, str]], strategy: program_aware.Strategy
) -> None:
    fairness = ProgramAware(ProgramSettings(strategy=strategy))
    under_way: dict[str, int] = dict.fromkeys("abc", 0)
    for second, (event, flow) in enumerate(events):
        now, waiting = float(second * 50), held(second, flow, second * 50.0)
        match event:
            case "leave":
                fairness.dispatched(waiting, now)
                under_way[flow] += 1
            case "end" if under_way[flow]:
                fairness.ended(waiting, 1.0, now)
                under_way[flow] -= 1
            case "serve":
                fairness.served(flow, 10.0, 5.0, now)
            case _:
                assert fairness.choose({flow: waiting, "z": waiting}, now) in {flow, "z"}
        assert {each: program.in_flight for each, program in fairness.programs.items() if program.in_flight} == {
            each: count for each, count in under_way.items() if count
        }
        assert 0.0 < fairness.fairness_index() <= 1.0 + 1e-9
