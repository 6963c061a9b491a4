"""Metrics pages: what is on them, how large they are, and what ``name[]`` leaves."""

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client import Histogram as LibraryHistogram
from prometheus_client.parser import text_string_to_metric_families

from infscale.sim.engine.recorder import (
    FIRST_TOKEN_BOUNDS,
    REQUEST_BOUNDS,
    TOKEN_GAP_BOUNDS,
    Histogram,
    HttpRecorder,
    Recorder,
    one_two_five,
)
from infscale.sim.pages.engine_pages import EngineSkin, PageSubject
from infscale.sim.pages.families import Page, PageView, RankView, label_text, rank_family
from infscale.sim.pages.gpu_page import GpuMeter, gpu_page
from infscale.sim.pages.page_skins import page_for
from infscale.sim.pages.vllm_table import SERVED_PATHS

MODEL = "Qwen/Qwen3-32B"


def subject(ranks: int = 1, model: str = MODEL) -> PageSubject:
    return PageSubject(model, ranks, 16, 19_208, 40_960, 4, 1.79e9)


def view(*ranks: RankView, wall_seconds: float = 1.8e9) -> PageView:
    return PageView(ranks, HttpRecorder(SERVED_PATHS), 12.5, wall_seconds)


def rank(waiting: int = 3, running: int = 5, batch: tuple[str, ...] = (), queue: tuple[str, ...] = ()) -> RankView:
    recorder = Recorder(40_960)
    recorder.histograms.queue.observe(0.4, 2)
    recorder.histograms.queue.observe(9000.0)
    return RankView(waiting, 1, running, 0.25, 4000, batch, queue, recorder)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is on the page twice"
            found[key] = sample.value
    return found


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset(pairs.items())


def names_of(text: str) -> set[str]:
    return {name for name, _ in samples(text)}


def test_a_vllm_page_is_as_large_as_a_real_one() -> None:
    assert 80_000 <= len(page_for(EngineSkin.VLLM, subject()).render(view(rank()))) <= 100_000


@pytest.mark.parametrize("skin", EngineSkin, ids=lambda skin: skin.value)
@pytest.mark.parametrize("ranks", [1, 3])
def test_every_page_parses_without_duplicate_samples(skin: EngineSkin, ranks: int) -> None:
    text = page_for(skin, subject(ranks)).render(view(*[rank() for _ in range(ranks)]))
    assert len(samples(text)) >= 5 * ranks


@pytest.mark.parametrize(
    ("skin", "name", "more", "value"),
    [
        (EngineSkin.VLLM, "vllm:num_requests_waiting", {"engine": "0", "model_name": MODEL}, 3),
        (EngineSkin.VLLM, "vllm:num_requests_running", {"engine": "0", "model_name": MODEL}, 5),
        (
            EngineSkin.VLLM,
            "vllm:num_requests_waiting_by_reason",
            {"engine": "0", "model_name": MODEL, "reason": "capacity"},
            2,
        ),
        (EngineSkin.VLLM, "vllm:kv_cache_usage_perc", {"engine": "0", "model_name": MODEL}, 0.25),
        (EngineSkin.VLLM_LEGACY, "vllm:gpu_cache_usage_perc", {"engine": "0", "model_name": MODEL}, 0.25),
        (EngineSkin.TRTLLM, "trtllm_num_requests_waiting", {"engine_type": "pytorch", "model_name": MODEL}, 3),
        (EngineSkin.TRTLLM, "trtllm_kv_cache_utilization", {"engine_type": "pytorch", "model_name": MODEL}, 0.25),
        (EngineSkin.TRTLLM, "trtllm_kv_cache_tokens_per_block", {"engine_type": "pytorch", "model_name": MODEL}, 16),
        (EngineSkin.VLLM, "process_cpu_seconds_total", {}, 12.5),
    ],
)
def test_engine_state_is_under_the_engines_own_names(
    skin: EngineSkin, name: str, more: dict[str, str], value: float
) -> None:
    found = samples(page_for(skin, subject()).render(view(rank())))
    assert found[name, labels(**more)] == value


def test_sglang_names_and_cache_config() -> None:
    found = samples(page_for(EngineSkin.SGLANG, subject()).render(view(rank())))
    values = {name: value for (name, _), value in found.items()}
    assert (values["sglang:num_queue_reqs"], values["sglang:num_running_reqs"]) == (3, 5)
    assert values["sglang:token_usage"] == 0.25
    (config,) = [dict(pairs) for name, pairs in found if name == "sglang:cache_config_info"]
    assert (config["page_size"], config["num_pages"]) == ("16", "19208")


def test_legacy_pages_have_no_current_names() -> None:
    names = names_of(page_for(EngineSkin.VLLM_LEGACY, subject()).render(view(rank())))
    assert "vllm:kv_cache_usage_perc" not in names
    assert "vllm:inter_token_latency_seconds_count" not in names
    assert "vllm:time_per_output_token_seconds_count" in names


def test_cache_config_names_blocks_and_engine_but_no_model() -> None:
    found = samples(page_for(EngineSkin.VLLM, subject(ranks=2)).render(view(rank(), rank())))
    configs = [dict(pairs) for name, pairs in found if name == "vllm:cache_config_info"]
    assert sorted(config["engine"] for config in configs) == ["0", "1"]
    assert all(config["num_gpu_blocks"] == "19208" and config["block_size"] == "16" for config in configs)
    assert not any("model_name" in config for config in configs)


def test_ranks_have_a_series_each() -> None:
    found = samples(page_for(EngineSkin.VLLM, subject(ranks=2)).render(view(rank(waiting=1), rank(waiting=7))))
    waiting = [found["vllm:num_requests_waiting", labels(engine=one, model_name=MODEL)] for one in ("0", "1")]
    assert waiting == [1, 7]


def test_histograms_are_cumulative_and_end_at_infinity() -> None:
    found = samples(page_for(EngineSkin.VLLM, subject()).render(view(rank())))
    name = "vllm:request_queue_time_seconds_bucket"
    buckets = {dict(pairs)["le"]: value for (one, pairs), value in found.items() if one == name}
    assert (buckets["0.3"], buckets["0.5"], buckets["7680.0"], buckets["+Inf"]) == (0, 2, 2, 3)
    assert len(buckets) == len(REQUEST_BOUNDS) + 1


def test_a_block_is_written_again_after_an_observation() -> None:
    page, shown = page_for(EngineSkin.VLLM, subject()), view(rank())
    key = ("vllm:request_queue_time_seconds_count", labels(engine="0", model_name=MODEL))
    before = samples(page.render(shown))[key]
    shown.ranks[0].recorder.histograms.queue.observe(1.0)
    assert samples(page.render(shown))[key] == before + 1


def test_lora_info_keeps_older_label_sets_and_dates_them() -> None:
    page = page_for(EngineSkin.VLLM, subject())
    page.render(view(rank(batch=("a",)), wall_seconds=100.0))
    found = samples(page.render(view(rank(batch=("a", "b"), queue=("c",)), wall_seconds=200.0)))
    name = "vllm:lora_requests_info"
    assert found[name, labels(max_lora="4", running_lora_adapters="a", waiting_lora_adapters="")] == 100.0
    assert found[name, labels(max_lora="4", running_lora_adapters="a,b", waiting_lora_adapters="c")] == 200.0


def test_only_the_names_asked_for_are_given() -> None:
    page, shown = page_for(EngineSkin.VLLM, subject()), view(rank())
    text = page.render(shown, ["vllm:num_requests_waiting", "vllm:request_queue_time_seconds_bucket"])
    assert names_of(text) == {"vllm:num_requests_waiting", "vllm:request_queue_time_seconds_bucket"}
    assert page.render(shown, ["vllm:no_such_metric"]) == ""


def test_names_are_restricted_as_the_library_does_it() -> None:
    """prometheus_client gives samples of exactly these names; a histogram's family name gives nothing."""
    registry = CollectorRegistry()
    LibraryHistogram("h_seconds", "text", registry=registry)
    Gauge("g", "text", registry=registry)
    for names in (["h_seconds"], ["h_seconds_sum"], ["g"], ["g", "h_seconds_bucket"]):
        theirs = generate_latest(registry.restricted_registry(names)).decode()
        ours = page_for(EngineSkin.VLLM, subject()).render(
            view(rank()),
            [name.replace("h_", "vllm:time_to_first_token_").replace("g", "python_info") for name in names],
        )
        assert len(names_of(theirs)) == len(names_of(ours))


def test_a_frozen_page_does_not_move() -> None:
    page, shown = page_for(EngineSkin.VLLM, subject()), view(rank())
    frozen = page.frozen(shown)
    before = frozen.render(shown)
    shown.ranks[0].recorder.histograms.queue.observe(1.0)
    assert frozen.render(view(rank(waiting=99))) == before
    assert names_of(frozen.render(shown, ["vllm:num_requests_waiting"])) == {"vllm:num_requests_waiting"}


def test_label_values_are_escaped() -> None:
    odd = 'a"b\\c\nd%s'
    text = page_for(EngineSkin.VLLM, subject(model=odd)).render(view(rank()))
    assert ("vllm:num_requests_waiting", labels(engine="0", model_name=odd)) in samples(text)
    assert label_text({"b": "2", "a": "1"}) == 'a="1",b="2"'


def test_large_numbers_are_written_as_the_library_writes_them() -> None:
    registry = CollectorRegistry()
    Gauge("g", "text", registry=registry).set(12_345_678.0)
    page = Page((rank_family("g", "gauge", "text", [([""], lambda _: 12_345_678)]),))
    assert page.render(view(rank())) == generate_latest(registry).decode()


@pytest.mark.parametrize(
    ("bounds", "first", "last", "count"),
    [(FIRST_TOKEN_BOUNDS, 0.001, 2560.0, 22), (TOKEN_GAP_BOUNDS, 0.01, 80.0, 19), (REQUEST_BOUNDS, 0.3, 7680.0, 21)],
    ids=["first token", "token gap", "request"],
)
def test_bucket_bounds_are_vllms(bounds: tuple[float, ...], first: float, last: float, count: int) -> None:
    assert (bounds[0], bounds[-1], len(bounds)) == (first, last, count)
    assert list(bounds) == sorted(set(bounds))


def test_token_bounds_stop_at_the_longest_context() -> None:
    assert one_two_five(100) == (1, 2, 5, 10, 20, 50, 100)
    assert one_two_five(99)[-1] == 50


def test_an_observation_at_a_bound_is_within_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.counts == [1, 2, 1]


def test_gpu_page_adds_up_to_the_memory_there_is() -> None:
    meter = GpuMeter(("llm", "vllm-0"), "NVIDIA H100 80GB HBM3", 2, 80 * 1024**3)
    found = samples(gpu_page(meter.read(10.0, 2.5, 1.0)))
    for gpu in ("0", "1"):
        memory = {
            name: value
            for (name, pairs), value in found.items()
            if "_FB_" in name and dict(pairs)["gpu"] == gpu and dict(pairs)["pod"] == "vllm-0"
        }
        assert sum(memory.values()) == 80 * 1024
        assert memory["DCGM_FI_DEV_FB_USED"] == 73_728
    utils = {value for (name, _), value in found.items() if name == "DCGM_FI_DEV_GPU_UTIL"}
    assert utils == {25}


def test_a_starting_engine_fills_its_memory_gradually() -> None:
    meter = GpuMeter(("llm", "vllm-0"), "NVIDIA L4", 1, 24 * 1024**3)
    used = [meter.read(now, 0.0, share)[0].memory_used_bytes for now, share in ((0.0, 0.0), (1.0, 0.5), (2.0, 1.0))]
    assert used[0] == 0 < used[1] < used[2]
