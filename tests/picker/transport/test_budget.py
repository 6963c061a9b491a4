"""One budget for what all exchanges hold: which may grow, which has to wait, which has to go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.transport.budget import Budget, Ending, Holding

BODY = 10_000


class Noted:
    """Holds what it is told to, and notes what it hears."""

    def __init__(self, budget: Budget, *, arriving: bool = True) -> None:
        self.holding = Holding(budget, self, arriving=arriving)
        self.heard: list[str] = []

    def go_on(self) -> None:
        self.heard.append("go on")

    def end(self, why: Ending) -> None:
        self.heard.append(why)
        self.holding.close()

    def grow(self, size: int) -> None:
        self.holding.came_bytes += size
        self.holding.set(self.holding.held_bytes + size)


def full(budget: Budget, count: int, size: int) -> list[Noted]:
    holders = [Noted(budget) for _ in range(count)]
    for each in holders:
        each.grow(size)
    return holders


def test_while_there_is_room_everything_may_grow() -> None:
    budget = Budget(10 * BODY, BODY)
    assert all(budget.may_grow(each.holding) for each in full(budget, 8, BODY))
    assert not budget.tight


def test_beyond_that_the_eldest_alone_may_and_the_next_when_it_has_arrived() -> None:
    budget = Budget(10 * BODY, BODY)
    first, second, *others = full(budget, 9, BODY)
    assert budget.tight
    assert [budget.may_grow(each.holding) for each in (first, second, *others)] == [True] + [False] * 8
    assert budget.relieved() is None
    first.holding.arrived()
    assert budget.relieved() is second.holding, "the eldest of those that still arrive, whatever is held"
    second.holding.close()
    assert budget.relieved() is others[0].holding
    assert budget.relieved() is others[1].holding, "there is room for all of them"


def test_what_made_no_progress_for_longest_goes_where_too_much_is_held() -> None:
    budget = Budget(10 * BODY, BODY)
    holders = full(budget, 11, BODY)
    assert budget.over
    holders[0].grow(1)
    assert budget.victim() is holders[1].holding
    holders[1].end("over budget")
    assert budget.victim() is holders[2].holding
    holders[2].end("over budget")
    assert budget.victim() is None


def test_where_all_hold_little_the_last_to_come_goes() -> None:
    budget = Budget(BODY, 100)
    holders = full(budget, 101, 100)
    assert budget.victim() is holders[-1].holding


@pytest.mark.parametrize(("bytes_a_second", "late"), [(0, True), (1, True), (100, True), (1_000, False)], ids=str)
def test_a_byte_now_and_then_is_no_progress(bytes_a_second: int, late: bool) -> None:
    budget = Budget(10 * BODY, BODY)
    [holder] = full(budget, 1, 5_000)
    named: list[str] = []
    for second in range(40):
        named += [why for _, why in budget.late([holder.holding], float(second), 30.0)]
        holder.grow(bytes_a_second)
    assert bool(named) is late
    assert set(named) <= {"stalled"}


def test_where_others_wait_one_that_may_grow_and_does_not_has_a_tenth_of_the_time() -> None:
    budget = Budget(10 * BODY, BODY)
    first, second, *_ = full(budget, 9, BODY)
    holdings = [first.holding, second.holding]
    assert budget.may_grow(first.holding)
    assert not budget.may_grow(second.holding)
    assert list(budget.late(holdings, 0.0, 30.0)) == []
    assert list(budget.late(holdings, 4.0, 30.0)) == [(first.holding, "stalled")]
    assert list(budget.late(holdings, 30.0, 30.0)) == [(first.holding, "stalled"), (second.holding, "held back")]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["grow", "arrive", "close", "ask"]), st.integers(0, 30_000)))
)
def test_what_is_held_is_the_sum_and_there_is_always_one_that_may_grow(steps: list[tuple[int, str, int]]) -> None:
    budget = Budget(10 * BODY, BODY)
    holders = [Noted(budget) for _ in range(10)]
    for number, step, size in steps:
        holder = holders[number]
        match step:
            case "grow":
                holder.grow(size)
            case "arrive":
                holder.holding.arrived()
            case "close":
                holder.holding.close()
                holders[number] = Noted(budget)
            case _:
                budget.may_grow(holder.holding)
        while (victim := budget.victim()) is not None:
            victim.end("over budget")
        assert budget.held_bytes == sum(each.holding.held_bytes for each in holders) <= budget.limit_bytes
        arriving = [each.holding for each in holders if each.holding.arriving and each.holding.held_bytes >= 4_096]
        assert not arriving or any(budget.may_grow(each) for each in arriving)
    for holder in holders:
        holder.holding.close()
    assert budget.held_bytes == 0
    assert not budget.waited_for
