"""What is read of the GPUs of one node, and of the pods that hold them; unknown is None, never 0."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from infscale.endpoint import ObjectKey

Value = Literal["memory", "utilization"]
VALUES: Final[tuple[Value, ...]] = ("memory", "utilization")
"""What is read of a device."""

NO_PROBLEMS: Final[Mapping[Value, str]] = MappingProxyType({})
NO_MEMORY: Final[Mapping[str, int]] = MappingProxyType({})


class Slice(NamedTuple):
    """Where a MIG slice is on its GPU: NVML's number of it, and the ids of its instances; None is unknown."""

    number: int
    gpu_instance: int | None
    compute_instance: int | None


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU, or one MIG slice of a GPU.

    `gpu` is the index of the GPU, `minor` the number of its device file, `parent` the UUID of the GPU of a slice.
    `problems` are the causes for which values are unknown. `pod_memory_bytes` is what the processes of pods have of the
    memory, by the pods' UIDs, as far as NVML tells it.
    """

    uuid: str
    gpu: int
    minor: int | None = None
    name: str = ""
    slice: Slice | None = None
    parent: str = ""
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilization_ratio: float | None = None
    row_remap_failed: bool | None = None
    problems: Mapping[Value, str] = field(default_factory=lambda: NO_PROBLEMS, hash=False)
    pod_memory_bytes: Mapping[str, int] = field(default_factory=lambda: NO_MEMORY, hash=False)

    def silent(self, cause: str) -> "Device":
        """The same device while nothing can be read of it."""
        return replace(
            self,
            memory_used_bytes=None,
            memory_total_bytes=None,
            utilization_ratio=None,
            row_remap_failed=None,
            problems=dict.fromkeys(VALUES, cause),
            pod_memory_bytes=NO_MEMORY,
        )


class Holding(NamedTuple):
    """One device of one container, as the kubelet names both.

    `resource` is the resource that was asked for, or the driver of a dynamically allocated one.
    """

    pod: ObjectKey
    container: str
    resource: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Held:
    """One device that a pod holds, by its `containers`; `pods` pods hold it."""

    pod: ObjectKey
    containers: tuple[str, ...]
    device: Device
    pods: int


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A device id of a pod for which NVML shows no device."""

    pod: ObjectKey
    device_id: str


def attributed(devices: Sequence[Device], holdings: Iterable[Holding]) -> tuple[list[Held], list[Unplaced]]:
    """Which pod holds which of `devices`, and the ids of GPUs that are none of them."""
    by_id = _Names(devices)
    containers: dict[tuple[str, ObjectKey], list[str]] = {}
    of_device: dict[str, set[ObjectKey]] = {}
    unplaced: dict[tuple[ObjectKey, str], Unplaced] = {}
    for holding in holdings:
        if not _of_gpu(holding):
            continue
        device = by_id.device(holding)
        if device is None:
            unplaced[holding.pod, holding.device_id] = Unplaced(holding.pod, holding.device_id)
            continue
        named = containers.setdefault((device.uuid, holding.pod), [])
        if holding.container not in named:
            named.append(holding.container)
        of_device.setdefault(device.uuid, set()).add(holding.pod)
    known = {device.uuid: device for device in devices}
    held = [
        Held(pod, tuple(named), known[uuid], len(of_device[uuid])) for (uuid, pod), named in sorted(containers.items())
    ]
    return held, [*unplaced.values()]


_VENDOR: Final = "nvidia.com/"
_DYNAMIC_DRIVER: Final = "gpu.nvidia.com"
# A replica of a GPU that is shared in time: NVIDIA's device plugin, then Google's.
_REPLICA: Final = re.compile(r"(?:::[0-9]+|/vgpu[0-9]+)\Z")
_OLD_SLICE: Final = re.compile(r"MIG-(GPU-[-0-9a-fA-F]+)/([0-9]{1,4})/([0-9]{1,4})")
_INDEX: Final = re.compile(r"([0-9]{1,4})(?::([0-9]{1,4}))?")
_FILE: Final = re.compile(r"nvidia([0-9]{1,4})(?:/gi([0-9]{1,4}))?")
_DYNAMIC: Final = re.compile(r"gpu-([0-9]{1,4})")


def _of_gpu(holding: Holding) -> bool:
    """Whether what is held is a GPU of NVIDIA's, however its resource is called."""
    return (
        holding.resource.startswith(_VENDOR)
        or holding.resource == _DYNAMIC_DRIVER
        or holding.device_id.startswith(("GPU-", "MIG-"))
    )


class _Names:
    """The names that device plugins and drivers give to devices."""

    def __init__(self, devices: Sequence[Device]) -> None:
        whole = [each for each in devices if each.slice is None]
        self._by_uuid = {each.uuid: each for each in devices}
        self._by_index = {each.gpu: each for each in whole}
        self._by_minor = {each.minor: each for each in whole if each.minor is not None}
        slices = [(each, each.slice) for each in devices if each.slice is not None]
        self._by_old_name = {(each.parent, place.gpu_instance, place.compute_instance): each for each, place in slices}
        self._by_place = {(each.gpu, place.number): each for each, place in slices}
        self._by_instance = {(each.minor, place.gpu_instance): each for each, place in slices}

    def device(self, holding: Holding) -> Device | None:
        """The device of a GPU's id; None where there is none of that name."""
        if holding.resource == _DYNAMIC_DRIVER:
            found = _DYNAMIC.fullmatch(holding.device_id)
            return None if found is None else self._by_minor.get(int(found[1]))
        name = _REPLICA.sub("", holding.device_id)
        if name in self._by_uuid:
            return self._by_uuid[name]
        if old := _OLD_SLICE.fullmatch(name):
            return self._by_old_name.get((old[1], int(old[2]), int(old[3])))
        if index := _INDEX.fullmatch(name):
            whole = index[2] is None
            return self._by_index.get(int(index[1])) if whole else self._by_place.get((int(index[1]), int(index[2])))
        if file := _FILE.fullmatch(name):
            whole = file[2] is None
            return self._by_minor.get(int(file[1])) if whole else self._by_instance.get((int(file[1]), int(file[2])))
        return None
