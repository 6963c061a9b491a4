"""Remembered answers and shared questions, on a clock of the test's own."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.access.cache import ExpiringCache, SharedAnswers
from tests.fakes.kept_memory import without_collections


def test_a_value_is_good_until_its_second() -> None:
    cache = ExpiringCache[str, int](2)
    cache.put("a", 1, 10.0)
    assert cache.get("a", 9.9) == 1
    assert cache.get("a", 10.0) is None
    assert len(cache) == 0


def test_the_one_not_asked_for_longest_goes_first() -> None:
    cache = ExpiringCache[str, int](2)
    cache.put("a", 1, 10.0)
    cache.put("b", 2, 10.0)
    assert cache.get("a", 0.0) == 1
    cache.put("c", 3, 10.0)
    assert [cache.get(key, 0.0) for key in "abc"] == [1, None, 3]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 9)), max_size=60), st.integers(1, 5))
def test_it_never_holds_more_than_it_may(puts: list[tuple[int, float]], capacity: int) -> None:
    cache = ExpiringCache[int, float](capacity)
    for key, until in puts:
        cache.put(key, until, until)
        assert len(cache) <= capacity
        assert cache.get(key, until - 0.1) == until


def test_room_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ExpiringCache[int, int](0)


class Oracle:
    """Answers 1, 2, … when it is let to; counts who asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.fails = False
        self.answers = SharedAnswers[str, int](8, 10.0, lambda: self.now)

    async def ask(self) -> int:
        self.asked += 1
        mine = self.asked
        await self.may_answer.wait()
        if self.fails:
            raise KeyError("no")
        return mine

    async def get(self, key: str = "q", keep: bool = True) -> int:
        return await self.answers.get(key, self.ask, keep=keep)


async def test_an_answer_holds_for_its_lifetime() -> None:
    oracle = Oracle()
    oracle.may_answer.set()
    assert await oracle.get() == 1
    oracle.now = 9.9
    assert await oracle.get() == 1
    assert await oracle.get("other") == 2
    oracle.now = 10.0
    assert await oracle.get() == 3


async def test_equal_questions_at_once_are_one() -> None:
    oracle = Oracle()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(oracle.get(keep=False)) for _ in range(5)]
        await asyncio.sleep(0)
        oracle.may_answer.set()
    assert [task.result() for task in tasks] == [1] * 5
    assert await oracle.get() == 2


async def test_an_error_reaches_all_who_waited_and_is_forgotten() -> None:
    oracle = Oracle()
    oracle.fails = True
    waiting = asyncio.gather(oracle.get(), oracle.get(), return_exceptions=True)
    await asyncio.sleep(0)
    oracle.may_answer.set()
    assert [type(each) for each in await waiting] == [KeyError, KeyError]
    oracle.fails = False
    assert await oracle.get() == 2


async def test_who_waits_asks_when_the_one_who_asked_is_cancelled() -> None:
    oracle = Oracle()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(oracle.get())
        await asyncio.sleep(0)
        second = group.create_task(oracle.get())
        await asyncio.sleep(0)
        first.cancel()
        oracle.may_answer.set()
    assert first.cancelled()
    assert second.result() == 2


async def test_questions_that_failed_keep_nothing() -> None:
    """Eight of them would take 8 MB."""

    async def ask() -> int:
        read = b"x" * 1_000_000
        raise KeyError(len(read))

    answers = SharedAnswers[str, int](8, 10.0, lambda: 0.0)
    with without_collections() as kept_bytes:
        for _ in range(8):
            with pytest.raises(KeyError):
                await answers.get("a", ask)
        assert kept_bytes() < 500_000
