"""Memory is given back after it was full, however short that was."""

import pytest

from picker.transport.budget import Budget, Ending, Holding
from picker.transport.memory_release import MemoryReturn

MIB = 1 << 20


class Kept:
    """A holder of which nothing is asked."""

    def go_on(self) -> None:
        raise AssertionError("nothing is held back")

    def end(self, why: Ending) -> None:
        raise AssertionError(why)


@pytest.mark.parametrize(
    ("held", "left", "returned"),
    [
        ((30 * MIB,), 0, True),
        ((30 * MIB, 1 * MIB), 1 * MIB, True),
        ((30 * MIB, 10 * MIB), 10 * MIB, False),
        ((10 * MIB,), 0, False),
    ],
)
def test_what_came_and_went_between_two_looks_is_given_back(held: tuple[int, ...], left: int, returned: bool) -> None:
    budget = Budget(256 * MIB, 64 * MIB)
    memory, holding = MemoryReturn(budget), Holding(budget, Kept(), arriving=True)
    for size in (*held, left):
        holding.set(size)
    memory.look()
    assert budget.most_bytes == (left if returned else max(held))
