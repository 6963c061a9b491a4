"""The metrics of the node agent's page, made of one view of the node when it is asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.node_agent.agent import NodeView
from infscale.node_agent.devices import VALUES, Device, Held, Unplaced, attributed
from infscale.sources import node_agent_names as names

_DEVICE: Final = ("gpu", "uuid", "slice", "model")
_POD: Final = ("namespace", "pod", "uuid")

_Row = tuple[Sequence[str], float | None]
_Read = Callable[[Device], float | None]

_OF_DEVICES: Final[tuple[tuple[str, str, _Read], ...]] = (
    (names.GPU_MEMORY_USED, "memory in use of a GPU or MIG slice", lambda each: each.memory_used_bytes),
    (names.GPU_MEMORY_TOTAL, "memory that a GPU or MIG slice has", lambda each: each.memory_total_bytes),
    (names.GPU_UTILIZATION, "share of time that a GPU was busy, 0 to 1", lambda each: each.utilization_ratio),
    (
        names.GPU_ROW_REMAP_FAILED,
        "1 where a GPU has no spare rows left for broken memory: it is to be exchanged",
        lambda each: each.row_remap_failed,
    ),
)
_OF_PODS: Final[tuple[tuple[str, str, _Read], ...]] = (
    (
        names.POD_GPU_MEMORY_USED,
        "memory in use of a GPU or MIG slice that one pod holds alone",
        lambda each: each.memory_used_bytes,
    ),
    (
        names.POD_GPU_UTILIZATION,
        "share of time that a GPU which one pod holds alone was busy, 0 to 1",
        lambda each: each.utilization_ratio,
    ),
)


class NodeAgentCollector(Collector):
    """A node as metrics; what is unknown has no sample, and a cause."""

    def __init__(self, view: Callable[[], NodeView]) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        view = self._view()
        held, unplaced = attributed(view.devices, view.holdings)
        yield GaugeMetricFamily(names.GPUS, "GPUs that the driver shows; 0 without a GPU or a driver", view.gpus)
        yield from _sources(view)
        for name, meaning, read in _OF_DEVICES:
            yield _family(name, meaning, _DEVICE, ((_device(each), read(each)) for each in view.devices))
        causes = "1, with the cause for which a value of a GPU or MIG slice is unknown"
        yield _family(names.GPU_PROBLEM, causes, (*_DEVICE, "value", "cause"), _problems(view))
        holders = "1 for each GPU or MIG slice of a container"
        yield _family(names.POD_GPU, holders, (*_POD, "container"), _holders(held))
        alone = [each for each in held if each.pods == 1]
        for name, meaning, read in _OF_PODS:
            yield _family(name, meaning, _POD, ((_pod(each), read(each.device)) for each in alone))
        causes = "1, with the cause for which a value of a pod's GPU is unknown"
        yield _family(names.POD_GPU_PROBLEM, causes, (*_POD, "value", "cause"), _pod_problems(view, held, unplaced))
        of_processes = "memory of a GPU that the processes of one pod use, by the pod's UID"
        yield _family(names.PROCESS_MEMORY, of_processes, ("uuid", "pod_uid"), _processes(view.devices))


def _family(name: str, meaning: str, labels: Sequence[str], rows: Iterable[_Row]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for row, value in rows:
        if value is not None:
            family.add_metric(row, float(value))
    return family


def _sources(view: NodeView) -> Iterator[Metric]:
    problems = {"driver": view.driver_problem, "kubelet": view.kubelet_problem}
    up = "1 while what is read on the node answers: the driver of GPUs, and the kubelet with what pods hold"
    yield _family(names.SOURCE_UP, up, ("source",), (((each,), not cause) for each, cause in problems.items()))
    causes = "1, with the cause for which the driver or the kubelet says nothing"
    rows: list[_Row] = [(each, 1) for each in problems.items() if each[1]]
    yield _family(names.SOURCE_PROBLEM, causes, ("source", "cause"), rows)


def _device(device: Device) -> tuple[str, ...]:
    place = device.slice
    number = "" if place is None else str(place.number if place.gpu_instance is None else place.gpu_instance)
    return str(device.gpu), device.uuid, number, device.name


def _problems(view: NodeView) -> Iterator[_Row]:
    for device in view.devices:
        for value, cause in device.problems.items():
            yield (*_device(device), value, cause), 1
    for index, cause in view.unread:
        for value in VALUES:
            yield (str(index), "", "", "", value, cause), 1


def _pod(held: Held) -> tuple[str, ...]:
    return held.pod.namespace, held.pod.name, held.device.uuid


def _holders(held: Iterable[Held]) -> Iterator[_Row]:
    for each in held:
        for container in each.containers:
            yield (*_pod(each), container), 1


def _pod_problems(view: NodeView, held: Iterable[Held], unplaced: Iterable[Unplaced]) -> Iterator[_Row]:
    for each in held:
        for value in VALUES:
            cause = each.device.problems.get(value, "")
            if not cause and each.pods > 1:
                cause = f"{each.pods} pods share the GPU, and NVML does not tell what each has of it"
            if cause:
                yield (*_pod(each), value, cause), 1
    reasons = [*dict.fromkeys((view.driver_problem, *(cause for _, cause in view.unread)))]
    why = "; ".join(each for each in reasons if each)
    for lost in unplaced:
        cause = f"NVML shows no device {lost.device_id}" + (f": {why}" if why else "")
        for value in VALUES:
            yield (lost.pod.namespace, lost.pod.name, lost.device_id, value, cause), 1


def _processes(devices: Iterable[Device]) -> Iterator[_Row]:
    for device in devices:
        for pod, used in device.pod_memory_bytes.items():
            yield (device.uuid, pod), used
