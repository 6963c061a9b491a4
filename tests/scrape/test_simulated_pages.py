"""The pages of simulated servers, which have the size and the words of real ones."""

from contextlib import closing

import pytest

from infscale.endpoint import EndpointKey
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import (
    LLAMACPP,
    LMDEPLOY,
    SGLANG,
    TGI,
    TRITON,
    TRITON_TENSORRT_LLM,
    TRTLLM_SERVE,
    VLLM,
)
from infscale.metrics.pages.interpreter import Interpreter, detect, interpret
from infscale.scrape.loop import TargetLoop
from infscale.scrape.target import Target
from infscale.sim.engine.recorder import HttpRecorder, Recorder
from infscale.sim.pages.engine_pages import EngineSkin, PageSubject
from infscale.sim.pages.families import PageView, RankView
from infscale.sim.pages.page_skins import page_for
from infscale.sim.pages.vllm_table import SERVED_PATHS
from tests.fakes.counts import counters_of
from tests.scrape.servers import RecordingSink
from tests.sim.simulated import quick_settings, running

MODEL = "Qwen/Qwen3-32B"
LATENCIES = ("queue_time", "time_to_first_token", "inter_token_latency", "request_latency")


def page(skin: EngineSkin, ranks: int) -> bytes:
    views: list[RankView] = []
    for _ in range(ranks):
        recorder = Recorder(40_960)
        recorder.histograms.queue.observe(0.4, 2)
        views.append(RankView(3, 1, 5, 0.25, 4000, (), (), recorder))
    subject = PageSubject(MODEL, ranks, 16, 19_208, 40_960, 4, 1.79e9)
    return page_for(skin, subject).render(PageView(tuple(views), HttpRecorder(SERVED_PATHS), 12.5, 1.8e9)).encode()


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(
    ("skin", "dialect"),
    [
        (EngineSkin.VLLM, VLLM),
        (EngineSkin.VLLM_LEGACY, VLLM),
        (EngineSkin.SGLANG, SGLANG),
        (EngineSkin.TRTLLM, TRTLLM_SERVE),
    ],
    ids=["vllm", "vllm-legacy", "sglang", "trtllm"],
)
def test_a_simulated_page_is_understood(skin: EngineSkin, dialect: Dialect, ranks: int) -> None:
    text = page(skin, ranks)
    assert detect(text) is dialect
    sample = interpret(text, dialect)
    assert (sample.gauges.waiting, sample.gauges.running, sample.gauges.kv_utilization) == (
        3.0 * ranks,
        5.0 * ranks,
        0.25,
    )
    assert sample.models.keys() == {MODEL}
    assert sample.counts.histograms["queue_time", MODEL].total == 2.0 * ranks
    assert {name for name, _ in sample.counts.histograms} == dialect.histograms.keys()
    assert sample.block_size_tokens == 16
    assert sample.num_blocks == 19_208 * ranks
    assert {"prompt_tokens", "generation_tokens", "requests_finished"} <= {
        name for name, _ in counters_of(sample.counts)
    }


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(
    ("skin", "dialect", "model", "unknown"),
    [
        (EngineSkin.TRITON, TRITON, MODEL, {"running", "kv_utilization", "kv_used_tokens", *LATENCIES}),
        (EngineSkin.TRITON_TRTLLM, TRITON_TENSORRT_LLM, MODEL, {*LATENCIES}),
        (EngineSkin.TGI, TGI, "", {"kv_utilization", "kv_used_tokens", "time_to_first_token"}),
        (EngineSkin.LLAMACPP, LLAMACPP, "", {*LATENCIES}),
        (EngineSkin.LMDEPLOY, LMDEPLOY, MODEL, {"kv_used_tokens"}),
    ],
    ids=lambda each: each.value if isinstance(each, EngineSkin) else "",
)
def test_a_simulated_page_is_read_for_what_its_engine_has(
    skin: EngineSkin, dialect: Dialect, model: str, unknown: set[str], ranks: int
) -> None:
    text = page(skin, ranks)
    assert detect(text) is dialect
    sample = interpret(text, dialect)
    expected = {"waiting": 3.0 * ranks, "running": 5.0 * ranks, "kv_utilization": 0.25}
    read = sample.gauges._asdict()
    assert {name: read[name] for name in expected} == expected | dict.fromkeys(unknown & expected.keys())
    assert (read["kv_used_tokens"] is None) == ("kv_used_tokens" in unknown)
    assert sample.models.keys() == {model}
    assert {name for name, _ in sample.counts.histograms} >= set(LATENCIES) - unknown
    assert not {name for name, _ in sample.counts.histograms} & unknown
    assert not sample.refused


async def test_a_simulated_server_is_scraped_by_name() -> None:
    sink = RecordingSink()
    async with running() as (_, clients):
        target = Target(EndpointKey("default", "sim-0"), f"{clients[0].url}/metrics")
        loop = TargetLoop(target, sink, Interpreter, lambda: 1.0)
        with closing(loop):
            await loop.step(5.0)
            await loop.step(5.0)
    assert [(sample.gauges.waiting, sample.gauges.running) for _, sample, _ in sink.samples] == [(0.0, 0.0)] * 2
    assert loop.health.mode == "named"
    assert (loop.health.page_bytes or 0) < 30_000


async def test_a_simulated_server_that_has_its_page_elsewhere_is_found_out() -> None:
    sink = RecordingSink()
    async with running(quick_settings(skin=EngineSkin.TRTLLM)) as (_, clients):
        status, text = await clients[0].get("/metrics")
        target = Target(EndpointKey("default", "sim-0"), f"{clients[0].url}/metrics", None)
        with closing(TargetLoop(target, sink, Interpreter, lambda: 1.0)) as loop:
            await loop.step(5.0)
            await loop.step(5.0)
    assert (status, text) == (200, '[{"numActiveRequests":0,"numQueuedRequests":0}]')
    assert [(sample.gauges.waiting, sample.gauges.running) for _, sample, _ in sink.samples] == [(0.0, 0.0)] * 2
    assert loop.health.mode == "named"
