"""The reference's flow control of one pool: what goes when, whose time is over, and what is taken back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings, PoolSnapshot
from picker.flow.reference.flow_settings import BandSettings, FairnessChoice, ReferenceFlowSettings
from picker.flow.reference.program_aware import ProgramAware
from picker.flow.reference.queue_outcomes import QueueOutcome
from picker.flow.reference.reference_flow import ReferenceFlow
from picker.flow.reference.revocation import InFlight, Victims
from picker.flow.reference.usage_limits import PriorityHoldback, SoftReflectiveChoice
from picker.flow.reference.wait_budgets import WaitBudget
from tests.fakes.pools import FakePool
from tests.picker.flow.reference.held import held

TEN = PoolSettings(saturation=SaturationSettings(SaturationKind.REQUESTS, max_in_flight_requests=10))
USUAL = WaitBudget(60.0, 60.0)


def pool(in_flight: float, size: int = 1) -> PoolSnapshot:
    """A pool of endpoints for ten requests each, which has so many in flight in all."""
    return FakePool(size, in_flight_requests=[in_flight / size] * size, settings=TEN).snapshot()


EMPTY = FakePool(0, settings=TEN).snapshot()


def flow(settings: ReferenceFlowSettings | None = None) -> ReferenceFlow:
    return ReferenceFlow(settings or ReferenceFlowSettings(), 0.5)


def gone(each: ReferenceFlow, snapshot: PoolSnapshot, turns: int = 9, now: float = 0.0) -> list[int]:
    found = (each.turn(snapshot, now) for _ in range(turns))
    return [waiting.number for waiting in found if waiting is not None]


def test_a_turn_lets_one_go_until_the_pool_is_full() -> None:
    each = flow()
    for number in range(3):
        assert each.enter(held(number), USUAL, 0.0) is None
    first = each.turn(pool(9), 0.0)
    assert first is not None
    assert (first.number, len(each.queue)) == (0, 2)
    assert each.turn(pool(10), 0.0) is None
    assert gone(each, pool(9)) == [1, 2]


def test_higher_bands_go_first_and_no_lower_one_passes_a_band_that_is_held_back() -> None:
    each = flow(ReferenceFlowSettings(ceilings=PriorityHoldback(0.5), bands={10: BandSettings(), -10: BandSettings()}))
    for number, priority in enumerate((-10, 0, 10)):
        each.enter(held(number, priority=priority), USUAL, 0.0)
    assert gone(each, pool(4)) == [2, 1, 0]
    for number, priority in enumerate((-10, 0, 10)):
        each.enter(held(number, priority=priority), USUAL, 0.0)
    # Ceilings are 1, 0.75 and 0.5.
    assert gone(each, pool(5)) == [2, 1]
    assert gone(each, pool(4)) == [0]


def test_a_band_in_which_nothing_waits_holds_lower_ones_back_by_its_ceiling() -> None:
    each = flow(
        ReferenceFlowSettings(
            ceilings=PriorityHoldback(domain="explicit", ceilings={5: 0.2, 0: 1.0}), bands={5: BandSettings()}
        )
    )
    each.enter(held(1), USUAL, 0.0)
    assert gone(each, pool(2)) == []
    assert gone(each, pool(1)) == [1]


def test_ceilings_that_count_turns_are_asked_once_a_turn() -> None:
    each = flow(ReferenceFlowSettings(ceilings=SoftReflectiveChoice()))
    for number in range(6):
        each.enter(held(number, priority=-1), USUAL, 0.0)
    # At 0.75 one turn of three is theirs.
    assert [each.turn(pool(7.5), 0.0) is not None for _ in range(6)] == [False, False, True, False, False, True]


def test_flows_take_turns_in_their_band_where_it_says_so() -> None:
    each = flow(ReferenceFlowSettings(default_band=BandSettings(fairness=FairnessChoice("rr", "round-robin"))))
    for number, name in enumerate("aaab"):
        each.enter(held(number, name), USUAL, 0.0)
    assert gone(each, pool(0)) == [0, 3, 1, 2]


@pytest.mark.parametrize(
    ("settings", "snapshot", "expected"),
    [
        (ReferenceFlowSettings(max_requests=2), pool(10), QueueOutcome.REJECTED_CAPACITY),
        (ReferenceFlowSettings(max_bytes=250), pool(10), QueueOutcome.REJECTED_CAPACITY),
        (ReferenceFlowSettings(default_band=BandSettings(max_requests=2)), pool(10), QueueOutcome.REJECTED_CAPACITY),
        (ReferenceFlowSettings(default_band=BandSettings(max_bytes=250)), pool(10), QueueOutcome.REJECTED_CAPACITY),
        (ReferenceFlowSettings(max_requests=2), EMPTY, QueueOutcome.REJECTED_NO_ENDPOINTS),
        (ReferenceFlowSettings(bands={5: BandSettings(max_requests=2)}), pool(10), None),
    ],
)
def test_what_finds_no_room_does_not_wait(
    settings: ReferenceFlowSettings, snapshot: PoolSnapshot, expected: QueueOutcome | None
) -> None:
    each = flow(settings)
    each.turn(snapshot, 0.0)
    assert [each.enter(held(number), USUAL, 0.0) for number in range(3)] == [None, None, expected]
    assert len(each.queue) == (3 if expected is None else 2)
    each.left(0, 0.0)
    assert each.enter(held(9), USUAL, 0.0) is None


def test_time_is_over_at_the_first_look_after_it() -> None:
    each = flow()
    each.enter(held(1), WaitBudget(5.0, 99.0), 0.0)
    each.enter(held(2), WaitBudget(math.inf, 99.0), 0.0)
    assert not each.swept(pool(10), 4.9)
    assert not each.swept(pool(10), 5.8), "it is looked once a second"
    ((waiting, outcome),) = each.swept(pool(10), 6.0)
    assert (waiting.number, outcome) == (1, QueueOutcome.EVICTED_TTL)
    assert each.left(1, 6.0) is None
    assert not each.swept(pool(10), 9999.0)


def test_an_empty_pool_has_a_budget_of_its_own_which_begins_anew_when_that_changes() -> None:
    each = flow()
    each.turn(EMPTY, 0.0)
    each.enter(held(1), WaitBudget(10.0, 100.0), 0.0)
    assert not each.swept(EMPTY, 50.0)
    assert not each.swept(pool(10), 90.0)
    assert not each.swept(pool(10), 99.0)
    ((_, outcome),) = each.swept(pool(10), 100.0)
    assert outcome is QueueOutcome.EVICTED_TTL
    each.enter(held(2, at=100.0), WaitBudget(10.0, 20.0), 100.0)
    each.swept(EMPTY, 109.0)
    assert not each.swept(EMPTY, 121.9)
    ((_, outcome),) = each.swept(EMPTY, 123.0)
    assert outcome is QueueOutcome.EVICTED_NO_ENDPOINTS, "however often it changes, the longer budget bounds all"


def test_nothing_goes_to_an_empty_pool() -> None:
    each = flow()
    each.enter(held(1), USUAL, 0.0)
    assert gone(each, EMPTY) == []
    assert each.turn(None, 0.0) is None
    assert gone(each, pool(0)) == [1]


def test_a_client_that_leaves_takes_its_request_along_and_its_flow_goes_on() -> None:
    each = flow()
    for number in range(3):
        each.enter(held(number), USUAL, 0.0)
    left = each.left(0, 0.0)
    assert left is not None
    assert left.number == 0
    assert gone(each, pool(0)) == [1, 2]


def test_at_the_end_nothing_waits() -> None:
    each = flow()
    for number in range(3):
        each.enter(held(number, "abc"[number]), USUAL, 0.0)
    assert {waiting.number for waiting in each.close(1.0)} == {0, 1, 2}
    assert len(each.queue) == 0
    assert gone(each, pool(0)) == []


def test_tokens_of_answers_reach_fairness_by_service() -> None:
    choice = FairnessChoice("las", "program-aware")
    each = flow(ReferenceFlowSettings(default_band=BandSettings(fairness=choice)))
    for number, name in enumerate("aab"):
        each.enter(held(number, name), USUAL, 0.0)
    first = each.turn(pool(0), 0.0)
    assert first is not None
    each.ended(first, (100.0, 50.0), 1.0)
    assert gone(each, pool(0), now=1.0) == [2, 1]
    (programs,) = each.bands.programs
    assert isinstance(programs, ProgramAware)
    assert programs.programs["a"].in_flight == 1


RUNNING = [InFlight(100 + number, -1, float(number)) for number in range(10)]


def test_sheddable_requests_are_taken_back_for_a_band_that_is_held_back() -> None:
    each = flow(ReferenceFlowSettings(evicting=Victims()))
    each.enter(held(1), USUAL, 0.0)
    assert not each.evicted(RUNNING, 0.0), "no turn has held anything back"
    each.turn(pool(10), 0.0)
    (victim,) = each.evicted(RUNNING, 0.0)
    assert victim.number == 109
    assert not each.evicted(RUNNING, 0.1)
    each.ended(held(109, priority=-1), None, 0.2)
    assert not each.evicted(RUNNING[:-1], 0.3), "the pool does not show it yet"
    assert each.reclamation.confirmations.count == 1
    assert gone(each, pool(9)) == [1]
    assert not each.evicted(RUNNING[:-1], 9.0)


@pytest.mark.parametrize(
    ("settings", "priority", "in_flight"),
    [
        (ReferenceFlowSettings(), 0, RUNNING),
        (ReferenceFlowSettings(evicting=Victims()), -1, RUNNING),
        (ReferenceFlowSettings(evicting=Victims()), 0, [InFlight(1, 0, 0.0)]),
        (ReferenceFlowSettings(evicting=Victims()), 0, []),
    ],
)
def test_nothing_is_taken_back_without_a_reason(
    settings: ReferenceFlowSettings, priority: int, in_flight: list[InFlight]
) -> None:
    each = flow(settings)
    each.enter(held(1, priority=priority), USUAL, 0.0)
    each.turn(pool(10), 0.0)
    assert not each.evicted(in_flight, 0.0)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["enter", "turn", "leave", "sweep", "empty"]), st.integers(-1, 1), st.sampled_from("ab")),
    max_size=40,
)


@given(EVENTS, st.sampled_from(["global-strict", "round-robin", "program-aware"]))
def test_whatever_happens_every_request_ends_once(events: list[tuple[str, int, str]], kind: str) -> None:
    choice = FairnessChoice("f", "round-robin" if kind == "round-robin" else "program-aware")
    band = BandSettings() if kind == "global-strict" else BandSettings(max_requests=3, fairness=choice)
    each = flow(ReferenceFlowSettings(max_requests=6, default_band=band))
    waiting, ended, snapshot = set[int](), list[int](), pool(5)
    for second, (event, priority, name) in enumerate(events):
        now = second * 9.0
        match event:
            case "enter":
                if each.enter(held(second, name, now, priority=priority), WaitBudget(30.0, 50.0), now) is None:
                    waiting.add(second)
                else:
                    ended.append(second)
            case "turn":
                found = each.turn(snapshot, now)
                assert (found is None) == (not waiting or snapshot is EMPTY)
                ended += [] if found is None else [found.number]
            case "leave" if waiting:
                number = min(waiting)
                assert each.left(number, now) is not None
                assert each.left(number, now) is None
                ended.append(number)
            case "sweep":
                ended += [late.number for late, _ in each.swept(snapshot, now)]
            case _:
                snapshot = EMPTY if snapshot is not EMPTY else pool(5)
        waiting -= set(ended)
        assert len(each.queue) == len(waiting)
    ended += [left.number for left in each.close(1e9)]
    assert sorted(ended) == sorted(set(ended))
    assert set(ended) == {second for second, (event, _, _) in enumerate(events) if event == "enter"}
