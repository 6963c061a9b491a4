"""Pages of dcgm-exporters as users report them: shared GPUs, values that cannot be, devices that publish little."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import Unavailable
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.pages.dialects import VLLM
from infscale.metrics.pages.interpreter import interpret
from infscale.metrics.published.answers import group_reading, pod_readings, weight
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.sources.gpu_exporter_page import GpuPageReader
from tests.adapter.support import POOLS, World

PAGES = Path(__file__).parent / "pages"
POOL = Pool(ObjectKey("default", "chat"), {"app": "vllm"})
MIB = 1024.0 * 1024.0
USED, TOTAL = "gpu_memory_used_bytes", "gpu_memory_total_bytes"
RATIO, UTILIZATION = "gpu_memory_used_ratio", "gpu_utilization_ratio"


def page(name: str) -> bytes:
    return (PAGES / name).read_bytes()


def line(name: str, pod: str, value: float, gpu: int = 0, more: str = "") -> str:
    holder = f',namespace="default",pod="{pod}"' if pod else ""
    return f'DCGM_FI_DEV_{name}{{gpu="{gpu}",UUID="GPU-{gpu}",hostname="n"{more}{holder}}} {value}\n'


class Gpus:
    """A pool of some pods, and what is read of them from exporters' pages."""

    def __init__(self, *pods: str) -> None:
        self.endpoints = [
            Endpoint(EndpointKey("default", pod), f"10.0.0.{number}", 8000, {"app": "vllm"})
            for number, pod in enumerate(pods, 1)
        ]
        self.store = MetricStore("s")
        self.store.sync(DiscoveryState(tuple(self.endpoints), (POOL,)))

    def read(self, page: bytes) -> "Gpus":
        samples = GpuPageReader().read(page)
        for endpoint in self.endpoints:
            if (sample := samples.get(endpoint.key.pod)) is not None:
                self.store.record_beside(GPU, endpoint.key, sample, 0.0)
        return self

    @property
    def view(self) -> PoolSnapshot:
        snapshot = self.store.snapshot(POOL.key)
        assert snapshot is not None
        return snapshot

    def pods(self, metric: str) -> dict[str, float]:
        return {pod.name: reading.value for pod, reading in pod_readings(BY_NAME[metric], self.view, 1.0)}

    def pool(self, metric: str, *only: str) -> float | str:
        members = np.array([not only or endpoint.key.name in only for endpoint in self.endpoints])
        reading = group_reading(BY_NAME[metric], self.view, 1.0, None, members)
        return reading.reason if isinstance(reading, Unknown) else reading.value


def test_a_gpu_that_pods_share_is_one_and_each_pod_uses_its_own_part() -> None:
    gpus = Gpus("a-0", "b-0", "c-0").read(page("dcgm-shared-gpu.prom"))
    assert gpus.pods(TOTAL) == dict.fromkeys(("a-0", "b-0", "c-0"), 81_920 * MIB)
    assert gpus.pods(USED) == {"a-0": 40_000 * MIB, "b-0": 20_000 * MIB, "c-0": 0.0}
    assert gpus.pods(RATIO) == pytest.approx({"a-0": 0.48828125, "b-0": 0.244140625, "c-0": 0.0})
    assert gpus.pods(UTILIZATION) == {"a-0": 0.6, "b-0": 0.3, "c-0": 0.0}
    assert gpus.pool(TOTAL) == 81_920 * MIB
    assert gpus.pool(USED) == 61_000 * MIB, "the device's own series knows what belongs to no pod"
    assert gpus.pool(RATIO) == pytest.approx(61_000 / 81_920)
    assert gpus.pool(UTILIZATION) == 0.9


def test_pods_that_share_a_gpu_with_others_have_what_they_use_of_it() -> None:
    gpus = Gpus("a-0", "b-0", "c-0").read(page("dcgm-shared-gpu.prom"))
    assert gpus.pool(USED, "a-0", "c-0") == 40_000 * MIB
    assert gpus.pool(TOTAL, "a-0", "c-0") == 81_920 * MIB
    assert gpus.pool(UTILIZATION, "a-0", "b-0") == pytest.approx(0.9)
    for pod in ("a-0", "b-0", "c-0"):
        for metric in (USED, TOTAL, RATIO, UTILIZATION):
            assert gpus.pool(metric, pod) == pytest.approx(gpus.pods(metric)[pod])


def test_a_gpu_whose_values_every_pod_repeats_counts_once() -> None:
    gpus = Gpus("d-0", "e-0").read(page("dcgm-shared-gpu-device-values.prom"))
    assert gpus.pods(TOTAL) == dict.fromkeys(("d-0", "e-0"), 81_920 * MIB)
    assert gpus.pods(RATIO) == pytest.approx(dict.fromkeys(("d-0", "e-0"), 61_000 / 81_920))
    assert (gpus.pool(TOTAL), gpus.pool(USED)) == (81_920 * MIB, 61_000 * MIB)
    assert gpus.pool(RATIO) == pytest.approx(61_000 / 81_920)
    assert gpus.pool(UTILIZATION) == 0.9


def test_a_shared_gpu_beside_one_that_is_not_counts_as_one_of_two() -> None:
    values = {"FB_USED": 20_000, "FB_FREE": 61_920, "GPU_UTIL": 10}
    alone = "".join(line(name, "d-1", value, gpu=7) for name, value in values.items())
    gpus = Gpus("d-0", "e-0", "d-1").read(page("dcgm-shared-gpu-device-values.prom") + alone.encode())
    assert gpus.pool(TOTAL) == 2 * 81_920 * MIB
    assert gpus.pool(USED) == 81_000 * MIB
    assert gpus.pool(RATIO) == pytest.approx((61_000 + 20_000) / 81_920 / 2)
    assert gpus.pool(UTILIZATION) == pytest.approx((0.9 + 0.1) / 2)
    assert weight(BY_NAME[RATIO], gpus.view) == 2
    new = Endpoint(EndpointKey("default", "new"), "10.0.0.9", 1, {"app": "vllm"})
    gpus.store.sync(DiscoveryState((*gpus.endpoints, new), (POOL,)))
    reading = group_reading(BY_NAME[TOTAL], gpus.view, 1.0)
    assert not isinstance(reading, Unknown)
    assert reading.value == 3 * 81_920 * MIB, "a pod without a value counts as the highest member"


@given(
    parts=st.lists(st.integers(0, 10_000), min_size=2, max_size=6, unique=True),
    free=st.integers(0, 10_000),
    device=st.booleans(),
    inside=st.integers(1, 6),
)
def test_a_group_never_has_more_of_a_shared_gpu_than_there_is(
    parts: Sequence[int], free: int, device: bool, inside: int
) -> None:
    """Pods that use different amounts; the exporter has the device's own series or not."""
    names = [f"p-{number}" for number in range(len(parts))]
    text = "".join(line("FB_USED", name, used) for name, used in zip(names, parts, strict=True))
    text += "".join(line("FB_FREE", name, free) for name in names)
    text += line("FB_USED", "", sum(parts)) if device else ""
    gpus = Gpus(*names).read(text.encode())
    total = (sum(parts) + free) * MIB
    assert set(gpus.pods(TOTAL).values()) == {total}
    some = names[:inside]
    assert gpus.pool(TOTAL, *some) == total
    assert gpus.pool(USED, *some) == sum(parts[:inside]) * MIB


@pytest.mark.parametrize(
    ("gpus_of", "members"),
    [
        ({"a": [0], "b": [0], "c": [1], "d": [1]}, 2),
        ({"a": [0], "b": [0, 1], "c": [1]}, 1),
        ({"a": [0], "c": [1], "b": [0, 1]}, 1),
        ({"a": [0, 1], "b": [2, 3], "c": [1, 2], "d": [4]}, 2),
    ],
    ids=["pairs", "by way of another", "joined by the last", "chain and one alone"],
)
def test_each_gpu_of_pods_that_share_some_counts_once(gpus_of: dict[str, list[int]], members: int) -> None:
    held = [(pod, gpu) for pod, gpus in gpus_of.items() for gpu in gpus]
    text = "".join(line("FB_USED", pod, 10, gpu) + line("FB_FREE", pod, 30, gpu) for pod, gpu in held)
    gpus = Gpus(*gpus_of).read(text.encode())
    devices = {gpu for _, gpu in held}
    assert gpus.pool(TOTAL) == 40 * MIB * len(devices)
    assert gpus.pool(USED) == 10 * MIB * len(devices)
    assert gpus.pool(RATIO) == 0.25
    assert weight(BY_NAME[RATIO], gpus.view) == members


def test_gpus_of_two_exporters_that_name_none_are_two() -> None:
    text = "".join(f'DCGM_FI_DEV_FB_{name}{{gpu="0",namespace="default",pod="POD"}} 5\n' for name in ("USED", "FREE"))
    gpus = Gpus("a", "b")
    for endpoint, source in zip(gpus.endpoints, ("http://n1", "http://n2"), strict=True):
        both = text.replace("POD", endpoint.key.name) + text.replace("POD", "another")
        gpus.store.record_beside(GPU, endpoint.key, GpuPageReader(source).read(both.encode())[endpoint.key.pod], 0.0)
    assert gpus.pool(TOTAL) == 2 * 10 * MIB


def test_a_page_with_very_many_pods_on_one_gpu_is_read_in_proportion() -> None:
    """Nine thousand pods that share a GPU: what is worked out of all of them is so once."""
    text = "".join(line("FB_USED", f"p-{number}", number) for number in range(9_000))
    assert len(GpuPageReader().read(text.encode())) == 9_000


# Values that cannot be, and values that are not there


def test_a_utilisation_out_of_range_is_unknown_with_its_cause() -> None:
    gpus = Gpus("a-0", "b-0", "c-0").read(page("dcgm-utilisation-out-of-range.prom"))
    assert gpus.pods(UTILIZATION) == {"a-0": 0.61}
    assert gpus.pool(UTILIZATION) == (
        "2 of 3 ready endpoints of default/chat do not report it: the page says 127431 %, "
        "which is not within 0 to 100 % (default/b-0)"
    )
    assert "4294967295 %" in str(gpus.pool(UTILIZATION, "c-0"))


@pytest.mark.parametrize("value", ["100.001", "101", "127431", "4294967295", "9e18", "+Inf", "1e400", "-0.1", "-10"])
@pytest.mark.parametrize("name", ["DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"])
def test_no_ratio_is_above_1(name: str, value: str) -> None:
    slice_of = ',GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"' if "ACTIVE" in name else ""
    text = f'{name}{{gpu="0",UUID="GPU-0"{slice_of},namespace="default",pod="a-0"}} {value}\n'
    gpus = Gpus("a-0").read(text.encode())
    assert gpus.pods(UTILIZATION) == {}
    assert "which is not within 0 to 100 %" in str(gpus.pool(UTILIZATION))


@pytest.mark.parametrize(
    ("name", "pod", "utilization"),
    [("dcgm-unified-memory.prom", "gb10-0", 0.87), ("dcgm-mig-only.prom", "mig-0", 0.42)],
)
def test_a_gpu_without_framebuffer_has_a_utilisation_and_no_memory(name: str, pod: str, utilization: float) -> None:
    gpus = Gpus(pod).read(page(name))
    assert gpus.pods(UTILIZATION) == {pod: utilization}
    assert gpus.pool(UTILIZATION) == utilization
    for metric in (USED, TOTAL, RATIO):
        assert gpus.pods(metric) == {}
        assert "the exporter does not publish it" in str(gpus.pool(metric))


def test_what_is_used_without_what_is_free_has_no_total() -> None:
    gpus = Gpus("a-0").read(page("dcgm-utilisation-out-of-range.prom"))
    assert gpus.pool(USED) == 70_000 * MIB
    assert "the exporter does not publish it" in str(gpus.pool(TOTAL))


def test_more_memory_than_there_can_be_is_unknown() -> None:
    gpus = Gpus("a-0").read(line("FB_USED", "a-0", 1e12).encode())
    assert "which is not within" in str(gpus.pool(USED))


def test_more_memory_in_use_than_there_is_makes_no_ratio_and_is_said() -> None:
    text = line("FB_USED", "a-0", 20_000) + line("FB_TOTAL", "a-0", 10_000)
    gpus = Gpus("a-0").read(text.encode())
    assert gpus.pods(RATIO) == {}
    assert f"the page says {20_000 * MIB:.0f} bytes are used of {10_000 * MIB:.0f}" in str(gpus.pool(RATIO))


def test_the_adapter_says_the_cause() -> None:
    world = World(a=2)
    samples = GpuPageReader().read(page("dcgm-utilisation-out-of-range.prom"))
    for endpoint in world.state.endpoints:
        world.store.record_beside(GPU, endpoint.key, samples[ObjectKey("default", "b-0")], 100.0)
    for path in (f"{POOLS}/a", "pods/*", "services/all"):
        with pytest.raises(
            Unavailable, match=r"is unknown now: .*the page says 127431 %, which is not within 0 to 100 %"
        ):
            world.objects(f"{path}/gpu_utilization_ratio")


@pytest.mark.parametrize("kv", [45.0, 1.01, 4_294_967_295.0])
def test_a_kv_cache_utilisation_out_of_range_is_unknown_with_its_cause(kv: float) -> None:
    page = f"vllm:num_requests_waiting 0\nvllm:num_requests_running 0\nvllm:kv_cache_usage_perc {kv}\n".encode()
    sample = interpret(page, VLLM)
    assert sample.gauges.kv_utilization is None
    world = World(a=1)
    world.store.record_scrape(world.state.endpoints[0].key, sample, 100.0)
    with pytest.raises(Unavailable, match=r"the page says .*, which is not within 0 to 1"):
        world.objects(f"{POOLS}/a/kv_cache_utilization_ratio")
