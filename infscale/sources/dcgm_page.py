"""What pages of a dcgm-exporter say of the GPUs of each pod.

Memory is in MiB, utilisation in percent. MIG slices have no utilisation of their own and publish the ratio of time
their graphics engine was active instead. A GPU that pods share has a series for each of them: the exporter writes what
a pod uses, or, in other versions, what the whole device uses, again for each; what is free and what is reserved is
always the device's. A series without a pod is the device's own.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain

from infscale.endpoint import ObjectKey
from infscale.metrics.pages.bounds import ratio
from infscale.metrics.pages.exposition import Labels, Selection
from infscale.metrics.sample import GpuSample, GpuShare
from infscale.periodic import FetchError
from infscale.sources.gpu_samples import UNPUBLISHED, gpu_sample

USED = "DCGM_FI_DEV_FB_USED"
FREE = "DCGM_FI_DEV_FB_FREE"
RESERVED = "DCGM_FI_DEV_FB_RESERVED"
TOTAL = "DCGM_FI_DEV_FB_TOTAL"
UTILIZATION = "DCGM_FI_DEV_GPU_UTIL"
ENGINE_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
_RATIOS = frozenset({UTILIZATION, ENGINE_ACTIVE})
NAMES = (USED, FREE, RESERVED, TOTAL, UTILIZATION, ENGINE_ACTIVE)

# Namespace and pod by what wrote the labels. A Prometheus that keeps its own labels puts the exporter's pod under the
# plain names and the GPU's pod under the exported ones, so those come first.
_POD_LABELS = (
    ("exported_namespace", "exported_pod"),
    ("namespace", "pod"),
    ("pod_namespace", "pod_name"),
)
_GPU_LABELS = (("UUID", "uuid"), ("hostname", "Hostname"), ("gpu",), ("GPU_I_ID",))
_CONTAINER_LABELS = ("exported_container", "container", "container_name")
_MIG_LABEL = "GPU_I_PROFILE"

_MIB = 1024.0 * 1024.0
# DCGM's blank, not found, not supported and no permission, as int32 and as fp64; the int64 ones are beyond any value.
_BLANKS = frozenset(map(float, (*range(2147483632, 2147483636), *range(140737488355328, 140737488355332))))
_BLANK_FROM = 9.2e18

_Values = dict[str, float]
"""Values by sample name; blank ones are left out."""
_Gathered = dict[str, _Values]
"""What is said of one pod, by its containers."""


class _Device:
    """What one page says of one GPU or MIG slice: in series without a pod, and in those of each pod that holds it.

    Its properties are asked for once the whole page is in.
    """

    def __init__(self, mig: bool) -> None:
        self.mig = mig
        self.own: _Values = {}
        self.pods: dict[ObjectKey, _Gathered] = {}

    def of(self, pod: ObjectKey, container: str) -> _Values:
        """Where the values of a container of `pod` belong."""
        return self.pods.setdefault(pod, {}).setdefault(container, {})

    @cached_property
    def used_bytes(self) -> float:
        """All that is used of it. Of pods that show the same, each shows the whole; else they are added up."""
        used = self.own.get(USED, math.nan)
        if math.isnan(used):
            used = self._value(TOTAL) - self._value(FREE) - self._value(RESERVED, 0.0)
        if math.isnan(used):
            used = _together([_used(gathered) for gathered in self.pods.values()])
        return used * _MIB

    @cached_property
    def total_bytes(self) -> float:
        """The published total or the sum of its parts; an exporter without a reserved part counts that as used."""
        parts = self._value(FREE) + self._value(RESERVED, 0.0)
        return self._value(TOTAL, self.used_bytes / _MIB + parts) * _MIB

    @cached_property
    def utilization(self) -> float:
        """The share of time it was busy, as far as it is published; it may be no share."""
        own = self._busy(self.own)
        return _busy_together([self._busy_of(pod) for pod in self.pods]) if math.isnan(own) else own

    def share(self, pod: ObjectKey, identity: tuple[str, ...]) -> GpuShare:
        """See `HeldDevice`."""
        busy = self._busy_of(pod)
        return GpuShare(
            device=identity,
            pods=len(self.pods),
            used_bytes=self._used_by(pod),
            utilization_ratio=self.utilization if math.isnan(busy) else busy,
            device_used_bytes=self.used_bytes,
            total_bytes=self.total_bytes,
            device_utilization_ratio=self.utilization,
        )

    def _used_by(self, pod: ObjectKey) -> float:
        used = _used(self.pods[pod])
        return self.used_bytes if math.isnan(used) and len(self.pods) == 1 else used * _MIB

    def why(self, pod: ObjectKey, value: str) -> str:
        """See `HeldDevice`."""
        del pod, value
        return UNPUBLISHED

    def _busy_of(self, pod: ObjectKey) -> float:
        return _busy_together([self._busy(values) for values in self.pods[pod].values()])

    def _busy(self, values: Mapping[str, float]) -> float:
        active = values.get(ENGINE_ACTIVE, math.nan)
        return active if self.mig else values.get(UTILIZATION, active * 100.0) / 100.0

    def _value(self, name: str, default: float = math.nan) -> float:
        """What is the same for all that hold it."""
        gathered = chain.from_iterable(each.values() for each in self.pods.values())
        return next((values[name] for values in chain((self.own,), gathered) if name in values), default)


class DcgmReader:
    """Turns pages of the exporter `source` into one sample per pod."""

    def __init__(self, source: str = "") -> None:
        self._source = source
        self._selection = Selection(NAMES)

    def read(self, page: bytes, *, whole: bool = True) -> dict[ObjectKey, GpuSample]:
        """Samples by pod; GPUs that belong to no pod are left out.

        A value that is missing for one GPU of a pod is unknown for the pod, except utilisation, which is the mean over
        the GPUs that publish it. Raises ExpositionError for a malformed or truncated page or one without any of it.
        """
        columns = self._selection.read(page, whole=whole).columns
        if not any(len(column) for column in columns.values()):
            raise FetchError("no dcgm metrics on the page")
        devices: dict[tuple[str, ...], _Device] = {}
        for name, column in columns.items():
            for labels, value in zip(column.labels, column.values, strict=True):
                identity = self._identity(labels)
                device = devices.get(identity)
                if device is None:
                    device = devices[identity] = _Device(bool(labels.get(_MIG_LABEL)))
                pod = _pod(labels)
                values = device.own if pod is None else device.of(pod, _first(labels, _CONTAINER_LABELS))
                if not _blank(value) or (name in _RATIOS and _no_ratio(value)):
                    values[name] = value
        held: dict[ObjectKey, list[tuple[tuple[str, ...], _Device]]] = {}
        for identity, device in devices.items():
            for pod in device.pods:
                held.setdefault(pod, []).append((identity, device))
        return {pod: gpu_sample(pod, of_pod) for pod, of_pod in held.items()}

    def _identity(self, labels: Labels) -> tuple[str, ...]:
        """What tells a GPU from all others, also from those of other exporters."""
        identity = tuple([_first(labels, spellings) for spellings in _GPU_LABELS])
        return identity if identity[0] or identity[1] else (self._source, *identity)


def _pod(labels: Labels) -> ObjectKey | None:
    for namespace, pod in _POD_LABELS:
        if labels.get(namespace) and labels.get(pod):
            return ObjectKey(labels[namespace], labels[pod])
    return None


def _first(labels: Labels, spellings: tuple[str, ...]) -> str:
    return next((labels[spelling] for spelling in spellings if labels.get(spelling)), "")


def _used(gathered: _Gathered) -> float:
    return _together([values.get(USED, math.nan) for values in gathered.values()])


def _together(parts: Sequence[float]) -> float:
    """What each of the pods that share a GPU has of it: the whole where all show the same, else what each shows."""
    return parts[0] if len(set(parts)) == 1 else math.fsum(parts)


def _busy_together(parts: Sequence[float]) -> float:
    """As `_together`, of shares of time; where one of them is no share, that one."""
    wrong = next((each for each in parts if ratio(each) is None), None)
    return min(1.0, _together(parts)) if wrong is None else wrong


def _no_ratio(value: float) -> bool:
    """Whether it is said, and no share: less than none (-1 stands for nothing in some versions), or without end."""
    return value == math.inf or (value < 0.0 and value != -1.0)


def _blank(value: float) -> bool:
    return not 0.0 <= value < _BLANK_FROM or value in _BLANKS
