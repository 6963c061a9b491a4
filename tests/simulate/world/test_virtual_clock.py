"""Virtual time: everything in its order, nothing before its time."""

import random

from hypothesis import given
from hypothesis import strategies as st

from infscale.simulate.world.virtual_clock import VirtualClock


@given(st.lists(st.integers(-3, 20), max_size=30))
def test_what_is_due_comes_in_order_of_time_and_of_asking(times: list[int]) -> None:
    clock, seen = VirtualClock(), list[tuple[float, int]]()
    for number, when in enumerate(times):
        clock.at(float(when), lambda each: seen.append((clock.now, each)), number)
    clock.run()
    assert seen == sorted((max(0.0, float(when)), number) for number, when in enumerate(times))
    assert clock.events == len(times)


def test_what_happens_may_ask_for_more_and_end_it() -> None:
    clock, seen = VirtualClock(-1.0), list[float]()
    rng = random.Random(1)

    def happen(left: int) -> None:
        seen.append(clock.time())
        if left:
            clock.after(rng.uniform(0.0, 2.0), happen, left - 1)
        else:
            clock.stop()

    clock.after(0.0, happen, 5)
    clock.at(1000.0, seen.append, 1000.0)
    clock.run()
    assert seen == sorted(seen)
    assert len(seen) == 6
    assert seen[0] == -1.0
