"""Scraping in other processes: the same samples, failures and health as here, and none is lost when one dies."""

import asyncio
import logging
import math
import os
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import EndpointKey
from infscale.metrics.gauges import EngineGauges
from infscale.metrics.pages.dialects import DIALECTS, VLLM
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames
from infscale.metrics.sample import EngineSample, Histogram, LoraState, ModelLoad
from infscale.periodic import ScrapeHealth, hash_fraction
from infscale.scrape.pipe import Found, FoundReader, FoundWriter, Frames, Setup, ordered, read_order, shares
from infscale.scrape.pool import ScrapePool
from infscale.scrape.processes import ScrapeProcesses, processes_for
from infscale.scrape.target import Target
from infscale.scrape.tls_trust import PageCertificates
from tests.fakes.counts import counters_of, counts_of
from tests.fakes.samples import engine_sample
from tests.scrape.pages import vllm_page
from tests.scrape.servers import RecordingSink, http_server

A, B, C = (EndpointKey("default", name) for name in "abc")
PAGE = vllm_page(filler=1)


@pytest.fixture
async def authority() -> AsyncIterator[str]:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=PAGE)

    async with http_server(page) as authority:
        yield authority


def target(key: EndpointKey, authority: str, interval: float = 0.05) -> Target:
    return Target(key, f"http://{authority}/metrics", VLLM, interval, interval * 0.9)


@asynccontextmanager
async def scraping(sink: RecordingSink, count: int | Literal["auto"]) -> AsyncGenerator[ScrapeProcesses]:
    here = ScrapePool(sink, asyncio.get_running_loop().time, random.Random(1))
    setup = Setup(1 << 20, "info", "text")
    async with ScrapeProcesses(here, sink, setup, random.Random(1), count) as scrapes:
        yield scrapes


def scraped(sink: RecordingSink, *keys: EndpointKey, times: int = 1) -> Callable[[], bool]:
    return lambda: all([key for key, _, _ in sink.samples].count(each) >= times for each in keys)


def children() -> set[int]:
    """The processes that scrape for this one."""
    found = set[int]()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = status.read_text().rpartition(") ")[2].split()
            command = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(after[1]) == os.getpid() and after[0] != "Z" and "infscale.scrape.worker" in command:
            found.add(int(status.parent.name))
    return found


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_samples_and_health_are_the_same_wherever_they_come_from(authority: str, count: int) -> None:
    sink, there = RecordingSink(), RecordingSink()
    async with scraping(there, 0) as local:
        local.sync([target(A, authority)])
        await there.until(scraped(there, A))
    async with scraping(sink, count) as scrapes:
        scrapes.sync([target(key, authority) for key in (A, B, C)])
        assert await asyncio.to_thread(children) == set() or count
        await sink.until(scraped(sink, A, B, C, times=3))
        assert len(await asyncio.to_thread(children)) == count
        health = scrapes.health()
    assert health.keys() == {A, B, C}
    assert all(each.cause is None and each.page_bytes == len(PAGE) and each.scrapes >= 3 for each in health.values())
    one, same = sink.samples[0][1], there.samples[0][1]
    assert (one.gauges, one.models, one.fingerprint) == (same.gauges, same.models, same.fingerprint)
    assert one.counts.layout == same.counts.layout
    assert one.counts.row.tolist() == same.counts.row.tolist()
    assert len(one.counts.histograms) == 4
    assert await asyncio.to_thread(children) == set(), "they end with the block"


async def test_a_process_that_is_no_longer_wanted_when_it_has_started_is_ended(
    authority: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = asyncio.create_subprocess_exec, asyncio.Event()

    async def slowly(*arguments: Any, **settings: Any) -> asyncio.subprocess.Process:
        process = await start(*arguments, **settings)
        begun.set()
        await asyncio.sleep(0.05)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)
    async with scraping(RecordingSink(), 1) as scrapes:
        scrapes.sync([target(A, authority)])
        await begun.wait()
    assert await asyncio.to_thread(children) == set()


async def test_times_are_those_of_this_process_clock(authority: str) -> None:
    sink, clock = RecordingSink(), asyncio.get_running_loop().time
    async with scraping(sink, 1) as scrapes:
        before = clock()
        scrapes.sync([target(A, authority)])
        await sink.until(scraped(sink, A))
        assert before <= sink.samples[0][2] <= clock()


async def test_targets_come_and_go(authority: str) -> None:
    sink = RecordingSink()
    async with scraping(sink, 1) as scrapes:
        scrapes.sync([target(A, authority)])
        await sink.until(scraped(sink, A))
        scrapes.sync([target(B, authority)])
        # The process stops with A before it begins with B, and tells of both in order.
        await sink.until(scraped(sink, B))
        sink.samples.clear()
        await sink.until(scraped(sink, B, times=3))
        assert {key for key, _, _ in sink.samples} == {B}
        assert scrapes.health().keys() == {B}


async def test_a_failure_comes_with_its_cause() -> None:
    sink = RecordingSink()
    async with scraping(sink, 1) as scrapes:
        scrapes.sync([target(A, "127.0.0.1:1")])
        await sink.until(lambda: bool(sink.failures))
        assert sink.failures[0][:2] == (A, "connection refused")
        assert scrapes.health()[A].cause == "connection refused"


async def test_a_process_that_dies_is_said_and_replaced(authority: str, caplog: pytest.LogCaptureFixture) -> None:
    sink = RecordingSink()
    with caplog.at_level(logging.ERROR):
        async with scraping(sink, 1) as scrapes:
            scrapes.sync([target(A, authority)])
            await sink.until(scraped(sink, A))
            [pid] = await asyncio.to_thread(children)
            os.kill(pid, signal.SIGKILL)
            await sink.until(lambda: bool(sink.failures))
            assert sink.failures[0][:2] == (A, "the process that scrapes it ended (exit -9)")
            sink.samples.clear()
            await sink.until(scraped(sink, A))
    assert caplog.text.count("is started again") == 1


async def test_a_process_that_hangs_is_replaced_and_what_it_scraped_goes_on(
    authority: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = RecordingSink()
    with caplog.at_level(logging.ERROR):
        async with scraping(sink, 2) as scrapes:
            scrapes.sync([target(EndpointKey("default", f"{each}"), authority, 0.2) for each in range(8)])
            await sink.until(lambda: len({key for key, _, _ in sink.samples}) == 8)
            stopped, *_ = await asyncio.to_thread(children)
            os.kill(stopped, signal.SIGSTOP)
            cause = "the process that scrapes it hung"
            await sink.until(lambda: any(each == cause for _, each, _ in sink.failures))
            hung = {key for key, each, _ in sink.failures if each == cause}
            assert 0 < len(hung) < 8, "the other process is not concerned"
            sink.samples.clear()
            await sink.until(scraped(sink, *hung))
            assert stopped not in await asyncio.to_thread(children)
            assert scrapes.stats.replaced == {"ended": 0, "hung": 1, "failed": 0}
    assert caplog.text.count("is started again: the process that scrapes it hung") == 1


async def test_a_fault_in_taking_in_a_sample_is_its_endpoints_failure_alone(
    authority: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As where pages are scraped in the process itself: nothing that one page provokes ends the others."""
    sink = RecordingSink()
    record = sink.record_scrape

    def faulty(key: EndpointKey, sample: EngineSample, at: float) -> None:
        if key == A:
            raise KeyError("secret")
        record(key, sample, at)

    sink.record_scrape = faulty  # type: ignore[method-assign] # a sink with a bug
    async with scraping(sink, 1) as scrapes:
        scrapes.sync([target(A, authority), target(B, authority)])
        await sink.until(lambda: len(sink.failures) > 2)
        process = await asyncio.to_thread(children)
        await sink.until(scraped(sink, B, times=6))
        assert await asyncio.to_thread(children) == process
        assert scrapes.stats.replaced == {"ended": 0, "hung": 0, "failed": 0}
        assert scrapes.stats.faults == len(sink.failures)
    assert {key for key, _, _ in sink.failures} == {A}
    assert caplog.text.count("internal error in taking in what was scraped (KeyError") == 1, "it is said once"
    assert "secret" not in caplog.text


async def test_few_targets_need_no_process_and_many_do(authority: str) -> None:
    """Which they are is looked at whenever targets change; nothing is scraped twice."""
    sink = RecordingSink()
    async with scraping(sink, "auto") as scrapes:
        scrapes.sync([])
        assert await asyncio.to_thread(children) == set()
        scrapes.sync([target(A, authority)])
        await sink.until(scraped(sink, A))
        scrapes.sync([target(EndpointKey("default", f"many-{each}"), authority, 0.1) for each in range(11)])
        await sink.until(scraped(sink, EndpointKey("default", "many-3")))
        assert len(await asyncio.to_thread(children)) == 1
        scrapes.sync([target(B, authority)])
        await sink.until(scraped(sink, B))
        assert scrapes.health().keys() == {B}


@pytest.mark.parametrize(
    ("count", "interval", "cores", "expected"),
    [(0, 0.5, 2, 0), (1, 15.0, 2, 1), (51, 0.5, 2, 1), (51, 0.5, 1, 1), (1000, 0.5, 16, 3), (1000, 0.5, 2, 1)],
)
def test_processes_are_as_many_as_the_scrapes_ask_for(count: int, interval: float, cores: int, expected: int) -> None:
    targets = [target(EndpointKey("default", str(each)), "127.0.0.1:1", interval) for each in range(count)]
    assert processes_for(targets, cores) == expected


@pytest.mark.parametrize("dialect", [None, *DIALECTS.values()])
def test_a_target_arrives_as_it_was_sent(dialect: object) -> None:
    sent = Target(A, "http://127.0.0.1:1/metrics", dialect, 0.5, 0.4)  # type: ignore[arg-type] # a table of dialects
    received = sent_on(sent)
    assert received == sent
    # Of the table, the object itself: comparing a thousand targets with those before looks into none.
    assert received.dialect is sent.dialect


def sent_on(*targets: Target) -> Target:
    taken: list[list[Target]] = []
    Frames(read_order, taken.append).feed(ordered(targets))
    return taken[0][0]


def test_a_dialect_of_ones_own_arrives_as_it_was_sent() -> None:
    queue = NOT_GIVEN._replace(waiting='own_queue{state="waiting"}')
    own = EngineNames("own", "vllm", queue, histograms={"queue_time": "own_wait"})
    sent = Target(A, "https://127.0.0.1:1/m", None, 0.5, 0.4, (own.dialect(), VLLM), verify_tls=False)
    sent = replace(sent, certificates=PageCertificates(Path("ca"), (Path("c"), Path("k"))))
    received = sent_on(sent)
    assert received == sent
    assert received.candidates[0].names == sent.candidates[0].names


numbers = st.none() | st.floats(allow_nan=False)
samples = st.builds(
    EngineSample,
    st.builds(EngineGauges, *[numbers for _ in EngineGauges._fields]),
    st.dictionaries(st.text(), st.builds(ModelLoad, numbers, numbers, numbers), max_size=3),
    st.sampled_from(
        [None, LoraState(frozenset({"a", "b"}), frozenset(), 4), LoraState(frozenset(), frozenset(), None)]
    ),
    st.none() | st.integers(0, 2**40),
    st.none() | st.integers(0, 2**40),
    st.builds(
        counts_of,
        st.dictionaries(
            st.tuples(st.sampled_from(["queue_time", "time_to_first_token"]), st.sampled_from("ab") | st.text()),
            st.lists(st.floats(0, 1e9), min_size=2, max_size=2).map(
                lambda counts: Histogram((0.5, math.inf), np.array(counts), sum(counts))
            ),
            max_size=2,
        ),
        st.dictionaries(st.tuples(st.just("prompt_tokens"), st.text()), st.floats(0, 1e12), max_size=2),
    ),
    st.integers(0, 2**64 - 1),
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=2),
)
health = st.builds(ScrapeHealth, st.text(), numbers, numbers, numbers, st.none() | st.integers(0, 2**40))
keys_ = st.builds(EndpointKey, st.text(), st.text(), st.integers(0, 7))
findings = st.builds(Found, keys_, samples | st.text(), st.floats(0, 1e9), health)


def shown(found: Found) -> tuple[object, ...]:
    """A finding as values that can be compared."""
    result = found.result
    if isinstance(result, str):
        return found.key, result, found.at, found.health
    rest = (getattr(result, each.name) for each in fields(result) if each.name != "counts")
    return found.key, found.at, found.health, result.counts.layout, result.counts.row.tolist(), *rest


@given(st.lists(findings, max_size=6), st.lists(st.integers(1, 500)))
def test_what_is_found_arrives_whole_and_in_order_however_it_is_cut(sent: list[Found], cuts: list[int]) -> None:
    taken: list[Found] = []
    frames = Frames(FoundReader().read, taken.append)
    data = b"".join(map(FoundWriter().written, sent))
    for size in cuts:
        frames.feed(data[:size])
        data = data[size:]
    frames.feed(data)
    assert list(map(shown, taken)) == list(map(shown, sent))
    assert all(not each.result.counts.row.flags.writeable for each in taken if isinstance(each.result, EngineSample))


def test_a_large_message_is_put_together_in_one_pass() -> None:
    """Five thousand pieces of 16 MiB: copied with each of them, it would be forty gigabytes."""
    cause = "x" * (16 << 20)
    message = FoundWriter().written(Found(A, cause, 0.0, ScrapeHealth()))
    taken = list[Found]()
    frames = Frames(FoundReader().read, taken.append)
    for start in range(0, len(message), 3333):
        frames.feed(message[start : start + 3333])
    frames.feed(FoundWriter().written(Found(B, "behind it", 0.0, ScrapeHealth())))
    assert [(each.key, each.result) for each in taken] == [(A, cause), (B, "behind it")]


def test_layouts_without_end_are_forgotten_and_said_again() -> None:
    """A server that names another model on every page must not fill the memory of either end."""
    writer, taken = FoundWriter(), list[Found]()
    frames = Frames(FoundReader().read, taken.append)

    def sent(model: str) -> int:
        sample = engine_sample(0.0, 0.0, 0.0, counts=counts_of(counters={("prompt_tokens", model): 1.0}))
        message = writer.written(Found(A, sample, 0.0, ScrapeHealth()))
        frames.feed(message)
        counted = taken[-1].result
        assert isinstance(counted, EngineSample)
        assert counters_of(counted.counts) == {("prompt_tokens", model): 1.0}
        return len(message)

    first, again = sent("m"), sent("m")
    assert again < first, "it is known"
    for number in range(4_000):
        sent(f"{number:0300}")
    assert sent("m") == first, "it was forgotten"
    assert sent("m") == again
    large = "x" * 300_000
    assert sent(large) == sent(large), "it is never remembered"
    assert sent("m") == again


def test_orders_arrive_as_they_were_given() -> None:
    setup, wanted = Setup(1, "info", "text"), [target(A, "127.0.0.1:1")]
    taken: list[object] = []
    Frames(read_order, taken.append).feed(ordered(setup) + ordered(wanted))
    assert taken == [setup, wanted]


@given(st.sets(st.text("ab", min_size=1, max_size=6), max_size=40), st.integers(1, 6))
def test_every_target_is_dealt_to_one_process_and_always_to_the_same(names: set[str], count: int) -> None:
    targets = [target(EndpointKey("default", name), "127.0.0.1:1") for name in sorted(names)]
    dealt = shares(targets, count, hash_fraction)
    assert len(dealt) == count
    assert sorted(each.key.name for share in dealt for each in share) == sorted(names)
    assert shares(targets[::-1], count, hash_fraction) == [share[::-1] for share in dealt]
