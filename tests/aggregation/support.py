"""A store with two pools of different size, load and models."""

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.sample import GpuSample, ModelLoad
from infscale.metrics.store.metrics_store import MetricStore
from tests.fakes.samples import engine_sample


def world() -> MetricStore:
    """Pool a: one pod of three ranks, each 2 waiting and a full cache; pool b: one pod, 3 waiting, half full."""
    store = MetricStore("s")
    ranks = {"a": 3, "b": 1}
    endpoints = [
        Endpoint(EndpointKey("llm", name, rank), "127.0.0.1", 8000 + 10 * (name == "b") + rank, {"pool": name})
        for name, count in ranks.items()
        for rank in range(count)
    ]
    pools = tuple(Pool(ObjectKey("llm", name), {"pool": name}) for name in ranks)
    store.sync(DiscoveryState(tuple(endpoints), pools))
    for endpoint in endpoints:
        waiting, kv, gpu = (2.0, 1.0, 0.9) if endpoint.key.name == "a" else (3.0, 0.5, 0.1)
        sample = engine_sample(waiting, 1.0, kv, {f"of-{endpoint.key.name}": ModelLoad(waiting, 1.0)})
        store.record_scrape(endpoint.key, sample, 1.0)
        store.record_beside(GPU, endpoint.key, GpuSample(gpu * 80, 80, gpu), 1.0)
    return store
