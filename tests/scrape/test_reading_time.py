"""A page that takes long to read is read more rarely; one that does not never is."""

from contextlib import closing

from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import EndpointKey
from infscale.metrics.pages.dialects import VLLM
from infscale.metrics.pages.interpreter import Interpreter
from infscale.scrape.loop import TargetLoop
from infscale.scrape.reading_time import TOO_LONG, ReadingTime
from infscale.scrape.target import Target
from tests.scrape.servers import RecordingSink, http_server


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def reads(seconds: list[float]) -> list[bool]:
    """Whether each of pages that take so long to read is read."""
    clock = Clock()
    left, found = ReadingTime(clock), list[bool]()
    for each in seconds:
        found.append(left.allows())
        if found[-1]:
            with left:
                clock.now += each
    return found


def test_pages_of_model_servers_are_always_read() -> None:
    """The first of them takes longer: its words are new."""
    assert all(reads([0.1] + [0.005] * 1000))


def test_a_page_that_always_takes_long_is_read_as_often_as_its_time_allows() -> None:
    found = reads([0.08] * 1000)
    assert found[:4] == [True] * 4
    assert 95 <= sum(found) <= 105, "eight milliseconds for each"
    assert reads([10.0] + [0.001] * 2000).count(False) == (10_000 - 250) // 8


@given(st.lists(st.floats(0, 1), max_size=200))
def test_no_page_takes_more_than_its_time_and_one_reading(seconds: list[float]) -> None:
    read = [each for each, was in zip(seconds, reads(seconds), strict=True) if was]
    assert sum(read) <= 0.25 + 0.008 * len(seconds) + max(seconds, default=0.0) + 1e-9


async def test_a_page_whose_words_are_others_each_time_is_its_endpoints_failure() -> None:
    count = 0

    async def page(_: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        lines = [f'vllm:num_requests_waiting{{engine="{row}",n="{count}-{row}"}} 1\n' for row in range(1000)]
        more = [f'vllm:num_requests_running{{engine="{row}",n="{count}-{row}"}} 1\n' for row in range(1000)]
        return web.Response(text="".join(lines + more))

    sink = RecordingSink()
    async with http_server(page) as authority:
        target = Target(EndpointKey("default", "a"), f"http://{authority}/metrics", VLLM)
        with closing(TargetLoop(target, sink, Interpreter, Clock())) as loop:
            for _ in range(300):
                await loop.step(5.0)
                if sink.failures:
                    break
    assert sink.failures[0][1] == TOO_LONG
    assert count < 300
