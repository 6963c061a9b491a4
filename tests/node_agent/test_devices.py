"""Device ids of the kubelet lead to GPUs and slices, however a plugin or driver names them, or to none."""

import pytest

from infscale.endpoint import ObjectKey
from infscale.node_agent.devices import Device, Held, Holding, Slice, Unplaced, attributed

GPUS = [Device(f"GPU-{index:08x}", index, minor=7 - index) for index in range(4)]
SLICES = [
    Device("MIG-aaaa", 4, 3, slice=Slice(0, 7, 0), parent="GPU-0000dddd"),
    Device("MIG-bbbb", 4, 3, slice=Slice(2, 9, 1), parent="GPU-0000dddd"),
]
DEVICES = [*GPUS, *SLICES]
POD, OTHER = ObjectKey("llm", "a"), ObjectKey("llm", "b")


@pytest.mark.parametrize(
    ("device_id", "resource", "uuid"),
    [
        ("GPU-00000001", "nvidia.com/gpu", "GPU-00000001"),
        ("GPU-00000001", "example.com/renamed", "GPU-00000001"),
        ("GPU-00000001::3", "nvidia.com/gpu.shared", "GPU-00000001"),
        ("1", "nvidia.com/gpu", "GPU-00000001"),
        ("1::0", "nvidia.com/gpu", "GPU-00000001"),
        ("nvidia5", "nvidia.com/gpu", "GPU-00000002"),
        ("nvidia5/vgpu1", "nvidia.com/gpu", "GPU-00000002"),
        ("MIG-bbbb", "nvidia.com/mig-1g.10gb", "MIG-bbbb"),
        ("MIG-bbbb::1", "nvidia.com/mig-1g.10gb.shared", "MIG-bbbb"),
        ("MIG-GPU-0000dddd/9/1", "nvidia.com/mig-1g.10gb", "MIG-bbbb"),
        ("4:2", "nvidia.com/mig-1g.10gb", "MIG-bbbb"),
        ("nvidia3/gi7", "nvidia.com/gpu", "MIG-aaaa"),
        ("nvidia3/gi7/vgpu0", "nvidia.com/gpu", "MIG-aaaa"),
        ("gpu-5", "gpu.nvidia.com", "GPU-00000002"),
    ],
)
def test_a_device_is_found_by_its_id(device_id: str, resource: str, uuid: str) -> None:
    [held], unplaced = attributed(DEVICES, [Holding(POD, "vllm", resource, device_id)])
    assert (held.device.uuid, held.pod, held.containers, held.pods) == (uuid, POD, ("vllm",), 1)
    assert unplaced == []


@pytest.mark.parametrize(
    ("device_id", "resource"),
    [
        ("GPU-ffffffff", "nvidia.com/gpu"),
        ("9", "nvidia.com/gpu"),
        ("4", "nvidia.com/gpu"),
        ("1:0", "nvidia.com/gpu"),
        ("nvidia9", "nvidia.com/gpu"),
        ("MIG-GPU-0000dddd/9/9", "nvidia.com/gpu"),
        ("gpu-5-mig-1g", "gpu.nvidia.com"),
        ("anything", "nvidia.com/gpu"),
    ],
)
def test_an_id_without_a_device_is_said_and_guessed_at_never(device_id: str, resource: str) -> None:
    assert attributed(DEVICES, [Holding(POD, "vllm", resource, device_id)]) == ([], [Unplaced(POD, device_id)])


@pytest.mark.parametrize("resource", ["amd.com/gpu", "intel.com/nic", "example.com/fpga", "nic.example.com"])
def test_what_is_no_gpu_of_nvidia_s_is_passed_over(resource: str) -> None:
    assert attributed(DEVICES, [Holding(POD, "vllm", resource, "1")]) == ([], [])


def test_a_gpu_of_several_pods_says_how_many_and_one_of_several_containers_which() -> None:
    held, _ = attributed(
        DEVICES,
        [
            Holding(POD, "vllm", "nvidia.com/gpu", "GPU-00000001::0"),
            Holding(OTHER, "vllm", "nvidia.com/gpu", "GPU-00000001::1"),
            Holding(POD, "sidecar", "nvidia.com/gpu", "GPU-00000001::2"),
            Holding(POD, "vllm", "nvidia.com/gpu", "GPU-00000002"),
        ],
    )
    assert held == [
        Held(POD, ("vllm", "sidecar"), GPUS[1], 2),
        Held(OTHER, ("vllm",), GPUS[1], 2),
        Held(POD, ("vllm",), GPUS[2], 1),
    ]
