"""The page has a sample for what is known and a cause for what is not, and reads as Prometheus reads pages."""

from prometheus_client.parser import text_string_to_metric_families

from infscale.endpoint import ObjectKey
from infscale.node_agent.agent import NodeView
from infscale.node_agent.devices import Device, Holding, Slice
from infscale.node_agent.page import NodeAgentCollector
from infscale.telemetry.own_metrics import OwnMetrics

A, B = ObjectKey("llm", "a"), ObjectKey("llm", "b")
GPU = Device("GPU-0", 0, 0, "H200", None, "", 10, 100, 0.25, False)
OTHER = Device("GPU-1", 1, 1, "H200", None, "", 20, 100, 0.5, True, pod_memory_bytes={"uid-a": 7})
LOST = Device("GPU-2", 2).silent('lost "for good"\\')
SLICE = Device("MIG-3", 3, 3, "H200 MIG", Slice(0, 7, 0), "GPU-3", 5, 18, None, None, {"utilization": "unpublished"})


def held(pod: ObjectKey, device_id: str, container: str = "vllm") -> Holding:
    return Holding(pod, container, "nvidia.com/gpu", device_id)


async def page(view: NodeView) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by the short name of a family and the labels' values in the order of the labels' names."""
    text = (await OwnMetrics([NodeAgentCollector(lambda: view)]).written()).decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        rows = {tuple(each.labels[name] for name in sorted(each.labels)): each.value for each in family.samples}
        found[family.name.removeprefix("infscale_node_agent_")] = rows
    return found


async def test_a_node_without_gpus_says_so_and_why() -> None:
    shown = await page(NodeView(driver_problem="there is no NVIDIA driver here"))
    assert shown["gpus"] == {(): 0}
    assert shown["source_up"] == {("driver",): 0, ("kubelet",): 0}
    assert shown["source_problem"] == {
        ("there is no NVIDIA driver here", "driver"): 1,
        ("it was not looked at yet", "kubelet"): 1,
    }
    assert {name for name, rows in shown.items() if rows} == {"gpus", "source_up", "source_problem"}


async def test_devices_and_their_problems_are_shown_by_device() -> None:
    shown = await page(NodeView(4, (GPU, OTHER, LOST, SLICE), ((5, "gone"),), "", 1.0, (), "", 1.0))
    assert shown["gpus"] == {(): 4}
    assert shown["source_up"] == {("driver",): 1, ("kubelet",): 1}
    assert shown["source_problem"] == {}
    assert shown["gpu_memory_used_bytes"] == {
        ("0", "H200", "", "GPU-0"): 10,
        ("1", "H200", "", "GPU-1"): 20,
        ("3", "H200 MIG", "7", "MIG-3"): 5,
    }
    assert shown["gpu_utilization_ratio"] == {("0", "H200", "", "GPU-0"): 0.25, ("1", "H200", "", "GPU-1"): 0.5}
    assert shown["gpu_row_remap_failed"] == {("0", "H200", "", "GPU-0"): 0, ("1", "H200", "", "GPU-1"): 1}
    assert shown["gpu_problem"] == {
        ('lost "for good"\\', "2", "", "", "GPU-2", "memory"): 1,
        ('lost "for good"\\', "2", "", "", "GPU-2", "utilization"): 1,
        ("unpublished", "3", "H200 MIG", "7", "MIG-3", "utilization"): 1,
        ("gone", "5", "", "", "", "memory"): 1,
        ("gone", "5", "", "", "", "utilization"): 1,
    }
    assert shown["pod_processes_memory_bytes"] == {("uid-a", "GPU-1"): 7}


async def test_a_pod_has_the_values_of_what_it_holds_alone_and_causes_for_the_rest() -> None:
    holdings = (
        held(A, "GPU-0"),
        held(A, "GPU-0", "sidecar"),
        held(A, "GPU-1::0"),
        held(B, "GPU-1::1"),
        held(B, "GPU-2"),
        held(B, "GPU-9"),
    )
    shown = await page(NodeView(3, (GPU, OTHER, LOST), ((5, "gone"),), "", 1.0, holdings, "", 1.0))
    assert set(shown["pod_gpu"]) == {
        ("sidecar", "llm", "a", "GPU-0"),
        ("vllm", "llm", "a", "GPU-0"),
        ("vllm", "llm", "a", "GPU-1"),
        ("vllm", "llm", "b", "GPU-1"),
        ("vllm", "llm", "b", "GPU-2"),
    }
    assert shown["pod_gpu_memory_used_bytes"] == {("llm", "a", "GPU-0"): 10}
    assert shown["pod_gpu_utilization_ratio"] == {("llm", "a", "GPU-0"): 0.25}
    shared = "2 pods share the GPU, and NVML does not tell what each has of it"
    causes = {(pod, uuid, cause) for cause, _, pod, uuid, value in shown["pod_gpu_problem"] if value == "memory"}
    assert causes == {
        ("a", "GPU-1", shared),
        ("b", "GPU-1", shared),
        ("b", "GPU-2", 'lost "for good"\\'),
        ("b", "GPU-9", "NVML shows no device GPU-9: gone"),
    }
