"""What is drawn through a note is what the source gives, and can be drawn again."""

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from picker.explaining.noted_random import NotedRandom, RepeatedRandom

DRAWS: tuple[Callable[[random.Random], object], ...] = (
    lambda rng: rng.random(),
    lambda rng: rng.sample(range(50), 5),
    lambda rng: rng.randrange(1000),
    lambda rng: rng.choice("abc"),
    lambda rng: rng.uniform(1, 3),
    lambda rng: rng.getrandbits(70),
)


@given(st.integers(), st.lists(st.sampled_from(DRAWS), max_size=8))
def test_draws_are_those_of_the_source_and_come_again(
    seed: int, draws: list[Callable[[random.Random], object]]
) -> None:
    noted, plain = NotedRandom(random.Random(seed)), random.Random(seed)
    drawn = [draw(noted) for draw in draws]
    assert drawn == [draw(plain) for draw in draws]
    repeated = RepeatedRandom(noted.drawn, 1)
    assert [draw(repeated) for draw in draws] == drawn


def test_one_that_asks_for_something_else_draws_its_own_and_always_the_same() -> None:
    noted = NotedRandom(random.Random(1))
    noted.random()
    first, second = ([RepeatedRandom(noted.drawn, 7).getrandbits(k) for k in (8, 64)] for _ in range(2))
    assert first == second
    more = RepeatedRandom(noted.drawn, 7)
    assert more.random() == noted.drawn[0]
    assert more.random() != noted.drawn[0]
