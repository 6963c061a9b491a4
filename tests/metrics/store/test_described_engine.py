"""What is known of an engine before it is watched, and what follows for its steps."""

from dataclasses import replace

import pytest

from infscale.endpoint import DiscoveryState, Endpoint, Pool
from infscale.latency.priors import shipped
from infscale.metrics.sample import GpuHardware, GpuSample, ModelLoad
from infscale.metrics.snapshot import Columns
from infscale.metrics.store.described_engine import Described, described
from infscale.metrics.store.metrics_store import MetricStore
from infscale.sources.gpu_kinds import GPU
from tests.fakes.pools import POOL, endpoint
from tests.fakes.samples import engine_sample

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
SAMPLE = engine_sample(0.0, 1.0, 0.1, {LLAMA: ModelLoad(0.0, 1.0)})
HARDWARE = GpuHardware("NVIDIA H100 80GB HBM3", 2)


@pytest.mark.parametrize(
    ("labels", "hardware", "wanted"),
    [
        ({}, None, Described(LLAMA, "", None, "")),
        ({}, HARDWARE, Described(LLAMA, "NVIDIA H100 80GB HBM3", 2, "")),
        ({"infscale.dev/gpu": "H200", "infscale.dev/gpus": "4"}, HARDWARE, Described(LLAMA, "H200", 4, "")),
        (
            {"nvidia.com/gpu.product": "NVIDIA-L4", "infscale.dev/gpus": "many"},
            None,
            Described(LLAMA, "NVIDIA-L4", None, ""),
        ),
        ({"llm-d.ai/engine-type": "sglang"}, None, Described(LLAMA, "", None, "sglang")),
    ],
)
def test_labels_count_before_what_exporters_say(
    labels: dict[str, str], hardware: GpuHardware | None, wanted: Described
) -> None:
    assert described(endpoint(0, labels), SAMPLE, hardware) == wanted


def store_of(each: Endpoint) -> MetricStore:
    store = MetricStore("test", priors=shipped())
    store.sync(DiscoveryState((each,), (Pool(POOL, {}),)))
    return store


def columns(store: MetricStore) -> Columns:
    snapshot = store.snapshot(POOL)
    assert snapshot is not None
    return snapshot.columns


def test_an_engine_has_a_model_at_its_first_scrape_where_its_like_is_known() -> None:
    store = store_of(endpoint(0, {"infscale.dev/gpu": "H100", "infscale.dev/gpus": "1"}))
    assert not columns(store).steps.usable.any()
    store.record_scrape(endpoint(0).key, SAMPLE, 1.0)
    assert columns(store).steps.usable.all()
    assert columns(store).steps.base[0] == pytest.approx(6.4e-3, rel=0.05)
    assert "measurements" in columns(store).step_sources[0]


def test_it_has_one_once_an_exporter_names_its_gpus() -> None:
    store = store_of(endpoint(0))
    store.record_scrape(endpoint(0).key, SAMPLE, 1.0)
    assert not columns(store).steps.usable.any()
    assert "GPU is not known" in columns(store).step_sources[0]
    store.record_beside(GPU, endpoint(0).key, replace(GpuSample(1.0, 2.0, 0.5), hardware=HARDWARE), 1.5)
    store.record_scrape(endpoint(0).key, SAMPLE, 2.0)
    assert columns(store).steps.usable.all()
