import gc
import math
import tracemalloc
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from infscale.errors import ExpositionError
from infscale.metrics.pages.dialect import NO_SPECS, CacheNumber, Dialect
from infscale.metrics.pages.dialects import DIALECTS, SGLANG, TRITON_TENSORRT_LLM, TRTLLM_SERVE, VLLM
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.interpreter import Interpreter, MissingMetrics, detect, interpret
from infscale.metrics.sample import EngineSample, LoraState, ModelLoad
from tests.fakes.counts import counters_of
from tests.reference_tables import TABLES
from tests.scrape.pages import vllm_page

VLLM_MINIMAL = (
    b'vllm:num_requests_waiting{engine="0",model_name="m"} 1\nvllm:num_requests_running{engine="0",model_name="m"} 2\n'
)

SGLANG_PAGE = b"""\
sglang:num_queue_reqs{model_name="m",tp_rank="0",pp_rank="0",dp_rank="0"} 2.0
sglang:num_queue_reqs{model_name="m",tp_rank="1",pp_rank="0",dp_rank="0"} 2.0
sglang:num_queue_reqs{model_name="m",tp_rank="0",pp_rank="0",dp_rank="1"} 5.0
sglang:num_running_reqs{model_name="m",tp_rank="0",pp_rank="0"} 7.0
sglang:token_usage{model_name="m",tp_rank="0",pp_rank="0"} 0.5
sglang:cache_config_info{page_size="64",num_pages="1200"} 1.0
sglang:cached_tokens_total{model_name="m",cache_source="device"} 30.0
sglang:cached_tokens_total{model_name="m",cache_source="host"} 12.0
sglang:prompt_tokens_total{model_name="m"} 100.0
"""

TRTLLM_PAGE = b"""\
trtllm_num_requests_waiting{model_name="m",engine_type="trtllm"} 4.0
trtllm_num_requests_running{model_name="m",engine_type="trtllm"} 6.0
trtllm_kv_cache_utilization{model_name="m",engine_type="trtllm"} 0.75
trtllm_kv_cache_tokens_per_block{model_name="m",engine_type="trtllm"} 32.0
trtllm_kv_cache_max_blocks{model_name="m",engine_type="trtllm"} 101.0
"""

TRITON_PAGE = b"""\
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="context",version="1"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 8
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.6
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 11147
"""


def load(sample: EngineSample) -> tuple[float | None, ...]:
    return (
        sample.gauges.waiting,
        sample.gauges.running,
        sample.gauges.kv_utilization,
        sample.block_size_tokens,
        sample.num_blocks,
    )


@pytest.mark.parametrize(
    ("dialect", "page", "expected"),
    [
        pytest.param(VLLM, vllm_page(), (3.0, 8.0, 0.25, 16, 1000), id="vllm"),
        pytest.param(
            VLLM, vllm_page().replace(b":kv_cache_u", b":gpu_cache_u"), (3, 8, 0.25, 16, 1000), id="vllm legacy"
        ),
        pytest.param(VLLM, VLLM_MINIMAL, (1, 2, None, None, None), id="vllm minimal"),
        pytest.param(SGLANG, SGLANG_PAGE, (7, 7, 0.5, 64, 1200), id="sglang"),
        pytest.param(TRTLLM_SERVE, TRTLLM_PAGE, (4, 6, 0.75, 32, 101), id="trtllm-serve"),
        pytest.param(TRITON_TENSORRT_LLM, TRITON_PAGE, (3, 8, 0.6, 64, 11147), id="triton-tensorrt-llm"),
    ],
)
def test_every_dialect_gives_the_same_signals(
    dialect: Dialect, page: bytes, expected: tuple[float | None, ...]
) -> None:
    assert load(interpret(page, dialect)) == expected


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_a_page_without_load_metrics_names_the_dialect(dialect: Dialect) -> None:
    for page in (b"", b"up 1\n", b"<html>\n"):
        with pytest.raises(MissingMetrics, match=f"no {dialect.name} metrics on the page"):
            interpret(page, dialect)


def test_data_parallel_ranks_are_one_endpoint() -> None:
    """Two engines: requests add up, the fuller KV cache counts, histograms and counters merge per model."""
    sample = interpret(vllm_page(waiting=3, running=8, kv=0.25, engines=2), VLLM)
    assert load(sample) == (7.0, 16.0, 0.35, 16, 2000)
    assert sample.models == {"llama": ModelLoad(7.0, 16.0)}
    queue = sample.counts.histograms["queue_time", "llama"]
    assert queue.total == 72.0
    assert queue.sum == 108.0
    assert queue.counts[0] == 4.0
    assert counters_of(sample.counts)["prompt_tokens", "llama"] == 200.0
    assert counters_of(sample.counts)["requests_finished", "llama"] == 20.0


@pytest.mark.parametrize(
    ("dialect", "page", "tokens"),
    [
        pytest.param(VLLM, vllm_page(), 4000, id="utilisation of the blocks"),
        pytest.param(VLLM, vllm_page(kv=0.25, engines=2), 0.6 * 16_000, id="every rank's own utilisation"),
        pytest.param(
            VLLM,
            VLLM_MINIMAL
            + b'vllm:kv_cache_usage_perc{engine="0"} 0.5\nvllm:kv_cache_usage_perc{engine="1"} 0.1\n'
            + b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1\n',
            960,
            id="one rank's size stands for all",
        ),
        pytest.param(VLLM, VLLM_MINIMAL, None, id="no utilisation"),
        pytest.param(VLLM, VLLM_MINIMAL + b"vllm:kv_cache_usage_perc 0.5\n", None, id="no size"),
        pytest.param(SGLANG, SGLANG_PAGE, 0.5 * 64 * 1200, id="sglang of old"),
        pytest.param(
            SGLANG,
            SGLANG_PAGE + b'sglang:num_used_tokens{dp_rank="0"} 30\nsglang:num_used_tokens{dp_rank="1"} 12\n',
            42,
            id="said by the engine",
        ),
        pytest.param(TRTLLM_SERVE, TRTLLM_PAGE, 0.75 * 32 * 101, id="trtllm-serve"),
    ],
)
def test_tokens_in_the_kv_cache_are_of_all_ranks(dialect: Dialect, page: bytes, tokens: float | None) -> None:
    found = interpret(page, dialect).gauges.kv_used_tokens
    assert found == (None if tokens is None else pytest.approx(tokens))


@pytest.mark.parametrize(
    ("dialect", "page", "expected"),
    [
        pytest.param(VLLM, b'vllm:num_tokens_waiting{model_name="m"} 9\n', 9, id="vllm"),
        pytest.param(
            VLLM,
            b'vllm:num_tokens_waiting{model_name="m"} 9\nvllm:approximate_uncached_tokens_waiting{model_name="m"} 4\n',
            4,
            id="what is cached is no work",
        ),
        pytest.param(
            SGLANG,
            b'sglang:num_waiting_uncached_tokens{model_name="m",dp_rank="0",tp_rank="0"} 5\n'
            b'sglang:num_waiting_uncached_tokens{model_name="m",dp_rank="0",tp_rank="1"} 5\n'
            b'sglang:num_waiting_uncached_tokens{model_name="m",dp_rank="1",tp_rank="0"} 2\n',
            7,
            id="sglang, ranks added up",
        ),
        pytest.param(TRTLLM_SERVE, b"", None, id="an engine that has none"),
    ],
)
def test_the_token_backlog_is_what_the_engine_says(dialect: Dialect, page: bytes, expected: float | None) -> None:
    spec = dialect.gauges.waiting[0].name.encode()
    sample = interpret(spec + b'{model_name="m"} 1\n' + page, dialect)
    assert sample.gauges.waiting_tokens == expected
    assert sample.models == {"m": ModelLoad(1.0, None, expected)}


def test_models_on_one_endpoint_are_kept_apart() -> None:
    page = (
        b'vllm:num_requests_waiting{model_name="a"} 1\nvllm:num_requests_waiting{model_name="b"} 2\n'
        b'vllm:num_requests_running{model_name="b"} 5\nvllm:prompt_tokens_total{model_name="b"} 9\n'
    )
    sample = interpret(page, VLLM)
    assert (sample.gauges.waiting, sample.gauges.running) == (3.0, 5.0)
    assert sample.models == {"a": ModelLoad(1.0, None), "b": ModelLoad(2.0, 5.0)}
    assert counters_of(sample.counts) == {("prompt_tokens", "b"): 9.0}


@pytest.mark.parametrize("bad", [b"NaN", b"+Inf", b"-Inf", b"-1"])
def test_a_value_that_is_no_quantity_is_unknown_and_not_zero(bad: bytes) -> None:
    page = (
        b'vllm:num_requests_waiting{engine="0"} ' + bad + b'\nvllm:num_requests_waiting{engine="1"} 0\n'
        b"vllm:num_requests_running 2\nvllm:kv_cache_usage_perc " + bad + b"\n"
    )
    sample = interpret(page, VLLM)
    assert (sample.gauges.waiting, sample.gauges.running, sample.gauges.kv_utilization) == (None, 2.0, None)
    assert sample.models == {"": ModelLoad(None, 2.0)}


def test_one_rank_with_unknown_kv_utilization_makes_the_highest_unknown() -> None:
    page = VLLM_MINIMAL + b'vllm:kv_cache_usage_perc{engine="0"} 0.5\nvllm:kv_cache_usage_perc{engine="1"} NaN\n'
    assert interpret(page, VLLM).gauges.kv_utilization is None


def test_lines_with_equal_labels_count_once() -> None:
    sample = interpret(VLLM_MINIMAL + VLLM_MINIMAL.replace(b" 1\n", b" 4\n"), VLLM)
    assert (sample.gauges.waiting, sample.gauges.running) == (4.0, 2.0)


def test_current_names_win_over_legacy_ones() -> None:
    page = VLLM_MINIMAL + b"vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.1\n"
    assert interpret(page, VLLM).gauges.kv_utilization == 0.1


def test_legacy_latency_histogram_is_read_when_the_current_one_is_absent() -> None:
    page = vllm_page().replace(b"vllm:inter_token_latency_seconds", b"vllm:time_per_output_token_seconds")
    assert interpret(page, VLLM).counts.histograms["inter_token_latency", "llama"].total == 36.0


def test_sglang_counts_cached_tokens_of_every_source_and_histograms_over_extra_labels() -> None:
    page = SGLANG_PAGE + b"".join(
        b'sglang:queue_time_seconds_bucket{model_name="m",is_streaming="%b",le="%b"} %d\n' % (streaming, bound, count)
        for streaming in (b"true", b"false")
        for bound, count in ((b"0.1", 1), (b"+Inf", 3))
    )
    sample = interpret(page, SGLANG)
    assert counters_of(sample.counts)["prefix_hits", "m"] == 42.0
    assert counters_of(sample.counts)["prefix_queries", "m"] == 100.0
    histogram = sample.counts.histograms["queue_time", "m"]
    assert histogram.counts.tolist() == [2.0, 6.0]
    assert math.isnan(histogram.sum)


def bucket(engine: int, bound: str, count: str) -> bytes:
    name = "vllm:request_queue_time_seconds_bucket"
    return f'{name}{{engine="{engine}",le="{bound}",model_name="m"}} {count}\n'.encode()


def test_ranks_with_different_buckets_are_added_at_the_bounds_they_share() -> None:
    page = VLLM_MINIMAL + bucket(0, "1.0", "1") + bucket(0, "2.0", "2") + bucket(0, "+Inf", "3")
    page += bucket(1, "2", "10") + bucket(1, "5.0", "20") + bucket(1, "+Inf", "30")
    histogram = interpret(page, VLLM).counts.histograms["queue_time", "m"]
    assert histogram.bounds == (2.0, math.inf)
    assert histogram.counts.tolist() == [12.0, 33.0]


def test_buckets_out_of_order_are_sorted() -> None:
    page = VLLM_MINIMAL + bucket(0, "+Inf", "3") + bucket(0, "2.0", "2") + bucket(0, "1.0", "1")
    histogram = interpret(page, VLLM).counts.histograms["queue_time", "m"]
    assert (histogram.bounds, histogram.counts.tolist()) == ((1.0, 2.0, math.inf), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("lines", [bucket(0, "1.0", "1"), bucket(0, "soon", "1"), bucket(0, "NaN", "1")], ids=repr)
def test_buckets_that_make_no_histogram_are_an_error(lines: bytes) -> None:
    with pytest.raises(ExpositionError, match="request_queue_time_seconds"):
        interpret(VLLM_MINIMAL + lines, VLLM)


def test_a_histogram_with_unknown_counts_is_left_out() -> None:
    page = VLLM_MINIMAL + bucket(0, "1.0", "NaN") + bucket(0, "+Inf", "3")
    assert interpret(page, VLLM).counts.histograms == {}


def test_what_is_no_number_is_left_out_and_the_rest_keeps_its_place() -> None:
    """Histograms of two ranks each, one of which is unknown, among them one that says nothing; counters likewise."""

    def histogram(name: str, counts: tuple[str, str], total: str) -> str:
        lines = [f'vllm:{name}_bucket{{model_name="m",engine="{rank}",le="1"}} {counts[0]}' for rank in "01"]
        lines += [f'vllm:{name}_bucket{{model_name="m",engine="{rank}",le="+Inf"}} {counts[1]}' for rank in "01"]
        return "\n".join([*lines, *(f'vllm:{name}_sum{{model_name="m",engine="{rank}"}} {total}' for rank in "01"), ""])

    page = VLLM_MINIMAL.decode() + "".join(
        (
            histogram("request_queue_time_seconds", ("1", "2"), "0.5"),
            histogram("request_prefill_time_seconds", ("NaN", "2"), "7"),
            histogram("time_to_first_token_seconds", ("3", "5"), "1.5"),
            'vllm:prompt_tokens_total{model_name="m"} 70\n',
            'vllm:generation_tokens_total{model_name="m",engine="0"} +Inf\n',
            'vllm:generation_tokens_total{model_name="m",engine="1"} -Inf\n',
            'vllm:num_preemptions_total{model_name="m",engine="0"} 3\n',
            'vllm:num_preemptions_total{model_name="m",engine="1"} 4\n',
        )
    )
    counts = interpret(page.encode(), VLLM).counts
    assert {key: (each.counts.tolist(), each.sum) for key, each in counts.histograms.items()} == {
        ("queue_time", "m"): ([2.0, 4.0], 1.0),
        ("time_to_first_token", "m"): ([6.0, 10.0], 3.0),
    }
    assert counters_of(counts) == {("prompt_tokens", "m"): 70.0, ("preemptions", "m"): 7.0}
    assert not counts.row.flags.writeable


def test_a_counter_of_many_processes_beside_one_of_many_models_takes_no_table_of_both() -> None:
    lines = [f'vllm:prompt_tokens_total{{model_name="m",engine="{number}"}} 1\n' for number in range(1_000)]
    lines += [f'vllm:generation_tokens_total{{model_name="{number}"}} 2\n' for number in range(99)]
    page = VLLM_MINIMAL + "".join(lines).encode()
    tracemalloc.start()
    counts = interpret(page, VLLM).counts
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(counts.row) == 1 + 99
    assert counts.row.sum() == 1_000 + 2 * 99
    assert peak < 8 << 20


def lora_line(labels: str, at: str) -> bytes:
    return f"vllm:lora_requests_info{{{labels}}} {at}\n".encode()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(b"", None, id="absent family"),
        pytest.param(
            lora_line('max_lora="4",running_lora_adapters="a, b",waiting_lora_adapters="c"', "1.7e9"),
            LoraState(frozenset("ab"), frozenset("c"), 4),
            id="one series",
        ),
        pytest.param(
            lora_line('max_lora="4",running_lora_adapters="new",waiting_lora_adapters=""', "1700000002.5")
            + lora_line('max_lora="4",running_lora_adapters="old",waiting_lora_adapters=""', "1700000001.5"),
            LoraState(frozenset({"new"}), frozenset(), 4),
            id="newest wins wherever it stands",
        ),
        pytest.param(
            lora_line('max_lora="many",running_lora_adapters="",waiting_lora_adapters=","', "1"),
            LoraState(frozenset(), frozenset(), None),
            id="empty lists, limit not a number",
        ),
        pytest.param(lora_line('max_lora="4"', "NaN"), None, id="no time"),
    ],
)
def test_lora_state_is_the_newest_series(lines: bytes, expected: LoraState | None) -> None:
    assert interpret(VLLM_MINIMAL + lines, VLLM).lora == expected


@pytest.mark.parametrize(
    ("lines", "loaded"),
    [
        pytest.param(
            b'vllm:lora_adapter_loaded{adapter_name="a",level="gpu",pinned="false"} 1\n'
            b'vllm:lora_adapter_loaded{adapter_name="a",level="cpu",pinned="false"} 1\n'
            b'vllm:lora_adapter_loaded{adapter_name="b",level="cpu",pinned="true"} 1\n',
            {"a", "b"},
            id="idle ones",
        ),
        pytest.param(b'vllm:lora_adapter_loaded{lora_name="a"} 1\n', {"a"}, id="by another label"),
        pytest.param(b'vllm:lora_adapter_loaded{adapter_name="a"} 0\n', set[str](), id="unloaded"),
        pytest.param(b'vllm:lora_adapter_loaded{adapter_name="a"} NaN\n', set[str](), id="unknown"),
        pytest.param(b'vllm:lora_adapter_loaded{level="gpu"} 1\n', set[str](), id="without a name"),
        pytest.param(b"", set[str](), id="not said"),
    ],
)
def test_lora_adapters_that_are_loaded_are_known_while_they_are_idle(lines: bytes, loaded: set[str]) -> None:
    alone = interpret(VLLM_MINIMAL + lines, VLLM).lora
    assert (alone.loaded if alone else set()) == loaded
    beside = interpret(VLLM_MINIMAL + lines + lora_line('max_lora="4",running_lora_adapters="c"', "1"), VLLM).lora
    assert beside is not None
    assert (beside.running, beside.loaded, beside.names) == ({"c"}, loaded, {"c", *loaded})


@pytest.mark.parametrize("case", TABLES["lora_metric"])
def test_lora_metric_as_the_reference_reads_it(case: dict[str, Any]) -> None:
    assert case["series"] == []
    assert interpret(VLLM_MINIMAL, VLLM).lora == case["want"]


def test_cache_sizes_are_those_of_a_rank_and_of_all_ranks() -> None:
    """Published as labels by SGLang, tensor-parallel ranks repeating them, and as values by trtllm-serve."""
    sglang = SGLANG_PAGE + b'sglang:cache_config_info{page_size="64",num_pages="1200",tp_rank="1"} 1.0\n'
    assert load(interpret(sglang, SGLANG))[3:] == (64, 1200)
    trtllm = TRTLLM_PAGE + TRTLLM_PAGE.replace(b'"trtllm"', b'"trtllm",rank="1"')
    assert load(interpret(trtllm, TRTLLM_SERVE))[3:] == (32, 202)


def test_cache_size_that_is_not_known_yet_is_unknown() -> None:
    page = VLLM_MINIMAL + b'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0\n'
    sample = interpret(page, VLLM)
    assert (sample.block_size_tokens, sample.num_blocks) == (16, None)


def test_fingerprint_moves_with_what_the_page_says_about_load_only() -> None:
    interpreter = Interpreter(VLLM)
    before = interpreter.interpret(vllm_page(waiting=1)).fingerprint
    assert interpreter.interpret(vllm_page(waiting=1).replace(b"gc", b"cg")).fingerprint == before
    assert interpreter.interpret(vllm_page(waiting=2)).fingerprint != before


def test_an_interpreter_that_has_seen_other_layouts_reads_like_a_new_one() -> None:
    interpreter = Interpreter(VLLM)
    for engines in (1, 3, 1, 2, 3):
        for model in ("a", "b"):
            page = vllm_page(model=model, engines=engines)
            seen, fresh = interpreter.interpret(page), interpret(page, VLLM)
            assert load(seen) == load(fresh)
            assert seen.models == fresh.models
            assert counters_of(seen.counts) == counters_of(fresh.counts)
            assert {key: one.counts.tolist() for key, one in seen.counts.histograms.items()} == {
                key: one.counts.tolist() for key, one in fresh.counts.histograms.items()
            }


def test_memory_of_layouts_is_bounded() -> None:
    """A server with other models on each page must not fill the memory."""
    interpreter = Interpreter(VLLM)

    before = sum(isinstance(each, MappingProxyType) for each in gc.get_objects())
    for number in range(25):
        ranks = [f'model_name="{number}-{rank}",engine="{row}"' for rank in range(100) for row in range(50)]
        page = "".join(f"vllm:num_requests_waiting{{{rank}}} 1\n" for rank in ranks)
        assert len(interpreter.interpret(page.encode()).models) == 100
    held = sum(isinstance(each, MappingProxyType) for each in gc.get_objects()) - before
    assert held < 80_000


def test_a_dialect_asks_for_everything_it_reads_and_nothing_twice() -> None:
    for dialect in DIALECTS.values():
        assert len(dialect.names) == len(set(dialect.names))
    assert "vllm:request_queue_time_seconds_bucket" in VLLM.names
    assert "vllm:request_queue_time_seconds_sum" in VLLM.names
    assert "vllm:request_queue_time_seconds_count" not in VLLM.names


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (vllm_page(), VLLM),
        (SGLANG_PAGE, SGLANG),
        (TRTLLM_PAGE, TRTLLM_SERVE),
        (TRITON_PAGE, TRITON_TENSORRT_LLM),
        (b"vllm:num_requests_waiting_by_reason 1\n", None),
        (b"", None),
    ],
    ids=["vllm", "sglang", "trtllm-serve", "triton", "other", "empty"],
)
def test_a_page_tells_its_dialect(page: bytes, expected: Dialect | None) -> None:
    assert detect(page) is expected


def test_the_names_of_lora_adapters_are_told_from_names_that_begin_alike() -> None:
    dialect = replace(
        VLLM,
        name="x",
        gauges=NO_SPECS._replace(
            waiting=(MetricSpec("x:requests_waiting"),), running=(MetricSpec("x:requests_running"),)
        ),
        lora=MetricSpec("x:requests"),
    )
    page = (
        b'x:requests{running_lora_adapters="a",max_lora="2"} 1\n'
        b"x:requests_waiting 3\nx:requests_running 2\n"
        b'x:requests{running_lora_adapters="b",max_lora="2"} 2\n'
    )
    sample = interpret(page, dialect)
    assert (sample.gauges.waiting, sample.gauges.running) == (3.0, 2.0)
    assert sample.lora is not None
    assert sample.lora.running == {"b"}


def test_one_name_may_tell_of_adapters_and_of_the_cache() -> None:
    dialect = replace(
        VLLM,
        name="x",
        lora=MetricSpec("vllm:info", {"kind": "lora"}),
        block_size=(CacheNumber(MetricSpec("vllm:info", {"kind": "cache"}), "block_size"),),
    )
    page = (
        b"vllm:num_requests_waiting 3\n"
        b'vllm:info{kind="lora",running_lora_adapters="a",max_lora="2"} 1\n'
        b'vllm:info{kind="cache",block_size="16"} 1\n'
    )
    sample = interpret(page, dialect)
    assert sample.block_size_tokens == 16
    assert sample.lora is not None
    assert sample.lora.running == {"a"}
