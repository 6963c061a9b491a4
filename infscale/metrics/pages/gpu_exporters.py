"""What exporters call memory and utilisation of GPUs, and how their labels name GPUs and pods, as a table.

Supporting another exporter means another row. `infscale.sources.gpu_exporter_page` reads pages by a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from infscale.metrics.pages.exposition import MetricSpec

GpuQuantity = Literal["used", "free", "reserved", "total", "utilization", "active"]
"""Memory in four ways; the share of time a GPU was busy; and that in which its graphics engine was, which stands in."""
RATIOS: Final = frozenset[GpuQuantity]({"utilization", "active"})

Names = tuple[str, ...]
"""Spellings of one label; the first that a series has counts."""


class GpuName(NamedTuple):
    """A sample name and its unit, of which `per_one` make one byte, or one as a ratio."""

    spec: MetricSpec
    unit: str
    per_one: float


# Namespace and pod by what wrote the labels. A Prometheus that keeps its own labels puts the exporter's pod under the
# plain names and the GPU's pod under the exported ones, so those come first.
_PODS: Final = (("exported_namespace", "exported_pod"), ("namespace", "pod"))
_CONTAINERS: Final = ("exported_container", "container")


@dataclass(frozen=True, slots=True)
class GpuExporter:
    """One exporter's names: of several of a quantity the first that the page has is read.

    `identity` are the labels that tell a GPU from all others; the first two do so wherever it is. `pods` are labels of
    namespace and pod, `containers` of the container, `models` of what the
    driver calls the GPU. A GPU with `slice_label` is a part of one, of which `active` is
    known alone. Series that differ in `part_label` are parts of a GPU: memory is added up, of ratios the mean counts.
    `blanks` are values that stand for nothing. With `per_pod` a series is of a share that no other pod has, with a
    total of its own; 0 is no limit, and so no total.
    """

    name: str
    names: Mapping[GpuQuantity, tuple[GpuName, ...]] = field(hash=False)
    identity: tuple[Names, ...]
    pods: tuple[tuple[str, str], ...] = _PODS
    containers: Names = _CONTAINERS
    models: Names = ()
    slice_label: str | None = None
    part_label: str | None = None
    blanks: frozenset[float] = frozenset()
    per_pod: bool = False


def _mib(*names: str) -> tuple[GpuName, ...]:
    return tuple(GpuName(MetricSpec(name), "MiB", 2.0**-20) for name in names)


def _percent(*names: str) -> tuple[GpuName, ...]:
    return tuple(GpuName(MetricSpec(name), "percent", 100.0) for name in names)


def _bytes(*texts: str) -> tuple[GpuName, ...]:
    return tuple(GpuName(spec, "bytes", 1.0) for spec in map(MetricSpec.parse, texts) if spec is not None)


def _ratio(*texts: str) -> tuple[GpuName, ...]:
    return tuple(GpuName(spec, "ratio", 1.0) for spec in map(MetricSpec.parse, texts) if spec is not None)


DCGM: Final = GpuExporter(
    # NVIDIA/dcgm-exporter, etc/default-counters.csv; lower-case names are those of version 1 (gpu-monitoring-tools,
    # exporters/prometheus-dcgm). Blanks are DCGM's for blank, not found, not supported and no permission, as int32 and
    # as fp64; the int64 ones are beyond any value.
    name="dcgm",
    names={
        "used": _mib("DCGM_FI_DEV_FB_USED", "dcgm_fb_used"),
        "free": _mib("DCGM_FI_DEV_FB_FREE", "dcgm_fb_free"),
        "reserved": _mib("DCGM_FI_DEV_FB_RESERVED", "dcgm_fb_reserved"),
        "total": _mib("DCGM_FI_DEV_FB_TOTAL", "dcgm_fb_total"),
        "utilization": _percent("DCGM_FI_DEV_GPU_UTIL", "dcgm_gpu_utilization"),
        "active": _ratio("DCGM_FI_PROF_GR_ENGINE_ACTIVE"),
    },
    identity=(("UUID", "uuid"), ("hostname", "Hostname"), ("gpu",), ("GPU_I_ID",)),
    pods=(*_PODS, ("pod_namespace", "pod_name")),
    containers=(*_CONTAINERS, "container_name"),
    models=("modelName",),
    slice_label="GPU_I_PROFILE",
    blanks=frozenset(map(float, (*range(2147483632, 2147483636), *range(140737488355328, 140737488355332)))),
)

AMD: Final = GpuExporter(
    # ROCm/device-metrics-exporter, docs/configuration/metricslist.md (with the prefix that it can be given), and
    # amd/amd_smi_exporter, which has utilisation alone. The latter says the GPU's number in a label of each name.
    name="AMD",
    names={
        "used": _mib("gpu_used_vram", "amd_gpu_used_vram"),
        "free": _mib("gpu_free_vram", "amd_gpu_free_vram"),
        "total": _mib("gpu_total_vram", "amd_gpu_total_vram"),
        "utilization": _percent("gpu_gfx_activity", "amd_gpu_gfx_activity", "amd_gpu_use_percent"),
    },
    identity=(
        ("gpu_uuid", "serial_number"),
        ("hostname", "exported_node"),
        ("gpu_id", "gpu_use_percent"),
        ("gpu_partition_id",),
    ),
)

INTEL: Final = GpuExporter(
    # intel/xpumanager, rest/prometheus_exporter.py (version 1, which says no total), and xpumd (version 2) with
    # OpenTelemetry's names.
    name="Intel",
    names={
        "used": _bytes("xpum_memory_used_bytes", "hw_memory_usage_bytes{hw_memory_location=device}"),
        "total": _bytes("hw_memory_size_bytes{hw_memory_location=device}"),
        "utilization": _ratio("xpum_engine_ratio", "hw_gpu_utilization_ratio{hw_gpu_task=all}"),
    },
    identity=(("uuid",), ("node",), ("pci_bdf",), ("dev_file",)),
    pods=(("kube_namespace", "kube_pod"), *_PODS),
    containers=("kube_container", *_CONTAINERS),
    part_label="sub_dev",
)

HAMI: Final = GpuExporter(
    # Project-HAMi/HAMi, cmd/vGPUmonitor/metrics.go: current names and those of `--legacy-metrics`. What it calls a
    # ratio is in percent, too.
    name="HAMi",
    names={
        "used": _bytes("hami_vgpu_memory_used_bytes", "vGPU_device_memory_usage_in_bytes"),
        "total": _bytes("hami_vgpu_memory_limit_bytes", "vGPU_device_memory_limit_in_bytes"),
        "utilization": _percent("hami_container_device_utilization_ratio", "Device_utilization_desc_of_container"),
    },
    identity=(("device_uuid", "deviceuuid"), ("node", "nodeid"), ("vdevice_index", "vdeviceid")),
    pods=(("podnamespace", "podname"), *_PODS),
    containers=("ctrname", *_CONTAINERS),
    per_pod=True,
)

GPU_EXPORTERS: Final = (DCGM, AMD, INTEL, HAMI)
"""Every known exporter, in the order in which a page is tried."""
