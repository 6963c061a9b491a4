"""Pages of node agents become samples of pods, with a cause for what is unknown; pods that share a GPU are told apart
only where the page tells them apart."""

from collections.abc import Sequence

import pytest

from infscale.endpoint import ObjectKey
from infscale.errors import ExpositionError
from infscale.metrics.sample import GpuHardware, GpuSample, GpuShare
from infscale.node_agent.agent import NodeView
from infscale.node_agent.devices import Device, Holding
from infscale.node_agent.page import NodeAgentCollector
from infscale.periodic import FetchError
from infscale.sources.node_agent_page import NodeAgentReader
from infscale.telemetry.own_metrics import OwnMetrics

A, B = ObjectKey("llm", "a"), ObjectKey("llm", "b")
UIDS = {"uid-a": A, "uid-b": B}
GPU = Device("GPU-0", 0, 0, "H200", memory_used_bytes=30, memory_total_bytes=100, utilization_ratio=0.25)
OTHER = Device("GPU-1", 1, 1, "H200", memory_used_bytes=10, memory_total_bytes=100, utilization_ratio=0.75)
LOST = Device("GPU-2", 2).silent("the GPU is lost")
MUTE = Device("MIG-0", 3, memory_used_bytes=5, memory_total_bytes=10, problems={"utilization": "unpublished"})


def held(pod: ObjectKey, device_id: str) -> Holding:
    return Holding(pod, "vllm", "nvidia.com/gpu", device_id)


async def read(devices: Sequence[Device], *holdings: Holding) -> dict[ObjectKey, GpuSample]:
    """What is read of the very page that an agent writes."""
    view = NodeView(len(devices), tuple(devices), (), "", 1.0, holdings, "", 1.0)
    page = await OwnMetrics([NodeAgentCollector(lambda: view)]).written()
    return NodeAgentReader(UIDS.get).read(page)


async def test_gpus_that_a_pod_holds_alone_are_one_sample() -> None:
    found = await read([GPU, OTHER], held(A, "GPU-0"), held(B, "GPU-1"))
    assert found == {A: GpuSample(30.0, 100.0, 0.25), B: GpuSample(10.0, 100.0, 0.75)}
    assert await read([GPU, OTHER], held(A, "GPU-0"), held(A, "GPU-1")) == {A: GpuSample(40.0, 200.0, 0.5)}


async def test_an_agent_names_the_gpus_of_a_pod() -> None:
    found = await read([GPU, OTHER], held(A, "GPU-0"), held(A, "GPU-1"))
    assert found[A].hardware == GpuHardware("H200", 2)
    assert (await read([MUTE], held(A, "MIG-0")))[A].hardware is None


async def test_a_gpu_that_cannot_be_read_makes_its_pod_unknown_with_the_cause() -> None:
    cause = {"gpu_memory_used_bytes": "the GPU is lost", "gpu_memory_total_bytes": "the GPU is lost"}
    assert await read([GPU, LOST], held(A, "GPU-0"), held(A, "GPU-2")) == {A: GpuSample(None, None, 0.25, cause)}
    alone = {**cause, "gpu_utilization": "the GPU is lost"}
    assert await read([GPU, LOST], held(A, "GPU-2")) == {A: GpuSample(None, None, None, alone)}
    gone = (await read([GPU], held(A, "GPU-7")))[A]
    assert gone.refused["gpu_memory_used_bytes"] == "NVML shows no device GPU-7"


async def test_a_slice_without_utilisation_has_memory() -> None:
    assert await read([MUTE], held(A, "MIG-0")) == {A: GpuSample(5.0, 10.0, None, {"gpu_utilization": "unpublished"})}


async def test_pods_that_share_a_gpu_have_no_values_of_their_own_and_the_gpu_has() -> None:
    found = await read([GPU], held(A, "GPU-0::0"), held(B, "GPU-0::1"))
    assert found.keys() == {A, B}
    sample = found[A]
    assert (sample.memory_used_bytes, sample.memory_total_bytes, sample.utilization_ratio) == (None, 100.0, None)
    told = "2 pods share the GPU, and NVML does not tell what each has of it"
    assert sample.refused == {"gpu_memory_used_bytes": told, "gpu_utilization": told}
    [share] = sample.shares
    assert share[:2] == (("GPU-0",), 2)
    assert (share.device_used_bytes, share.total_bytes, share.device_utilization_ratio) == (30.0, 100.0, 0.25)


async def test_processes_tell_what_pods_have_of_a_gpu() -> None:
    shared = Device(
        "GPU-0",
        0,
        memory_used_bytes=30,
        memory_total_bytes=100,
        utilization_ratio=0.5,
        pod_memory_bytes={"uid-a": 20, "uid-stranger": 4},
    )
    found = await read([shared], held(A, "GPU-0::0"), held(B, "GPU-0::1"))
    assert (found[A].memory_used_bytes, found[B].memory_used_bytes) == (20.0, None)
    assert isinstance(found[A].shares[0], GpuShare)
    assert found[A].shares[0].used_bytes == 20.0


async def test_a_node_without_gpus_or_pods_says_nothing_of_pods() -> None:
    assert await read([]) == {}
    assert await read([GPU]) == {}


def test_other_pages_and_torn_ones_are_refused() -> None:
    reader = NodeAgentReader(UIDS.get)
    with pytest.raises(FetchError, match="no metrics of a node agent on the page"):
        reader.read(b"DCGM_FI_DEV_FB_USED 1\n")
    with pytest.raises(ExpositionError):
        reader.read(b'infscale_node_agent_gpus 1\ninfscale_node_agent_pod_gpu{uuid="GP', whole=False)


@pytest.mark.parametrize("used", ["NaN", "-1", "+Inf", "1e30"])
def test_impossible_memory_is_unknown(used: str) -> None:
    page = (
        "infscale_node_agent_gpus 1\n"
        'infscale_node_agent_pod_gpu{uuid="g",namespace="llm",pod="a",container="c"} 1\n'
        f'infscale_node_agent_gpu_memory_used_bytes{{uuid="g"}} {used}\n'
        'infscale_node_agent_gpu_memory_total_bytes{uuid="g"} 5\n'
        'infscale_node_agent_gpu_memory_total_bytes{uuid="unheld"} 5\n'
    )
    sample = NodeAgentReader(UIDS.get).read(page.encode())[A]
    assert (sample.memory_used_bytes, sample.memory_total_bytes) == (None, 5.0)
    assert "gpu_memory_used_bytes" in sample.refused
