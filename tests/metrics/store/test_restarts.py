"""An engine that begins anew, sleeps or empties its cache has another life in the store, and nothing else does."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import SGLANG, TRITON_TENSORRT_LLM, VLLM
from infscale.metrics.pages.interpreter import Interpreter
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames
from infscale.metrics.sample import EngineSample
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.connecting import REFUSED

POOL = Pool(ObjectKey("llm", "chat"), {})
ENDPOINT = Endpoint(EndpointKey("llm", "vllm-0"), "10.0.0.1", 8000)
ENGINES: dict[Dialect, Interpreter] = {}


def page(
    finished: float | None = 100,
    prompt: float | None = 5000,
    queries: float | None = 5000,
    started: float | None = 1.7e9,
    extra: str = "",
) -> EngineSample:
    """What a vLLM page with these counts says."""
    lines = ["vllm:num_requests_waiting 0", "vllm:num_requests_running 0"]
    counts = {"request_success_total": finished, "prompt_tokens_total": prompt, "prefix_cache_queries_total": queries}
    lines += [f'vllm:{name}{{model_name="m"}} {count}' for name, count in counts.items() if count is not None]
    lines += [] if started is None else [f"process_start_time_seconds {started}"]
    return read("\n".join([*lines, extra]))


def read(text: str, dialect: Dialect = VLLM) -> EngineSample:
    interpreter = ENGINES.setdefault(dialect, Interpreter(dialect))
    return interpreter.interpret(text.strip().encode() + b"\n")


def sleep(
    awake: float | None = None, offloaded: float | None = None, discarded: float | None = None, engine: int = 0
) -> str:
    states = {"awake": awake, "weights_offloaded": offloaded, "discard_all": discarded}
    return "\n".join(
        f'vllm:engine_sleep_state{{engine="{engine}",model_name="m",sleep_state="{name}"}} {value}'
        for name, value in states.items()
        if value is not None
    )


class Bench:
    def __init__(self) -> None:
        self.store = MetricStore("s")
        self.now = 0.0
        self.sync(ENDPOINT)

    def sync(self, *endpoints: Endpoint) -> None:
        self.store.sync(DiscoveryState(endpoints, (POOL,)))

    def sees(self, result: EngineSample | str) -> None:
        self.now += 0.5
        if isinstance(result, str):
            self.store.record_failure(ENDPOINT.key, result, self.now)
        else:
            self.store.record_scrape(ENDPOINT.key, result, self.now)

    @property
    def life(self) -> object:
        snapshot = self.store.snapshot(POOL.key)
        assert snapshot is not None
        return snapshot.columns.lives[0]

    @property
    def candidates(self) -> int:
        snapshot = self.store.snapshot(POOL.key)
        assert snapshot is not None
        return len(snapshot.candidates(self.now))


OTHER_MODEL = read('vllm:num_requests_waiting 0\nvllm:request_success_total{model_name="n"} 1')
TRITON = read('nv_trt_llm_request_metrics{request_type="waiting"} 0', TRITON_TENSORRT_LLM)
SEEN: dict[str, tuple[list[EngineSample | str], bool]] = {
    "counts that grow": ([page(), page(101, 5100, 5100)], False),
    "counts that stand still": ([page(), page()], False),
    "another start time and counts from 0": ([page(), page(0, 0, 0, 1.7e9 + 60)], True),
    "another start time and more counts than before": ([page(), page(900, 9000, 9000, 1.7e9 + 60)], True),
    "a start time a little later": ([page(), page(started=1.7e9 + 0.01)], True),
    "counts from 0 and the same start time": ([page(), page(0, 0, 0)], True),
    "counts from 0 and no start time": ([page(started=None), page(0, 0, 0, None)], True),
    "counts that were served again already": ([page(started=None), page(40, 2000, 2000, None)], True),
    "few counts that fell": ([page(4, 200, 200, None), page(3, 150, 150, None)], True),
    "counts that are gone": ([page(started=None), page(None, None, None, None)], True),
    "counts that come": ([page(None, None, None, None), page(started=None)], False),
    "one count that is counted down by mistake": ([page(), page(prompt=4999)], False),
    "a prefix cache that counts anew": ([page(), page(101, 5100, 0)], True),
    "a lost page": ([page(), "timed out after 0.4 s", page(101)], False),
    "a lost page and a restart behind it": ([page(), "timed out after 0.4 s", page(0, 0, 0)], True),
    "a refused connection": ([page(), REFUSED], True),
    "another model's name": ([page(), OTHER_MODEL], True),
    "gauges alone": ([read("vllm:num_requests_waiting 3"), read("vllm:num_requests_waiting 0")], False),
    "the first page": ([], False),
}


@pytest.mark.parametrize(("seen", "anew"), SEEN.values(), ids=SEEN)
def test_a_life_ends_where_the_engine_lost_what_it_had(seen: list[EngineSample | str], anew: bool) -> None:
    bench = Bench()
    for each in seen[:1]:
        bench.sees(each)
    before = bench.life
    for each in seen[1:]:
        bench.sees(each)
    assert (bench.life is not before) == anew


def test_while_connections_are_refused_it_is_one_life_and_the_next_begins_with_the_first_answer() -> None:
    bench = Bench()
    bench.sees("HTTP 404")
    lives = [bench.life]
    for cause in (REFUSED, REFUSED, "timed out after 0.4 s", "HTTP 404", "HTTP 404"):
        bench.sees(cause)
        lives.append(bench.life)
    assert [one is other for one, other in pairwise(lives)] == [False, True, False, True, True]


@pytest.mark.parametrize(
    ("after", "anew"),
    [
        pytest.param(page(101), False, id="the same process"),
        pytest.param(page(101, started=None), True, id="unknown"),
        pytest.param(TRITON, True, id="gauges"),
    ],
)
def test_behind_a_refusal_only_the_start_time_proves_that_nothing_was_lost(after: EngineSample, anew: bool) -> None:
    bench = Bench()
    bench.sees(page())
    bench.sees(REFUSED)
    before = bench.life
    bench.sees(after)
    assert (bench.life is not before) == anew


SLEEP = {
    "awake": (sleep(1, 0, 0), False),
    "level 1": (sleep(0, 1, 0), True),
    "level 2": (sleep(0, 0, 1), True),
    "not awake and no level": (sleep(0), True),
    "weights offloaded alone": (sleep(offloaded=1), True),
    "all discarded alone": (sleep(discarded=1), True),
    "awake and offloaded contradict each other": (sleep(1, 1, 0), True),
    "one rank of two": (sleep(1, 0, 0) + "\n" + sleep(0, 1, 0, engine=1), True),
    "a value that is none": (sleep(float("nan"), 0, 0), False),
    "nothing": ("", False),
    "another state": ('vllm:engine_sleep_state{sleep_state="dreaming"} 1', False),
}


@pytest.mark.parametrize(("extra", "asleep"), SLEEP.values(), ids=SLEEP)
def test_an_engine_that_says_it_sleeps_is_no_candidate(extra: str, asleep: bool) -> None:
    sample = page(extra=extra)
    assert sample.asleep == asleep
    bench = Bench()
    bench.sees(sample)
    assert bench.candidates == (not asleep)


@pytest.mark.parametrize("level", [sleep(0, 1, 0), sleep(0, 0, 1)], ids=["level 1", "level 2"])
def test_sleeping_and_waking_end_a_life(level: str) -> None:
    bench = Bench()
    lives: list[object] = []
    for extra in (sleep(1, 0, 0), level, level, sleep(1, 0, 0), sleep(1, 0, 0)):
        bench.sees(page(extra=extra))
        lives.append(bench.life)
    assert [one is other for one, other in pairwise(lives)] == [False, True, False, True]
    assert bench.candidates == 1


CHANGES: dict[str, tuple[Callable[[Bench], object], bool]] = {
    "another pod of this name": (lambda bench: bench.sync(replace(ENDPOINT, incarnation="uid-2/1")), True),
    "gone and there again": (lambda bench: (bench.sync(), bench.sync(replace(ENDPOINT, incarnation="uid-1/1"))), True),
    "another label": (
        lambda bench: bench.sync(replace(ENDPOINT, incarnation="uid-1/1", labels={"a": "b"})),
        False,
    ),
}


@pytest.mark.parametrize(("change", "anew"), CHANGES.values(), ids=CHANGES)
def test_another_pod_at_the_same_address_is_another_life(change: Callable[[Bench], object], anew: bool) -> None:
    bench = Bench()
    bench.sync(replace(ENDPOINT, incarnation="uid-1/1"))
    bench.sees(page())
    before = bench.life
    change(bench)
    assert (bench.life is not before) == anew


def test_other_engines_say_when_their_process_started_too() -> None:
    text = "sglang:num_queue_reqs 0\nprocess_start_time_seconds 1.7e9"
    assert read(text, SGLANG).started_at == 1.7e9
    assert read("vllm:num_requests_waiting 0").started_at is None


def test_of_averages_of_a_pool_the_start_of_the_picker_says_nothing() -> None:
    names = EngineNames("pools", gauges=NOT_GIVEN._replace(waiting="average_queue"), members="endpoints")
    sample = read("average_queue 1\nendpoints 2\nprocess_start_time_seconds 1.7e9", names.dialect())
    assert sample.started_at is None
