"""Hostile metrics pages: what becomes of their endpoint, and that nothing else feels them."""

import asyncio
import contextlib
import gzip
import itertools
import re
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.hostile.harness import Installed

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]

Page = Callable[[int], bytes]
"""The page of the n-th scrape."""

HUGE = "1.7e308"
LARGE_PAGE_BYTES = 8_000_000


def engine(waiting: object = 1, running: object = 1, more: str = "") -> bytes:
    """A small page of vLLM with these values."""
    return (
        f'vllm:num_requests_waiting{{model_name="m"}} {waiting}\n'
        f'vllm:num_requests_running{{model_name="m"}} {running}\n'
        f'vllm:kv_cache_usage_perc{{model_name="m"}} 0.1\n{more}'
    ).encode()


def counters(value: object) -> str:
    return "".join(
        f'vllm:{name}{{model_name="m"}} {value}\n'
        for name in ("generation_tokens_total", "prompt_tokens_total", "request_success_total", "num_preemptions_total")
    )


def histogram(name: str, counts: Mapping[Any, object], total: object) -> str:
    lines = [f'vllm:{name}_bucket{{le="{bound}",model_name="m"}} {count}\n' for bound, count in counts.items()]
    return "".join(lines) + f'vllm:{name}_sum{{model_name="m"}} {total}\n'


def many_models(start: int, count: int) -> bytes:
    return b"".join(
        b'vllm:num_requests_waiting{model_name="model-%d"} 1\nvllm:num_requests_running{model_name="model-%d"} 1\n'
        % (number, number)
        for number in range(start, start + count)
    )


def cache(block_size: object, blocks: object) -> bytes:
    return engine(more=f'vllm:cache_config_info{{block_size="{block_size}",num_gpu_blocks="{blocks}"}} 1\n')


def loras(count: int) -> bytes:
    names = ",".join(f"lora-{number}" for number in range(count))
    return engine(more=f'vllm:lora_requests_info{{max_lora="4",running_lora_adapters="{names}"}} 1.7e9\n')


def extremes(number: int) -> bytes:
    values = ("NaN", "+Inf", "-Inf", "-1", "1e300", "5e-324", HUGE, "-0.0")
    value, other = values[number % len(values)], values[(number // 2 + 3) % len(values)]
    buckets = {0.3: other, 1: value, "+Inf": other}
    return engine(value, other, counters(value) + histogram("request_queue_time_seconds", buckets, value))


def one_wide_series(_: int) -> bytes:
    labels = ",".join(f'label_{number}="{number}"' for number in range(200_000))
    return engine() + f"vllm:num_requests_swapped{{{labels}}} 1\n".encode() + wide("num_requests_waiting", labels)


def wide(name: str, labels: str) -> bytes:
    return f"vllm:{name}{{{labels}}} 1\n".encode()


# Taken in, or a failure of the endpoint alone: (page of the n-th scrape, cause where it is a failure)
PAGES: Mapping[str, tuple[Page, str]] = {
    "a counter between 0 and 1.7e308": (lambda number: engine(more=counters(HUGE if number % 2 else 0)), ""),
    "1e300 requests wait": (lambda _: engine("1e300"), ""),
    "sums that overflow": (lambda _: engine(HUGE, HUGE), ""),
    "every extreme of a float in turn": (extremes, ""),
    "9,000 models": (lambda _: many_models(0, 4_500) + engine(), ""),
    "other models with each scrape": (lambda number: many_models(number * 400, 400), ""),
    "200,000 labels on a series": (one_wide_series, ""),
    "200,000 LoRA adapters": (lambda _: loras(200_000), ""),
    "a label value of 4 MB": (lambda _: engine() + wide("num_requests_waiting", f'model_name="{"x" * 4_000_000}"'), ""),
    "20,000 ranks": (
        lambda _: b"".join(wide("num_requests_waiting", f'model_name="m",engine="{rank}"') for rank in range(20_000)),
        "",
    ),
    "other buckets with each scrape": (
        lambda number: engine(
            more=histogram("request_queue_time_seconds", {number + place / 2: place for place in range(2_000)}, 5)
        ),
        "",
    ),
    "block sizes that change": (lambda number: cache(1 + number % 7, 10**9), ""),
    "2^62 cache blocks": (lambda _: cache(1, 2**62), ""),
    "another process start time with each scrape": (
        lambda number: engine(more=f"process_start_time_seconds {number}\n" + counters(number % 3)),
        "",
    ),
    "bytes that are not text": (
        lambda _: bytes(range(256)) * 4_000,
        r"no metrics of a known engine|truncated|malformed",
    ),
    "one comment of 8 MB": (lambda _: engine() + b"# HELP x " + b"y" * LARGE_PAGE_BYTES + b"\n", ""),
    "800,000 empty lines": (lambda _: engine() + b"\n" * 800_000, ""),
    "a name cut in a character": (lambda _: b"vllm:num_requests_waiting{\xff\xfe\n", r"malformed|known engine"),
    "an endless label": (lambda _: b'vllm:num_requests_waiting{model_name="' + b"x" * LARGE_PAGE_BYTES, r".+"),
    "exemplars and timestamps": (
        lambda _: engine('3 1e999 # {trace_id="x"} 1 1', "2 -9999999999999999999"),
        "",
    ),
}

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def whole(answer: bytes) -> Answer:
    """A server that sends just these bytes and closes."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return send


def repeated(start: bytes, piece: bytes, pause: float = 0.0, times: int = 1_000_000) -> Answer:
    """A server that sends one piece after another, until the other side has had enough."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        for _ in range(times):
            writer.write(piece)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)

    return send


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_BOMB = gzip.compress(b"# " + b"x" * 200_000_000 + b"\n", 9)
_GZIP = _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"

ANSWERS: Mapping[str, tuple[Answer, str]] = {
    "a page that never ends": (repeated(_CHUNKED, b"10000\r\n" + b"#" * 65_535 + b"\n\r\n"), r"larger than"),
    "one byte every 20 ms": (repeated(_CHUNKED, b"1\r\nx\r\n", pause=0.02), r"timed out"),
    "chunks of one byte": (repeated(_CHUNKED, b"1\r\n#\r\n" * 10_000, times=200), r".+"),
    "headers without end": (repeated(_OK, b"X-Filler: " + b"y" * 4_000 + b"\r\n"), r".+"),
    "a header line without end": (repeated(_OK + b"X: ", b"y" * 65_536), r".+"),
    "a gzip bomb": (whole(_GZIP % len(_BOMB) + _BOMB), r"larger than"),
    "a gzip bomb within a gzip bomb": (whole(_GZIP % 40 + gzip.compress(_BOMB)[:40]), r".+"),
    "a body shorter than its length": (whole(_OK + b"Content-Length: 5000\r\n\r\n" + engine()), r"truncated|closed"),
    "a length below zero": (whole(_OK + b"Content-Length: -5\r\n\r\n" + engine()), r".+"),
    "two lengths": (whole(_OK + b"Content-Length: 5\r\nContent-Length: 900\r\n\r\n" + engine()), r".+"),
    "a redirect": (
        whole(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/latest/meta-data\r\nContent-Length: 0\r\n\r\n"),
        r"HTTP 302",
    ),
    "bytes that are not HTTP": (whole(b"SSH-2.0-OpenSSH_9.6\r\n"), r".+"),
    "an empty answer": (whole(b""), r"closed"),
    "informational answers without end": (repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), r".+"),
    "an answer of another protocol": (whole(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"), r".+"),
    "an encoding that is unknown": (
        whole(_OK + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"),
        r".+",
    ),
}


@dataclass
class Server:
    """A server, its port and how often it was asked."""

    port: int = 0
    asked: int = 0


@contextlib.asynccontextmanager
async def server(answer: Callable[[], Answer]) -> AsyncGenerator[Server, None]:
    """A server that answers each request with what `answer` gives."""
    made = Server()
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            made.asked += 1
            await answer()(writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        open_writers.discard(writer)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        made.port = int(listener.sockets[0].getsockname()[1])
        yield made
    # Some would go on for ever.
    while open_writers:
        for writer in open_writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def of_page(page: Page) -> Callable[[], Answer]:
    """Answers with one page after another; each is made once."""
    numbers: Iterator[int] = itertools.count()
    made: dict[bytes, bytes] = {}

    def answer() -> Answer:
        body = page(next(numbers))
        head = _OK + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        return whole(made.setdefault(body, head + body))

    return answer


def told(attacked: Installed) -> dict[str, Any]:
    """What the store says of the hostile endpoint; empty while it is not there."""
    address = f"http://127.0.0.1:{attacked.telemetry}/debug/snapshot"
    with urllib.request.urlopen(address, timeout=5) as answer:
        pools: list[dict[str, Any]] = orjson.loads(answer.read())["pools"]
    return next((each for each in pools[0]["endpoints"] if each["endpoint"] == "default/hostile"), {})


@dataclass(frozen=True, slots=True)
class _Seen:
    cause: str
    fresh: bool


def _judged(document: Mapping[str, Any]) -> bool:
    return bool(document.get("fresh") or document.get("last_failure"))


async def _outcome(attacked: Installed, answer: Callable[[], Answer], scrapes: int = 4) -> _Seen:
    """Have a hostile endpoint scraped some times while others are served, and say what became of it."""
    async with server(answer) as hostile:
        async with attacked.during():
            attacked.discover({"name": "hostile", "address": "127.0.0.1", "port": str(hostile.port)})
            await attacked.until(lambda: hostile.asked > scrapes and _judged(told(attacked)))
            document = await asyncio.to_thread(told, attacked)
        attacked.discover()
        await attacked.until(lambda: not told(attacked))
    failure = document.get("last_failure")
    return _Seen(failure["cause"] if failure else "", bool(document.get("fresh")))


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_harms_its_own_endpoint_at_most(attacked: Installed, name: str) -> None:
    page, cause = PAGES[name]
    seen = await _outcome(attacked, of_page(page))
    if cause:
        assert re.search(cause, seen.cause), seen
        assert not seen.fresh
    else:
        assert seen.fresh or seen.cause, seen


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_is_no_page_is_a_failure_with_its_cause(attacked: Installed, name: str) -> None:
    answer, cause = ANSWERS[name]
    seen = await _outcome(attacked, lambda: answer, scrapes=3)
    assert re.search(cause, seen.cause), seen
    assert not seen.fresh
