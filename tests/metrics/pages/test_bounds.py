"""What a page says that cannot be is unknown, with its cause, and spoils nothing beside it."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.errors import ExpositionError
from infscale.metrics.pages.bounds import MAX_CHARGE_TOKENS, charged, ratio
from infscale.metrics.pages.dialect import CacheNumber, Dialect
from infscale.metrics.pages.dialects import SGLANG, VLLM
from infscale.metrics.pages.exposition import MetricSpec, Selection, unasked_families
from infscale.metrics.pages.interpreter import Interpreter, interpret
from infscale.metrics.published.answers import group_reading
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.published.inspection import snapshot_document
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import EngineSample, GpuSample
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.windows.model_table import Speakers
from tests.fakes.counts import counters_of

POOL = Pool(ObjectKey("llm", "chat"), {"app": "vllm"})
ENDPOINT = Endpoint(EndpointKey("llm", "vllm-0"), "10.0.0.1", 8000, {"app": "vllm"})
GOOD = {
    "vllm:num_requests_waiting": "3",
    "vllm:num_requests_running": "8",
    "vllm:kv_cache_usage_perc": "0.25",
    "vllm:num_tokens_waiting": "70",
    "vllm:prompt_tokens_total": "1000",
    "vllm:generation_tokens_total": "500",
}
QUEUE = "vllm:request_queue_time_seconds"


def page(**replaced: str) -> bytes:
    said = GOOD | {f"vllm:{name}": text for name, text in replaced.items()}
    lines = [f'{name}{{model_name="m"}} {text}\n' for name, text in said.items()]
    return "".join(lines).encode() + b'vllm:cache_config_info{block_size="16",num_gpu_blocks="1000"} 1\n'


def histogram(counts: list[str], total: str) -> bytes:
    buckets = zip(("0.3", "1", "+Inf"), counts, strict=True)
    lines = [f'{QUEUE}_bucket{{model_name="m",le="{le}"}} {count}\n' for le, count in buckets]
    return "".join([*lines, f'{QUEUE}_sum{{model_name="m"}} {total}\n']).encode()


@pytest.mark.parametrize(
    ("name", "gauge"),
    [
        ("num_requests_waiting", "waiting"),
        ("num_requests_running", "running"),
        ("kv_cache_usage_perc", "kv_utilization"),
        ("num_tokens_waiting", "waiting_tokens"),
    ],
)
@pytest.mark.parametrize("text", ["NaN", "-1", "-0.001", "+Inf", "-Inf", "1e300", "1.7e308", "4294967295e9", "1e999"])
def test_a_gauge_outside_its_bounds_is_unknown_and_the_others_are_read(name: str, gauge: str, text: str) -> None:
    sample = interpret(page(**{name: text}), VLLM)
    right = {"waiting": 3.0, "running": 8.0, "kv_utilization": 0.25, "waiting_tokens": 70.0}
    assert {name: getattr(sample.gauges, name) for name in right} == right | {gauge: None}
    # What is worked out of an unknown ratio is unknown without a cause of its own.
    assert sample.refused.keys() == {gauge}
    assert "which is not within 0 to" in next(iter(sample.refused.values()))


@pytest.mark.parametrize(
    ("text", "taken"),
    [("0", 0.0), ("1", 1.0), ("1.0000000000000002", 1.0), ("1.01", None), ("61", None), ("4294967295", None)],
)
def test_a_ratio_is_a_share_or_unknown(text: str, taken: float | None) -> None:
    sample = interpret(page(kv_cache_usage_perc=text), VLLM)
    assert sample.gauges.kv_utilization == taken == ratio(float(text))
    assert (sample.gauges.kv_used_tokens is None) == (taken is None)


@pytest.mark.parametrize(
    ("name", "counter"), [("prompt_tokens_total", "prompt_tokens"), ("generation_tokens_total", "generation_tokens")]
)
@pytest.mark.parametrize("text", ["NaN", "-1", "+Inf", "1e300", "1.7e308"])
def test_a_counter_outside_its_bounds_is_left_out(name: str, counter: str, text: str) -> None:
    sample = interpret(page(**{name: text}), VLLM)
    assert len(counters_of(sample.counts)) == 1
    assert (counter, "m") not in counters_of(sample.counts)
    assert sample.refused.keys() == {counter}


@pytest.mark.parametrize(
    ("counts", "total", "known", "sum_known"),
    [
        pytest.param(["1", "2", "3"], "4", True, True, id="as it should be"),
        pytest.param(["1", "NaN", "3"], "4", False, False, id="a bucket that is no number"),
        pytest.param(["-1", "2", "3"], "4", False, False, id="a bucket below nothing"),
        pytest.param(["1", "2", "1e300"], "4", False, False, id="a bucket beyond counting"),
        pytest.param(["3", "2", "1"], "4", True, True, id="buckets that fall are brought up"),
        pytest.param(["1", "2", "3"], "+Inf", True, False, id="a sum without end"),
        pytest.param(["1", "2", "3"], "-4", True, False, id="a sum below nothing"),
        pytest.param(["1", "2", "3"], "NaN", True, False, id="a sum that is no number"),
        pytest.param(["1", "2", "3"], "1e300", True, False, id="a sum beyond counting"),
    ],
)
def test_a_histogram_is_read_as_far_as_it_can_be_one(
    counts: list[str], total: str, known: bool, sum_known: bool
) -> None:
    found = interpret(page() + histogram(counts, total), VLLM).counts.histograms
    assert (("queue_time", "m") in found) == known
    if known:
        assert math.isfinite(found["queue_time", "m"].sum) == sum_known


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (VLLM, b'vllm:num_requests_waiting{engine="0"} -5\nvllm:num_requests_waiting{engine="1"} 9\n'),
        (VLLM, b'vllm:num_requests_waiting{engine="0"} 9\nvllm:num_requests_waiting{engine="1"} NaN\n'),
        (VLLM, b'vllm:num_requests_waiting{model_name="a"} -5\nvllm:num_requests_waiting{model_name="b"} 9\n'),
        (VLLM, b'vllm:num_requests_waiting{engine="0"} 1e308\nvllm:num_requests_waiting{engine="1"} 1e308\n'),
        (SGLANG, b'sglang:num_queue_reqs{dp_rank="0"} 9\nsglang:num_queue_reqs{dp_rank="1"} -9\n'),
    ],
)
def test_a_sum_with_an_impossible_part_is_unknown(dialect: Dialect, text: bytes) -> None:
    sample = interpret(text, dialect)
    assert sample.gauges.waiting is None
    assert sample.refused.keys() == {"waiting"}


def test_one_rank_without_a_ratio_makes_the_highest_unknown() -> None:
    text = b'vllm:kv_cache_usage_perc{engine="0"} 0.5\nvllm:kv_cache_usage_perc{engine="1"} 127431\n'
    sample = interpret(page().replace(b"vllm:kv_cache", b"vllm:other_cache") + text, VLLM)
    assert sample.gauges.kv_utilization is None
    assert sample.refused == {"kv_utilization": "the page says 127431, which is not within 0 to 1"}


@pytest.mark.parametrize(
    ("number", "value", "labels", "taken"),
    [
        (CacheNumber(MetricSpec("x")), 16.0, {}, 16),
        (CacheNumber(MetricSpec("x")), 1e300, {}, 0),
        (CacheNumber(MetricSpec("x")), math.inf, {}, 0),
        (CacheNumber(MetricSpec("x")), -1.0, {}, 0),
        (CacheNumber(MetricSpec("x")), 0.5, {}, 0),
        (CacheNumber(MetricSpec("x"), "size"), 1.0, {"size": "16"}, 16),
        (CacheNumber(MetricSpec("x"), "size"), 1.0, {"size": "9" * 12}, 0),
        (CacheNumber(MetricSpec("x"), "size"), 1.0, {"size": "9" * 5000}, 0),
        (CacheNumber(MetricSpec("x"), "size"), 1.0, {"size": "٣"}, 0),
    ],
)
def test_a_cache_has_a_possible_size_or_none(
    number: CacheNumber, value: float, labels: dict[str, str], taken: int
) -> None:
    assert number.of(labels, value) == taken


def store(*samples: tuple[EngineSample, float]) -> MetricStore:
    made = MetricStore("s")
    made.sync(DiscoveryState((ENDPOINT,), (POOL,)))
    for sample, at in samples:
        made.record_scrape(ENDPOINT.key, sample, at)
    return made


@pytest.mark.parametrize(
    ("metric", "replaced"),
    [
        ("waiting_requests", {"num_requests_waiting": "-3"}),
        ("waiting_requests_average", {"num_requests_waiting": "-3"}),
        ("running_requests", {"num_requests_running": "1e300"}),
        ("kv_cache_utilization_ratio", {"kv_cache_usage_perc": "61"}),
        ("saturation_ratio", {"kv_cache_usage_perc": "61", "num_requests_waiting": "NaN"}),
        ("prompt_tokens_per_second", {"prompt_tokens_total": "-1"}),
    ],
)
def test_an_answer_names_the_cause_and_the_endpoint(metric: str, replaced: dict[str, str]) -> None:
    sample = interpret(page(**replaced), VLLM)
    made = store((sample, 1.0), (sample, 2.0))
    snapshot = made.snapshot(POOL.key)
    assert snapshot is not None
    answer = group_reading(BY_NAME[metric], snapshot, 2.0)
    assert isinstance(answer, Unknown)
    assert answer.reason.startswith("1 of 1 ready endpoints of llm/chat do not report it: the page says ")
    assert "(llm/vllm-0)" in answer.reason
    [endpoint] = snapshot_document(snapshot, 2.0)["endpoints"]  # type: ignore[misc, union-attr]
    assert endpoint["refused"] == dict(sample.refused)  # type: ignore[index, call-overload]


def test_causes_of_a_gpu_exporter_stand_beside_those_of_the_engine() -> None:
    made = store((interpret(page(kv_cache_usage_perc="2"), VLLM), 1.0))
    made.record_beside(GPU, ENDPOINT.key, GpuSample(1.0, 2.0, None, {"gpu_utilization": "the page says 1274"}), 1.0)
    snapshot = made.snapshot(POOL.key)
    assert snapshot is not None
    assert snapshot.columns.refused[0].keys() == {"kv_utilization", "gpu_utilization"}
    answer = group_reading(BY_NAME["gpu_utilization_ratio"], snapshot, 2.0)
    assert isinstance(answer, Unknown)
    assert "the page says 1274 (llm/vllm-0)" in answer.reason


def counting(tokens: str) -> EngineSample:
    return interpret(page(generation_tokens_total=tokens), VLLM)


def test_a_count_that_jumps_beyond_all_rates_starts_counting_over_and_says_so() -> None:
    made = store(*((counting(text), float(at)) for at, text in enumerate(("0", "100", "9e15"))))
    snapshot = made.snapshot(POOL.key)
    assert snapshot is not None
    assert snapshot.columns.windows[0] is not None
    assert snapshot.columns.windows[0].rates == {}
    assert "grew by 9e+15 in 1 s" in snapshot.columns.refused[0]["generation_tokens"]
    for at in range(3, 40):
        made.record_scrape(ENDPOINT.key, counting(str(9 * 10**15 + at)), float(at))
    snapshot = made.snapshot(POOL.key)
    assert snapshot is not None
    assert snapshot.columns.windows[0] is not None
    assert snapshot.columns.windows[0].rates["generation_tokens", "m"] == pytest.approx(1.0)
    assert snapshot.columns.refused[0] == {}


@pytest.mark.parametrize("texts", [("0", "1.7e308"), ("0", "9e15"), ("1e300", "-1e300"), ("NaN", "5")])
def test_a_counter_that_alternates_leaves_every_number_finite(texts: tuple[str, str]) -> None:
    made = store(*((counting(texts[at % 2]), at / 2) for at in range(100)))
    snapshot = made.snapshot(POOL.key)
    assert snapshot is not None
    window = snapshot.columns.windows[0]
    assert window is not None
    assert all(0 <= rate <= 1e9 for rate in window.rates.values())
    assert snapshot.columns.gauges.waiting[0] == 3


@given(st.floats())
def test_a_charge_is_a_whole_number_within_bounds(tokens: float) -> None:
    booked = charged(tokens)
    assert 0 <= booked <= MAX_CHARGE_TOKENS
    assert booked == int(booked)


# How much a page may say


def series(name: str, *labels: str, value: str = "1") -> bytes:
    return "".join(f"vllm:{name}{{{each}}} {value}\n" for each in labels).encode()


def of_models(count: int, name: str = "num_requests_waiting") -> bytes:
    return series(name, *(f'model_name="m{number}"' for number in range(count)))


def of_ranks(count: int) -> bytes:
    return series("num_requests_waiting", *(f'model_name="m",engine="{number}"' for number in range(count)))


def with_labels(count: int) -> bytes:
    return series("num_requests_waiting", ",".join(f'l{number}="1"' for number in range(count)))


def of_labels(count: int) -> bytes:
    """So many labels on series of 50 each."""
    beside = ",".join(f'l{number}="1"' for number in range(49))
    return of_models(1) + series("num_requests_swapped", *(f'{beside},n="{row}"' for row in range(count // 50)))


def of_buckets(count: int) -> bytes:
    bounds = [*(str(number) for number in range(1, count)), "+Inf"]
    return of_models(1) + series("request_queue_time_seconds_bucket", *(f'le="{bound}"' for bound in bounds))


def of_counts(count: int) -> bytes:
    """So many numbers that are kept: histograms of 64 buckets and a sum."""
    models, bounds = count // 65, [*(str(number) for number in range(1, 64)), "+Inf"]
    rows = [f'model_name="m{model}",le="{bound}"' for model in range(models) for bound in bounds]
    more = series("prompt_tokens_total", *(f'model_name="m{number}"' for number in range(count % 65)))
    return of_models(1) + series("request_queue_time_seconds_bucket", *rows) + more


def of_rank_labels(count: int) -> bytes:
    return "".join(f'sglang:num_queue_reqs{{dp_rank="0",l{number}_rank="0"}} 1\n' for number in range(count)).encode()


def named(length: int) -> bytes:
    return series("num_requests_waiting", f'model_name="{"m" * length}"')


def of_line(length: int) -> bytes:
    line = series("num_requests_waiting", 'a="{}"')
    return line.replace(b"{}", b"x" * (length - len(line) + len(b"{}\n")))


def of_lines(count: int) -> bytes:
    return of_models(1) + b"# x\n" * (count - 1)


LIMITS = [
    pytest.param(of_lines, 131_072, "page with more than 131072 lines", id="lines"),
    pytest.param(of_line, 65_536, "page with a line of more than 65536 bytes that is read", id="bytes of a line"),
    pytest.param(with_labels, 64, "vllm:num_requests_waiting has more than 64 labels", id="labels of a series"),
    pytest.param(named, 512, "page with more than 512 letters in the name of a model", id="name of a model"),
    pytest.param(of_models, 100, "page with more than 100 models", id="models"),
    pytest.param(of_ranks, 1024, "vllm:num_requests_waiting with more than 1024 series of one model", id="ranks"),
    pytest.param(of_buckets, 256, "vllm:request_queue_time_seconds with more than 256 buckets", id="buckets"),
    pytest.param(of_counts, 4096, "page with more than 4096 counters, buckets and sums", id="counts"),
]


@pytest.mark.parametrize(("page_of", "most", "cause"), LIMITS)
def test_a_page_that_says_more_than_a_model_server_is_refused_with_the_limit(
    page_of: Callable[[int], bytes], most: int, cause: str
) -> None:
    interpreter = Interpreter(VLLM)
    assert interpreter.interpret(page_of(most)).gauges.waiting
    for _ in range(3):
        with pytest.raises(ExpositionError) as refusal:
            interpreter.interpret(page_of(most + 1))
        assert str(refusal.value).startswith(cause)
        assert len(str(refusal.value)) < 200
    assert interpreter.interpret(page_of(most)).gauges.waiting


def test_labels_that_number_ranks_are_few() -> None:
    assert interpret(of_rank_labels(16), SGLANG).gauges.waiting == 16
    with pytest.raises(ExpositionError, match="page with more than 16 labels that number ranks"):
        interpret(of_rank_labels(17), SGLANG)


def test_labels_of_all_series_are_limited_together() -> None:
    names = ["vllm:num_requests_swapped"]
    assert len(Selection(names).read(of_labels(100_000)).values) == 2_000
    with pytest.raises(ExpositionError, match="more than 100000 labels"):
        Selection(names).read(of_labels(100_050))
    with pytest.raises(ExpositionError, match="more than 100000 labels"):
        Selection(names, apart=names).read(of_labels(100_050))


def test_models_are_counted_over_all_that_a_page_says() -> None:
    half = of_models(60)
    other = series("prompt_tokens_total", *(f'model_name="n{number}"' for number in range(41)))
    with pytest.raises(ExpositionError, match="more than 100 models"):
        interpret(half + other, VLLM)


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        ([f"l{number}" for number in range(256)], None),
        ([f"l{number}" for number in range(257)], "the page names 257 LoRA adapters, more than 256"),
        (["l" * 512], None),
        (["l" * 513], "the page names a LoRA adapter by more than 512 letters"),
    ],
    ids=["as many as may be", "one more", "a long name", "one too long"],
)
def test_too_many_lora_adapters_are_unknown_and_the_load_is_read(names: list[str], refused: str | None) -> None:
    line = f'vllm:lora_requests_info{{running_lora_adapters="{",".join(names)}",max_lora="4"}} 1\n'.encode()
    sample = interpret(page() + line, VLLM)
    assert sample.gauges.waiting == 3
    assert (sample.lora is None) == (refused is not None)
    assert sample.refused.get("lora") == refused


@pytest.mark.parametrize(
    "line",
    [
        b"vllm:num_requests_waiting\xff 3\n",
        b"vllm:num_requests_waiting" + b"!" * 100_000 + b"\n",
        b"vllm:num_requests_waiting " + b"1" * 1_000_000 + b"\n",
        b'vllm:num_requests_waiting{a="\xff"} 3\n',
        b'vllm:num_requests_waiting{a="' + b"x" * 100_000 + b'"} 3\n',
        b"vllm:num_requests_waiting{" + b"," * 10_000 + b"} 3\n",
        b"vllm:num_requests_waiting" + b"{" * 10_000 + b"\n",
        b"vllm:num_requests_waiting 1_000\n",
        b"vllm:num_requests_waiting 3 # {" + b'a="' * 1_000 + b"\n",
    ],
    ids=[
        "not ascii",
        "long name",
        "long number",
        "not utf-8",
        "long label",
        "commas",
        "braces",
        "underscore",
        "exemplar",
    ],
)
def test_a_broken_line_is_refused_in_few_words(line: bytes) -> None:
    with pytest.raises(ExpositionError) as refusal:
        interpret(page() + line, VLLM)
    assert len(str(refusal.value)) < 200


def test_families_that_repeat_are_looked_at_once() -> None:
    names = [f"name_{number}" for number in range(1000)]
    text = b"# TYPE name_999 gauge\n" * 100_000
    assert not unasked_families(text, names)


def test_speakers_of_many_keys_are_told_apart_in_one_pass() -> None:
    """Twenty thousand keys that all change: quadratic, it would be minutes."""
    speakers = Speakers[int](2)
    speakers.speaks(0, range(20_000))
    speakers.speaks(1, range(10_000))
    left = speakers.speaks(0, range(20_000, 40_000))
    assert len(left) == 20_000
    assert sum(others for _, others in left) == 10_000
