"""Kinds of GPU exporters: which counts where several report the same pod."""

import itertools

import pytest

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.published.gpu_readers import GPU_STALENESS_SECONDS
from infscale.metrics.sample import GpuSample
from infscale.metrics.store.metrics_store import MetricStore
from infscale.sources.gpu_kinds import GPU_KINDS
from infscale.sources.node_agents import NODE_AGENT

POOL = ObjectKey("llm", "a")
KINDS = {kind.key: kind for kind in (*GPU_KINDS, NODE_AGENT)}


@pytest.mark.parametrize("other", ["dcgm", "amd_gpu", "intel_gpu", "node_agent"])
def test_hami_counts_beside_another_source_while_it_is_heard(other: str) -> None:
    """HAMi knows what a pod has of a GPU, the others what all of the GPU does: the two must not take turns."""
    store, key = MetricStore("s"), EndpointKey("llm", "a-0")
    store.sync(DiscoveryState((Endpoint(key, "127.0.0.1", 1),), (Pool(POOL, {}),)))
    hami, whole = GpuSample(1.0, 10.0, 0.5), GpuSample(70.0, 80.0, 0.9)

    def used_after(kind: str, sample: GpuSample, at: float) -> float:
        store.record_beside(KINDS[kind].source, key, sample, at)
        snapshot = store.snapshot(POOL)
        assert snapshot is not None
        return float(snapshot.columns.pod.gpu_memory_used_bytes[0])

    assert used_after(other, whole, 0.0) == 70.0
    turns = itertools.chain.from_iterable((("hami", hami, at), (other, whole, at + 0.5)) for at in (1.0, 11.0, 21.0))
    assert {used_after(*turn) for turn in turns} == {1.0}
    assert used_after(other, whole, 21.5 + GPU_STALENESS_SECONDS / 2) == 70.0, "HAMi was silent for too long"
