"""Benchmarks in one process: no network, no Envoy."""

import math
import random
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import orjson

from bench.pools import NAMED_PAGE, PAGE, filled_store, page_interpreter
from bench.rows import Row, cpu_microseconds
from infscale.endpoint import EndpointKey, ObjectKey
from infscale.metrics.gauges import NOTHING_SAID
from infscale.metrics.pages.interpreter import Interpreter
from infscale.metrics.sample import CounterKey, CountLayout, Counts, EngineSample, HistogramKey
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.store.step_watch import StepWatch
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import preset
from picker.epp_config.presets import PRESETS
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import (
    BodyMode,
    Fail,
    Incoming,
    Modes,
    RequestBody,
    RequestHeaders,
    ResponseHeaders,
)
from picker.ext_proc.wire_codec import encode
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody

POOL = ObjectKey("bench", "pool")
_MODES = Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE)
_HEADERS = Headers(
    (
        (":method", b"POST"),
        (":path", b"/v1/completions"),
        ("content-type", b"application/json"),
        ("x-request-id", b"0f4c2f6e-8f7b-4a57-9e0e-2f1f2b3c4d5e"),
    )
)
SIZES = {"1.2 KB": 1_200, "8 KB": 8_000, "64 KB": 64_000}


def prompts(size: int, count: int, rng: random.Random) -> list[bytes]:
    """Prompts of which eight in a row share their first half."""
    shared = [rng.randbytes(size // 4).hex().encode() for _ in range(count // 8)]
    return [shared[number // 8] + rng.randbytes(size // 4).hex().encode() for number in range(count)]


def interpretation() -> Iterator[Row]:
    """Parsing and storing a metrics page, without fetching it."""
    for page in (PAGE, NAMED_PAGE):
        interpreter = page_interpreter()
        store, keys = filled_store(POOL, 100)
        numbers = iter(range(1 << 40))

        def work(
            page: bytes = page,
            interpreter: Interpreter = interpreter,
            store: MetricStore = store,
            keys: list[EndpointKey] = keys,
            numbers: Iterator[int] = numbers,
        ) -> None:
            number = next(numbers)
            store.record_scrape(keys[number % len(keys)], interpreter.interpret(page), 100.0 + number * 0.01)

        name = f"parse + store of a {len(page) / 1000:.0f} KB page, 100 endpoints"
        yield Row(name, cpu_microseconds(work, 400), "µs CPU")


def learning() -> Iterator[Row]:
    """What the pages of one busy engine teach of its steps; one scrape in five completes an observation."""
    keys: tuple[HistogramKey, ...] = (("inter_token_latency", "m"), ("prefill_time", "m"), ("time_to_first_token", "m"))
    counters: tuple[CounterKey, ...] = (("prompt_tokens", "m"), ("generation_tokens", "m"), ("steps", "m"))
    layout = CountLayout(counters, tuple((key, (math.inf,)) for key in keys))
    rng, row, watch = random.Random(5), np.full(layout.width, 5_000.0), StepWatch()
    samples: list[EngineSample] = []
    for _ in range(2_000):
        prompts, running = rng.choice((0, 0, 1)), rng.uniform(8.0, 64.0)
        steps = rng.randint(2, 4)
        seconds = 0.01 + 4e-8 * 1_500.0 * running + 2e-5 * 1_500.0 * prompts / steps
        # Counters, buckets, sums, as they stand in a row.
        row = row + np.array(
            (
                *(1_500.0 * prompts, steps * running, steps),
                *(steps * running, prompts, prompts),
                *(steps * running * seconds, 0.05 * prompts, 0.06 * prompts),
            )
        )
        gauges = NOTHING_SAID._replace(waiting=0.0, running=running, kv_used_tokens=1_500.0 * running)
        samples.append(EngineSample(gauges, counts=Counts(layout, row), fingerprint=len(samples) + 1))
    numbers = iter(range(1 << 40))

    def work() -> None:
        number = next(numbers)
        watch.observe(samples[number % len(samples)], 0.05 * number)

    yield Row("learn how long steps take, a scrape each 50 ms", cpu_microseconds(work, 1_900), "µs CPU")


def scheduling() -> Iterator[Row]:
    """One scheduling cycle: candidates, prefix match, filters, scores, pick, charge, release."""
    for name in PRESETS:
        for endpoints in (4, 100, 1000):
            store, _ = filled_store(POOL, endpoints)
            settings = DirectorSettings(explained=10_000)
            director = PoolDirector(POOL, preset(name), store, random.Random(1), settings)
            requests = iter(_requests(1_200, 4_000))

            def work(director: PoolDirector = director, requests: Iterator[InferenceRequest] = requests) -> None:
                request = next(requests)
                decision = director.direct(request, 100.0)
                if isinstance(decision, Decision):
                    director.finished(request, decision, Outcome("completed", 200), 100.0)

            value = cpu_microseconds(work, 600)
            yield Row(f"scheduling cycle, preset {name}, {endpoints} endpoints, 1.2 KB", value, "µs CPU")


def placing() -> Iterator[Row]:
    """What a pick pays more for the scorer of marginal costs, clock and all, than for work in flight.

    Both presets take turns, with four requests in flight on each endpoint.
    """
    for endpoints in (20, 100):
        directors = [
            PoolDirector(POOL, preset(name), filled_store(POOL, endpoints)[0], random.Random(1))
            for name in ("in-flight-tokens", "infscale")
        ]
        held: tuple[deque[tuple[InferenceRequest, Decision]], ...] = (deque(), deque())
        spent: tuple[list[float], list[float]] = ([], [])
        requests = iter(_requests(1_200, 8_000))
        for turn in range(150):
            batch = list(islice(requests, 50))
            for which in (0, 1) if turn % 2 else (1, 0):
                started = time.process_time()
                _place(directors[which], batch, held[which], 4 * endpoints)
                spent[which].append((time.process_time() - started) / len(batch) * 1e6)
        # The first turns fill the endpoints.
        tokens, costs = (each[20:] for each in spent)
        more = statistics.median(cost - other for cost, other in zip(costs, tokens, strict=True))
        yield Row(f"a pick, {endpoints} endpoints: preset in-flight-tokens", statistics.median(tokens), "µs CPU")
        yield Row(f"a pick, {endpoints} endpoints: what preset infscale takes more", more, "µs CPU", 30.0)


def _place(
    director: PoolDirector,
    requests: Sequence[InferenceRequest],
    held: deque[tuple[InferenceRequest, Decision]],
    most: int,
) -> None:
    """Direct `requests`; those that came first end, so that `most` are in flight."""
    for request in requests:
        decision = director.direct(request, 100.0)
        if not isinstance(decision, Decision):
            raise RuntimeError(f"a request was refused: {decision}")
        held.append((request, decision))
        if len(held) > most:
            director.finished(*held.popleft(), Outcome("completed", 200), 100.0)


def _requests(size: int, count: int) -> list[InferenceRequest]:
    bodies = prompts(size, count, random.Random(2))
    return [
        InferenceRequest(
            str(number), "/v1/completions", Headers(()), ParsedBody("completions", "m", body, len(body) // 4, 64)
        )
        for number, body in enumerate(bodies)
    ]


def longest_hold() -> Iterator[Row]:
    """How long a long prompt keeps everything else waiting: from its last piece to the bytes of the answer."""
    store, _ = filled_store(POOL, 100)
    director = PoolDirector(POOL, preset("reference"), store, random.Random(1))
    settings, rng = ExchangeSettings(), random.Random(4)
    held: list[float] = []
    for prompt in prompts(220_000, 80, random.Random(6)):
        body = orjson.dumps({"model": "m", "prompt": prompt.decode(), "max_tokens": 64})
        exchange = Exchange(settings, director, rng)
        exchange.receive(Incoming(RequestHeaders(_HEADERS, False), modes=_MODES), 100.0)
        exchange.receive(Incoming(RequestBody(body, False)), 100.0)
        started = time.process_time()
        for send in exchange.receive(Incoming(RequestBody(b"", True)), 100.0):
            if not isinstance(send, Fail):
                encode(send)
        held.append((time.process_time() - started) * 1e6)
        exchange.closed(100.0)
    yield Row(
        "longest hold of the loop by a 220 KB body, 95th percentile",
        statistics.quantiles(held, n=20)[-1],
        "µs CPU",
        2000.0,
    )


def exchanges() -> Iterator[Row]:
    """One exchange in memory: headers, body, response headers, end; 100 endpoints, the reference's default profile."""
    response = ResponseHeaders(Headers(((":status", b"200"), ("content-type", b"text/event-stream"))))
    for label, size in SIZES.items():
        store, _ = filled_store(POOL, 100)
        director = PoolDirector(POOL, preset("reference"), store, random.Random(1))
        bodies = iter(
            [
                orjson.dumps({"model": "m", "prompt": prompt.decode(), "max_tokens": 64})
                for prompt in prompts(size, 1_600, random.Random(3))
            ]
        )
        settings, rng = ExchangeSettings(), random.Random(4)

        def work(
            director: PoolDirector = director,
            bodies: Iterator[bytes] = bodies,
            settings: ExchangeSettings = settings,
            rng: random.Random = rng,
        ) -> None:
            exchange = Exchange(settings, director, rng)
            exchange.receive(Incoming(RequestHeaders(_HEADERS, False), modes=_MODES), 100.0)
            exchange.receive(Incoming(RequestBody(next(bodies), False)), 100.0)
            exchange.receive(Incoming(RequestBody(b"", True)), 100.0)
            exchange.receive(Incoming(response), 100.0)
            exchange.closed(100.0)

        yield Row(f"exchange in memory, {label} body, 100 endpoints", cpu_microseconds(work, 200), "µs CPU")
