"""NVML is read through the real pynvml, from a library that answers like NVIDIA's."""

from collections.abc import Mapping, Sequence

import pytest

from infscale.node_agent.devices import Device, Slice
from infscale.node_agent.nvml import DriverProblem, Nvml
from tests.node_agent.nvml_stand_in import GIB, StandIn

pytestmark = pytest.mark.compiler


def read(index: int, pods: Mapping[int, str] | None = None) -> tuple[Device, ...]:
    def pods_of(processes: Sequence[int]) -> Mapping[int, str]:
        return {each: pods[each] for each in processes if pods and each in pods}

    made = Nvml(None if pods is None else pods_of)
    made.open()
    try:
        return made.read(index)
    finally:
        made.close()


def test_a_gpu_has_memory_utilisation_and_names(nvml: StandIn) -> None:
    made = Nvml()
    assert made.open() == 8
    made.close()
    assert read(3) == (
        Device(
            "GPU-3",
            3,
            minor=4,
            name="NVIDIA H200",
            memory_used_bytes=40 * GIB,
            memory_total_bytes=141 * GIB,
            utilization_ratio=0.3,
            row_remap_failed=False,
        ),
    )


def test_a_driver_that_cannot_tell_reserved_memory_counts_it_as_used(nvml: StandIn) -> None:
    nvml.show("count 8", "old 3")
    assert read(3)[0].memory_used_bytes == 41 * GIB


@pytest.mark.parametrize(
    ("shown", "memory", "utilization"),
    [
        ("mute 2", None, "NVML does not publish it"),
        ("busy 2 101", None, "NVML says 101 %, which is not within 0 to 100 %"),
        ("full 2", "NVML says that more is used than there is", None),
        ("error 2 15", *["the GPU is lost: it has fallen off the bus, or is otherwise out of reach"] * 2),
        ("error 2 4", *["NVML gives no permission"] * 2),
        ("error 2 999", *["NVML says: Unknown Error"] * 2),
        ("error 2 777", *["NVML says: somethingof the driver's own"] * 2),
    ],
)
def test_what_is_not_said_is_unknown_with_its_cause(
    nvml: StandIn, shown: str, memory: str | None, utilization: str | None
) -> None:
    nvml.show("count 8", shown)
    (device,) = read(2)
    causes = {"memory": memory, "utilization": utilization}
    assert device.problems == {value: cause for value, cause in causes.items() if cause is not None}
    assert (device.memory_used_bytes is None, device.memory_total_bytes is None) == (memory is not None,) * 2
    assert (device.utilization_ratio is None) == (utilization is not None)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (9, "the NVIDIA driver is not loaded"),
        (12, "there is no NVIDIA driver here (libnvidia-ml.so.1 is not found)"),
        (18, "driver and driver library are of different versions"),
    ],
)
def test_a_driver_that_does_not_work_says_why(nvml: StandIn, code: int, cause: str) -> None:
    nvml.show(f"init {code}", "count 8")
    with pytest.raises(DriverProblem) as raised:
        Nvml().open()
    assert str(raised.value) == cause


def test_a_gpu_without_a_handle_is_a_problem_of_its_own(nvml: StandIn) -> None:
    nvml.show("count 8", "gone 2 15")
    with pytest.raises(DriverProblem, match="the GPU is lost"):
        read(2)
    assert read(1)[0].memory_used_bytes == 20 * GIB


def test_broken_memory_that_cannot_be_replaced_is_told(nvml: StandIn) -> None:
    nvml.show("count 8", "remap 2")
    assert [read(index)[0].row_remap_failed for index in (1, 2)] == [False, True]


def test_the_slices_of_a_divided_gpu_take_its_place(nvml: StandIn) -> None:
    nvml.show("count 8", "mig 2 3")
    first, third = read(2)
    assert (first.uuid, first.slice, first.parent) == ("MIG-2-0", Slice(0, 7, 0), "GPU-2")
    assert (third.uuid, third.slice, third.memory_used_bytes) == ("MIG-2-2", Slice(2, 9, 0), 3 * GIB)
    assert (third.memory_total_bytes, third.utilization_ratio) == (18 * GIB, None)
    assert third.problems == {"utilization": "NVML does not publish it"}


def test_memory_of_processes_is_that_of_their_pods(nvml: StandIn) -> None:
    nvml.show(
        "count 8", "process 0 11 1000", "process 0 12 500", "process 0 13 70", "process 0 14 9", "process 0 15 -1"
    )
    pods = {11: "a", 12: "a", 13: "b", 14: "c", 15: "c"}
    assert read(0, pods)[0].pod_memory_bytes == {"a": 1500, "b": 70}, "of c a part is unknown"
    assert read(0)[0].pod_memory_bytes == {}
