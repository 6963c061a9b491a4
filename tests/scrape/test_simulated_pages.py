"""The pages of simulated servers, which have the size and the words of real ones."""

from contextlib import closing

import pytest

from infscale.endpoint import EndpointKey
from infscale.metrics.pages.dialects import SGLANG, TRTLLM_SERVE, VLLM, Dialect, Interpreter, detect, interpret
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
