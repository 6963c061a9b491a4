"""What the page of a node agent says of the GPUs of each pod.

Devices, and which pods hold them, are series of their own: a value that is missing has a cause on the page. What the
processes of a pod have of a shared GPU is said by the pod's UID, which discovery knows.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

from infscale.endpoint import ObjectKey
from infscale.metrics.pages.exposition import Labels, Selection, SeriesColumns
from infscale.metrics.sample import GpuSample, GpuShare
from infscale.periodic import FetchError
from infscale.sources import node_agent_names as names
from infscale.sources.gpu_samples import Value, gpu_sample

NAMES: Final = (
    names.GPUS,
    names.GPU_MEMORY_USED,
    names.GPU_MEMORY_TOTAL,
    names.GPU_UTILIZATION,
    names.POD_GPU,
    names.POD_GPU_PROBLEM,
    names.PROCESS_MEMORY,
)
_UNSAID: Final = "the node agent does not say it"
_LONGEST_CAUSE: Final = 300


class _Device:
    """What one page says of one GPU or MIG slice."""

    def __init__(self) -> None:
        self.model = ""
        self.pods: dict[ObjectKey, float] = {}
        """The pods that hold it, each with what its processes use."""
        self.used_bytes = self.total_bytes = self.utilization = math.nan
        self._problems: dict[tuple[ObjectKey, str], str] = {}

    def held(self, pod: ObjectKey) -> None:
        """`pod` holds it."""
        self.pods.setdefault(pod, math.nan)

    def problem(self, pod: ObjectKey, value: str, cause: str) -> None:
        """Note why a value of `pod` is unknown."""
        self._problems[pod, value] = cause[:_LONGEST_CAUSE]

    def share(self, pod: ObjectKey, identity: tuple[str, ...]) -> GpuShare:
        """See `HeldDevice`."""
        alone = len(self.pods) == 1
        return GpuShare(
            device=identity,
            pods=len(self.pods),
            used_bytes=self.used_bytes if alone else self.pods[pod],
            utilization_ratio=self.utilization if alone else math.nan,
            device_used_bytes=self.used_bytes,
            total_bytes=self.total_bytes,
            device_utilization_ratio=self.utilization,
        )

    def why(self, pod: ObjectKey, value: Value) -> str:
        """See `HeldDevice`."""
        return self._problems.get((pod, value), _UNSAID)


class NodeAgentReader:
    """Turns pages of a node agent into one sample per pod that holds a GPU."""

    def __init__(self, pod_of: Callable[[str], ObjectKey | None]) -> None:
        self._pod_of = pod_of
        self._selection = Selection(NAMES)

    def read(self, page: bytes, *, whole: bool = True) -> dict[ObjectKey, GpuSample]:
        """Samples by pod, of which a node without GPUs has none.

        Raises ExpositionError for a malformed or truncated page, FetchError for one of another program.
        """
        columns = self._selection.read(page, whole=whole).columns
        if not len(columns[names.GPUS]):
            raise FetchError("no metrics of a node agent on the page")
        devices: dict[str, _Device] = {}
        for labels, _ in _rows(columns[names.POD_GPU]):
            devices.setdefault(labels.get("uuid", ""), _Device()).held(_pod(labels))
        for labels, _ in _rows(columns[names.POD_GPU_PROBLEM]):
            device, pod = devices.setdefault(labels.get("uuid", ""), _Device()), _pod(labels)
            device.held(pod)
            device.problem(pod, labels.get("value", ""), labels.get("cause", ""))
        self._take_values(columns, devices)
        held: dict[ObjectKey, list[tuple[tuple[str, ...], _Device]]] = {}
        for uuid, device in devices.items():
            for pod in device.pods:
                held.setdefault(pod, []).append(((uuid,), device))
        return {pod: gpu_sample(pod, of_pod) for pod, of_pod in held.items()}

    def _take_values(self, columns: dict[str, SeriesColumns], devices: dict[str, _Device]) -> None:
        for name, attribute in _ATTRIBUTES:
            for labels, value in _rows(columns[name]):
                device = devices.get(labels.get("uuid", ""))
                if device is not None:
                    setattr(device, attribute, value)
                    if not labels.get("slice"):
                        device.model = labels.get("model", "")
        for labels, value in _rows(columns[names.PROCESS_MEMORY]):
            device, pod = devices.get(labels.get("uuid", "")), self._pod_of(labels.get("pod_uid", ""))
            if device is not None and pod is not None and pod in device.pods:
                device.pods[pod] = value


_ATTRIBUTES: Final = (
    (names.GPU_MEMORY_USED, "used_bytes"),
    (names.GPU_MEMORY_TOTAL, "total_bytes"),
    (names.GPU_UTILIZATION, "utilization"),
)


def _rows(column: SeriesColumns) -> Iterator[tuple[Labels, float]]:
    return zip(column.labels, column.values, strict=True)


def _pod(labels: Labels) -> ObjectKey:
    return ObjectKey(labels.get("namespace", ""), labels.get("pod", ""))
