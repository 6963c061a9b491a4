"""The queue: its order, its budgets, and what becomes of each request that waits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from picker.flow.budgets import Budget
from picker.flow.flow_queue import FlowQueue
from picker.flow.waiting import Waiting

LANES = ("", "lora")


class ByDue:
    def key(self, waiting: Waiting) -> tuple[float, ...]:
        return (waiting.due_at,)


@dataclass
class FirstCome:
    """The flow whose head came first; it checks that it hears of flows as `Fairness` has it."""

    waiting: set[str] = field(default_factory=set[str])
    served: list[int] = field(default_factory=list[int])

    def waits(self, flow: str, now: float) -> None:
        assert flow not in self.waiting
        self.waiting.add(flow)

    def waits_no_more(self, flow: str, now: float) -> None:
        self.waiting.remove(flow)

    def choose(self, heads: Mapping[str, Waiting], now: float) -> str | None:
        assert heads.keys() <= self.waiting
        return min(heads, key=lambda flow: heads[flow].number)

    def dispatched(self, waiting: Waiting, now: float) -> None:
        self.served.append(waiting.number)

    def ended(self, waiting: Waiting, cost_seconds: float, now: float) -> None:
        raise AssertionError("the queue knows of no ends")

    def forget(self, flow: str) -> None:
        raise AssertionError("the queue does not know what runs")


def new_queue(budget: Budget | None = None, band: Budget | None = None) -> FlowQueue:
    return FlowQueue(ByDue(), lambda _: FirstCome(), budget or Budget(), band or Budget())


def waiting(number: int, priority: int = 0, flow: str = "a", due: float = 0.0, expires: float = 1e9) -> Waiting:
    return Waiting(number, priority, flow, 100, 10.0, 0.0, expires, due)


def drained(queue: FlowQueue) -> list[int]:
    turn, order = queue.turn(), list[int]()
    while (each := turn.next(0.0)) is not None:
        turn.left(each, 0.0)
        order.append(each.number)
    return order


def test_a_higher_band_goes_first_and_within_a_flow_what_is_due_first() -> None:
    queue = new_queue()
    for each in (
        waiting(1, -1),
        waiting(2, 0, due=9.0),
        waiting(3, 0, due=5.0),
        waiting(4, 0, "b", due=99.0),
        waiting(5, 10, due=50.0),
        waiting(6, 0, due=5.0),
    ):
        assert queue.add(each, "", 0.0) is None
    # Of flow a the head is 3, which came before 4 of flow b; equals go as they came.
    assert drained(queue) == [5, 3, 4, 6, 2, 1]
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("budget", "band", "fit", "full"),
    [
        pytest.param(Budget(requests=2), Budget(), 2, "all", id="requests in all"),
        pytest.param(Budget(size_bytes=250), Budget(), 2, "all", id="bytes in all"),
        pytest.param(Budget(), Budget(requests=1), 1, "band", id="requests of a band"),
        pytest.param(Budget(requests=1), Budget(size_bytes=100), 1, "band", id="the band's own says first"),
        pytest.param(Budget(requests=0), Budget(), 0, "all", id="none at all"),
    ],
)
def test_a_budget_that_is_spent_refuses_and_says_which(budget: Budget, band: Budget, fit: int, full: str) -> None:
    queue = new_queue(budget, band)
    for number in range(fit):
        assert queue.add(waiting(number), "", 0.0) is None
    assert queue.add(waiting(99), "", 0.0) == full
    assert len(queue) == fit
    if fit:
        queue.removed(0, 0.0)
        assert queue.add(waiting(99), "", 0.0) is None


def test_a_lane_without_room_keeps_its_own_and_lower_bands_back_but_no_other_lane() -> None:
    queue = new_queue()
    for number, priority, lane in ((1, 0, "lora"), (2, 0, ""), (3, -1, "lora"), (4, 0, "lora"), (5, -1, "")):
        queue.add(waiting(number, priority), lane, 0.0)
    turn, went = queue.turn(), list[int]()
    while (each := turn.next(0.0)) is not None:
        if queue.lane(each.number) == "lora":
            turn.blocked(each)
        else:
            turn.left(each, 0.0)
            went.append(each.number)
    assert went == [2, 5]
    assert drained(queue) == [1, 4, 3]


def test_a_lower_band_without_room_keeps_no_higher_one_back() -> None:
    queue = new_queue()
    for number, priority in ((1, -1), (2, 0), (3, -2)):
        queue.add(waiting(number, priority), "", 0.0)
    turn = queue.turn()
    assert queue.waits_in("", 0)
    assert not queue.waits_in("", 1)
    turn.blocked(waiting(1, -1))
    assert turn.next(0.0) == waiting(2)
    turn.left(waiting(2), 0.0)
    assert turn.next(0.0) is None
    assert not queue.waits_in("", 0)


@given(
    come=st.lists(st.tuples(st.sampled_from(LANES), st.sampled_from("ab"), st.integers(0, 9)), max_size=20),
    go=st.sets(st.integers(0, 19)),
    without_room=st.sets(st.integers(0, 19)),
)
def test_what_is_passed_keeps_its_place_and_holds_up_none(
    come: list[tuple[str, str, int]], go: set[int], without_room: set[int]
) -> None:
    def full() -> FlowQueue:
        queue = new_queue()
        for number, (lane, flow, due) in enumerate(come):
            queue.add(waiting(number, flow=flow, due=due), lane, 0.0)
        for number in go:
            queue.removed(number, 0.0)
        return queue

    queue, order = full(), drained(full())
    turn, left = queue.turn(), list[int]()
    while (each := turn.next(0.0)) is not None:
        if each.number in without_room:
            turn.passed(each)
        else:
            turn.left(each, 0.0)
            left.append(each.number)
    for flow in "ab":
        of_flow = [number for number in order if come[number][1] == flow]
        assert [number for number in left if number in of_flow] == [
            number for number in of_flow if number not in without_room
        ]
    assert set(drained(queue)) == set(order) & without_room
    assert not len(queue)


def test_a_request_that_goes_from_the_queue_in_the_middle_of_a_turn_is_passed_over() -> None:
    queue = new_queue()
    for number in range(3):
        queue.add(waiting(number), "", 0.0)
    turn = queue.turn()
    assert turn.next(0.0) == waiting(0)
    queue.removed(0, 0.0)
    queue.removed(1, 0.0)
    assert turn.next(0.0) == waiting(2)


def test_a_number_waits_once() -> None:
    queue = new_queue()
    queue.add(waiting(1), "", 0.0)
    with pytest.raises(ValueError, match="waits already"):
        queue.add(waiting(1, 5), "", 0.0)


class QueueLaws(RuleBasedStateMachine):
    """Any order of arrivals, departures, aborts and expiries: each request ends once, and the sums are right."""

    @initialize(most=st.integers(0, 6), per_band=st.integers(0, 4))
    def begin(self, most: int, per_band: int) -> None:
        self.policies: dict[int, FirstCome] = {}
        self.queue = FlowQueue(
            ByDue(),
            lambda priority: self.policies.setdefault(priority, FirstCome()),
            Budget(most or None, 1_000),
            Budget(per_band or None),
        )
        self.model: dict[int, tuple[Waiting, str]] = {}
        self.outcomes: dict[int, str] = {}
        self.count = 0
        self.now = 0.0

    @rule(
        priority=st.integers(-1, 1),
        flow=st.sampled_from("abc"),
        lane=st.sampled_from(LANES),
        size=st.integers(0, 400),
        patience=st.sampled_from([0.5, 2.0, 9.0, float("inf")]),
        due=st.floats(0, 10),
    )
    def comes(self, priority: int, flow: str, lane: str, size: int, patience: float, due: float) -> None:
        self.count += 1
        each = Waiting(self.count, priority, flow, size, 5.0, self.now, self.now + patience, due)
        if self.queue.add(each, lane, self.now) is None:
            self.model[each.number] = each, lane
        else:
            self._ends(each.number, "refused")

    @rule(blocked=st.sets(st.sampled_from(LANES)), most=st.integers(0, 4))
    def leave(self, blocked: set[str], most: int) -> None:
        turn = self.queue.turn()
        for _ in range(most):
            each = turn.next(self.now)
            while each is not None and self.model[each.number][1] in blocked:
                turn.blocked(each)
                each = turn.next(self.now)
            if each is None:
                # Work conservation: what is left has no room in this turn.
                assert all(lane in blocked for _, lane in self.model.values())
                return
            free = [one for one, lane in self.model.values() if lane not in blocked]
            assert each.priority == max(one.priority for one in free)
            mates = [one for one in free if (one.priority, one.flow) == (each.priority, each.flow)]
            assert (each.due_at, each.number) == min((one.due_at, one.number) for one in mates)
            turn.left(each, self.now)
            del self.model[each.number]
            self._ends(each.number, "left")

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def gives_up(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.count))
        known = self.model.pop(number, None)
        assert self.queue.removed(number, self.now) == (None if known is None else known[0])
        if known is not None:
            self._ends(number, "aborted")

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        late = sorted((each.expires_at, each.number) for each, _ in self.model.values() if each.expires_at <= self.now)
        assert [each.number for each in self.queue.expired(self.now)] == [number for _, number in late]
        for _, number in late:
            del self.model[number]
            self._ends(number, "expired")

    def _ends(self, number: int, how: str) -> None:
        assert number not in self.outcomes
        self.outcomes[number] = how

    @invariant()
    def sums_are_right(self) -> None:
        requests = [each for each, _ in self.model.values()]
        assert len(self.queue) == self.queue.held.requests == len(requests)
        assert self.queue.held.size_bytes == sum(each.size_bytes for each in requests)
        for priority in (-1, 0, 1):
            of_band = [each for each in requests if each.priority == priority]
            assert self.queue.band(priority).requests == len(of_band)
            assert set(self.queue.flow_names(priority)) == {each.flow for each in of_band}
            if priority in self.policies:
                assert self.policies[priority].waiting == {each.flow for each in of_band}
        assert self.queue.next_expiry == min((each.expires_at for each in requests), default=float("inf"))
        assert set(self.outcomes) | set(self.model) == set(range(1, self.count + 1))


TestQueueLaws = QueueLaws.TestCase
TestQueueLaws.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 100)), max_size=60))
def test_of_requests_that_have_gone_nothing_is_left(come: list[tuple[int, float]]) -> None:
    queue = new_queue()
    for number, (flow, due) in enumerate(come):
        queue.add(waiting(number, 0, str(flow), due, expires=due), "", 0.0)
    for number in range(len(come)):
        queue.removed(number, 0.0)
    assert len(queue) == 0
    assert queue.next_expiry == float("inf")
    assert list(queue.flows()) == []


def test_what_is_set_aside_goes_last_or_not_at_all() -> None:
    """Flow a is set aside: what others have goes before it, of lower bands as well."""
    for last, order in ((True, [2, 3, 1]), (False, [2, 3])):
        queue = new_queue()
        for each in (waiting(1, 10, "a"), waiting(2, 10, "b"), waiting(3, 0, "c")):
            queue.add(each, "", 0.0)
        turn, went = queue.turn((), ["a"], last=last), list[int]()
        while (found := turn.next(1.0)) is not None:
            went.append(found.number)
            turn.left(found, 1.0)
        assert went == order
        assert queue.waiting_of("a") == (0 if last else 1)


def test_a_flow_may_be_set_aside_in_the_middle_of_a_turn_and_what_was_passed_stays_so() -> None:
    queue = new_queue()
    for each in (waiting(1, flow="a"), waiting(2, flow="a"), waiting(3, flow="b"), waiting(4, flow="a")):
        queue.add(each, "", 0.0)
    turn = queue.turn()
    first = turn.next(1.0)
    assert first is not None
    turn.left(first, 1.0)
    second = turn.next(1.0)
    assert second is not None
    assert second.number == 2
    turn.passed(second)
    turn.set_aside("a")
    third = turn.next(1.0)
    assert third is not None
    assert third.number == 3
    turn.left(third, 1.0)
    queue.add(waiting(5, flow="a"), "", 1.0)
    fourth = turn.next(1.0)
    assert fourth is not None
    assert fourth.number == 4, "the second has been passed"
